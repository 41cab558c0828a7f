"""The RQ doors: what may be queued, who works it off, and how a watching page is told. The only importer of rq.

Jobs carry ids only and are idempotent: whether a run is to be done is decided by its row, so a job that comes
twice, late or after a restart does no harm. Redis may lose everything in it: `housekeeping` queues anew.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from flask import Flask, current_app
from rq import Queue, Retry, Worker
from rq.cron import CronScheduler
from rq.worker_pool import WorkerPool

from app import config
from app.extensions import db
from app.processes import die_with_parent
from app.store import catalog, listed, models, overrides, retention, runs, sources
from app.sync import refresh
from app.sync import run as sync_run
from app.sync.adopt import adopt_proposals
from app.sync.fetch import new_client, process_client
from app.sync.rebuild import rebuild
from app.sync.shared import RedisStore
from app.vault import Opener

log = logging.getLogger(__name__)

INTERACTIVE, BULK = "interactive", "bulk"
QUEUES = (INTERACTIVE, BULK)
"""In the order in which workers take from them: a person who waits comes before the monthly cron."""

_WORKER_TTL_S = 17  # RQ's worker waits fifteen seconds less for a job, and beats its heart after each wait
_HEARTBEAT_S = 2
_ALIVE_S = 6
_WORKERS = "modelsync:workers"
_SCHEDULER = "modelsync:scheduler"
_SCHEDULER_ALIVE_S = 75  # it goes round at least once a minute
_JOB_TIMEOUT_S = 600
_REQUEUE_AFTER = timedelta(seconds=15)
_HOUSEKEEPING_S = 15
_PRUNE_S = 6 * 3_600
_CATALOG_S = 60
_AFTER_FAILURE = timedelta(hours=1)
_BATCH = 500
_EVERYONE = "everyone"
_CHANNEL = "modelsync:run:{}"

NO_REDIS = "The job queue (Redis) cannot be reached. Your sync is saved and starts by itself when it is back."
NO_REDIS_FOR_NEWS = "The job queue (Redis) cannot be reached, so the catalog was not asked: try again later."
NO_REDIS_FOR_DECISIONS = (
    "The job queue (Redis) cannot be reached. What you decided is saved; the catalog follows when it is back."
)
NO_WORKER = "No worker is running. Your sync is saved and starts by itself when one does; tell the operator."


@dataclass(frozen=True, slots=True)
class Begun:
    run_id: int
    is_new: bool
    trouble: str | None
    """A sentence about the queue, if the run will have to wait for it."""


# ------------------------------------------------------------------ what the web and the command line call


def begin_sync(
    user_id: int, trigger: str, *, provider: str | None = None, credential_id: int | None = None
) -> Begun | None:
    """Start a run, or give the live one; commits. None if the user has no active key to sync."""
    started = runs.start(user_id, trigger, _now(), provider=provider, credential_id=credential_id)
    db.session.commit()
    if started is None:
        return None
    run = started.run
    return Begun(run.id, started.is_new, enqueue_run(run.id) if run.state == "queued" else None)


def enqueue_run(run_id: int) -> str | None:
    """Queue a run for the workers, ahead of the cron's. A sentence if it will have to wait."""
    try:
        queues = _queues()
        for queue in queues[1:]:
            queue.remove(_job_id(run_id))  # a person asks for it now
        if queues[0].get_job_position(_job_id(run_id)) is None:
            _enqueue(do_run, run_id)
        return None if workers_alive() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


def look_after(run_id: int, created_at: datetime) -> str | None:
    """Why a queued run waits, as a sentence. Whoever looks at an old one queues its job again, if Redis lost it."""
    if _now() - created_at > _REQUEUE_AFTER:
        return enqueue_run(run_id)
    return trouble_now()


def enqueue_check(credential_id: int) -> str | None:
    """Have a worker ask the provider about a newly saved key."""
    return _enqueue(do_check, credential_id)


def enqueue_everyone(trigger: str) -> str | None:
    """Have a worker start runs for all users with active keys; a call that waits already is not doubled."""
    try:
        if Queue(INTERACTIVE, connection=_connection()).get_job_position(_EVERYONE) is not None:
            return None
    except redis.RedisError:
        return NO_REDIS
    return _enqueue(do_everyone, trigger, queue=INTERACTIVE, retry=Retry(max=3))


def enqueue_refresh(source: str, trigger: str) -> str | None:
    """Have a worker ask a public catalog; a call that waits already is not doubled. A sentence if it cannot be."""
    try:
        if any(queue.get_job_position(_refresh_id(source)) is not None for queue in _queues()):
            return None
    except redis.RedisError:
        return NO_REDIS_FOR_NEWS
    queue = BULK if trigger == "schedule" else INTERACTIVE
    return NO_REDIS_FOR_NEWS if _enqueue(do_refresh, source, trigger, queue=queue) else None


def enqueue_rebuild() -> str | None:
    """Have a worker put decisions into force that were just taken and committed. A sentence if that has to wait."""
    return NO_REDIS_FOR_DECISIONS if _enqueue(do_rebuild, retry=Retry(max=3)) else None


def trouble_now() -> str | None:
    """Why a queued run cannot begin at present, as a sentence; None if a worker is there."""
    try:
        return None if workers_alive() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


def workers_alive() -> int:
    """Workers whose heartbeat is fresh. Raises redis.RedisError.

    Counted by a set of our own: RQ's knows a worker no more once Redis was restarted, though it works on.
    """
    return int(_connection().zcount(_WORKERS, time.time() - _ALIVE_S, "+inf"))


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


def inspect() -> QueueState:
    """Raises redis.RedisError."""
    connection = _connection()
    info: dict[str, Any] = connection.info()
    seconds, micros = connection.time()
    return QueueState(
        version=str(info["redis_version"]),
        queued=sum(queue.count for queue in _queues()),
        workers=workers_alive(),
        has_scheduler=bool(connection.exists(_SCHEDULER)),
        evicts=info.get("maxmemory_policy", "noeviction") != "noeviction" and bool(info.get("maxmemory")),
        now=datetime.fromtimestamp(seconds + micros / 1e6, UTC),
    )


def news_of(run_id: int, every_s: float = 1.0) -> Iterator[None]:
    """Yield whenever something may have changed in a run: when it is told of, else every few seconds.

    Without Redis it yields every `every_s` seconds, so that a watcher goes on by polling the database.
    """
    pubsub = _connection().pubsub(ignore_subscribe_messages=True)
    with contextlib.closing(pubsub):
        while True:
            try:
                if not pubsub.subscribed:
                    pubsub.subscribe(_CHANNEL.format(run_id))
                    yield  # for what happened before we listened
                pubsub.get_message(timeout=5.0)
            except redis.RedisError:
                time.sleep(every_s)
            yield


# ------------------------------------------------------------------ jobs


def do_run(run_id: int) -> None:
    with _app().app_context(), means() as ours:
        sync_run.perform(run_id, ours)
        _adopt()


def do_check(credential_id: int) -> None:
    with _app().app_context(), means() as ours:
        sync_run.check(credential_id, ours)


def do_everyone(trigger: str) -> int:
    """Start a run for every user with an active key and no live run; in batches, resumable by doing it again."""
    begun, last = 0, 0
    with _app().app_context():
        while user_ids := runs.users_to_sync(last, _BATCH):
            run_ids = runs.start_many(user_ids, trigger, _now())
            db.session.commit()
            _enqueue_many(run_ids)
            begun, last = begun + len(run_ids), user_ids[-1]
    return begun


def do_refresh(source: str, trigger: str) -> None:
    with _app().app_context(), new_client() as client:
        url = config.current().catalog_urls.get(source, "")
        refresh.refresh(source, trigger, client=client, now=_now, url=url)
        _adopt()


def do_rebuild() -> None:
    with _app().app_context():
        rebuild(_now())
        db.session.commit()
        _adopt()


def _adopt() -> None:
    """Adopt what providers give evidence for by now, where an admin allowed it."""
    if adopt_proposals(_now()):
        rebuild(_now())
    db.session.commit()


def look_after_catalog() -> None:
    """Queue the refreshes that are due, and put into force what a lost job left undone."""
    with _app().app_context():
        rebuild(_now())
        db.session.commit()
        if hours := config.current().catalog_refresh_hours:
            due = sources.due(_now(), timedelta(hours=hours), _AFTER_FAILURE)
            db.session.rollback()
            for source in due:
                enqueue_refresh(source, "schedule")


def prune_history() -> None:
    """Take away history that is older than HISTORY_KEEP_DAYS, in small transactions."""
    with _app().app_context():
        if days := config.current().history_keep_days:
            before = _now() - timedelta(days=days)
            while not retention.prune(before).is_empty:
                db.session.commit()
            db.session.rollback()


def housekeeping() -> None:
    """Close runs whose worker died; queue anew those whose job was lost; tidy up what no page shows any more."""
    with _app().app_context():
        lost = runs.close_lost(_now())
        waiting = runs.waiting(_now() - _REQUEUE_AFTER)
        db.session.commit()
        if providers := listed.drop_unused():
            models.deactivate_unlisted(providers, _now())
            overrides.remove_unserved()
        db.session.commit()
        for run_id in lost:
            tell(run_id)
        queued = set().union(*(queue.job_ids for queue in _queues()))
        _enqueue_many([run_id for run_id in waiting if _job_id(run_id) not in queued])


def tell(run_id: int) -> None:
    """Wake whoever watches this run. Nobody's loss if Redis is away: watchers look at the database anyway."""
    with contextlib.suppress(redis.RedisError):
        _connection().publish(_CHANNEL.format(run_id), b"")


# ------------------------------------------------------------------ processes


class SyncWorker(Worker):
    """RQ's forking worker with a short heartbeat, so that a dead one is noticed within half a minute."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"worker_ttl": _WORKER_TTL_S, "job_monitoring_interval": _HEARTBEAT_S}
        super().__init__(*args, **kwargs)

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        super().heartbeat(*args, **kwargs)
        self.connection.zadd(_WORKERS, {self.name: time.time()})
        self.connection.zremrangebyscore(_WORKERS, 0, time.time() - 60)

    def register_death(self) -> None:
        super().register_death()
        self.connection.zrem(_WORKERS, self.name)

    def work(self, *args: Any, **kwargs: Any) -> bool:
        die_with_parent()
        # The pool asks each of its workers to schedule as well; `flask up` has one scheduler of its own.
        return super().work(*args, **{**kwargs, "with_scheduler": False})


class SyncScheduler(CronScheduler):
    """RQ's scheduler, which leaves a mark each time round: its own registry does not survive a Redis restart."""

    def enqueue_jobs(self) -> list[Any]:
        self.connection.set(_SCHEDULER, self.name, ex=_SCHEDULER_ALIVE_S)
        return super().enqueue_jobs()


def work(app: Flask, vault: Opener, count: int) -> None:
    """Run a pool of workers until SIGTERM or SIGINT; they finish what they are at.

    The app, the TLS certificates and the catalog are loaded before the workers fork: a job then costs a fork,
    not an import. No connection is open across the fork.
    """
    _use(app, vault)
    with app.app_context():
        catalog.index()
        db.session.remove()
        db.engine.dispose()
        new_client().close()
        pool = WorkerPool(list(QUEUES), connection=worker_connection(app), num_workers=count, worker_class=SyncWorker)
        pool.start(logging_level="WARNING")


def schedule(app: Flask) -> None:
    """Run the scheduler until SIGTERM or SIGINT. It queues; workers do."""
    _use(app, None)
    with app.app_context():
        scheduler = SyncScheduler(connection=worker_connection(app), logging_level="WARNING")
        scheduler.register(housekeeping, queue_name=BULK, interval=_HOUSEKEEPING_S, result_ttl=0, ttl=60)
        scheduler.register(prune_history, queue_name=BULK, interval=_PRUNE_S, result_ttl=0, ttl=3_600)
        scheduler.register(look_after_catalog, queue_name=BULK, interval=_CATALOG_S, result_ttl=0, ttl=60)
        scheduler.start()


def worker_connection(app: Flask) -> redis.Redis:
    """A connection that may wait for ever on an empty queue."""
    return redis.Redis.from_url(app.config["SETTINGS"].redis_url, socket_connect_timeout=5)


# ------------------------------------------------------------------ inside

_bound: tuple[Flask, Opener | None] | None = None


def _use(app: Flask, vault: Opener | None) -> None:
    global _bound
    _bound = app, vault


def _app() -> Flask:
    """The app of this worker process, or of whoever calls a job function within an app context (tests)."""
    if _bound is None:
        if current_app:
            return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]
        raise RuntimeError("jobs are worked off by `flask work` or `flask up`, not by a bare rq worker")
    return _bound[0]


@contextlib.contextmanager
def means(vault: Opener | None = None, tell_also: sync_run.Tell | None = None) -> Iterator[sync_run.Means]:
    """What a run of this process works with: the vault, clients, and whose base URL is overridden."""
    settings = config.current()
    bound = _bound[1] if _bound else None
    # What the operator set in the environment goes before what an admin set in the database.
    base_urls = catalog.admin_base_urls() | dict(settings.base_urls)
    db.session.rollback()
    yield sync_run.Means(
        vault=vault or bound or config.open_vault(),
        client=process_client(),
        guarded=process_client(settings.allowed_private_networks),
        base_urls=base_urls,
        tell=tell_also or tell,
        shared=RedisStore(_connection()),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _connection() -> redis.Redis:
    """This process's connection pool, with short time-outs: nobody waits long for a Redis that is away."""
    found: redis.Redis | None = current_app.extensions.get("redis")
    if found is None:
        found = redis.Redis.from_url(
            config.current().redis_url, socket_connect_timeout=0.5, socket_timeout=0.7, health_check_interval=30
        )
        current_app.extensions["redis"] = found
    return found


def _queues() -> list[Queue]:
    return [Queue(name, connection=_connection()) for name in QUEUES]


def _job_id(run_id: int) -> str:
    return f"run-{run_id}"


def _refresh_id(source: str) -> str:
    return f"refresh-{source}"


def _options(function: Any, *arguments: int | str) -> dict[str, Any]:
    job_id = None
    if function is do_run:
        job_id = _job_id(int(arguments[0]))
    elif function is do_everyone:
        job_id = _EVERYONE
    elif function is do_refresh:
        job_id = _refresh_id(str(arguments[0]))
    return {"job_id": job_id, "timeout": _JOB_TIMEOUT_S, "result_ttl": 0, "failure_ttl": 86_400}


def _enqueue(function: Any, *arguments: int | str, queue: str = INTERACTIVE, retry: Retry | None = None) -> str | None:
    options = _options(function, *arguments)
    options["job_timeout"] = options.pop("timeout")
    try:
        Queue(queue, connection=_connection()).enqueue(function, *arguments, retry=retry, **options)
    except redis.RedisError:
        log.warning("cannot queue %s%s: Redis is away", function.__name__, arguments)
        return NO_REDIS
    return None


def _enqueue_many(run_ids: Sequence[int]) -> None:
    if run_ids:
        jobs = [Queue.prepare_data(do_run, (run_id,), **_options(do_run, run_id)) for run_id in run_ids]
        Queue(BULK, connection=_connection()).enqueue_many(jobs)
