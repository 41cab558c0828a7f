"""A real RQ worker that works off what is queued and stops, in this process, for tests."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from datetime import UTC, datetime

import redis
from flask import Flask
from rq import SimpleWorker

from app.jobs import context, queues, workers
from app.vault import Keyring


class _HereWorker(workers.JSONJobsMixin, SimpleWorker):
    def _install_signal_handlers(self) -> None:
        """Ctrl-C stays pytest's."""

    def subscribe(self) -> None:
        """Do not listen for commands: it takes a third of a second to stop the thread that does."""


def work_off(app: Flask, vault: Keyring) -> int:
    """Do every queued job. How many were done."""
    return contextvars.Context().run(_work_off, app, vault)


def _work_off(app: Flask, vault: Keyring) -> int:
    context.bind(app, vault)
    try:
        with contextlib.closing(queues.open_worker_connection(app)) as connection:
            worker = _HereWorker(list(queues.QUEUES), connection=connection)
            queued = sum(queue.count for queue in worker.queues)
            worker.work(burst=True, logging_level="WARNING")
            assert not any(queue.count for queue in worker.queues)
            return queued
    finally:
        context.unbind()


@contextlib.contextmanager
def worker_present(app: Flask) -> Iterator[None]:
    """A worker that is alive but busy: its heartbeat is fresh, it takes no job."""
    with contextlib.closing(queues.open_worker_connection(app)) as connection:
        worker = workers.SyncWorker(list(queues.QUEUES), connection=connection)
        worker.register_birth()
        worker.heartbeat()
        try:
            yield
        finally:
            worker.register_death()


@contextlib.contextmanager
def no_redis(app: Flask) -> Iterator[None]:
    """The queue's connection leads nowhere, as when Redis is stopped."""
    kept = app.extensions.pop("redis", None)
    app.extensions["redis"] = redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1, socket_timeout=5)
    try:
        yield
    finally:
        app.extensions.pop("redis").close()
        if kept is not None:
            app.extensions["redis"] = kept


def now() -> datetime:
    return datetime.now(UTC)
