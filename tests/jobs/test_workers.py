"""The worker pool: neither interactive nor scheduled jobs can occupy all workers; each is replaced after many jobs."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

import pytest
import redis
from flask import Flask
from sqlalchemy import select

from app.extensions import db
from app.jobs import workers
from app.jobs.queues import BULK, INTERACTIVE, MAINTENANCE, NEW_KEYS, QUEUES
from app.jobs.workers import SyncPool, SyncWorker
from app.store.schema.tables import ResultRow
from app.sync import run as sync
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.sync.test_run import synced


@pytest.fixture
def pool(redis_url: str) -> SyncPool:
    connection = redis.Redis.from_url(redis_url)
    return SyncPool(list(QUEUES), connection=connection, num_workers=3, worker_class=SyncWorker)


def queue_names(process: Any) -> list[str]:
    return list(process._args[1])


def spawn(pool: SyncPool, name: str) -> list[str]:
    process = pool.get_worker_process(name, burst=False)
    pool.worker_dict[name] = process  # type: ignore[assignment]  # as the pool does once it runs
    return queue_names(process)


INTERACTIVE_ONLY, SCHEDULED_FIRST, INTERACTIVE_FIRST = (
    [INTERACTIVE],
    [MAINTENANCE, NEW_KEYS, BULK, INTERACTIVE],
    [INTERACTIVE, NEW_KEYS, MAINTENANCE, BULK],
)


def test_one_worker_takes_interactive_jobs_only_and_one_takes_scheduled_jobs_first(pool: SyncPool) -> None:
    assert [spawn(pool, name) for name in "abcd"] == [
        INTERACTIVE_ONLY,
        SCHEDULED_FIRST,
        INTERACTIVE_FIRST,
        INTERACTIVE_FIRST,
    ]


def test_a_worker_is_replaced_by_one_with_the_same_queues(pool: SyncPool) -> None:
    for name in "abc":
        spawn(pool, name)
    del pool.worker_dict["b"]
    assert spawn(pool, "d") == SCHEDULED_FIRST
    del pool.worker_dict["a"]
    assert spawn(pool, "e") == INTERACTIVE_ONLY
    del pool.worker_dict["c"]
    assert spawn(pool, "f") == INTERACTIVE_FIRST


def test_a_worker_stops_after_many_jobs_and_runs_no_scheduler(pool: SyncPool, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr(workers.Worker, "work", lambda _self, *_args, **kwargs: options.update(kwargs) or True)
    monkeypatch.setattr(workers, "die_with_parent", lambda: None)
    SyncWorker([INTERACTIVE], connection=pool.connection).work(burst=True, with_scheduler=True)
    assert (options["max_jobs"], options["with_scheduler"]) == (workers.MAX_JOBS, False)


@both_databases
def test_warming_up_before_the_fork_changes_no_data(app: Flask, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, means)
    before = [tuple(row) for row in db.session.execute(select(ResultRow.id, ResultRow.outcome, ResultRow.listing_id))]
    sync.warm_up(means.now())
    assert not db.session().in_transaction()
    after = db.session.execute(select(ResultRow.id, ResultRow.outcome, ResultRow.listing_id))
    assert [tuple(row) for row in after] == before


class _Process(subprocess.Popen[bytes]):
    """A fake worker: waits, and sends the pool SIGTERM right after it was started."""

    def __init__(self) -> None:
        pass

    def start(self) -> None:
        super().__init__(["sleep", "60"], preexec_fn=workers._restore_signal_handlers)
        signal.raise_signal(signal.SIGTERM)  # to this thread: another of the test process would not have it blocked


def test_sigterm_while_workers_start_stops_the_started_one_and_starts_no_other(
    pool: SyncPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[_Process] = []

    def create(*_args: Any, **_kwargs: Any) -> _Process:
        processes.append(_Process())
        return processes[-1]

    monkeypatch.setattr(pool, "get_worker_process", create)
    pool.status = pool.Status.STARTED
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        pool.start_workers()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    try:
        assert processes[0].wait(5) == -signal.SIGINT
    finally:
        for process in processes:
            process.kill()
            process.wait(5)
    assert len(processes) == 1 and pool.status == pool.Status.STOPPED
