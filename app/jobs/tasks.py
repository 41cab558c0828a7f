"""Job functions. They take ids only, read everything else from the database, and can safely run twice."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

import redis
from rq import Queue

from app import clock, config, mail
from app.auth.settings import SecurityEvent
from app.extensions import db
from app.jobs import digest_email, provider_test, queues, signup_email
from app.jobs.context import keyring, sync_context, worker_app
from app.jobs.registry import job
from app.store import runs
from app.store.accounts import password_resets, users
from app.store.engine.transaction import run_in_transaction
from app.sync import planning
from app.sync import run as sync_run
from app.sync.catalog import refresh
from app.sync.catalog.auto_adopt import adopt_proposals
from app.sync.catalog.rebuild import rebuild
from app.sync.http.client import new_client
from app.sync.limits.limiter import BULK_QUOTA
from app.sync.provider_test import run_test

BATCH_SIZE = 500
_RUNS_PER_JOB = 20
"""Scheduled runs that one job does together, in one process: they share the cost of a fork and a connection."""


@job
def run_sync(run_id: int) -> None:
    with worker_app().app_context(), sync_context() as context:
        sync_run.execute(run_id, context)
        _adopt_proposals()
        start_first_syncs()


@job
def run_syncs(*run_ids: int) -> None:
    with worker_app().app_context(), sync_context(quota=BULK_QUOTA) as context:
        sync_run.execute_many(run_ids, context)
        _adopt_proposals()
        start_first_syncs()


@job
def sync_new_keys(_credential_id: int) -> None:
    """What the check of a new key, queued by version 0.1.0, became."""
    with worker_app().app_context():
        start_first_syncs()


def start_first_syncs() -> None:
    """Start and queue the syncs of new keys whose owners have no live run: keys saved during one wait for its end.

    A run that cannot be queued because Redis is down is queued by `housekeeping`, which also calls this.
    """
    for run_id in run_in_transaction(lambda: runs.start_first_syncs(clock.utc_now(), BATCH_SIZE)):
        queues.push(run_sync, run_id, job_id=queues.run_job_id(run_id), queue=queues.NEW_KEYS)


@job
def make_plan(plan_id: int) -> None:
    with worker_app().app_context(), sync_context() as context:
        try:
            planning.make_plan(plan_id, context)
        finally:
            with contextlib.suppress(redis.RedisError):
                queues.redis_connection().publish(queues.PLAN_CHANNEL.format(plan_id), b"")


@job
def run_provider_test(slug: str) -> None:
    """Request a provider's list once, with the server's own key or without one, and save the result."""
    with worker_app().app_context(), sync_context() as context:
        provider_test.finish(slug, clock.utc_now(), run_test(slug, context))


@job
def enqueue_all_users(trigger: str) -> int:
    """Start a run for every user who has an active key and no live run; returns their number.

    Works in batches. Doing it again resumes where a killed job stopped.
    """
    count, last = 0, 0
    with worker_app().app_context():
        while user_ids := run_in_transaction(partial(runs.users_to_sync, last, BATCH_SIZE)):
            run_ids = run_in_transaction(partial(runs.start_many, user_ids, trigger, clock.utc_now()))
            push_runs(run_ids)
            count, last = count + len(run_ids), user_ids[-1]
    return count


def push_runs(run_ids: Sequence[int]) -> None:
    """Queue runs of the schedule, several to a job. Raises redis.RedisError."""
    if run_ids:
        batches = [run_ids[start : start + _RUNS_PER_JOB] for start in range(0, len(run_ids), _RUNS_PER_JOB)]
        jobs = [
            Queue.prepare_data(run_syncs, tuple(batch), **queues.job_options(queues.run_job_id(*batch)))
            for batch in batches
        ]
        queues.open_queue(queues.BULK).enqueue_many(jobs)


@job
def refresh_source(source: str, trigger: str) -> None:
    """Download a public catalog and rebuild from it."""
    with worker_app().app_context(), new_client() as client:
        url = config.current().catalog_urls.get(source, "")
        refresh.refresh(source, trigger, client=client, now=clock.utc_now, url=url)
        _adopt_proposals()


@job
def rebuild_catalog() -> None:
    with worker_app().app_context():
        rebuild(clock.utc_now())
        db.session.commit()
        _adopt_proposals()


def _adopt_proposals() -> None:
    """Adopt proposals that by now have enough evidence, where an admin allowed it; commits."""
    if adopt_proposals(clock.utc_now()):
        rebuild(clock.utc_now())
    db.session.commit()


@job
def send_password_reset(reset_id: int) -> None:
    """Create the token of a password reset and mail its link. Raises MailError.

    The token's hash is committed first, so that the link works as soon as it arrives.
    """
    with worker_app().app_context():
        claim = password_resets.claim(reset_id, clock.utc_now())
        db.session.commit()
        if claim is None:
            return
        email, token = claim
        settings = config.current()
        message = mail.password_reset_email(settings.mail_from, email, f"{settings.public_url}/reset/{token}")
        mail.send(config.load_mail_server(), message)
        password_resets.mark_sent(reset_id, clock.utc_now())
        db.session.commit()


@job
def send_digest(user_id: int) -> None:
    """Mail what this user's finished runs found of the topics they subscribed to."""
    with worker_app().app_context():
        digest_email.send_digest(user_id, clock.utc_now())


@job
def send_signup_email(message: str) -> None:
    """message: as `signup_email.seal_message` returns it. Raises MailError."""
    with worker_app().app_context():
        signup_email.send_sealed(message, keyring())


@job
def send_security_notice(user_id: int, event: SecurityEvent) -> None:
    """Tell the owner of an account that one of its ways to sign in was changed. Raises MailError."""
    with worker_app().app_context():
        email = users.find_email(user_id)
        db.session.rollback()
        if email is not None:
            settings = config.current()
            message = mail.security_notice_email(settings.mail_from, email, settings.public_url, event)
            mail.send(config.load_mail_server(), message)
