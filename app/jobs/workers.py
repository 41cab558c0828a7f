"""Who works jobs off: RQ's worker, pool and scheduler, with what each of them lacks."""

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
from app.jobs.queues import BULK, INTERACTIVE, MAINTENANCE, SCHEDULER_KEY, SCHEDULER_MAX_AGE_S, WORKERS_KEY
from app.jobs.registry import JSON_OPTIONS, JSONQueue

_log = structlog.get_logger("app.jobs")

_WORKER_TTL_S = 17  # RQ's worker waits fifteen seconds less for a job, and beats its heart after each wait
_HEARTBEAT_S = 2
_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
MAX_JOBS = 1_000
"""After so many jobs a worker is replaced by a fresh one."""


class JobLoggingMixin:
    """Mixed into a worker: all that a job logs tells which job, which run, and from which request it was asked for."""

    def perform_job(self, job: Job, queue: Queue) -> bool:
        named, began = parse_job_name(job), time.perf_counter()
        asked = job.meta.get("request_id") if isinstance(job.meta, dict) else None
        ids = {"job": named.kind, "run_id": named.run_id, "request_id": asked}
        structlog.contextvars.bind_contextvars(**{name: value for name, value in ids.items() if value})
        done: bool = super().perform_job(job, queue)  # type: ignore[misc]  # the worker's, which this is mixed into
        ms = round((time.perf_counter() - began) * 1_000, 1)
        if not done:
            _log.warning("job failed", ms=ms)
        else:  # chores come all the time
            (_log.debug if queue.name == MAINTENANCE else _log.info)("job done", ms=ms)
        return done


def _restore_signal_handlers() -> None:
    """In a worker that was forked just now: told to stop meanwhile, it ends, and does not do what its pool would."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


class JSONJobsMixin:
    """Mixed into a worker: it takes jobs as `doors` has them, also from queues that RQ's pool made by itself."""

    def __init__(self, queues: Iterable[Queue | str], *args: Any, **kwargs: Any) -> None:
        named = [one if isinstance(one, str) else one.name for one in queues]
        super().__init__(named, *args, **kwargs | JSON_OPTIONS)  # type: ignore[call-arg]  # the worker's


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
        # The pool asks each of its workers to schedule as well; `flask up` has one scheduler of its own.
        return super().work(*args, **{**kwargs, "with_scheduler": False, "max_jobs": MAX_JOBS})


class SyncPool(WorkerPool):
    """RQ's pool, in which neither people nor the schedule can keep all workers busy.

    One worker takes only what people wait for, another takes the schedule's first; for the rest people come first.
    """

    _for_people = _for_schedule = ""

    def start_workers(self, *args: Any, **kwargs: Any) -> None:
        self._install_signal_handlers()  # RQ's pool does so only when all are there
        super().start_workers(*args, **kwargs)

    def start_worker(self, *args: Any, **kwargs: Any) -> None:
        """None is begun that nobody tells to stop: who is told while it begins one tells that one as well."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        try:
            if self.status != self.Status.STOPPED:
                super().start_worker(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def get_worker_process(self, name: str, *args: Any, **kwargs: Any) -> Any:
        everything = self._queue_names
        # RQ's pool forgets the level for workers that it starts in the place of others.
        kwargs["logging_level"] = "WARNING"
        try:
            if self._for_people not in self.worker_dict:
                self._for_people, self._queue_names = name, [INTERACTIVE]
            elif self._for_schedule not in self.worker_dict:
                self._for_schedule, self._queue_names = name, [MAINTENANCE, BULK, INTERACTIVE]
            return super().get_worker_process(name, *args, **kwargs)
        finally:
            self._queue_names = everything


class _JSONCronJob(CronJob):
    def enqueue(self, connection: Redis) -> Job:
        return JSONQueue(self.queue_name, connection=connection).enqueue(self.func_name, **self.job_options)


class SyncScheduler(CronScheduler):
    """RQ's scheduler, which leaves a mark each time round: its own registry does not survive a Redis restart."""

    def register(self, func: Callable[..., object], queue_name: str, *args: Any, **options: Any) -> CronJob:
        job = _JSONCronJob(queue_name, func, *args, **options)
        self._cron_jobs.append(job)
        return job

    def enqueue_jobs(self) -> list[Any]:
        self.connection.set(SCHEDULER_KEY, self.name, ex=SCHEDULER_MAX_AGE_S)
        return super().enqueue_jobs()
