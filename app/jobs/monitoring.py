"""What is seen of queues, workers and runs under way: by a page that watches one, and by admins."""

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

from app import config
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
from app.jobs.registry import JSON_OPTIONS, JSONJob
from app.providers import PROVIDERS
from app.store import catalog
from app.sync.limits import circuit_breaker
from app.sync.limits.store import endpoint_id, load_states

_MAX_FAILED = 50
_FUNCTION_NAME = re.compile(r"(?:[a-z_]\w*\.)*([a-z_]\w*)\(")
_APP_FRAME = re.compile(r'  File ".*?[/\\]app[/\\]([\w/\\]+)\.py", line (\d+)')
_ANY_FRAME = re.compile(r'  File "[^"]*", line \d+')
_EXCEPTION_NAME = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Timeout|Interrupt|Exit))(?::|$)")


@dataclass(frozen=True, slots=True)
class QueueState:
    """What the queue says of itself, for those who look after it."""

    version: str
    """Of Redis."""
    queued: int
    workers: int
    has_scheduler: bool
    evicts: bool
    """Whether it may throw jobs away when its memory is full."""
    now: datetime
    """By its clock."""


def inspect_queues() -> QueueState:
    """Raises redis.RedisError."""
    connection = redis_connection()
    info: dict[str, Any] = connection.info()
    seconds, micros = connection.time()
    return QueueState(
        version=str(info["redis_version"]),
        queued=sum(queue.count for queue in open_queues()),
        workers=count_live_workers(),
        has_scheduler=bool(connection.exists(SCHEDULER_KEY)),
        evicts=info.get("maxmemory_policy", "noeviction") != "noeviction" and bool(info.get("maxmemory")),
        now=datetime.fromtimestamp(seconds + micros / 1e6, UTC),
    )


def watch_run(run_id: int, every_s: float = 1.0, longest_s: float = 5.0) -> Iterator[bool]:
    """Yield True whenever something may have changed in a run, first of all at once; False after `longest_s` seconds in
    which nothing was told of it.

    Without Redis it yields True every `every_s` seconds, so that a watcher goes on by polling the database.
    """
    return _open_fanout().news(RUN_CHANNEL.format(run_id), every_s, longest_s)


def watch_plan(plan_id: int, every_s: float = 1.0, longest_s: float = 5.0) -> Iterator[bool]:
    """The same of a plan."""
    return _open_fanout().news(PLAN_CHANNEL.format(plan_id), every_s, longest_s)


def _open_fanout() -> PubSubFanout:
    """This process's, with which all who watch anything listen."""
    found: PubSubFanout = current_app.extensions.setdefault("ear", PubSubFanout(redis_connection()))
    return found


@dataclass(frozen=True, slots=True)
class JobName:
    """What a job does: the name of its function, and of a sync its run."""

    kind: str
    run_id: int | None


@dataclass(frozen=True, slots=True)
class WorkerLine:
    name: str
    host: str
    is_alive: bool
    """Whether its heart beat in the last seconds."""
    state: str
    """RQ's word: idle · busy · started · suspended …"""
    job: JobName | None
    """What it is at, since the next."""
    since: datetime | None
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
    """When the next in line was queued."""


@dataclass(frozen=True, slots=True)
class FailedJob:
    id: str
    queue: str
    job: JobName
    failed_at: datetime | None
    error: str
    """The name of the exception alone: its words might hold what somebody typed."""
    place: str
    """Where in our code, as `sync.run:120`; empty where that is not known."""


def list_workers() -> list[WorkerLine]:
    """Those that are there or were until lately, by name. Raises redis.RedisError."""
    connection = redis_connection()
    fresh: Any = connection.zrangebyscore(WORKERS_KEY, time.time() - HEARTBEAT_MAX_AGE_S, "+inf")
    beating = {as_text(name) for name in fresh}
    lines = [_load_worker_line(worker, beating) for worker in Worker.all(connection=connection, **JSON_OPTIONS)]
    return sorted(lines, key=lambda line: (line.host, line.name))


def list_queues() -> list[QueueLine]:
    """In the order in which workers take from them. Raises redis.RedisError."""
    return [_load_queue_line(queue) for queue in open_queues()]


def last_scheduler_pass() -> datetime | None:
    """When the scheduler last went round; None if that is too long ago. Raises redis.RedisError."""
    left_s = int(redis_connection().ttl(SCHEDULER_KEY))
    return datetime.now(UTC) - timedelta(seconds=SCHEDULER_MAX_AGE_S - left_s) if left_s > 0 else None


def providers_with_open_circuit() -> frozenset[str]:
    """Slugs of those that nobody asks at present, because they failed for many. Raises redis.RedisError.

    At their own addresses and those the operator set: what servers of users' own do is nobody else's business.
    """
    overridden = catalog.admin_base_urls() | dict(config.current().base_urls)
    places = [
        (slug, endpoint_id(slug, url))
        for slug, provider in PROVIDERS.items()
        for url in {provider.base_url, *provider.regions.values(), overridden.get(slug)}
        if url
    ]
    found = load_states(redis_connection(), [place for _, place in places])
    now = time.time()
    return frozenset(
        slug
        for (slug, _), note in zip(places, found, strict=True)
        if not circuit_breaker.allows(circuit_breaker.decode(note), now)
    )


def list_failed_jobs() -> list[FailedJob]:
    """The newest that failed, of all queues; RQ forgets them after a day. Raises redis.RedisError."""
    found = []
    for queue in open_queues():
        ids = queue.failed_job_registry.get_job_ids(0, _MAX_FAILED - 1, desc=True, cleanup=False)
        found += [_load_failed_job(job, queue) for job in JSONJob.fetch_many(ids, connection=redis_connection()) if job]
    found.sort(key=lambda one: one.failed_at or datetime.min.replace(tzinfo=UTC), reverse=True)
    return found[:_MAX_FAILED]


def requeue_failed_job(job_id: str) -> bool:
    """Queue a failed job once more; False if it is not among them. Raises redis.RedisError."""
    queue = _find_queue_of_failed(job_id)
    if queue is None:
        return False
    try:
        queue.failed_job_registry.requeue(job_id)
    except (InvalidJobOperation, NoSuchJobError):  # someone else was quicker
        return False
    return True


def delete_failed_job(job_id: str) -> bool:
    """Forget a failed job; False if it is not among them. Raises redis.RedisError."""
    queue = _find_queue_of_failed(job_id)
    if queue is None:
        return False
    queue.failed_job_registry.remove(job_id, delete_job=True)
    return True


def _load_worker_line(worker: Any, beating: set[str]) -> WorkerLine:
    try:
        job = worker.get_current_job()
    except NoSuchJobError:  # done and forgotten since the worker said that it is at it
        job = None
    return WorkerLine(
        name=worker.name,
        host=worker.hostname or "",
        is_alive=worker.name in beating,
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
    """The exception's name and where in our code it came up. Its words are left out: nothing knows what they hold."""
    name, place = "", ""
    for line in traceback.splitlines():
        if _ANY_FRAME.match(line):
            name = ""  # of several that caused one another, the last
        if (frame := _APP_FRAME.match(line)) and (config.ROOT / "app" / f"{frame[1]}.py").is_file():
            place = f"{frame[1].replace('/', '.')}:{frame[2]}"
        if not name and (found := _EXCEPTION_NAME.match(line)):
            name = found[1]
    return name, place


def parse_job_name(job: Job) -> JobName:
    """Read from RQ's description, `app.jobs.run_sync(12)`: a payload is never unpickled to be shown."""
    kind = _FUNCTION_NAME.match(job.description or "")
    number = job.id.removeprefix("run-")
    return JobName(kind[1] if kind else "", int(number) if number != job.id and number.isdigit() else None)


def _find_queue_of_failed(job_id: str) -> Queue | None:
    return next(
        (queue for queue in open_queues() if job_id in queue.failed_job_registry.get_job_ids(cleanup=False)), None
    )


def _to_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
