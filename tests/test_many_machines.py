"""Two web processes and two pools of workers on one PostgreSQL and one Redis: what one does, all see."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from sqlalchemy import func, select

from app import config
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import queues
from app.store.schema.tables import CredentialRow, RunRow
from tests.conftest import _REDIS, _STAGES, PASSWORD, Person
from tests.installation import Part, serving, working
from tests.web.text_browser import words

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _REDIS, reason="MODELSYNC_TEST_REDIS_URL is not set"),
    pytest.mark.parametrize("database_url", _STAGES[1:], indirect=True),
]

Until = Callable[..., Any]
HTMX = {"HX-Request": "true"}


@dataclass
class Machines:
    webs: list[Part]
    pools: list[Part]


@pytest.fixture
def machines(app: Flask, settings: config.Settings, tmp_path: Path, until: Until) -> Iterator[Machines]:
    with contextlib.ExitStack() as stack:
        pools = [stack.enter_context(working(settings, tmp_path / f"work-{n}.log")) for n in (1, 2)]
        webs = [stack.enter_context(serving(settings, tmp_path / f"web-{n}.log")) for n in (1, 2)]
        until(lambda: queues.count_live_workers() >= 2, 40)
        yield Machines(webs, pools)


@dataclass
class Visitor:
    """A browser that is led to either web process, as by a balancer; its cookies are the same for both."""

    client: httpx.Client
    heard: list[str] = field(default_factory=list)

    def sign_in(self, web: Part, email: str) -> Visitor:
        answer = self.post(web, "/login", email=email, password=PASSWORD)
        assert answer.status_code == 303, answer.text
        return self

    def token(self, web: Part) -> str:
        page = self.client.get(web.url + "/login", follow_redirects=True).text
        return page.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]

    def post(self, web: Part, path: str, **form: str) -> httpx.Response:
        form = {"csrf_token": self.token(web)} | form
        return self.client.post(web.url + path, data=form, headers=HTMX)

    def watch(self, web: Part) -> threading.Thread:
        """Read the stream of one web process to its end."""

        def listen() -> None:
            with self.client.stream("GET", web.url + "/sync/stream", timeout=60) as answer:
                assert answer.headers["Content-Type"].startswith("text/event-stream"), answer.read()
                self.heard.extend(answer.iter_lines())

        thread = threading.Thread(target=listen)
        thread.start()
        return thread

    def has_heard(self, text: str) -> bool:
        return any(text in line for line in self.heard)


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    with httpx.Client(timeout=20, trust_env=False) as client:
        yield Visitor(client)


def test_a_run_asked_for_at_one_web_process_is_watched_at_the_other(
    machines: Machines, alice: Person, visitor: Visitor, simulator: Simulator, until: Until
) -> None:
    first, second = machines.webs
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.add_key("groq")
    simulator.set_fault("openai", "hang")
    simulator.set_latency("groq", 1.0)
    visitor.sign_in(first, alice.row.email)  # and is signed in at the second as well
    answer = visitor.post(first, "/sync")
    assert answer.status_code == 200 and "notice" not in answer.text, words(answer.text)
    listener = visitor.watch(second)
    until(lambda: visitor.has_heard('data-state="complete"'), 30)  # Groq's row turned while OpenAI's still waits
    assert visitor.has_heard('data-state="fetching"') and not visitor.has_heard("event: done")
    assert first.stop() == 0  # what the second tells does not hang on the first
    simulator.clear_fault("openai")
    listener.join(30)
    assert not listener.is_alive()
    assert "event: done" in visitor.heard[-4:]
    assert "Sync Now" in words(visitor.client.get(second.url + "/profile").text)
    db.session.rollback()
    assert db.session.execute(select(RunRow.state, func.count()).group_by(RunRow.state)).all() == [("done", 1)]


def test_pressed_at_both_at_one_moment_it_is_one_run(
    machines: Machines, alice: Person, visitor: Visitor, simulator: Simulator, until: Until
) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    visitor.sign_in(machines.webs[0], alice.row.email)
    simulator.set_fault("openai", "hang")
    form = {"csrf_token": visitor.token(machines.webs[0])}

    def press(number: int) -> httpx.Response:
        return visitor.client.post(machines.webs[number % 2].url + "/sync", data=form, headers=HTMX)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(press, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    until(lambda: simulator.requests("openai"), 30)
    simulator.clear_fault("openai")

    def states() -> list[str]:
        db.session.rollback()
        return list(db.session.scalars(select(RunRow.state)))

    until(lambda: states() == ["done"], 30)
    assert len(simulator.requests("openai")) == 1


def test_a_key_sealed_at_one_machine_is_opened_and_checked_by_another(
    machines: Machines, alice: Person, visitor: Visitor, simulator: Simulator, until: Until
) -> None:
    first, second = machines.webs
    visitor.sign_in(first, alice.row.email)
    for pool in machines.pools[1:]:
        assert pool.stop() == 0  # one is enough
    saved = visitor.post(first, "/keys", provider="groq", key="sk-a-key-typed-at-the-first-3f9c", label="")
    assert saved.status_code == 200, saved.text

    def is_checked() -> bool:
        db.session.rollback()
        return db.session.scalar(select(CredentialRow.outcome)) == "complete"

    until(is_checked, 30)
    page = visitor.client.get(second.url + "/profile").text
    assert "•••• 3f9c" in words(page)
    told = "".join(part.told for part in (*machines.webs, *machines.pools))
    assert "sk-a-key" not in told and "Traceback" not in told


def test_wrong_passwords_are_counted_over_all_web_processes(
    machines: Machines, alice: Person, visitor: Visitor
) -> None:
    statuses = [
        visitor.post(machines.webs[number % 2], "/login", email=alice.row.email, password="not hers").status_code
        for number in range(30)
    ]
    assert statuses[-1] == 429
    last = [
        visitor.post(web, "/login", email=alice.row.email, password="not hers").status_code for web in machines.webs
    ]
    assert last == [429, 429]
