"""Two concurrent processes do the same: it happens once, and ends in one state."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from rq import Queue
from rq.cron import CronScheduler
from sqlalchemy import func, select, text

from app import clock, config, create_app
from app.demo.simulator import Simulator
from app.extensions import Row, db
from app.jobs import enqueue, monitoring, periodic, tasks
from app.jobs import queues as job_queues
from app.store import runs
from app.store.queries import runs as run_queries
from app.store.schema.tables import LIVE_STATES, ChangeRow, ComparisonRow, CredentialRow, ListingRow, ResultRow, RunRow
from app.sync import run as sync
from app.sync.http.client import new_client
from app.sync.run import SyncContext
from app.vault import Keyring, PublicKey
from tests.conftest import Person, _person, both_databases
from tests.live import ROOT, environment

pytestmark = [
    both_databases,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # the simulator's
]

LIMIT_S = 30.0
USERS = 12
Act = Callable[[], Any]
Until = Callable[..., Any]


def at_once(settings: config.Settings, *acts: Act) -> list[Any]:
    """Run each concurrently in a separate process with its own app; returns their results."""
    db.session.remove()
    db.engine.dispose()  # no connection crosses the fork
    start = multiprocessing.get_context("fork").Barrier(len(acts))
    running = [_forked(settings, act, start.wait) for act in acts]
    return [_given(process, ours) for process, ours in running]


def _forked(settings: config.Settings, act: Act, start: Callable[[float], Any]) -> tuple[Any, Connection]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def live() -> None:
        with create_app(settings).app_context():
            start(LIMIT_S)
            theirs.send(act())

    process = context.Process(target=live)
    process.start()
    theirs.close()
    return process, ours


def _given(process: Any, ours: Connection) -> Any:
    try:
        assert ours.poll(LIMIT_S), "it did not end in time"
        return ours.recv()
    finally:
        ours.close()
        process.join(LIMIT_S)
        assert process.exitcode == 0


def perform(settings: config.Settings, run_ids: list[int]) -> Callable[[], set[int]]:
    def act() -> set[int]:
        with new_client() as client:
            vault = Keyring(os.environ["VAULT_PRIVATE_KEYS"])
            return sync.execute_many(run_ids, SyncContext(vault, client, settings.base_urls, total_timeout_s=10.0))

    return act


def count(row: type[Row], *conditions: Any) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(row).where(*conditions)) or 0


def begin(person: Person) -> int:
    started = runs.start(person.id, "manual", clock.utc_now())
    db.session.commit()
    assert started and started.is_new
    return started.run.id


@pytest.fixture
def everyone(app: Flask, public_key: PublicKey) -> list[Person]:
    """People with two distinct keys each."""
    persons = []
    for number in range(USERS):
        person = _person(app, public_key, f"user-{number}@example.com")
        person.row.last_sign_in_at = clock.utc_now()
        for slug in ("openai", "groq"):
            person.add_key(slug, f"sk-good-key-{slug}-{number:04}")
        persons.append(person)
    return persons


def queued_runs(url: str) -> list[int]:
    """Runs that the waiting jobs do, each as often as it is in one."""
    with redis.Redis.from_url(url) as client:
        ids = [job_id for name in job_queues.QUEUES for job_id in Queue(name, connection=client).job_ids]
    return [run_id for job_id in ids for run_id in job_queues.run_ids_of_job(job_id)]


# ------------------------------------------------------------------ beginning


def test_two_cron_calls_at_once_give_each_user_one_run(
    everyone: list[Person], settings: config.Settings, redis_url: str
) -> None:
    counts = at_once(settings, *[lambda: tasks.enqueue_all_users("cron")] * 3)
    assert sum(counts) == USERS
    by_user = Counter(db.session.scalars(select(RunRow.user_id)))
    assert by_user == {person.id: 1 for person in everyone}
    assert count(ResultRow) == 2 * USERS
    assert sorted(queued_runs(redis_url)) == sorted(db.session.scalars(select(RunRow.id)))


def test_a_cron_and_a_sweep_of_the_schedule_at_once_give_each_user_one_run(
    everyone: list[Person], settings: config.Settings, redis_url: str
) -> None:
    db.session.execute(text("UPDATE credentials SET due_at = created_at"))
    db.session.commit()
    cron, due = at_once(settings, lambda: tasks.enqueue_all_users("cron"), periodic.enqueue_due)
    assert cron + due == USERS
    assert Counter(db.session.scalars(select(RunRow.user_id))) == {person.id: 1 for person in everyone}
    assert count(ResultRow) == 2 * USERS
    assert sorted(queued_runs(redis_url)) == sorted(db.session.scalars(select(RunRow.id)))


def test_clicks_at_one_moment_start_one_run_and_queue_one_job(
    everyone: list[Person], settings: config.Settings, redis_url: str
) -> None:
    person = everyone[0]
    results = at_once(settings, *[lambda: enqueue.start_sync(person.id, "manual")] * 4)
    assert len({one.run_id for one in results}) == 1
    assert sorted(one.is_new for one in results) == [False, False, False, True]
    assert (count(RunRow), count(ResultRow)) == (1, 2)
    # A job that is there twice finds its run taken; here not even that happens but by the narrowest chance.
    assert set(queued_runs(redis_url)) == {results[0].run_id}


# ------------------------------------------------------------------ working


def test_two_workers_given_the_same_run_do_it_once(
    everyone: list[Person], settings: config.Settings, simulator: Simulator
) -> None:
    run_id = begin(everyone[0])
    done = at_once(settings, *[perform(settings, [run_id])] * 3)
    assert sorted(done, key=len) == [set(), set(), {run_id}]
    assert len(simulator.requests()) == 2
    run = run_queries.load_run(run_id)
    assert run and run.state == "done" and {result.outcome for result in run.results} == {"complete"}
    assert db.session.scalars(select(RunRow.attempt)).all() == [1]


def test_batches_that_overlap_do_each_run_once_and_write_each_list_once(
    everyone: list[Person], settings: config.Settings, simulator: Simulator
) -> None:
    run_ids = [begin(person) for person in everyone]
    first, second = run_ids[:8], list(reversed(run_ids[4:]))
    done = at_once(settings, perform(settings, first), perform(settings, second))
    assert done[0] | done[1] == set(run_ids) and not done[0] & done[1]
    assert count(RunRow, RunRow.state == "done") == USERS
    assert count(ResultRow, ResultRow.outcome == "complete") == 2 * USERS
    asked = Counter(seen.headers["authorization"] for seen in simulator.requests())
    assert set(asked.values()) == {1} and len(asked) == 2 * USERS
    assert count(ListingRow) == 2 and count(ComparisonRow) <= 2
    told = db.session.scalar(select(func.sum(ComparisonRow.new)))
    assert told == count(ChangeRow, ChangeRow.kind == "new")


# ------------------------------------------------------------------ cancel against finish


def _is_consistent(run_id: int, done: bool, cancelled: bool) -> None:
    """One of the two won, and everything else agrees with it."""
    db.session.expire_all()
    run = run_queries.load_run(run_id)
    assert run is not None
    assert (run.state, done, cancelled) in {("done", True, False), ("cancelled", False, True)}
    for result in db.session.scalars(select(ResultRow).where(ResultRow.run_id == run_id)):
        held = db.session.get_one(CredentialRow, result.credential_id)
        if result.outcome == "skipped":
            assert (run.state, result.error_code) == ("cancelled", "cancelled")
        else:
            assert result.outcome in ("complete", "unchanged") and held.listing_id == result.listing_id
    row = db.session.get_one(RunRow, run_id)
    assert row.ended_at and row.lease_until is None


@pytest.mark.parametrize("latency_s", [0.0, 0.01, 0.02, 0.04, 0.08])
def test_a_cancel_and_a_finish_at_about_one_moment_end_the_run_in_one_state(
    everyone: list[Person], settings: config.Settings, simulator: Simulator, latency_s: float
) -> None:
    person = everyone[0]
    simulator.set_latency("openai", latency_s)
    run_id = begin(person)
    done, cancelled = at_once(settings, perform(settings, [run_id]), lambda: enqueue.cancel_run(run_id, person.id))
    _is_consistent(run_id, done == {run_id}, cancelled)
    again = begin(person)  # and the next one begins
    assert at_once(settings, perform(settings, [again])) == [{again}]
    _is_consistent(again, True, False)


@pytest.mark.parametrize("comes", ["before it closes", "while it closes"])
def test_a_cancel_that_comes_as_the_worker_closes_its_run(
    everyone: list[Person], settings: config.Settings, simulator: Simulator, until: Until, comes: str
) -> None:
    """The worker waits there until the cancel is on its way: once before it takes its run for the last time, once
    with all written and nothing committed."""
    person = everyone[0]
    run_id = begin(person)
    context = multiprocessing.get_context("fork")
    is_there, go_on = context.Event(), context.Event()

    def held() -> set[int]:
        name = "renew" if comes == "before it closes" else "close"
        real, times = getattr(runs, name), Counter[str]()

        def waiting(*args: Any) -> Any:
            times[name] += 1
            result = real(*args) if name == "close" else None
            if name == "close" or not _open(run_id):
                is_there.set()
                assert go_on.wait(LIMIT_S)
            return result if name == "close" else real(*args)

        setattr(runs, name, waiting)
        return perform(settings, [run_id])()

    db.session.remove()
    db.engine.dispose()
    process, ours = _forked(settings, held, lambda _: None)
    assert is_there.wait(LIMIT_S)
    if comes == "before it closes":
        cancelled = enqueue.cancel_run(run_id, person.id)
        go_on.set()
    else:
        cancelled = _cancelled_while_held(run_id, person, until, go_on)
    done = _given(process, ours)
    assert cancelled == (comes == "before it closes")
    _is_consistent(run_id, done == {run_id}, cancelled)
    assert count(ResultRow, ResultRow.outcome == "complete") == 2  # finished results stay, whichever side wins


def _open(run_id: int) -> int:
    query = select(func.count()).select_from(ResultRow).where(ResultRow.run_id == run_id, ResultRow.outcome.is_(None))
    return db.session.scalar(query) or 0


def _cancelled_while_held(run_id: int, person: Person, until: Until, go_on: Any) -> bool:
    """Cancel while the other's transaction is open: it has to wait for it."""
    results: list[bool] = []

    def cancel() -> None:
        with person.app.app_context():
            results.append(enqueue.cancel_run(run_id, person.id))

    thread = threading.Thread(target=cancel)
    thread.start()
    if db.engine.dialect.name == "postgresql":
        until(_waits_for_a_lock)
    go_on.set()
    thread.join(LIMIT_S)
    return results[0]


def _waits_for_a_lock() -> bool:
    db.session.rollback()
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(db.session.scalar(text(query)))


# ------------------------------------------------------------------ two schedulers


@contextlib.contextmanager
def processes(settings: config.Settings, folder: Path, *commands: list[str]) -> Iterator[None]:
    """`flask …` of each, as an operator starts them, until the block is left."""
    environ = environment(
        folder / "instance",
        DATABASE_URL=settings.database_url.replace("+psycopg", ""),
        REDIS_URL=settings.redis_url,
        VAULT_PRIVATE_KEYS=os.environ["VAULT_PRIVATE_KEYS"],
        VAULT_PUBLIC_KEY=settings.vault_public_key,
        **{f"{slug.upper().replace('-', '_')}_BASE_URL": url for slug, url in settings.base_urls.items()},
    )
    with (folder / "processes.log").open("wb") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "wsgi", *command],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            for command in commands
        ]
        try:
            yield
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(LIMIT_S)


@pytest.mark.timeout(180)
def test_two_schedulers_sync_what_is_due_once(
    everyone: list[Person],
    settings: config.Settings,
    simulator: Simulator,
    redis_url: str,
    tmp_path: Path,
    until: Until,
) -> None:
    db.session.execute(text("UPDATE credentials SET due_at = created_at"))
    db.session.commit()
    db.session.remove()

    def have_both_swept() -> bool:
        with redis.Redis.from_url(redis_url) as client:
            queues = [Queue(name, connection=client) for name in job_queues.QUEUES]
            is_idle = not any(queue.count or queue.started_job_registry.count for queue in queues)
            both = len(CronScheduler.all(client)) == 2
        # Each queues all of the schedule as it starts, and the sweeps queued the syncs.
        worked = sum(worker.done + worker.failed for worker in monitoring.list_workers()) > 2 * len(
            periodic.PERIODIC_JOBS
        )
        return both and is_idle and worked and count(RunRow, RunRow.state == "done") >= USERS

    with processes(settings, tmp_path, ["work", "--workers", "2"], ["schedule"], ["schedule"]):
        until(have_both_swept, 100.0)
    assert count(RunRow, RunRow.state.in_(LIVE_STATES)) == 0
    assert Counter(db.session.scalars(select(ResultRow.credential_id))) == dict.fromkeys(
        db.session.scalars(select(CredentialRow.id)), 1
    )
    assert set(db.session.scalars(select(RunRow.trigger))) == {"schedule"}
    asked = Counter(seen.headers["authorization"] for seen in simulator.requests())
    assert set(asked.values()) == {1} and len(asked) == 2 * USERS
    later = clock.utc_now() + timedelta(hours=12)
    assert count(CredentialRow, CredentialRow.due_at < later) == 0, "each is due again in a day"
