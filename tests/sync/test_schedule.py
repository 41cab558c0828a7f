"""When a key is due again: by frequency, with a spread, less often for who is away; taken once, moved by what came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import bindparam, select, text

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import periodic, queues
from app.providers import PROVIDERS
from app.store import credentials, due, runs
from app.store.accounts import users
from app.store.due import INACTIVE_AFTER
from app.store.queries import runs as run_queries
from app.store.schema.tables import CredentialRow
from app.sync import run as sync
from app.sync.reschedule import reschedule
from app.sync.run import SyncContext
from app.sync.schedule import INACTIVE_PERIOD, JITTER, PERIODS, latest_due, next_due, period_of
from tests.conftest import Clock, Person, both_databases
from tests.sync.test_run import synced

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("frequency", "seen", "interval", "period"),
    [
        ("realtime", NOW, None, HOUR),
        ("daily", NOW, None, DAY),
        ("weekly", NOW, None, 7 * DAY),
        ("manual", NOW, None, None),
        ("realtime", NOW - 89 * DAY, None, HOUR),
        ("realtime", NOW - 91 * DAY, None, 30 * DAY),
        ("weekly", None, None, 30 * DAY),
        ("manual", NOW - 91 * DAY, None, None),
        ("daily", None, 6 * HOUR, 6 * HOUR),
        ("daily", None, timedelta(0), None),
        ("manual", None, 6 * HOUR, None),
    ],
)
def test_the_period_follows_the_frequency_and_who_is_away_has_a_month(
    frequency: str, seen: datetime | None, interval: timedelta | None, period: timedelta | None
) -> None:
    assert period_of(frequency, NOW, seen, interval) == period


def test_away_begins_after_ninety_days_and_lasts_a_month_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = NOW - INACTIVE_AFTER
    assert INACTIVE_AFTER == 90 * DAY and INACTIVE_PERIOD == 30 * DAY
    assert period_of("daily", NOW, edge, None) == DAY
    assert period_of("daily", NOW, edge - timedelta(seconds=1), None) == INACTIVE_PERIOD
    monkeypatch.setitem(PERIODS, "yearly", 365 * DAY)
    assert period_of("yearly", NOW, None, None) == 365 * DAY, "who is away is never synced more often"


def test_the_servers_keys_follow_the_interval_whoever_was_here() -> None:
    assert period_of("realtime", NOW, NOW, 6 * HOUR) == 6 * HOUR
    assert period_of("weekly", NOW, None, 6 * HOUR) == 6 * HOUR
    assert period_of("realtime", NOW, NOW, timedelta(0)) is None


def test_every_provider_has_a_frequency_with_a_period() -> None:
    assert {provider.update_frequency for provider in PROVIDERS.values()} <= set(PERIODS)


def test_the_moment_is_spread_around_the_period_and_never_before_what_the_provider_asked_for() -> None:
    assert next_due(DAY, NOW, roll=0) == NOW + DAY * (1 - JITTER)
    assert next_due(DAY, NOW, roll=1) == NOW + DAY * (1 + JITTER)
    assert next_due(DAY, NOW, put_off_until=NOW + 3 * DAY, roll=0.5) == NOW + 3 * DAY
    assert next_due(DAY, NOW, put_off_until=NOW + HOUR, roll=0.5) == NOW + DAY, "an earlier time changes nothing"
    assert next_due(DAY, NOW, roll=0.5) == NOW + DAY
    assert latest_due(DAY, NOW) == next_due(DAY, NOW, roll=1) == NOW + 1.1 * DAY
    assert next_due(None, NOW, put_off_until=NOW + 3 * DAY) is None
    assert all(NOW + 0.9 * DAY <= (next_due(DAY, NOW) or NOW) <= NOW + 1.1 * DAY for _ in range(50))
    assert len({next_due(DAY, NOW) for _ in range(50)}) > 40, "they do not come back at one moment"


def due_at(row: CredentialRow) -> datetime | None:
    return db.session.scalar(select(CredentialRow.due_at).where(CredentialRow.id == row.id))


@both_databases
def test_a_sync_sets_when_each_key_is_due_by_its_providers_frequency(alice: Person, means: SyncContext) -> None:
    keys = {slug: alice.add_key(slug) for slug in ("openrouter", "openai")}
    users.touch(alice.row, means.now())
    synced(alice, means)
    for slug, period in (("openrouter", HOUR), ("openai", DAY)):
        moment = due_at(keys[slug])
        assert moment is not None, slug
        assert period * 0.9 - timedelta(seconds=1) <= moment - means.now() <= period * 1.1, slug


@both_databases
def test_a_failure_does_not_make_a_key_due_any_sooner(alice: Person, means: SyncContext, simulator: Simulator) -> None:
    key = alice.add_key("openai")
    users.touch(alice.row, means.now())
    simulator.set_fault("openai", "error_500")
    synced(alice, means)
    moment = due_at(key)
    assert moment is not None and moment - means.now() > DAY * 0.89


@both_databases
def test_what_is_due_is_taken_once_and_put_into_a_run_of_just_that(
    app: Flask, alice: Person, bob: Person, means: SyncContext, clock: Clock
) -> None:
    one, two, other = alice.add_key("openai"), alice.add_key("groq"), bob.add_key("openai")
    moments = {one.id: clock() - HOUR, two.id: clock() + HOUR, other.id: clock() - HOUR}
    due.set_due(dict(moments))
    db.session.commit()
    assert [found.credential_id for found in due.load_upcoming(clock(), 10)] in ([one.id, other.id], [other.id, one.id])
    taken = due.claim(clock(), 10)
    assert taken == {alice.id: [one.id], bob.id: [other.id]}
    assert due.claim(clock(), 10) == {}, "it is held for its run"
    run_ids = runs.start_for_keys(taken, "schedule", clock())
    db.session.commit()
    assert sync.execute_many(run_ids, means) == set(run_ids)
    mine = run_queries.load_latest_run(alice.id)
    assert mine is not None and (mine.trigger, mine.state) == ("schedule", "done")
    assert [result.provider for result in mine.results] == ["openai"]
    assert runs.last_finished(alice.id, whole=True) is None, "a run over some keys is no whole sync"
    moment = due_at(one)
    assert moment is not None and moment > clock() + DAY * 0.8


@both_databases
def test_nothing_is_due_of_disabled_keys_providers_and_accounts(app: Flask, alice: Person, clock: Clock) -> None:
    key = alice.add_key("openai")
    due.set_due({key.id: clock() - HOUR})
    assert len(due.load_upcoming(clock(), 10)) == 1
    key.is_active = False
    assert due.load_upcoming(clock(), 10) == []
    key.is_active = True
    credentials.providers_by_slug()["openai"].is_active = False
    assert due.load_upcoming(clock(), 10) == []
    credentials.providers_by_slug()["openai"].is_active = True
    alice.row.disabled_at = clock()
    assert due.load_upcoming(clock(), 10) == [] and due.claim(clock(), 10) == {}
    alice.row.disabled_at = None
    assert len(due.claim(clock(), 10)) == 1


@both_databases
def test_what_is_due_is_found_by_its_index(app: Flask) -> None:
    explain = "EXPLAIN QUERY PLAN " if db.engine.dialect.name == "sqlite" else "EXPLAIN "
    if db.engine.dialect.name == "postgresql":
        for scan in ("seqscan", "bitmapscan", "sort"):  # the table is empty: this is the plan for a full one
            db.session.execute(text(f"SET LOCAL enable_{scan} = off"))
    query = "SELECT id FROM credentials WHERE is_active AND due_at <= :now ORDER BY due_at LIMIT 500"
    moment = bindparam("now", NOW, CredentialRow.due_at.type)
    plan = " ".join(str(row) for row in db.session.execute(text(explain + query).bindparams(moment)))
    assert "ix_credentials_due_at" in plan


@both_databases
def test_another_frequency_spreads_the_keys_anew_and_manual_takes_them_off(
    app: Flask, alice: Person, bob: Person
) -> None:
    keys = [person.add_key("openai", label=str(number)) for person in (alice, bob) for number in range(10)]
    row = credentials.providers_by_slug()["openai"]
    row.admin_update_frequency = "realtime"
    reschedule(row, NOW)
    moments = [due_at(key) for key in keys]
    assert all(moment and NOW <= moment <= NOW + HOUR for moment in moments) and len(set(moments)) > 15
    row.admin_update_frequency = "manual"
    reschedule(row, NOW)
    assert [due_at(key) for key in keys] == [None] * 20


@both_databases
def test_who_comes_back_after_long_is_due_at_once(app: Flask, alice: Person) -> None:
    key, off = alice.add_key("openai"), alice.add_key("groq")
    due.set_due({key.id: NOW + 20 * DAY, off.id: None})
    alice.row.last_sign_in_at = NOW - 100 * DAY
    assert users.touch(alice.row, NOW)
    db.session.flush()
    assert (due_at(key), due_at(off)) == (NOW, None)
    due.set_due({key.id: NOW + DAY})
    assert not users.touch(alice.row, NOW + HOUR), "once a day is enough"
    assert users.touch(alice.row, NOW + 2 * DAY)
    assert due_at(key) == NOW + DAY


@both_databases
def test_two_sweeps_at_one_moment_queue_each_key_once(app: Flask, alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        due.set_due({person.add_key("openai").id: datetime.now(UTC) - HOUR})
    db.session.commit()
    assert periodic.enqueue_due() == 2
    assert periodic.enqueue_due() == 0
    *_, bulk = queues.open_queues()
    assert len(bulk.job_ids) == 1, "both runs are one job"
    live = [runs.live_run(person.id) for person in (alice, bob)]
    assert all(run is not None and run.trigger == "schedule" for run in live)


def test_the_schedule_is_data_and_each_of_it_can_come_twice() -> None:
    jobs_of_it = {one.job for one in periodic.PERIODIC_JOBS}
    assert {
        periodic.housekeeping,
        periodic.enqueue_due,
        periodic.refresh_catalog_if_due,
        periodic.prune_history,
    } <= jobs_of_it
    assert len(jobs_of_it) == len(periodic.PERIODIC_JOBS)
    assert all(one.every_s > 0 and one.ttl_s <= one.every_s * 4 for one in periodic.PERIODIC_JOBS)


@both_databases
def test_the_command_shows_what_is_due(app: Flask, alice: Person, bob: Person) -> None:
    soon, later = alice.add_key("openai"), bob.add_key("groq")
    due.set_due({soon.id: datetime.now(UTC) + HOUR, later.id: datetime.now(UTC) + 40 * HOUR})
    db.session.commit()
    runner = app.test_cli_runner()
    shown = runner.invoke(args=["sync", "due", "--json"])
    assert shown.exit_code == 0 and '"openai"' in shown.output and "groq" not in shown.output
    shown = runner.invoke(args=["sync", "due", "--within", "48", "--user", "bob@example.com"])
    assert "groq" in shown.output and "openai" not in shown.output
    assert "Nothing is due" in runner.invoke(args=["sync", "due", "--within", "0"]).output


@both_databases
def test_a_key_that_was_deleted_meanwhile_spoils_no_others_moment(app: Flask, alice: Person) -> None:
    key, gone = alice.add_key("openai"), alice.add_key("groq")
    credentials.remove(gone)
    due.set_due({gone.id: NOW, key.id: NOW + HOUR})
    db.session.commit()
    assert due_at(key) == NOW + HOUR


@both_databases
def test_another_frequency_is_committed_before_the_keys_are_moved_and_they_batch_by_batch(
    app: Flask, alice: Person, carol: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.sync import reschedule as rescheduling

    monkeypatch.setattr(rescheduling, "_BATCH", 2)
    keys = [alice.add_key("openai", label=str(number)) for number in range(5)]
    seen: list[tuple[int, str | None]] = []
    set_due = due.set_due

    def watched(moments: dict[int, datetime | None]) -> None:
        with db.engine.connect() as other:  # what others see by now
            frequency = other.scalar(text("SELECT admin_update_frequency FROM providers WHERE slug = 'openai'"))
        seen.append((len(moments), frequency))
        set_due(moments)

    monkeypatch.setattr(due, "set_due", watched)
    answer = carol.sign_in().post("/admin/providers/openai", enabled="yes", frequency="manual", base_url="")
    assert answer.status_code == 303
    assert seen == [(2, "manual"), (2, "manual"), (1, "manual"), (0, "manual")]
    db.session.rollback()
    assert [due_at(key) for key in keys] == [None] * 5
