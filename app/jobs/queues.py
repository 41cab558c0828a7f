"""Where jobs wait, by what names, and how Redis is reached."""

from __future__ import annotations

import time

import redis
from flask import Flask, current_app
from rq import Queue

from app import config
from app.jobs.registry import PlainQueue

INTERACTIVE, CHORES, BULK = "interactive", "chores", "bulk"
QUEUES = (INTERACTIVE, CHORES, BULK)
"""In the order in which workers take from them: a person who waits comes before the monthly cron."""

WORKERS = "modelsync:workers"
ALIVE_S = 6
"""So old at most is the last heartbeat of a worker that lives."""
SCHEDULER = "modelsync:scheduler"
SCHEDULER_ALIVE_S = 75  # it goes round at least once a minute
CHANNEL = "modelsync:run:{}"
PLAN_CHANNEL = "modelsync:plan:{}"
CHANNELS = "modelsync:*:[0-9]*"
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


def queue(name: str) -> Queue:
    return PlainQueue(name, connection=redis_connection())


def all_queues() -> list[Queue]:
    return [queue(name) for name in QUEUES]


def worker_connection(app: Flask) -> redis.Redis:
    """A connection that may wait for ever on an empty queue."""
    return redis.Redis.from_url(app.config["SETTINGS"].redis_url, socket_connect_timeout=5)


def workers_alive() -> int:
    """Workers whose heartbeat is fresh. Raises redis.RedisError.

    Counted by a set of our own: RQ's knows a worker no more once Redis was restarted, though it works on.
    """
    return int(redis_connection().zcount(WORKERS, time.time() - ALIVE_S, "+inf"))


def run_job(*run_ids: int) -> str:
    return "run-" + "_".join(map(str, run_ids))


def runs_of(job_id: str) -> set[int]:
    """The runs that a job of this name does."""
    return {int(number) for number in job_id.removeprefix("run-").split("_")} if job_id.startswith("run-") else set()


def plan_job(plan_id: int) -> str:
    return f"plan-{plan_id}"


def reset_job(reset_id: int) -> str:
    return f"reset-{reset_id}"


def trial_job(slug: str) -> str:
    return f"trial-{slug}"


def letter_job(user_id: int) -> str:
    return f"letter-{user_id}"


def refresh_job(source: str) -> str:
    return f"refresh-{source}"
