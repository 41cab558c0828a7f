"""What may happen to a user, a key, a provider or the clock while a run is on: it ends, and the rest of it is right."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from app.demo.simulator import Simulator
from app.extensions import Row, db
from app.store import credentials, runs
from app.store.accounts import users
from app.store.queries import models_of_keys
from app.store.queries import runs as run_queries
from app.store.queries.runs import RunView
from app.store.schema.tables import ChangeRow, CredentialRow, ProviderRow, ResultRow, RunRow, UserRow
from app.sync import run as sync
from app.sync.run import SyncContext
from app.vault import ApiKey, PublicKey
from tests.conftest import Clock, Person, both_databases
from tests.sync.test_run import named, synced

pytestmark = both_databases

Until = Callable[..., Any]
HELD, OTHER = "openai", "groq"


@dataclasses.dataclass
class Held:
    """A run in a separate thread: the request to provider HELD is pending, OTHER has answered."""

    run_id: int
    key: CredentialRow
    thread: threading.Thread
    simulator: Simulator
    raised: list[BaseException]
    performed: list[bool]

    def end(self) -> RunView | None:
        self.simulator.clear_fault(HELD)
        self.thread.join(20)
        assert not self.thread.is_alive()
        assert self.raised == []
        db.session.rollback()
        db.session.expire_all()
        return run_queries.load_run(self.run_id)


@pytest.fixture
def held(app: Flask, alice: Person, means: SyncContext, simulator: Simulator, until: Until) -> Iterator[Held]:
    key = alice.add_key(HELD)
    alice.add_key(OTHER)
    started = runs.start(alice.id, "manual", means.now())
    db.session.commit()
    assert started
    run_id = started.run.id
    simulator.set_fault(HELD, "hang")
    raised: list[BaseException] = []
    performed: list[bool] = []

    def perform() -> None:
        with app.app_context():
            try:
                performed.append(sync.execute(run_id, means))
            except BaseException as error:
                raised.append(error)

    thread = threading.Thread(target=perform)
    thread.start()

    def is_held() -> bool:
        db.session.rollback()
        settled = db.session.scalar(select(func.count()).where(ResultRow.outcome.is_not(None)))
        return bool(simulator.requests(HELD)) and settled == 1

    until(is_held)
    yield Held(run_id, key, thread, simulator, raised, performed)
    simulator.clear_fault(HELD)
    thread.join(20)


def results(run: RunView | None) -> dict[str, tuple[str | None, str | None]]:
    assert run is not None and run.state == "done"
    return {result.provider: (result.outcome, result.error_code) for result in run.results}


def count(row: type[Row], *conditions: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(row).where(*conditions)) or 0


def calm(caplog: pytest.LogCaptureFixture) -> bool:
    return not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_user_deleted_mid_run_leaves_nothing_behind(
    held: Held, alice: Person, bob: Person, means: SyncContext, caplog: pytest.LogCaptureFixture
) -> None:
    users.remove(alice.row)
    db.session.commit()
    assert held.end() is None
    assert held.performed == [False]  # there is no run any more that it could have ended
    for row in (CredentialRow, RunRow, ResultRow):
        assert count(row) == 0, row
    assert count(UserRow, UserRow.id == alice.id) == 0
    assert calm(caplog)
    bob.add_key(OTHER)  # the next one finds everything in order
    assert results(synced(bob, means)) == {OTHER: ("complete", None)}


def test_a_key_removed_mid_run_is_skipped_and_the_others_are_right(
    held: Held, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    credentials.remove(held.key)
    db.session.commit()
    # Its result stays in the history: what it had been is known by its label and provider.
    assert results(held.end()) == {HELD: ("skipped", "key_removed"), OTHER: ("complete", None)}
    assert [key.provider for key in models_of_keys.load_key_models(alice.id)] == [OTHER]
    assert calm(caplog)


def test_a_key_replaced_mid_run_is_not_credited_with_the_old_ones_list(
    held: Held,
    alice: Person,
    means: SyncContext,
    public_key: PublicKey,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    simulator.set_models(HELD, named("gpt-4o", "ft:gpt-4o:secret-of-the-old-account::1"))
    row = db.session.get_one(CredentialRow, held.key.id)
    credentials.replace(row, HELD, ApiKey("sk-another-good-key-5678"), public_key, means.now())
    db.session.commit()
    assert results(held.end())[HELD] == ("skipped", "key_removed")
    row = db.session.get_one(CredentialRow, held.key.id)
    assert (row.listing_id, row.outcome) == (None, None)
    assert calm(caplog)
    assert results(synced(alice, means)) == {HELD: ("complete", None), OTHER: ("unchanged", None)}


def test_a_key_disabled_mid_run_ends_the_run_all_the_same(
    held: Held, alice: Person, means: SyncContext, caplog: pytest.LogCaptureFixture
) -> None:
    """The request was already sent: its list is valid, and is stored for when it is enabled again."""
    db.session.execute(update(CredentialRow).where(CredentialRow.id == held.key.id).values(is_active=False))
    db.session.commit()
    assert results(held.end()) == {HELD: ("complete", None), OTHER: ("complete", None)}
    assert calm(caplog)
    assert results(synced(alice, means)) == {OTHER: ("unchanged", None)}


def test_a_provider_disabled_mid_run_ends_the_run_all_the_same(
    held: Held, alice: Person, means: SyncContext, caplog: pytest.LogCaptureFixture
) -> None:
    db.session.execute(update(ProviderRow).where(ProviderRow.slug == HELD).values(is_active=False))
    db.session.commit()
    assert results(held.end()) == {HELD: ("complete", None), OTHER: ("complete", None)}
    assert calm(caplog)
    assert results(synced(alice, means)) == {OTHER: ("unchanged", None)}


def test_a_run_cut_off_by_deleting_its_user_is_not_seen_by_others(
    held: Held, alice: Person, bob: Person, simulator: Simulator
) -> None:
    """Her pending answers are dropped: neither a private model nor a change outlives her account."""
    simulator.set_models(HELD, named("gpt-4o", "ft:gpt-4o:secret-of-alice::1"))
    users.remove(alice.row)
    db.session.commit()
    held.end()
    bob.add_key(HELD)
    assert models_of_keys.load_key_models(bob.id) == []
    assert count(ChangeRow, ChangeRow.provider_model_id.like("%secret%")) == 0


# ------------------------------------------------------------------ clock steps


@pytest.mark.parametrize("hours", [1, -1])
def test_a_worker_whose_clock_jumps_ends_its_run_once(
    held: Held, alice: Person, means: SyncContext, clock: Clock, caplog: pytest.LogCaptureFixture, hours: int
) -> None:
    clock.forward(hours=hours)
    assert results(held.end()) == {HELD: ("complete", None), OTHER: ("complete", None)}
    assert held.performed == [True]
    assert count(RunRow) == 1 and count(ResultRow) == 2
    assert calm(caplog)
    again = synced(alice, means)  # and the next one begins
    assert results(again) == {HELD: ("unchanged", None), OTHER: ("unchanged", None)}
    told = db.session.scalar(select(func.sum(ResultRow.new)))
    assert told == count(ChangeRow, ChangeRow.kind == "new")


@pytest.mark.parametrize("hours", [1, -1])
def test_a_machine_with_another_clock_may_end_a_run_early_but_nothing_is_doubled(
    held: Held, alice: Person, means: SyncContext, clock: Clock, hours: int
) -> None:
    """A reader whose clock is an hour off takes the run for lost; its worker then writes nothing more."""
    there = clock() + timedelta(hours=hours)
    closed = runs.close_lost(there)
    db.session.commit()
    assert closed == [held.run_id]
    held_run = held.end()
    assert held_run is not None and held_run.state == "lost" and held.performed == [False]
    assert {result.outcome for result in held_run.results} == {"complete", "skipped"}
    again = synced(alice, means)
    assert {outcome for outcome, _ in results(again).values()} <= {"complete", "unchanged"}
    told = db.session.scalar(select(func.sum(ResultRow.new)))
    assert told == count(ChangeRow, ChangeRow.kind == "new")


def test_a_dead_workers_run_is_closed_though_the_clock_was_set_back(alice: Person, clock: Clock) -> None:
    alice.add_key("openai")
    started = runs.start(alice.id, "manual", clock())
    assert started is not None
    runs.claim([started.run.id], clock(), sync.LEASE)
    clock.forward(hours=-1)
    assert runs.close_lost(clock()) == [started.run.id]
