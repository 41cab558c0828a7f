"""The pool of workers: neither people nor the schedule can keep all of them busy; each is replaced after many jobs."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest
import redis
from flask import Flask
from sqlalchemy import select

from app.extensions import db
from app.jobs import workers
from app.jobs.queues import BULK, INTERACTIVE, MAINTENANCE, QUEUES
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


def queues_of(process: Any) -> list[str]:
    return list(process._args[1])


def spawn(pool: SyncPool, name: str) -> list[str]:
    process = pool.get_worker_process(name, burst=False)
    pool.worker_dict[name] = process  # type: ignore[assignment]  # as the pool notes one that lives
    return queues_of(process)


PEOPLE, SCHEDULE, REST = [INTERACTIVE], [MAINTENANCE, BULK, INTERACTIVE], [INTERACTIVE, MAINTENANCE, BULK]


def test_one_worker_is_kept_for_people_and_one_takes_the_schedule_first(pool: SyncPool) -> None:
    assert [spawn(pool, name) for name in "abcd"] == [PEOPLE, SCHEDULE, REST, REST]


def test_it_is_replaced_by_one_of_its_kind(pool: SyncPool) -> None:
    for name in "abc":
        spawn(pool, name)
    del pool.worker_dict["b"]
    assert spawn(pool, "d") == SCHEDULE
    del pool.worker_dict["a"]
    assert spawn(pool, "e") == PEOPLE
    del pool.worker_dict["c"]
    assert spawn(pool, "f") == REST


def test_a_worker_is_replaced_after_many_jobs_and_schedules_nothing(
    pool: SyncPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(workers.Worker, "work", lambda _self, *_args, **kwargs: asked.update(kwargs) or True)
    monkeypatch.setattr(workers, "die_with_parent", lambda: None)
    SyncWorker([INTERACTIVE], connection=pool.connection).work(burst=True, with_scheduler=True)
    assert (asked["max_jobs"], asked["with_scheduler"]) == (workers.MAX_JOBS, False)


@both_databases
def test_what_is_compiled_before_the_fork_changes_nothing(app: Flask, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, means)
    before = [tuple(row) for row in db.session.execute(select(ResultRow.id, ResultRow.outcome, ResultRow.listing_id))]
    sync.warm_up(means.now())
    assert not db.session().in_transaction()
    found = db.session.execute(select(ResultRow.id, ResultRow.outcome, ResultRow.listing_id))
    assert [tuple(row) for row in found] == before


class _Process(subprocess.Popen[bytes]):
    """Instead of a worker's: one that waits, and in whose first moment the pool is told to stop."""

    def __init__(self) -> None:
        pass

    def start(self) -> None:
        super().__init__(["sleep", "60"], preexec_fn=workers._restore_signal_handlers)
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_pool_told_to_stop_while_it_begins_workers_tells_the_one_there_and_begins_no_other(
    pool: SyncPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[_Process] = []

    def make(*_args: Any, **_kwargs: Any) -> _Process:
        made.append(_Process())
        return made[-1]

    monkeypatch.setattr(pool, "get_worker_process", make)
    pool.status = pool.Status.STARTED
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        pool.start_workers()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    try:
        assert made[0].wait(5) == -signal.SIGINT
    finally:
        for process in made:
            process.kill()
            process.wait(5)
    assert len(made) == 1 and pool.status == pool.Status.STOPPED
