"""Many runs of one worker: a slow one costs the others neither their lease nor their results."""

from __future__ import annotations

import math
import queue
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from app.demo.simulator import Simulator
from app.extensions import db
from app.store import credentials, runs
from app.store.engine import engine
from app.store.engine.db_errors import classify
from app.store.engine.transaction import run_in_transaction
from app.store.queries import runs as run_queries
from app.store.schema.tables import RunRow
from app.sync import persist
from app.sync import run as sync
from app.sync.dispatch import FetchResult, fetch_each
from app.sync.http import errors
from app.sync.run import SyncContext
from tests.conftest import Clock, Person, both_databases
from tests.sync.test_run import synced

pytestmark = both_databases


def claim(people: list[Person], means: SyncContext) -> sync._RunExecutor:
    """Runs of these people, claimed by one worker."""
    run_ids = runs.start_many([person.id for person in people], "schedule", means.now())
    attempts = runs.claim(run_ids, means.now(), sync.LEASE)
    items = runs.load_items(attempts)
    db.session.commit()
    return sync._RunExecutor(means, attempts, items)


def save(executor: sync._RunExecutor, batch: list[FetchResult]) -> None:
    """Save these results as if they had arrived together."""
    arrivals: queue.SimpleQueue[FetchResult] = queue.SimpleQueue()
    for fetched in batch:
        arrivals.put(fetched)
    executor._save(executor._next_batch(arrivals, math.inf))


def test_a_run_that_is_long_in_writing_leaves_the_others_their_lease(
    alice: Person, bob: Person, means: SyncContext, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for slug in ("openai", "groq", "mistral"):
        alice.add_key(slug)
    bob.add_key("openai")
    executor = claim([alice, bob], means)
    write = persist.save_result

    def slowly(*args: Any) -> None:
        clock.forward(seconds=12)
        write(*args)

    monkeypatch.setattr(persist, "save_result", slowly)
    monkeypatch.setattr(sync, "RENEW_EVERY_S", 0.0)
    save(
        executor,
        [
            FetchResult(item, errors.RequestRejected("It was refused"))
            for item in executor.items
            if item.user_id == alice.id
        ],
    )
    assert runs.close_lost(clock()) == []
    bobs = runs.live_run(bob.id)
    assert bobs is not None and bobs.state == "running"
    mine = run_queries.load_latest_run(alice.id)
    assert mine is not None and (mine.state, len(mine.results)) == ("done", 3)


def test_one_result_that_cannot_be_written_does_not_spoil_those_beside_it(
    alice: Person, bob: Person, means: SyncContext, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    for person in (alice, bob):
        person.add_key("openai")
        synced(person, means)
    executor = claim([alice, bob], means)
    fetched = fetch_each(executor.items, means)
    broken = [replace(one, trace=[object()]) if one.item.user_id == bob.id else one for one in fetched]  # type: ignore[list-item]
    save(executor, broken)
    mine, bobs = run_queries.load_latest_run(alice.id), run_queries.load_latest_run(bob.id)
    assert mine is not None and bobs is not None
    assert [(run.state, run.results[0].outcome, run.results[0].error_code) for run in (mine, bobs)] == [
        ("done", "unchanged", None),
        ("done", "failed", "internal_error"),
    ]
    assert executor.internal_error is not None and executor.finished == {mine.id, bobs.id}


def _held_elsewhere(credential_id: int) -> Any:
    """Another connection with the row of a key locked."""
    other = db.engine.connect()
    other.execute(text("SELECT id FROM credentials WHERE id = :id FOR UPDATE"), {"id": credential_id})
    return other


def _waits_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("SQLite locks no rows, and its one lock has a bound of its own")
    monkeypatch.setattr(engine, "LOCK_TIMEOUT_S", 0.2)


def test_a_lock_that_is_not_to_be_had_is_an_error_in_time(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    _waits_briefly(monkeypatch)
    key = alice.add_key("openai")
    with _held_elsewhere(key.id), pytest.raises(OperationalError) as raised:
        run_in_transaction(lambda: credentials.lock(key.id, alice.id, key.provider_id, 1), retry_for_s=0.0)
    assert classify(raised.value) == "busy"
    assert db.session.scalar(text("SHOW lock_timeout")) == "0", "the bound ends with the transaction"


def test_while_a_lock_is_waited_for_the_leases_are_renewed(
    app: Flask, alice: Person, bob: Person, means: SyncContext, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _waits_briefly(monkeypatch)
    monkeypatch.setattr(sync, "run_in_transaction", partial(run_in_transaction, retry_for_s=0.0))
    monkeypatch.setattr(sync, "RENEW_EVERY_S", 0.0)
    key = alice.add_key("openai")
    bob.add_key("openai")
    executor = claim([alice, bob], means)
    other, tries, seen = _held_elsewhere(key.id), 0, list[datetime]()

    def act() -> bool:
        nonlocal tries
        tries += 1
        clock.forward(seconds=15)
        if tries == 3:
            other.rollback()
        seen.append(db.session.scalars(select(RunRow.lease_until).where(RunRow.user_id == bob.id)).one())  # type: ignore[arg-type]
        return credentials.lock(key.id, alice.id, key.provider_id, 1) is not None

    with other:
        assert executor._retry_on_lock(act)
    assert tries == 3 and seen == sorted(set(seen)), "each try had a later lease"
    assert runs.close_lost(clock()) == []
