"""RQ's worker, pool and scheduler, with what each of them lacks for us."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from redis import Redis
from rq import Queue, Worker
from rq.cron import CronJob, CronScheduler
from rq.job import Job
from rq.worker_pool import WorkerPool

from app.hardening import die_with_parent, keep_memory_private
from app.jobs.monitoring import parse_job_name
from app.jobs.queues import (
    BULK,
    INTERACTIVE,
    MAINTENANCE,
    NEW_KEYS,
    SCHEDULER_KEY,
    SCHEDULER_MAX_AGE_S,
    WORKERS_KEY,
)
from app.jobs.registry import JSON_OPTIONS, JSONQueue

_log = structlog.get_logger("app.jobs")

_WORKER_TTL_S = 17  # RQ's worker blocks on its queues for 15 s less than this, and sends a heartbeat after each wait
_HEARTBEAT_S = 2
_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
MAX_JOBS = 1_000
"""A worker that has done this many jobs is replaced by a new process."""


class JobLoggingMixin:
    """Worker mixin: everything logged during a job carries the job's name, its run and the web request it came from."""

    def perform_job(self, job: Job, queue: Queue) -> bool:
        name, started = parse_job_name(job), time.perf_counter()
        request_id = job.meta.get("request_id") if isinstance(job.meta, dict) else None
        ids = {"job": name.kind, "run_id": name.run_id, "request_id": request_id}
        structlog.contextvars.bind_contextvars(**{key: value for key, value in ids.items() if value})
        is_done: bool = super().perform_job(job, queue)  # type: ignore[misc]  # the worker's
        ms = round((time.perf_counter() - started) * 1_000, 1)
        if not is_done:
            _log.warning("job failed", ms=ms)
        else:  # maintenance runs all the time
            (_log.debug if queue.name == MAINTENANCE else _log.info)("job done", ms=ms)
        return is_done


class JSONJobsMixin:
    """Worker mixin: reads jobs as `registry` defines them, also from queues that RQ's pool creates."""

    def __init__(self, queues: Iterable[Queue | str], *args: Any, **kwargs: Any) -> None:
        names = [queue if isinstance(queue, str) else queue.name for queue in queues]
        super().__init__(names, *args, **kwargs | JSON_OPTIONS)  # type: ignore[call-arg]  # the worker's


class SyncWorker(JobLoggingMixin, JSONJobsMixin, Worker):
    """RQ's forking worker with a short heartbeat, so that a dead one is noticed within half a minute."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"worker_ttl": _WORKER_TTL_S, "job_monitoring_interval": _HEARTBEAT_S}
        super().__init__(*args, **kwargs)

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        super().heartbeat(*args, **kwargs)
        self.connection.zadd(WORKERS_KEY, {self.name: time.time()})
        self.connection.zremrangebyscore(WORKERS_KEY, 0, time.time() - 60)

    def register_death(self) -> None:
        super().register_death()
        self.connection.zrem(WORKERS_KEY, self.name)

    def work(self, *args: Any, **kwargs: Any) -> bool:
        die_with_parent()
        keep_memory_private()
        _restore_signal_handlers()
        # The pool tells each worker to run a scheduler too; `flask up` starts a separate one.
        return super().work(*args, **{**kwargs, "with_scheduler": False, "max_jobs": MAX_JOBS})


def _restore_signal_handlers() -> None:
    """In a freshly forked worker: a stop signal ends it, instead of running the pool's handler."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


class SyncPool(WorkerPool):
    """RQ's pool, in which neither interactive nor scheduled jobs can occupy all workers.

    One worker takes interactive jobs only, another scheduled ones first; all others take interactive jobs first.
    """

    _interactive_worker = _bulk_worker = ""

    def start_workers(self, *args: Any, **kwargs: Any) -> None:
        self._install_signal_handlers()  # RQ installs them only once all workers are started
        super().start_workers(*args, **kwargs)

    def start_worker(self, *args: Any, **kwargs: Any) -> None:
        """Start a worker with stop signals blocked: one that arrives during the fork also reaches the new worker."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        try:
            if self.status != self.Status.STOPPED:
                super().start_worker(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def get_worker_process(self, name: str, *args: Any, **kwargs: Any) -> Any:
        all_names = self._queue_names
        # RQ's pool does not pass the level on to replacement workers.
        kwargs["logging_level"] = "WARNING"
        try:
            if self._interactive_worker not in self.worker_dict:
                self._interactive_worker, self._queue_names = name, [INTERACTIVE]
            elif self._bulk_worker not in self.worker_dict:
                self._bulk_worker, self._queue_names = name, [MAINTENANCE, NEW_KEYS, BULK, INTERACTIVE]
            return super().get_worker_process(name, *args, **kwargs)
        finally:
            self._queue_names = all_names


class _JSONCronJob(CronJob):
    def enqueue(self, connection: Redis) -> Job:
        return JSONQueue(self.queue_name, connection=connection).enqueue(self.func_name, **self.job_options)


class SyncScheduler(CronScheduler):
    """RQ's scheduler, which marks each pass in Redis: RQ's own registry does not survive a restart of Redis."""

    def register(self, func: Callable[..., object], queue_name: str, *args: Any, **options: Any) -> CronJob:
        job = _JSONCronJob(queue_name, func, *args, **options)
        self._cron_jobs.append(job)
        return job

    def enqueue_jobs(self) -> list[Any]:
        self.connection.set(SCHEDULER_KEY, self.name, ex=SCHEDULER_MAX_AGE_S)
        return super().enqueue_jobs()
