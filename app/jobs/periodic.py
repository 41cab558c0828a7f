"""Jobs that the scheduler queues at fixed intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app import clock, config
from app.extensions import db
from app.jobs import queues
from app.jobs.context import keyring, sync_interval, worker_app
from app.jobs.enqueue import REQUEUE_AFTER, enqueue_password_reset, enqueue_plan, enqueue_refresh
from app.jobs.pubsub import publish_run_changed
from app.jobs.registry import job
from app.jobs.tasks import BATCH_SIZE, push_runs, send_digest, start_first_syncs
from app.store import auto_overrides, due, listed_models, models, plans, runs, sources
from app.store.accounts import password_resets, subscriptions
from app.store.engine import retention
from app.store.engine.transaction import run_in_transaction
from app.store.queries import admin
from app.sync import server_keys
from app.sync.catalog.rebuild import rebuild

_RETRY_DELAY = timedelta(hours=1)
"""A catalog source that failed is not requested again earlier."""


@job
def housekeeping() -> None:
    """Close runs whose worker died, queue lost jobs again, start what new keys still wait for, and delete listed
    models that no page shows any more."""
    with worker_app().app_context():
        lost = runs.close_lost(clock.utc_now())
        waiting = runs.stale_queued(clock.utc_now() - REQUEUE_AFTER)
        db.session.commit()
        if providers := listed_models.delete_unused():
            models.deactivate_unlisted(providers, clock.utc_now())
            auto_overrides.remove_unserved()
        db.session.commit()
        for run_id in lost:
            publish_run_changed(run_id)
        for plan_id in plans.stale_requests(clock.utc_now(), REQUEUE_AFTER):
            enqueue_plan(plan_id)
        for reset_id in (
            password_resets.stale_requests(clock.utc_now(), REQUEUE_AFTER) if config.current().mail_from else ()
        ):
            enqueue_password_reset(reset_id)
        job_ids = [job_id for queue in queues.open_queues() for job_id in queue.job_ids]
        queued = {run_id for job_id in job_ids for run_id in queues.run_ids_of_job(job_id)}
        push_runs([run_id for run_id in waiting if run_id not in queued])
        start_first_syncs()


@job
def enqueue_due() -> int:
    """Start the runs that are due by the schedule, in batches; returns their number."""
    count = 0
    with worker_app().app_context():
        run_in_transaction(
            lambda: server_keys.mirror_keys(config.load_server_keys(), keyring(), clock.utc_now(), sync_interval())
        )
        # Two transactions: credentials are unlocked before rows of runs are locked, since workers lock them in the
        # opposite order. What a kill between the two loses is due again.
        while credentials := run_in_transaction(lambda: due.claim(clock.utc_now(), BATCH_SIZE)):
            run_ids = run_in_transaction(partial(runs.start_for_keys, credentials, "schedule", clock.utc_now()))
            push_runs(run_ids)
            count += len(run_ids)
    return count


@job
def refresh_catalog_if_due() -> None:
    """Rebuild what a lost job left undone, and queue the refreshes that are due."""
    with worker_app().app_context():
        rebuild(clock.utc_now())
        db.session.commit()
        if hours := config.current().catalog_refresh_hours:
            names = sources.due_sources(clock.utc_now(), timedelta(hours=hours), _RETRY_DELAY)
            db.session.rollback()
            for name in names:
                enqueue_refresh(name, "schedule")


@job
def enqueue_digests() -> None:
    """Queue the digest e-mails that are due, one job each, so that no run waits for a mail server."""
    with worker_app().app_context():
        if not config.current().mail_from:
            return
        subscriptions.skip_empty(clock.utc_now())
        db.session.commit()
        user_ids = subscriptions.due_user_ids(clock.utc_now(), BATCH_SIZE)
        db.session.rollback()
        for user_id in user_ids:
            job_id = queues.digest_job_id(user_id)
            if not queues.is_queued(job_id, queues.BULK):
                queues.push(send_digest, user_id, job_id=job_id, queue=queues.BULK)


@job
def prune_history() -> None:
    """Delete history older than HISTORY_KEEP_DAYS, and old plans, in small transactions."""
    with worker_app().app_context():
        while plans.prune(clock.utc_now()):
            db.session.commit()
        if days := config.current().history_keep_days:
            before = clock.utc_now() - timedelta(days=days)
            while not retention.prune(before).is_empty:
                db.session.commit()
            db.session.rollback()


@job
def aggregate_days() -> None:
    """Count finished days for the admin charts."""
    with worker_app().app_context():
        admin.aggregate_days(clock.utc_now())
        db.session.commit()


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Each is idempotent, so a second scheduler started by mistake does no harm."""

    job: Callable[[], object]
    every_s: int
    ttl_s: int
    """Seconds it may wait in the queue before it is dropped; the next one does its work."""


PERIODIC_JOBS = (
    PeriodicJob(housekeeping, every_s=15, ttl_s=60),
    PeriodicJob(enqueue_due, every_s=60, ttl_s=60),
    PeriodicJob(refresh_catalog_if_due, every_s=60, ttl_s=60),
    PeriodicJob(enqueue_digests, every_s=60, ttl_s=60),
    PeriodicJob(prune_history, every_s=6 * 3_600, ttl_s=3_600),
    PeriodicJob(aggregate_days, every_s=3_600, ttl_s=3_600),
)
