"""A run that is cancelled: what it settled stays, the rest keeps its list, and its worker stops writing."""

from __future__ import annotations

from dataclasses import replace

from flask import Flask
from sqlalchemy import select

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue
from app.store import runs
from app.store.queries import runs as run_queries
from app.store.schema.tables import CredentialRow, RunRow
from app.sync import run as sync
from app.sync.run import SyncContext
from tests.conftest import Clock, Person, both_databases
from tests.sync.test_run import synced

pytestmark = both_databases


def test_a_queued_run_that_was_cancelled_is_not_done_by_its_job(
    alice: Person, means: SyncContext, clock: Clock
) -> None:
    alice.add_key("openai")
    started = runs.start(alice.id, "manual", clock())
    assert started is not None and runs.cancel(started.run.id, clock())
    db.session.commit()
    assert not sync.execute(started.run.id, means)
    run = run_queries.load_run(started.run.id)
    assert run is not None and (run.state, [result.outcome for result in run.results]) == ("cancelled", ["skipped"])
    assert run.results[0].error_message == "This sync was cancelled before this key was done."
    assert not runs.cancel(started.run.id, clock()), "it is over"
    assert synced(alice, means).state == "done", "and another can begin"


def test_a_running_run_that_is_cancelled_keeps_what_it_settled_and_writes_nothing_more(
    app: Flask, alice: Person, means: SyncContext, simulator: Simulator, clock: Clock
) -> None:
    alice.add_key("openai")
    late = alice.add_key("groq")
    synced(alice, means)
    before = db.session.scalar(select(CredentialRow.listing_id).where(CredentialRow.id == late.id))
    simulator.add_new("openai", 1)
    simulator.add_new("groq", 1)
    simulator.set_latency("groq", 0.5)
    started = runs.start(alice.id, "manual", clock())
    db.session.commit()
    assert started is not None
    run_id = started.run.id

    def cancel_after_the_first(_: int) -> None:
        run = run_queries.load_run(run_id)
        if run is not None and run.state == "running" and run.settled == 1:
            assert enqueue.cancel_run(run_id, alice.id)

    assert not sync.execute(run_id, replace(means, on_progress=cancel_after_the_first))
    run = run_queries.load_run(run_id)
    assert run is not None and run.state == "cancelled"
    assert {result.provider: result.outcome for result in run.results} == {"openai": "complete", "groq": "skipped"}
    db.session.expire_all()
    assert db.session.scalar(select(CredentialRow.listing_id).where(CredentialRow.id == late.id)) == before


def test_only_the_owner_and_admins_can_cancel(app: Flask, alice: Person, bob: Person, clock: Clock) -> None:
    alice.add_key("openai")
    started = runs.start(alice.id, "manual", clock())
    db.session.commit()
    assert started is not None
    assert not enqueue.cancel_run(started.run.id, bob.id)
    bob.sign_in().post("/sync/cancel")
    assert db.session.get_one(RunRow, started.run.id, populate_existing=True).state == "queued"
    answer = alice.sign_in().post("/sync/cancel", htmx=True)
    assert answer.status_code == 200 and "ancelled before the end" in answer.text and "Sync Now" in answer.text
    assert alice.post("/sync/cancel").status_code == 303, "twice does no harm"


def test_the_command_cancels(app: Flask, alice: Person, clock: Clock) -> None:
    alice.add_key("openai")
    started = runs.start(alice.id, "manual", clock())
    db.session.commit()
    assert started is not None
    runner = app.test_cli_runner()
    done = runner.invoke(args=["sync", "cancel", "alice@example.com"])
    assert (done.exit_code, done.output) == (0, f"Cancelled run {started.run.id}.\n")
    again = runner.invoke(args=["sync", "cancel", "alice@example.com"])
    assert again.exit_code == 1 and "No sync of alice@example.com is under way." in again.output
