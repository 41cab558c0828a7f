"""The worker process and the scheduler process."""

from __future__ import annotations

import gc
import logging

from flask import Flask

from app import clock, config, logs
from app.extensions import db
from app.hardening import keep_memory_private
from app.jobs.context import bind
from app.jobs.enqueue import start_server_sync
from app.jobs.periodic import PERIODIC_JOBS
from app.jobs.queues import MAINTENANCE, QUEUES, open_worker_connection
from app.jobs.workers import SyncPool, SyncScheduler, SyncWorker
from app.providers import PROVIDERS
from app.store import catalog
from app.sync import run as sync_run
from app.sync.catalog.bootstrap import bootstrap
from app.sync.http.client import new_client
from app.vault import Keyring

log = logging.getLogger(__name__)


def run_workers(app: Flask, keyring: Keyring, count: int) -> None:
    """Run a pool of `count` workers, and one more for interactive jobs only, until SIGTERM or SIGINT; jobs under way
    are finished first.

    The app, the TLS certificates and the catalog are loaded before the workers fork, so that a job costs a fork and
    not an import. No connection is open across the fork.
    """
    keep_memory_private()
    logs.configure_process()
    bind(app, keyring)
    with app.app_context():
        catalog.load_index()
        sync_run.warm_up(clock.utc_now())
        db.session.remove()
        db.engine.dispose(close=True)
        new_client().close()
        # Freeze loaded objects: a garbage collection in a fork would touch, and so copy, each of its pages.
        gc.collect()
        gc.freeze()
        connection = open_worker_connection(app)
        pool = SyncPool(list(QUEUES), connection=connection, num_workers=count + 1, worker_class=SyncWorker)
        pool.start(logging_level="WARNING")


def run_scheduler(app: Flask) -> None:
    """Mirror the provider files, then queue the periodic jobs until SIGTERM or SIGINT. Needs no keyring."""
    logs.configure_process()
    bind(app, None)
    with app.app_context():
        bootstrap(clock.utc_now())
        log.info("Synced %s providers", len(PROVIDERS))
        if config.current().sync_on_startup:
            start_server_sync("schedule")
        scheduler = SyncScheduler(connection=open_worker_connection(app), logging_level="WARNING")
        for periodic in PERIODIC_JOBS:
            scheduler.register(
                periodic.job, queue_name=MAINTENANCE, interval=periodic.every_s, result_ttl=0, ttl=periodic.ttl_s
            )
        scheduler.start()
