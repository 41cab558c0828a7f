"""The first sync of a newly saved key: it starts by itself, gives the key's models, and is never forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue, periodic, queues, tasks
from app.store import credentials, runs
from app.store.queries import keys, models_of_keys
from app.store.queries import runs as run_queries
from app.store.schema.tables import CredentialRow, RunRow
from app.sync import run as sync
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring
from tests.conftest import Person, both_databases
from tests.sync.test_run import named
from tests.web.worker import no_redis, now, work_off

pytestmark = both_databases

DAY = timedelta(days=1)
GOOD, REVOKED = "sk-good-key-of-a-test-1234", "sk-this-key-was-revoked-1234"


def add(person: Person, provider: str, means: SyncContext, key: str = GOOD, label: str = "") -> CredentialRow:
    row = credentials.add(
        person.id, credentials.providers_by_slug()[provider], label, ApiKey(key), person.public_key, means.now()
    )
    assert row is not None
    person.row.last_sign_in_at = means.now()
    person.row.sync_on_sign_in = False
    db.session.commit()
    return row


def reload(row: CredentialRow) -> CredentialRow:
    return db.session.scalars(
        select(CredentialRow).where(CredentialRow.id == row.id).execution_options(populate_existing=True)
    ).one()


def first_sync(person: Person, means: SyncContext) -> run_queries.RunView:
    started = runs.start(person.id, runs.NEW_KEY, means.now(), only_new_keys=True)
    db.session.commit()
    assert started and sync.execute(started.run.id, means)
    run = run_queries.load_run(started.run.id)
    assert run
    return run


def run_states(person: Person) -> list[tuple[str, str]]:
    db.session.rollback()
    query = select(RunRow.trigger, RunRow.state).where(RunRow.user_id == person.id).order_by(RunRow.id)
    return [(trigger, state) for trigger, state in db.session.execute(query)]


def test_a_new_keys_models_are_there_after_its_first_sync(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    simulator.set_models("openai", named("gpt-4o", "o3"))
    row = add(alice, "openai", means)
    assert keys.list_keys(alice.id)[0].is_new
    run = first_sync(alice, means)
    (key,) = keys.list_keys(alice.id)
    assert (run.trigger, run.total("chat"), key.is_new, key.chat_count) == ("new-key", 2, False, 2)
    assert reload(row).check_asked_at is None
    (listed,) = models_of_keys.load_key_models(alice.id)
    assert {model.id for model in listed.models} == {"gpt-4o", "o3"}
    assert not runs.needs_sync(runs.last_finished(alice.id, whole=True), means.now())


def test_it_is_over_the_new_keys_only_and_counts_as_whole_where_it_covers_all(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    add(alice, "openai", means)
    add(alice, "groq", means)
    run = first_sync(alice, means)
    assert [result.provider for result in run.results] == ["openai", "groq"]
    whole = runs.last_finished(alice.id, whole=True)
    assert whole and whole.id == run.id
    add(alice, "anthropic", means)
    later = first_sync(alice, means)
    assert [result.provider for result in later.results] == ["anthropic"]
    assert runs.last_finished(alice.id, whole=True) == whole
    assert runs.start(alice.id, runs.NEW_KEY, means.now(), only_new_keys=True) is None


def test_a_key_saved_during_a_sync_is_synced_right_after(
    app: Flask, alice: Person, vault: Keyring, means: SyncContext
) -> None:
    alice.add_key("groq")
    alice.row.sync_on_sign_in = False
    busy = runs.start(alice.id, "manual", now())
    assert busy and runs.claim([busy.run.id], now(), sync.LEASE)
    db.session.commit()
    row = add(alice, "openai", means)
    db.session.expire_all()
    joined = enqueue.start_first_sync(alice.id)
    assert joined and (joined.run_id, joined.is_new) == (busy.run.id, False)
    tasks.start_first_syncs()
    assert work_off(app, vault) == 0 and keys.list_keys(alice.id)[1].is_new  # one live run per user
    runs.close([busy.run.id], now())
    db.session.commit()
    tasks.start_first_syncs()  # what the job of the run does at its end
    assert work_off(app, vault) == 1
    assert run_states(alice) == [("manual", "done"), ("new-key", "done")]
    assert reload(row).chat_count


def test_a_job_that_ends_a_run_starts_the_sync_of_the_keys_saved_meanwhile(
    app: Flask, alice: Person, vault: Keyring, means: SyncContext
) -> None:
    alice.add_key("groq")
    with no_redis(app):
        row = add(alice, "openai", means)
        alice.row.sync_on_sign_in = False
        db.session.commit()
    started = enqueue.start_sync(alice.id, "manual", provider="groq")
    assert started
    assert work_off(app, vault) == 1  # its successor is queued while the worker is at it
    assert run_states(alice) == [("manual", "done"), ("new-key", "done")]
    assert reload(row).outcome == "complete"


def test_keys_join_a_run_that_waits_and_keep_its_trigger(alice: Person, means: SyncContext) -> None:
    alice.add_key("groq")
    alice.row.sync_on_sign_in = False
    waiting = enqueue.start_sync(alice.id, "manual")
    add(alice, "openai", means)
    joined = enqueue.start_first_sync(alice.id)
    assert waiting and joined and joined.run_id == waiting.run_id
    assert run_states(alice) == [("manual", "queued")]
    run = run_queries.load_run(joined.run_id)
    assert run and sorted(result.provider for result in run.results) == ["groq", "openai"]


@pytest.mark.parametrize("killed", ["before the run", "before the queue", "while it ran"])
def test_a_first_sync_happens_though_a_process_is_killed(
    app: Flask, alice: Person, vault: Keyring, means: SyncContext, killed: str
) -> None:
    row = add(alice, "openai", means)
    if killed != "before the run":
        started = runs.start(alice.id, runs.NEW_KEY, now() - timedelta(minutes=1), only_new_keys=True)
        db.session.commit()
        assert started
        if killed == "while it ran":
            assert runs.claim([started.run.id], now() - timedelta(minutes=5), sync.LEASE)
            db.session.commit()
    periodic.housekeeping()
    assert work_off(app, vault) == 1
    assert run_states(alice)[-1][1] == "done"
    assert reload(row).outcome == "complete" and reload(row).check_asked_at is None


def test_a_key_that_stops_its_worker_each_time_is_left_to_the_schedule(alice: Person, means: SyncContext) -> None:
    row = add(alice, "openai", means)
    for _ in range(6):
        for run_id in runs.start_first_syncs(means.now(), 10):
            assert runs.claim([run_id], means.now() - timedelta(minutes=5), sync.LEASE)
        db.session.commit()
    runs.close_lost(means.now())
    db.session.commit()
    assert run_states(alice) == [("new-key", "lost")] * 3
    assert reload(row).due_at is not None


def test_a_cancelled_first_sync_is_not_started_again(alice: Person, means: SyncContext) -> None:
    add(alice, "openai", means)
    started = enqueue.start_first_sync(alice.id)
    assert started and enqueue.cancel_run(started.run_id, alice.id)
    tasks.start_first_syncs()
    periodic.housekeeping()
    assert run_states(alice) == [("new-key", "cancelled")]
    assert not keys.list_keys(alice.id)[0].is_new


def test_a_key_saved_during_a_sync_that_is_cancelled_is_synced(alice: Person, means: SyncContext) -> None:
    alice.add_key("groq")
    alice.row.sync_on_sign_in = False
    busy = runs.start(alice.id, "manual", now())
    assert busy and runs.claim([busy.run.id], now(), sync.LEASE)
    add(alice, "openai", means)
    enqueue.start_first_sync(alice.id)
    assert enqueue.cancel_run(busy.run.id, alice.id)
    assert run_states(alice) == [("manual", "cancelled"), ("new-key", "queued")]


def test_a_replaced_keys_old_answer_does_not_end_the_new_ones_first_sync(
    alice: Person, means: SyncContext, app: Flask, vault: Keyring
) -> None:
    row = add(alice, "openai", means, REVOKED)
    started = runs.start(alice.id, runs.NEW_KEY, means.now(), only_new_keys=True)
    assert started and runs.claim([started.run.id], now(), sync.LEASE)
    (item,) = runs.load_items([started.run.id])
    credentials.replace(reload(row), "openai", ApiKey(GOOD), alice.public_key, means.now())
    db.session.commit()
    assert not credentials.settle(item.credential_id, item.key_number, means.now(), {"outcome": "failed"})
    runs.close([started.run.id], now())
    db.session.commit()
    tasks.start_first_syncs()
    assert work_off(app, vault) == 1
    assert (reload(row).outcome, reload(row).check_asked_at) == ("complete", None)


def test_first_syncs_wait_behind_sync_now_and_one_account_has_one_at_a_time(
    alice: Person, bob: Person, means: SyncContext
) -> None:
    for number in range(5):
        add(bob, "openai", means, label=str(number))
        enqueue.start_first_sync(bob.id)
    alice.add_key("openai")
    enqueue.start_sync(alice.id, "manual")
    assert {queue.name: queue.count for queue in queues.open_queues()} == {
        "interactive": 1,
        "new-keys": 1,
        "chores": 0,
        "bulk": 0,
    }
    assert queues.QUEUES.index(queues.INTERACTIVE) < queues.QUEUES.index(queues.NEW_KEYS)
    bobs = enqueue.start_sync(bob.id, "manual")  # whoever presses Sync Now then, waits no longer than others
    assert bobs and queues.is_queued(queues.run_job_id(bobs.run_id), queues.INTERACTIVE)


def test_a_check_that_the_previous_release_queued_becomes_a_first_sync(
    app: Flask, alice: Person, vault: Keyring, means: SyncContext
) -> None:
    for old_name in ("app.jobs.do_check", "app.jobs.tasks.check_key"):
        row = add(alice, "openai", means, label=old_name)
        queues.open_queue(queues.INTERACTIVE).enqueue(old_name, row.id)
        work_off(app, vault)
        assert reload(row).outcome == "complete"


def test_disabled_keys_and_accounts_start_nothing(alice: Person, bob: Person, means: SyncContext) -> None:
    add(alice, "openai", means).is_active = False
    add(bob, "openai", means)
    bob.row.disabled_at = means.now()
    db.session.commit()
    assert runs.start_first_syncs(means.now(), 10) == []


def test_a_new_key_is_due_as_often_as_its_provider_changes(alice: Person, means: SyncContext) -> None:
    rows = {slug: add(alice, slug, means) for slug in ("openai", "openrouter")}
    first_sync(alice, means)
    for slug, period in (("openai", DAY), ("openrouter", timedelta(hours=1))):
        due_at = reload(rows[slug]).due_at
        assert due_at is not None, slug
        assert period * 0.89 <= due_at - means.now() <= period * 1.1, slug


def test_a_provider_that_asks_to_wait_is_left_alone_until_then(
    alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    row = add(alice, "openai", means)
    simulator.set_fault("openai", "rate_limited", seconds=5 * 24 * 3600)
    first_sync(alice, means)
    until = reload(row).put_off_until
    assert until is not None and until > means.now()
    due_at = reload(row).due_at
    assert due_at is not None and due_at >= until
    assert runs.start_first_syncs(means.now(), 10) == []


def test_a_provider_that_is_not_queried_leaves_the_key_to_the_schedule(
    alice: Person, bob: Person, means: SyncContext, simulator: Simulator
) -> None:
    row = add(alice, "openai", means)
    row.put_off_until = means.now() + timedelta(hours=1)
    db.session.commit()
    assert [result.outcome for result in first_sync(alice, means).results] == ["skipped"]
    assert simulator.requests("openai") == []
    assert (reload(row).check_asked_at, reload(row).outcome) == (None, None)
    assert runs.start_first_syncs(means.now(), 10) == []
