"""Queue names, job ids, Redis connections, and the one function that puts a job into a queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import redis
import structlog
from flask import Flask, current_app
from rq import Queue, Retry

from app import config
from app.jobs.registry import JSONQueue

log = logging.getLogger(__name__)

INTERACTIVE, NEW_KEYS, MAINTENANCE, BULK = "interactive", "new-keys", "chores", "bulk"
QUEUES = (INTERACTIVE, NEW_KEYS, MAINTENANCE, BULK)
"""In the order in which workers take from them: who presses Sync Now comes before who saved a key, and both come
before scheduled syncs."""

JOB_TIMEOUT_S = 600
_FAILURE_TTL_S = 86_400

WORKERS_KEY = "modelsync:workers"
HEARTBEAT_MAX_AGE_S = 6
"""A worker whose last heartbeat is older counts as dead."""
SCHEDULER_KEY = "modelsync:scheduler"
SCHEDULER_MAX_AGE_S = 75  # it makes a pass at least once a minute
RUN_CHANNEL = "modelsync:run:{}"
PLAN_CHANNEL = "modelsync:plan:{}"
CHANNEL_PATTERN = "modelsync:*:[0-9]*"
"""Matches all channels of runs and plans."""


def redis_connection() -> redis.Redis:
    """The app's Redis client, with short time-outs so that no request waits long for a Redis that is down."""
    client: redis.Redis | None = current_app.extensions.get("redis")
    if client is None:
        client = redis.Redis.from_url(
            config.current().redis_url, socket_connect_timeout=0.5, socket_timeout=0.7, health_check_interval=30
        )
        current_app.extensions["redis"] = client
    return client


def open_queue(name: str) -> Queue:
    return JSONQueue(name, connection=redis_connection())


def open_queues() -> list[Queue]:
    """All queues, in the order of `QUEUES`."""
    return [open_queue(name) for name in QUEUES]


def open_worker_connection(app: Flask) -> redis.Redis:
    """A Redis client without a read time-out, for blocking on empty queues."""
    return redis.Redis.from_url(app.config["SETTINGS"].redis_url, socket_connect_timeout=5)


def count_live_workers() -> int:
    """Number of workers with a recent heartbeat. Raises redis.RedisError.

    Counted from our own sorted set: after a restart of Redis, RQ's registry misses workers that still run.
    """
    return int(redis_connection().zcount(WORKERS_KEY, time.time() - HEARTBEAT_MAX_AGE_S, "+inf"))


def is_queued(job_id: str, *names: str) -> bool:
    """Whether a job with this id waits in one of the queues. Raises redis.RedisError."""
    return any(open_queue(name).get_job_position(job_id) is not None for name in names)


def job_options(job_id: str | None) -> dict[str, Any]:
    """Options that all jobs share, as `Queue.prepare_data` names them."""
    return {"job_id": job_id, "timeout": JOB_TIMEOUT_S, "result_ttl": 0, "failure_ttl": _FAILURE_TTL_S}


def push(
    function: Callable[..., object],
    *arguments: Any,
    job_id: str | None = None,
    queue: str = INTERACTIVE,
    retry: Retry | None = None,
    at_front: bool = False,
    hide_arguments: bool = False,
) -> bool:
    """Queue a call of a job function. Returns False, and logs it, if Redis cannot be reached.

    hide_arguments: keep them out of logs and the admin pages.
    """
    options = job_options(job_id)
    options["job_timeout"] = options.pop("timeout")
    if hide_arguments:
        options["description"] = f"{function.__module__}.{function.__name__}()"
    if request_id := structlog.contextvars.get_contextvars().get("request_id"):
        options["meta"] = {"request_id": request_id}
    try:
        open_queue(queue).enqueue(function, *arguments, retry=retry, at_front=at_front, **options)
    except redis.RedisError:
        log.warning("cannot queue %s%s: Redis is away", function.__name__, "" if hide_arguments else arguments)
        return False
    return True


def run_job_id(*run_ids: int) -> str:
    return "run-" + "_".join(map(str, run_ids))


def run_ids_of_job(job_id: str) -> set[int]:
    """The runs of a job with an id as `run_job_id` makes it; empty for any other."""
    return {int(number) for number in job_id.removeprefix("run-").split("_")} if job_id.startswith("run-") else set()


def plan_job_id(plan_id: int) -> str:
    return f"plan-{plan_id}"


def password_reset_job_id(reset_id: int) -> str:
    return f"reset-{reset_id}"


def provider_test_job_id(slug: str) -> str:
    return f"trial-{slug}"


def digest_job_id(user_id: int) -> str:
    return f"letter-{user_id}"


def refresh_job_id(source: str) -> str:
    return f"refresh-{source}"
