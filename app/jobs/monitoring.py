"""The state of queues, workers and failed jobs, for admins, and change events of runs and plans, for watching pages."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import current_app
from rq import Queue, Worker
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job
from rq.utils import as_text

from app import clock, config
from app.jobs.pubsub import PubSubFanout
from app.jobs.queues import (
    HEARTBEAT_MAX_AGE_S,
    PLAN_CHANNEL,
    RUN_CHANNEL,
    SCHEDULER_KEY,
    SCHEDULER_MAX_AGE_S,
    WORKERS_KEY,
    count_live_workers,
    open_queues,
    redis_connection,
)
from app.jobs.registry import JSON_OPTIONS, RENAMED, JSONJob
from app.paths import APP
from app.providers import PROVIDERS
from app.store import catalog
from app.sync.limits import circuit_breaker
from app.sync.limits.store import endpoint_id, load_states

_MAX_FAILED = 50
_FUNCTION_NAME = re.compile(r"((?:[a-z_]\w*\.)*[a-z_]\w*)\(")
_APP_FRAME = re.compile(r'  File ".*?[/\\]app[/\\]([\w/\\]+)\.py", line (\d+)')
_ANY_FRAME = re.compile(r'  File "[^"]*", line \d+')
_EXCEPTION_NAME = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Timeout|Interrupt|Exit))(?::|$)")


@dataclass(frozen=True, slots=True)
class QueueState:
    """The job queue as a whole, for health checks."""

    server: str
    """Redis or Valkey."""
    version: str
    """Of the server."""
    queued: int
    """Jobs that wait, in all queues."""
    workers: int
    """Workers with a recent heartbeat."""
    has_scheduler: bool
    evicts: bool
    """Whether Redis may delete jobs when its memory is full."""
    now: datetime
    """By the clock of the Redis server."""


def inspect_queues() -> QueueState:
    """Raises redis.RedisError."""
    connection = redis_connection()
    info: dict[str, Any] = connection.info()
    seconds, micros = connection.time()
    return QueueState(
        server="Valkey" if "valkey_version" in info else "Redis",
        version=str(info.get("valkey_version") or info["redis_version"]),  # Valkey gives both, the latter fixed
        queued=sum(queue.count for queue in open_queues()),
        workers=count_live_workers(),
        has_scheduler=bool(connection.exists(SCHEDULER_KEY)),
        evicts=info.get("maxmemory_policy", "noeviction") != "noeviction" and bool(info.get("maxmemory")),
        now=datetime.fromtimestamp(seconds + micros / 1e6, UTC),
    )


# ------------------------------------------------------------------ change events


def watch_run(run_id: int, poll_s: float = 1.0, idle_s: float = 5.0) -> Iterator[bool]:
    """Yield True at once, and then whenever the run may have changed; False after `idle_s` seconds without a message.

    Without Redis it yields True every `poll_s` seconds, so that a watcher goes on by polling the database.
    """
    return _open_fanout().watch(RUN_CHANNEL.format(run_id), poll_s, idle_s)


def watch_plan(plan_id: int, poll_s: float = 1.0, idle_s: float = 5.0) -> Iterator[bool]:
    """The same for a plan."""
    return _open_fanout().watch(PLAN_CHANNEL.format(plan_id), poll_s, idle_s)


def _open_fanout() -> PubSubFanout:
    """The one of this process."""
    fanout: PubSubFanout = current_app.extensions.setdefault("pubsub", PubSubFanout(redis_connection()))
    return fanout


# ------------------------------------------------------------------ workers, queues, failed jobs


@dataclass(frozen=True, slots=True)
class JobName:
    kind: str
    """Name of the job function, without its module."""
    run_id: int | None
    """The run, of a job that does a single one."""


@dataclass(frozen=True, slots=True)
class WorkerLine:
    name: str
    host: str
    is_alive: bool
    """Whether it had a heartbeat in the last seconds."""
    state: str
    """As RQ calls it: idle · busy · started · suspended …"""
    job: JobName | None
    """The job it is working on."""
    since: datetime | None
    """When that job started."""
    done: int
    failed: int
    born_at: datetime | None


@dataclass(frozen=True, slots=True)
class QueueLine:
    name: str
    waiting: int
    running: int
    failed: int
    oldest_at: datetime | None
    """When the job that comes next was queued."""


@dataclass(frozen=True, slots=True)
class FailedJob:
    id: str
    queue: str
    job: JobName
    failed_at: datetime | None
    error: str
    """Name of the exception. Its message is left out, since it might contain user input."""
    place: str
    """Location in our code, as `sync.run:120`; empty if unknown."""


def list_workers() -> list[WorkerLine]:
    """Registered workers, by host and name. Raises redis.RedisError."""
    connection = redis_connection()
    recent: Any = connection.zrangebyscore(WORKERS_KEY, time.time() - HEARTBEAT_MAX_AGE_S, "+inf")
    live_names = {as_text(name) for name in recent}
    lines = [_load_worker_line(worker, live_names) for worker in Worker.all(connection=connection, **JSON_OPTIONS)]
    return sorted(lines, key=lambda line: (line.host, line.name))


def list_queues() -> list[QueueLine]:
    """In the order in which workers take from them. Raises redis.RedisError."""
    return [_load_queue_line(queue) for queue in open_queues()]


def last_scheduler_pass() -> datetime | None:
    """When the scheduler last queued due work; None if that is longer ago than `SCHEDULER_MAX_AGE_S`.

    Raises redis.RedisError.
    """
    left_s = int(redis_connection().ttl(SCHEDULER_KEY))
    return clock.utc_now() - timedelta(seconds=SCHEDULER_MAX_AGE_S - left_s) if left_s > 0 else None


def providers_with_open_circuit() -> frozenset[str]:
    """Slugs of providers that are not requested at present because requests of many users failed.

    Covers their own addresses and those set by the operator, but not users' own servers. Raises redis.RedisError.
    """
    overridden = catalog.admin_base_urls() | dict(config.current().base_urls)
    endpoints = [
        (slug, endpoint_id(slug, url))
        for slug, provider in PROVIDERS.items()
        for url in {provider.base_url, *provider.regions.values(), overridden.get(slug)}
        if url
    ]
    states = load_states(redis_connection(), [endpoint for _, endpoint in endpoints])
    now = time.time()
    return frozenset(
        slug
        for (slug, _), state in zip(endpoints, states, strict=True)
        if not circuit_breaker.allows(circuit_breaker.decode(state), now)
    )


def list_failed_jobs() -> list[FailedJob]:
    """The newest failed jobs of all queues, at most 50; RQ drops them after a day. Raises redis.RedisError."""
    failed_jobs = []
    for queue in open_queues():
        ids = queue.failed_job_registry.get_job_ids(0, _MAX_FAILED - 1, desc=True, cleanup=False)
        jobs = JSONJob.fetch_many(ids, connection=redis_connection())
        failed_jobs += [_load_failed_job(job, queue) for job in jobs if job]
    failed_jobs.sort(key=lambda failed: failed.failed_at or datetime.min.replace(tzinfo=UTC), reverse=True)
    return failed_jobs[:_MAX_FAILED]


def requeue_failed_job(job_id: str) -> bool:
    """Queue a failed job once more. False if it is not among the failed ones. Raises redis.RedisError."""
    queue = _find_queue_of_failed(job_id)
    if queue is None:
        return False
    try:
        queue.failed_job_registry.requeue(job_id)
    except (InvalidJobOperation, NoSuchJobError):  # another request requeued or deleted it
        return False
    return True


def delete_failed_job(job_id: str) -> bool:
    """Delete a failed job. False if it is not among the failed ones. Raises redis.RedisError."""
    queue = _find_queue_of_failed(job_id)
    if queue is None:
        return False
    queue.failed_job_registry.remove(job_id, delete_job=True)
    return True


def parse_job_name(job: Job) -> JobName:
    """Read from RQ's description, such as `app.jobs.tasks.run_sync(12)`, so that no payload is decoded for display."""
    match = _FUNCTION_NAME.match(job.description or "")
    function = RENAMED.get(match[1], match[1]) if match else ""
    number = job.id.removeprefix("run-")
    return JobName(function.rpartition(".")[2], int(number) if number != job.id and number.isdigit() else None)


def _load_worker_line(worker: Any, live_names: set[str]) -> WorkerLine:
    try:
        job = worker.get_current_job()
    except NoSuchJobError:  # finished and deleted since the worker reported it
        job = None
    return WorkerLine(
        name=worker.name,
        host=worker.hostname or "",
        is_alive=worker.name in live_names,
        state=str(worker.get_state()),
        job=parse_job_name(job) if job else None,
        since=_to_utc(job.started_at) if job else None,
        done=worker.successful_job_count,
        failed=worker.failed_job_count,
        born_at=_to_utc(worker.birth_date),
    )


def _load_queue_line(queue: Queue) -> QueueLine:
    first = queue.get_jobs(0, 1)
    return QueueLine(
        name=queue.name,
        waiting=queue.count,
        running=queue.started_job_registry.get_job_count(cleanup=False),
        failed=queue.failed_job_registry.get_job_count(cleanup=False),
        oldest_at=_to_utc(first[0].enqueued_at) if first else None,
    )


def _load_failed_job(job: Job, queue: Queue) -> FailedJob:
    result = job.latest_result()
    error, place = _parse_traceback(result.exc_string or "" if result else "")
    return FailedJob(job.id, queue.name, parse_job_name(job), _to_utc(job.ended_at), error, place)


def _parse_traceback(traceback: str) -> tuple[str, str]:
    """The exception's name and where in our code it was raised."""
    name, place = "", ""
    for line in traceback.splitlines():
        if _ANY_FRAME.match(line):
            name = ""  # in a chain of exceptions the last one counts
        if (frame := _APP_FRAME.match(line)) and (APP / f"{frame[1]}.py").is_file():
            place = f"{frame[1].replace('/', '.')}:{frame[2]}"
        if not name and (match := _EXCEPTION_NAME.match(line)):
            name = match[1]
    return name, place


def _find_queue_of_failed(job_id: str) -> Queue | None:
    return next(
        (queue for queue in open_queues() if job_id in queue.failed_job_registry.get_job_ids(cleanup=False)), None
    )


def _to_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
