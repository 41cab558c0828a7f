"""What web, API and command line call: start a run or queue a job.

Functions that return `str | None` return a sentence for the page when the job will have to wait, or cannot be queued,
because Redis is down or no worker runs; None otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from rq import Retry

from app import clock, config
from app.auth.settings import SecurityEvent
from app.extensions import db
from app.jobs import provider_test, queues, tasks
from app.jobs.pubsub import publish_run_changed
from app.jobs.queues import BULK, INTERACTIVE, NEW_KEYS, QUEUES
from app.store import plans, runs
from app.store.audit import Actor
from app.store.schema.tables import ProviderRow
from app.sync import planning, server_keys
from app.sync import reschedule as rescheduling

REQUEUE_AFTER = timedelta(seconds=15)
"""A row that has waited longer without being worked on has perhaps lost its job; queueing it twice is harmless."""
_FULL_SYNC_JOB_ID = "everyone"

NO_REDIS = "The job queue (Redis) cannot be reached. Your sync is saved and starts by itself when it is back."
NO_REDIS_FOR_REFRESH = "The job queue (Redis) cannot be reached, so the catalog was not asked: try again later."
NO_REDIS_FOR_DECISIONS = (
    "The job queue (Redis) cannot be reached. What you decided is saved; the catalog follows when it is back."
)
NO_REDIS_FOR_TEST = "The job queue (Redis) cannot be reached, so the provider was not asked: try again later."
NO_WORKER_FOR_TEST = "No worker is running, so nobody asks the provider: start one with `flask work`."
NO_REDIS_FOR_EMAIL = "The job queue (Redis) cannot be reached, so no letter can be sent. Try again in a moment."
NO_WORKER = "No worker is running. Your sync is saved and starts by itself when one does; tell the operator."


@dataclass(frozen=True, slots=True)
class EnqueuedRun:
    run_id: int
    is_new: bool
    """False for the user's live run, which was there before."""
    queue_problem: str | None
    """A sentence if the run will have to wait for Redis or for a worker."""


class PlanConflict(Exception):
    """A plan cannot be applied (any more). Its text is a sentence."""

    def __init__(self, sentence: str, live_run_id: int | None = None) -> None:
        super().__init__(sentence)
        self.live_run_id = live_run_id
        """The run that has to end first, if that is the reason."""


def queue_problem() -> str | None:
    """Why a queued run cannot start at present; None if a worker is running."""
    try:
        return None if queues.count_live_workers() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


# ------------------------------------------------------------------ runs


def start_sync(
    user_id: int,
    trigger: str,
    *,
    provider: str | None = None,
    providers: Sequence[str] = (),
    credential_id: int | None = None,
) -> EnqueuedRun | None:
    """Start a run, or return the user's live one; commits. None if the user has no active key to sync."""
    start = runs.start(
        user_id, trigger, clock.utc_now(), provider=provider, providers=providers, credential_id=credential_id
    )
    db.session.commit()
    return _enqueue_started(start) if start else None


def start_first_sync(user_id: int) -> EnqueuedRun | None:
    """Start the sync of keys that the user just saved, or add them to a run that waits; commits.

    If another run is under way, that is returned, and the keys' sync starts when it ends: even if this process dies
    now, since a committed key stays new until its sync. None without new keys.
    """
    start = runs.start(user_id, runs.NEW_KEY, clock.utc_now(), only_new_keys=True)
    db.session.commit()
    return _enqueue_started(start, NEW_KEYS) if start else None


def start_server_sync(trigger: str, providers: Sequence[str] = (), actor: Actor | None = None) -> EnqueuedRun:
    """Sync the shared catalog with the server's own keys, or return the live run; commits.

    providers: slugs; empty for all. actor: for the audit log. Raises ValueError if all of these providers are disabled.
    """
    start = server_keys.start(providers, trigger, clock.utc_now(), actor)
    db.session.commit()
    return _enqueue_started(start)


def _enqueue_started(start: runs.StartedRun, queue: str = INTERACTIVE) -> EnqueuedRun:
    run = start.run
    return EnqueuedRun(run.id, start.is_new, enqueue_run(run.id, queue) if run.state == "queued" else None)


def enqueue_run(run_id: int, queue: str = INTERACTIVE) -> str | None:
    """Queue a run ahead of scheduled ones."""
    # A job in a later queue that has this run, perhaps among others, will find it claimed.
    return _push_once(tasks.run_sync, run_id, queues.run_job_id(run_id), queue)


def _push_once(function: Callable[[int], None], row_id: int, job_id: str, queue: str = INTERACTIVE) -> str | None:
    """Queue a job unless it waits already, there or in the first queue."""
    try:
        if not queues.is_queued(job_id, *{INTERACTIVE, queue}):
            queues.push(function, row_id, job_id=job_id, queue=queue)
        return queue_problem()
    except redis.RedisError:
        return NO_REDIS


def requeue_if_lost(run_id: int, created_at: datetime, trigger: str) -> str | None:
    """Requeue a run that has waited long enough for its job to be presumed lost from Redis. Returns why it waits."""
    if clock.utc_now() - created_at > REQUEUE_AFTER:
        return enqueue_run(run_id, NEW_KEYS if trigger == runs.NEW_KEY else INTERACTIVE)
    return queue_problem()


def cancel_run(run_id: int, user_id: int | None = None) -> bool:
    """Cancel a live run, of this user only if one is given; commits. False if it is over or not theirs."""
    is_cancelled = runs.cancel(run_id, clock.utc_now(), user_id)
    db.session.commit()
    if is_cancelled:
        publish_run_changed(run_id)
        with contextlib.suppress(redis.RedisError):
            for queue in queues.open_queues():
                queue.remove(queues.run_job_id(run_id))
        tasks.start_first_syncs()
    return is_cancelled


def enqueue_full_sync(trigger: str) -> str | None:
    """Queue one job that starts runs for all users with active keys; a second call while it waits adds none."""
    try:
        if queues.is_queued(_FULL_SYNC_JOB_ID, BULK):
            return None
    except redis.RedisError:
        return NO_REDIS
    is_queued = queues.push(
        tasks.enqueue_all_users, trigger, job_id=_FULL_SYNC_JOB_ID, queue=BULK, retry=Retry(max=3), at_front=True
    )
    return None if is_queued else NO_REDIS


def reschedule_provider(provider: ProviderRow) -> None:
    """Apply a provider's new schedule, set and committed just now, to the keys for it. Commits."""
    rescheduling.reschedule(provider, clock.utc_now())


# ------------------------------------------------------------------ plans


def start_plan(actor: Actor, providers: Sequence[str] = ()) -> tuple[int, str | None]:
    """Queue a dry run with the server's own keys for these providers, or for all; commits.

    Returns the plan's id and a sentence if it will have to wait.
    """
    plan_id = planning.request_plan(providers, actor, clock.utc_now())
    db.session.commit()
    return plan_id, enqueue_plan(plan_id)


def enqueue_plan(plan_id: int) -> str | None:
    """Queue the job that makes a plan, unless it waits already."""
    return _push_once(tasks.make_plan, plan_id, queues.plan_job_id(plan_id))


def plan_objection(plan: plans.Plan) -> str | None:
    """Why a plan cannot be applied, as a sentence; None if it can."""
    return planning.rejection_reason(plan, clock.utc_now())


def start_apply(plan_id: int, actor: Actor, trigger: str) -> EnqueuedRun:
    """Start a run that writes exactly what a plan shows; commits. Raises LookupError or PlanConflict."""
    try:
        run = planning.start(plan_id, actor, trigger, clock.utc_now())
    except planning.StalePlan as error:
        db.session.rollback()
        raise PlanConflict(str(error)) from None
    except planning.SyncInProgress as error:
        db.session.rollback()
        raise PlanConflict(str(error), error.run_id) from None
    except BaseException:
        db.session.rollback()
        raise
    db.session.commit()
    return EnqueuedRun(run.id, True, enqueue_run(run.id))


# ------------------------------------------------------------------ catalog and provider tests


def enqueue_refresh(source: str, trigger: str) -> str | None:
    """Queue the refresh of a public catalog, unless it waits already."""
    job_id = queues.refresh_job_id(source)
    try:
        if queues.is_queued(job_id, *QUEUES):
            return None
    except redis.RedisError:
        return NO_REDIS_FOR_REFRESH
    queue = BULK if trigger == "schedule" else INTERACTIVE
    is_queued = queues.push(tasks.refresh_source, source, trigger, job_id=job_id, queue=queue)
    return None if is_queued else NO_REDIS_FOR_REFRESH


def enqueue_rebuild() -> str | None:
    """Queue the rebuild of the catalog after decisions were committed."""
    return None if queues.push(tasks.rebuild_catalog, retry=Retry(max=3)) else NO_REDIS_FOR_DECISIONS


def start_provider_test(slug: str) -> str | None:
    """Queue one test request to a provider."""
    try:
        job_id = queues.provider_test_job_id(slug)
        if not queues.is_queued(job_id, INTERACTIVE):
            provider_test.start(slug, clock.utc_now())
            queues.push(tasks.run_provider_test, slug, job_id=job_id)
        return None if queues.count_live_workers() else NO_WORKER_FOR_TEST
    except redis.RedisError:
        return NO_REDIS_FOR_TEST


# ------------------------------------------------------------------ e-mail


def enqueue_password_reset(reset_id: int) -> None:
    """Queue the e-mail with a password reset link. If Redis is down, `housekeeping` queues it later."""
    _push_once(tasks.send_password_reset, reset_id, queues.password_reset_job_id(reset_id))


def enqueue_signup_email(message: str) -> str | None:
    """Queue the e-mail to a new sign-up's address. message: from `signup_email.seal_message`."""
    is_queued = queues.push(tasks.send_signup_email, message, retry=Retry(max=3), hide_arguments=True)
    return None if is_queued else NO_REDIS_FOR_EMAIL


def notify_owner(user_id: int, event: SecurityEvent) -> None:
    """Queue the e-mail that tells an account's owner of a change to how it is signed in to, where e-mail is set up.

    Call it after the commit.
    """
    if config.current().mail_from:
        queues.push(tasks.send_security_notice, user_id, event, retry=Retry(max=3))
