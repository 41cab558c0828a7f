"""Few connections to the database serve many: a watcher holds none, and a rejected request gets a Retry-After."""

from __future__ import annotations

import contextvars
import dataclasses
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.pool import QueuePool

from app import config
from app.extensions import db
from app.jobs import enqueue, pubsub
from app.jobs.pubsub import PubSubFanout
from app.store import runs
from app.sync import run as sync
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.web.text_browser import words
from tests.web.worker import no_redis, now, worker_present

pytestmark = both_databases


@pytest.fixture
def settings(settings: config.Settings) -> config.Settings:
    """One connection, and no second one, for the whole process."""
    return dataclasses.replace(settings, database_pool_size=1)


@pytest.fixture(autouse=True)
def _impatient(app: Flask, settings: config.Settings) -> None:
    """A short timeout for a connection."""
    assert isinstance(db.engine.pool, QueuePool) and db.engine.pool.size() == 1
    db.engine.pool._timeout = 0.2


class Watcher:
    """A browser with an open event stream, read message by message, in a context of its own as a server gives it."""

    def __init__(self, app: Flask, person: Person) -> None:
        self._context = contextvars.Context()
        client = FlaskClient(app, app.response_class, use_cookies=True)
        client._cookies = person.client._cookies
        answer = self._context.run(client.get, "/sync/stream", buffered=False)
        assert answer.mimetype == "text/event-stream"
        self._answer, self._pieces = answer, answer.iter_encoded()

    def hear(self) -> str:
        piece: bytes = self._context.run(next, self._pieces)
        return piece.decode()

    def leave(self) -> None:
        self._context.run(self._answer.close)


@pytest.fixture
def watched(app: Flask, alice: Person, bob: Person) -> Iterator[list[Watcher]]:
    """Alice and Bob each watch a run of theirs."""
    watchers = []
    for person in (alice, bob):
        person.row.sync_on_sign_in = False
        person.add_key("openai")
        person.sign_in()
        runs.start(person.id, "manual", now())
        db.session.commit()
    with worker_present(app):
        for person in (alice, bob):
            watchers.append(Watcher(app, person))
        yield watchers
        for watcher in watchers:
            watcher.leave()


def held() -> int:
    return db.engine.pool.checkedout()  # type: ignore[attr-defined]


def test_an_open_stream_holds_no_connection_while_it_waits(
    app: Flask, alice: Person, bob: Person, watched: list[Watcher]
) -> None:
    for watcher in watched:
        assert 'data-state="waiting"' in watcher.hear()
        assert held() == 0
    for person in (alice, bob):
        assert person.client.get("/profile").status_code == 200
    assert held() == 0


def test_a_stream_holds_none_at_its_end_either(
    app: Flask, alice: Person, watched: list[Watcher], means: SyncContext
) -> None:
    """For a slow reader only the latest message is queued."""
    live = runs.live_run(alice.id)
    assert live is not None
    sync.execute(live.id, means)
    db.session.remove()
    pubsub.publish_run_changed(live.id)
    heard = watched[0].hear()
    while 'data: <section id="sync-status"' not in heard:
        heard = watched[0].hear()
    assert held() == 0
    assert "event: done" in watched[0].hear()


def test_a_stream_without_redis_holds_none_while_it_tries_to_listen(
    app: Flask, alice: Person, watched: list[Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def note(_ear: PubSubFanout, seconds: float) -> None:
        waited.append((seconds, held()))

    monkeypatch.setattr(PubSubFanout, "_wait_until_subscribed", note)
    with no_redis(app):
        watcher = Watcher(app, alice)
        assert enqueue.NO_REDIS in words(watcher.hear())
        watcher.leave()
    assert waited == [(1.0, 0)]


def test_whoever_gets_no_connection_is_told_when_to_come_back(alice: Person) -> None:
    alice.sign_in()
    db.session.remove()
    with db.engine.connect():  # the only one
        page = alice.client.get("/history")
        partial = alice.client.get("/history", headers={"HX-Request": "true"})
        json = alice.client.get("/api/models/sync")
    for answer in (page, partial, json):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "The server has too much to do at once" in words(answer.text)
    assert alice.client.get("/history").status_code == 200
