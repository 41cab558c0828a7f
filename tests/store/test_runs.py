"""Starting a sync while a run is live: a queued run is extended, a claimed one is not."""

from __future__ import annotations

from flask import Flask
from sqlalchemy import select

from app.clock import utc_now
from app.extensions import db
from app.jobs import enqueue, queues
from app.store import plans, runs
from app.store.schema.tables import CredentialRow, ResultRow, RunRow
from app.sync import run as sync
from app.sync import server_keys
from app.sync.run import SyncContext
from tests.conftest import Clock, Person, both_databases

pytestmark = both_databases


def scheduled(person: Person, key: CredentialRow, clock: Clock) -> int:
    """A queued run of the schedule, over one key only."""
    (run_id,) = runs.start_for_keys({person.id: [key.id]}, "schedule", clock())
    db.session.commit()
    return run_id


def asked_in(run_id: int) -> list[str]:
    query = select(ResultRow.label).where(ResultRow.run_id == run_id).order_by(ResultRow.label)
    return list(db.session.scalars(query))


def test_sync_now_adds_all_keys_to_a_queued_scheduled_run(
    app: Flask, alice: Person, bob: Person, clock: Clock, means: SyncContext
) -> None:
    key = alice.add_key("openai", label="due")
    alice.add_key("groq", label="other")
    alice.add_key("mistral", label="off").is_active = False
    bob.add_key("openai", label="bob's")
    run_id = scheduled(alice, key, clock)
    result = enqueue.start_sync(alice.id, "manual")
    assert result is not None and (result.run_id, result.is_new) == (run_id, False)
    run = runs.get(run_id)
    assert run is not None and (run.trigger, run.is_whole, run.state) == ("manual", True, "queued")
    assert asked_in(run_id) == ["due", "other"]
    interactive, *_ = queues.open_queues()
    assert len(interactive.job_ids) == 1, "and it goes before the schedule's jobs"
    assert sync.execute(run_id, means)
    assert runs.last_finished(alice.id, whole=True) is not None


def test_syncing_one_provider_joins_the_queued_run_without_making_it_whole(
    app: Flask, alice: Person, clock: Clock
) -> None:
    key = alice.add_key("openai", label="due")
    other = alice.add_key("groq", label="other")
    alice.add_key("mistral", label="third")
    run_id = scheduled(alice, key, clock)
    started = runs.start(alice.id, "manual", clock(), provider="groq")
    assert started is not None and (started.run.id, started.run.is_whole) == (run_id, False)
    assert started.run.trigger == "manual" and asked_in(run_id) == ["due", "other"]
    again = runs.start(alice.id, "api", clock(), credential_id=other.id)
    assert again is not None and again.run.trigger == "manual", "nothing was added: it is whose it was"
    assert asked_in(run_id) == ["due", "other"]


def test_a_claimed_run_is_not_extended_and_the_page_says_so(app: Flask, alice: Person, clock: Clock) -> None:
    alice.sign_in()  # before there is a key, since signing in starts a sync
    key = alice.add_key("openai", label="due")
    alice.add_key("groq", label="other")
    run_id = scheduled(alice, key, clock)
    sentence = "The schedule began this sync, of the keys whose turn it was."
    assert sentence not in alice.client.get("/profile").text, "it can be joined yet"
    db.session.rollback()
    assert runs.claim([run_id], utc_now(), sync.LEASE) == {run_id: 1}
    db.session.commit()
    answer = alice.post("/sync", htmx=True)
    assert sentence in answer.text
    db.session.rollback()
    run = runs.get(run_id)
    assert run is not None and (run.trigger, run.is_whole) == ("schedule", False)
    assert asked_in(run_id) == ["due"]


def test_a_run_of_the_installations_own_account_is_not_extended(app: Flask, clock: Clock) -> None:
    first = server_keys.start(["openai"], "api", clock())
    second = server_keys.start(["groq"], "cli", clock())
    assert (second.run.id, second.is_new) == (first.run.id, False)
    results = select(ResultRow.id).where(ResultRow.run_id == first.run.id)
    assert len(list(db.session.scalars(results))) == 1, "it may be of a plan, which writes what it shows"
    assert db.session.scalars(select(RunRow.trigger)).all() == ["api"]
    assert plans.ids_by_run([first.run.id]) == {}
