"""Where jobs wait, by what names, and how Redis is reached."""

from __future__ import annotations

import time

import redis
from flask import Flask, current_app
from rq import Queue

from app import config
from app.jobs.registry import JSONQueue

INTERACTIVE, MAINTENANCE, BULK = "interactive", "chores", "bulk"
QUEUES = (INTERACTIVE, MAINTENANCE, BULK)
"""In the order in which workers take from them: a person who waits comes before the monthly cron."""

WORKERS_KEY = "modelsync:workers"
HEARTBEAT_MAX_AGE_S = 6
"""So old at most is the last heartbeat of a worker that lives."""
SCHEDULER_KEY = "modelsync:scheduler"
SCHEDULER_MAX_AGE_S = 75  # it goes round at least once a minute
RUN_CHANNEL = "modelsync:run:{}"
PLAN_CHANNEL = "modelsync:plan:{}"
CHANNEL_PATTERN = "modelsync:*:[0-9]*"
"""All of them, as Redis' patterns have it."""


def redis_connection() -> redis.Redis:
    """This process's connection pool, with short time-outs: nobody waits long for a Redis that is away."""
    found: redis.Redis | None = current_app.extensions.get("redis")
    if found is None:
        found = redis.Redis.from_url(
            config.current().redis_url, socket_connect_timeout=0.5, socket_timeout=0.7, health_check_interval=30
        )
        current_app.extensions["redis"] = found
    return found


def open_queue(name: str) -> Queue:
    return JSONQueue(name, connection=redis_connection())


def open_queues() -> list[Queue]:
    return [open_queue(name) for name in QUEUES]


def open_worker_connection(app: Flask) -> redis.Redis:
    """A connection that may wait for ever on an empty queue."""
    return redis.Redis.from_url(app.config["SETTINGS"].redis_url, socket_connect_timeout=5)


def count_live_workers() -> int:
    """Workers whose heartbeat is fresh. Raises redis.RedisError.

    Counted by a set of our own: RQ's knows a worker no more once Redis was restarted, though it works on.
    """
    return int(redis_connection().zcount(WORKERS_KEY, time.time() - HEARTBEAT_MAX_AGE_S, "+inf"))


def run_job_id(*run_ids: int) -> str:
    return "run-" + "_".join(map(str, run_ids))


def run_ids_of_job(job_id: str) -> set[int]:
    """The runs that a job of this name does."""
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
