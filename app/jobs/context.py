"""What a job function works with: the app and keyring of its worker process, and the sync context made from them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from flask import Flask, current_app

from app import config
from app.jobs.pubsub import publish_run_changed
from app.jobs.queues import redis_connection
from app.store import catalog
from app.store.engine.transaction import run_in_transaction
from app.sync.dispatch import OnProgress, SyncContext
from app.sync.http.client import process_client
from app.sync.limits.limiter import INTERACTIVE_QUOTA
from app.sync.limits.store import Quota, RedisLimiterStore
from app.vault import Keyring

_binding: tuple[Flask, Keyring | None] | None = None


def bind(app: Flask, keyring: Keyring | None) -> None:
    """Have the job functions of this process, and of its forks, use this app and keyring."""
    global _binding
    _binding = app, keyring


def unbind() -> None:
    global _binding
    _binding = None


def worker_app() -> Flask:
    """The app bound to this worker process, or else that of the current app context.

    Raises RuntimeError in a process that has neither, such as a bare `rq worker`.
    """
    if _binding is not None:
        return _binding[0]
    if current_app:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        return app
    raise RuntimeError("jobs are worked off by `flask work` or `flask up`, not by a bare rq worker")


def keyring() -> Keyring:
    """The keyring bound to this process, or else that of its environment. Raises config.ConfigError."""
    return (_binding[1] if _binding else None) or config.load_keyring()


def sync_interval() -> timedelta:
    """How often the server's own keys are synced; zero: never."""
    return timedelta(hours=config.current().sync_interval_hours)


@contextlib.contextmanager
def sync_context(
    vault: Keyring | None = None, on_progress: OnProgress | None = None, quota: Quota = INTERACTIVE_QUOTA
) -> Iterator[SyncContext]:
    """The sync context of this process: keyring, HTTP clients, base URLs, limiter, server keys.

    vault: by default this process's. on_progress: called with the ids of runs that changed; publishes them by default.
    """
    settings = config.current()
    yield SyncContext(
        vault=vault or keyring(),
        client=process_client(),
        restricted=process_client(settings.allowed_private_networks),
        base_urls=settings.base_urls,
        admin_base_urls=run_in_transaction(catalog.admin_base_urls),
        on_progress=on_progress or publish_run_changed,
        quota=quota,
        limiter_store=RedisLimiterStore(redis_connection()),
        server_keys=config.load_server_keys(),
        interval=sync_interval(),
    )
