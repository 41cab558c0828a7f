"""The RQ doors: what may be queued, who works it off, and how a watching page is told. The only importer of rq.

Jobs carry ids only and are idempotent: whether a run is to be done is decided by its row, so a job that comes
twice, late or after a restart does no harm. Redis may lose everything in it: `housekeeping` queues anew.

`queues.py` says where jobs wait, `workers.py` who works them off, `watch.py` what is seen of all that.
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import redis
import structlog
from flask import Flask, current_app
from rq import Queue, Retry

from app import config, logs, mail
from app.auth.settings import SecurityEvent
from app.extensions import db
from app.hardening import keep_memory_private
from app.jobs import digest_email, provider_test, signup_email
from app.jobs.queues import (
    BULK,
    INTERACTIVE,
    MAINTENANCE,
    PLAN_CHANNEL,
    QUEUES,
    RUN_CHANNEL,
    count_live_workers,
    digest_job_id,
    open_worker_connection,
    password_reset_job_id,
    plan_job_id,
    provider_test_job_id,
    refresh_job_id,
    run_ids_of_job,
    run_job_id,
)
from app.jobs.queues import open_queue as _queue
from app.jobs.queues import open_queues as _queues
from app.jobs.queues import redis_connection as _connection
from app.jobs.registry import job
from app.jobs.workers import SyncPool, SyncScheduler, SyncWorker
from app.store import catalog, due, listed_models, models, overrides, plans, runs, sources
from app.store.accounts import password_resets, subscriptions, users
from app.store.audit import Actor
from app.store.engine import retention
from app.store.engine.transaction import run_in_transaction
from app.store.queries import admin
from app.store.schema.tables import ProviderRow
from app.sync import planning, server_keys
from app.sync import reschedule as rescheduling
from app.sync import run as sync_run
from app.sync.catalog import refresh
from app.sync.catalog.auto_adopt import adopt_proposals
from app.sync.catalog.rebuild import rebuild
from app.sync.http.fetch import new_client, process_client
from app.sync.limits.limiter import BULK_QUOTA, INTERACTIVE_QUOTA, Quota
from app.sync.limits.store import RedisLimiterStore
from app.sync.provider_test import run_test
from app.vault import Keyring

log = logging.getLogger(__name__)

_JOB_TIMEOUT_S = 600
_REQUEUE_AFTER = timedelta(seconds=15)
_RETRY_DELAY = timedelta(hours=1)
_BATCH_SIZE = 500
_RUNS_PER_JOB = 20
"""Runs of the schedule that one job does at once."""
_FULL_SYNC_JOB_ID = "everyone"
SYNCABLE = server_keys.SYNCABLE
"""Providers that can be synced with the server's own keys."""
Stale, Busy = planning.StalePlan, planning.SyncInProgress

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
    trouble: str | None
    """A sentence about the queue, if the run will have to wait for it."""


# ------------------------------------------------------------------ what the web and the command line call


def start_sync(
    user_id: int,
    trigger: str,
    *,
    provider: str | None = None,
    providers: Sequence[str] = (),
    credential_id: int | None = None,
) -> EnqueuedRun | None:
    """Start a run, or give the live one; commits. None if the user has no active key to sync."""
    started = runs.start(user_id, trigger, _now(), provider=provider, providers=providers, credential_id=credential_id)
    db.session.commit()
    if started is None:
        return None
    run = started.run
    return EnqueuedRun(run.id, started.is_new, enqueue_run(run.id) if run.state == "queued" else None)


def enqueue_run(run_id: int) -> str | None:
    """Queue a run for the workers, ahead of the cron's. A sentence if it will have to wait."""
    try:
        queues = _queues()
        # A job of the schedule that has it among others finds it taken.
        if queues[0].get_job_position(run_job_id(run_id)) is None:
            _push(run_sync, run_id)
        return None if count_live_workers() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


def requeue_if_lost(run_id: int, created_at: datetime) -> str | None:
    """Why a queued run waits, as a sentence. Whoever looks at an old one queues its job again, if Redis lost it."""
    if _now() - created_at > _REQUEUE_AFTER:
        return enqueue_run(run_id)
    return queue_problem()


def start_server_sync(trigger: str, providers: Sequence[str] = (), actor: Actor | None = None) -> EnqueuedRun:
    """Sync the shared catalog with the server's own keys, at these providers or all, or give the live run; commits.

    actor: whoever asked for it, for the audit log. Raises ValueError where all of these providers are disabled.
    """
    started = server_keys.start(providers, trigger, _now(), actor)
    db.session.commit()
    run = started.run
    return EnqueuedRun(run.id, started.is_new, enqueue_run(run.id) if run.state == "queued" else None)


def start_plan(actor: Actor, providers: Sequence[str] = ()) -> tuple[int, str | None]:
    """Have a worker ask these providers or all, and keep what a sync would write; commits. The plan's number, and a
    sentence if it will have to wait."""
    plan_id = planning.request_plan(providers, actor, _now())
    db.session.commit()
    return plan_id, enqueue_plan(plan_id)


def start_apply(plan_id: int, actor: Actor, trigger: str) -> EnqueuedRun:
    """Start a run that writes exactly a plan; commits. Raises LookupError, Stale or Busy, each with its sentence."""
    try:
        run = planning.start(plan_id, actor, trigger, _now())
    except Exception:
        db.session.rollback()
        raise
    db.session.commit()
    return EnqueuedRun(run.id, True, enqueue_run(run.id))


def plan_objection(plan: plans.Plan) -> str | None:
    """Why a plan cannot be applied, as a sentence; None if it can."""
    return planning.rejection_reason(plan, _now())


def enqueue_plan(plan_id: int) -> str | None:
    """Have a worker make a plan; one that waits already is not doubled. A sentence if it will have to wait."""
    try:
        if _queues()[0].get_job_position(plan_job_id(plan_id)) is None:
            _push(make_plan, plan_id)
        return None if count_live_workers() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


def reschedule_provider(provider: ProviderRow) -> None:
    """Put a provider's keys on the schedule that was just set for it, and committed. Commits."""
    rescheduling.reschedule(provider, _now())


def cancel_run(run_id: int, user_id: int | None = None) -> bool:
    """End a live run (of this user only, if one is given) and tell who watches; commits. False if it is over."""
    done = runs.cancel(run_id, _now(), user_id)
    db.session.commit()
    if done:
        publish_run_changed(run_id)
        with contextlib.suppress(redis.RedisError):
            for queue in _queues():
                queue.remove(run_job_id(run_id))
    return done


def enqueue_key_check(credential_id: int) -> str | None:
    """Have a worker ask the provider about a newly saved key."""
    return _push(check_key, credential_id)


def start_provider_test(slug: str) -> str | None:
    """Have a worker ask a provider once, as a test. A sentence if it cannot, or will have to wait."""
    try:
        if _queues()[0].get_job_position(provider_test_job_id(slug)) is None:
            provider_test.start(slug, _now())
            _push(run_provider_test, slug)
        return None if count_live_workers() else NO_WORKER_FOR_TEST
    except redis.RedisError:
        return NO_REDIS_FOR_TEST


def enqueue_full_sync(trigger: str) -> str | None:
    """Have a worker start runs for all users with active keys; a call that waits already is not doubled."""
    try:
        if _queue(BULK).get_job_position(_FULL_SYNC_JOB_ID) is not None:
            return None
    except redis.RedisError:
        return NO_REDIS
    return _push(enqueue_all_users, trigger, queue=BULK, retry=Retry(max=3), at_front=True)


def enqueue_refresh(source: str, trigger: str) -> str | None:
    """Have a worker ask a public catalog; a call that waits already is not doubled. A sentence if it cannot be."""
    try:
        if any(queue.get_job_position(refresh_job_id(source)) is not None for queue in _queues()):
            return None
    except redis.RedisError:
        return NO_REDIS_FOR_REFRESH
    queue = BULK if trigger == "schedule" else INTERACTIVE
    return NO_REDIS_FOR_REFRESH if _push(refresh_source, source, trigger, queue=queue) else None


def enqueue_rebuild() -> str | None:
    """Have a worker put decisions into force that were just taken and committed. A sentence if that has to wait."""
    return NO_REDIS_FOR_DECISIONS if _push(rebuild_catalog, retry=Retry(max=3)) else None


def enqueue_password_reset(reset_id: int) -> None:
    """Have a worker mail the link of a request for another password; where Redis is away, `housekeeping` does."""
    with contextlib.suppress(redis.RedisError):
        if _queues()[0].get_job_position(password_reset_job_id(reset_id)) is None:
            _push(send_password_reset, reset_id)


def enqueue_signup_email(letter: str) -> str | None:
    """Have a worker write to an address that somebody wants an account with. letter: as `sign_ups.sealed` gives it.
    A sentence if it cannot be."""
    return NO_REDIS_FOR_EMAIL if _push(send_signup_email, letter, retry=Retry(max=3), shows=False) else None


def notify_owner(user_id: int, change: SecurityEvent) -> None:
    """Have a worker write to the owner of an account that a way into it was changed, where letters are sent. After the
    commit."""
    if config.current().mail_from:
        _push(send_security_notice, user_id, change, retry=Retry(max=3))


def queue_problem() -> str | None:
    """Why a queued run cannot begin at present, as a sentence; None if a worker is there."""
    try:
        return None if count_live_workers() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


# ------------------------------------------------------------------ jobs


@job
def run_sync(run_id: int) -> None:
    with _worker_app().app_context(), sync_context() as ours:
        sync_run.execute(run_id, ours)
        _adopt_proposals()


@job
def run_syncs(*run_ids: int) -> None:
    """Several at once, in one process: what a fork and a connection cost is shared."""
    with _worker_app().app_context(), sync_context(share=BULK_QUOTA) as ours:
        sync_run.execute_many(run_ids, ours)
        _adopt_proposals()


@job
def check_key(credential_id: int) -> None:
    with _worker_app().app_context(), sync_context() as ours:
        sync_run.check_key(credential_id, ours)


@job
def send_password_reset(reset_id: int) -> None:
    """Mail the link of a request for another password: made here, and known to nobody but who gets the letter.

    Its hash is committed before the letter goes, so that the link works when it arrives. Raises MailError.
    """
    with _worker_app().app_context():
        taken = password_resets.claim(reset_id, _now())
        db.session.commit()
        if taken is None:
            return
        email, token = taken
        settings = config.current()
        letter = mail.password_reset_email(settings.mail_from, email, f"{settings.public_url}/reset/{token}")
        mail.send(config.load_mail_server(), letter)
        password_resets.mark_sent(reset_id, _now())
        db.session.commit()


@job
def run_provider_test(slug: str) -> None:
    """Ask a provider once, with the server's own key or without one, for an admin who waits."""
    with _worker_app().app_context(), sync_context() as ours:
        provider_test.finish(slug, _now(), run_test(slug, ours))


@job
def send_digest(user_id: int) -> None:
    """Mail what this user's finished runs brought of what they want letters about."""
    with _worker_app().app_context():
        digest_email.send_digest(user_id, _now())


@job
def send_signup_email(letter: str) -> None:
    """Mail what `sign_ups` sealed. Raises MailError."""
    with _worker_app().app_context():
        signup_email.send_sealed(letter, _keyring())


@job
def send_security_notice(user_id: int, change: SecurityEvent) -> None:
    """Raises MailError."""
    with _worker_app().app_context():
        email = users.find_email(user_id)
        db.session.rollback()
        if email is not None:
            settings = config.current()
            letter = mail.security_notice_email(settings.mail_from, email, settings.public_url, change)
            mail.send(config.load_mail_server(), letter)


@job
def make_plan(plan_id: int) -> None:
    with _worker_app().app_context(), sync_context() as ours:
        try:
            planning.make_plan(plan_id, ours)
        finally:
            with contextlib.suppress(redis.RedisError):
                _connection().publish(PLAN_CHANNEL.format(plan_id), b"")


@job
def enqueue_all_users(trigger: str) -> int:
    """Start a run for every user with an active key and no live run; in batches, resumable by doing it again."""
    begun, last = 0, 0
    with _worker_app().app_context():
        while user_ids := run_in_transaction(partial(runs.users_to_sync, last, _BATCH_SIZE)):
            run_ids = run_in_transaction(partial(runs.start_many, user_ids, trigger, _now()))
            _push_runs(run_ids)
            begun, last = begun + len(run_ids), user_ids[-1]
    return begun


@job
def enqueue_due() -> int:
    """Start runs of all that is due by the schedule, in batches; the number of runs."""
    begun = 0
    with _worker_app().app_context():
        run_in_transaction(
            lambda: server_keys.mirror_keys(config.load_server_keys(), _keyring(), _now(), _sync_interval())
        )
        # Two transactions: what is taken is let go before rows of runs are waited for, which workers hold the other
        # way round. What is lost by a kill between them is due again.
        while credentials := run_in_transaction(lambda: due.claim(_now(), _BATCH_SIZE)):
            run_ids = run_in_transaction(partial(runs.start_for_keys, credentials, "schedule", _now()))
            _push_runs(run_ids)
            begun += len(run_ids)
    return begun


@job
def refresh_source(source: str, trigger: str) -> None:
    with _worker_app().app_context(), new_client() as client:
        url = config.current().catalog_urls.get(source, "")
        refresh.refresh(source, trigger, client=client, now=_now, url=url)
        _adopt_proposals()


@job
def rebuild_catalog() -> None:
    with _worker_app().app_context():
        rebuild(_now())
        db.session.commit()
        _adopt_proposals()


def _adopt_proposals() -> None:
    """Adopt what providers give evidence for by now, where an admin allowed it."""
    if adopt_proposals(_now()):
        rebuild(_now())
    db.session.commit()


@job
def refresh_catalog_if_due() -> None:
    """Queue the refreshes that are due, and put into force what a lost job left undone."""
    with _worker_app().app_context():
        rebuild(_now())
        db.session.commit()
        if hours := config.current().catalog_refresh_hours:
            due = sources.due_sources(_now(), timedelta(hours=hours), _RETRY_DELAY)
            db.session.rollback()
            for source in due:
                enqueue_refresh(source, "schedule")


@job
def prune_history() -> None:
    """Take away history that is older than HISTORY_KEEP_DAYS, and old plans, in small transactions."""
    with _worker_app().app_context():
        while plans.prune(_now()):
            db.session.commit()
        if days := config.current().history_keep_days:
            before = _now() - timedelta(days=days)
            while not retention.prune(before).is_empty:
                db.session.commit()
            db.session.rollback()


@job
def aggregate_days() -> None:
    """Count the days that are over, for the admin's charts."""
    with _worker_app().app_context():
        admin.aggregate_days(_now())
        db.session.commit()


@job
def housekeeping() -> None:
    """Close runs whose worker died; queue anew those whose job was lost; tidy up what no page shows any more."""
    with _worker_app().app_context():
        lost = runs.close_lost(_now())
        waiting = runs.stale_queued(_now() - _REQUEUE_AFTER)
        db.session.commit()
        if providers := listed_models.delete_unused():
            models.deactivate_unlisted(providers, _now())
            overrides.remove_unserved()
        db.session.commit()
        for run_id in lost:
            publish_run_changed(run_id)
        for plan_id in plans.stale_requests(_now(), _REQUEUE_AFTER):
            enqueue_plan(plan_id)
        for reset_id in password_resets.stale_requests(_now(), _REQUEUE_AFTER) if config.current().mail_from else ():
            enqueue_password_reset(reset_id)
        queued = set().union(*(run_ids_of_job(job_id) for queue in _queues() for job_id in queue.job_ids))
        _push_runs([run_id for run_id in waiting if run_id not in queued])


@job
def enqueue_digests() -> None:
    """Queue the letters that are due, each a job of its own: no run waits for a mail server."""
    with _worker_app().app_context():
        if not config.current().mail_from:
            return
        subscriptions.skip_empty(_now())
        db.session.commit()
        waiting = subscriptions.due_user_ids(_now(), _BATCH_SIZE)
        db.session.rollback()
        for user_id in waiting:
            if _queue(BULK).get_job_position(digest_job_id(user_id)) is None:
                _push(send_digest, user_id, queue=BULK)


def publish_run_changed(*run_ids: int) -> None:
    """Wake whoever watches these runs. Nobody's loss if Redis is away: watchers look at the database anyway."""
    with contextlib.suppress(redis.RedisError), _connection().pipeline(transaction=False) as pipe:
        for run_id in run_ids:
            pipe.publish(RUN_CHANNEL.format(run_id), b"")
        pipe.execute()


# ------------------------------------------------------------------ processes


def run_workers(app: Flask, vault: Keyring, count: int) -> None:
    """Run a pool of `count` workers until SIGTERM or SIGINT, and one more for people who wait; they finish what they
    are at.

    The app, the TLS certificates and the catalog are loaded before the workers fork: a job then costs a fork,
    not an import. No connection is open across the fork.
    """
    keep_memory_private()
    logs.configure_process()
    bind(app, vault)
    with app.app_context():
        catalog.load_index()
        sync_run.warm_up(_now())
        db.session.remove()
        db.engine.dispose(close=True)
        new_client().close()
        # What is there now stays: a collection in a fork would touch, and so copy, every page of it.
        gc.collect()
        gc.freeze()
        connection = open_worker_connection(app)
        pool = SyncPool(list(QUEUES), connection=connection, num_workers=count + 1, worker_class=SyncWorker)
        pool.start(logging_level="WARNING")


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """What the scheduler queues again and again. Each is idempotent: a second scheduler by mistake does no harm."""

    job: Callable[[], object]
    every_s: int
    ttl_s: int
    """So long it may wait in the queue; then the next one will do."""


def run_scheduler(app: Flask) -> None:
    """Run the scheduler until SIGTERM or SIGINT. It queues; workers do."""
    logs.configure_process()
    bind(app, None)
    with app.app_context():
        if config.current().sync_on_startup:
            start_server_sync("schedule")
        scheduler = SyncScheduler(connection=open_worker_connection(app), logging_level="WARNING")
        for one in PERIODIC_JOBS:
            scheduler.register(one.job, queue_name=MAINTENANCE, interval=one.every_s, result_ttl=0, ttl=one.ttl_s)
        scheduler.start()


PERIODIC_JOBS = (
    PeriodicJob(housekeeping, every_s=15, ttl_s=60),
    PeriodicJob(enqueue_due, every_s=60, ttl_s=60),
    PeriodicJob(refresh_catalog_if_due, every_s=60, ttl_s=60),
    PeriodicJob(enqueue_digests, every_s=60, ttl_s=60),
    PeriodicJob(prune_history, every_s=6 * 3_600, ttl_s=3_600),
    PeriodicJob(aggregate_days, every_s=3_600, ttl_s=3_600),
)


# ------------------------------------------------------------------ inside

_binding: tuple[Flask, Keyring | None] | None = None


def bind(app: Flask, vault: Keyring | None) -> None:
    global _binding
    _binding = app, vault


def _worker_app() -> Flask:
    """The app of this worker process, or of whoever calls a job function within an app context (tests)."""
    if _binding is None:
        if current_app:
            return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]
        raise RuntimeError("jobs are worked off by `flask work` or `flask up`, not by a bare rq worker")
    return _binding[0]


@contextlib.contextmanager
def sync_context(
    vault: Keyring | None = None, tell_also: sync_run.OnProgress | None = None, share: Quota = INTERACTIVE_QUOTA
) -> Iterator[sync_run.SyncContext]:
    """What a run of this process works with: the vault, clients, and whose base URL is overridden."""
    settings = config.current()
    yield sync_run.SyncContext(
        vault=vault or _keyring(),
        client=process_client(),
        guarded=process_client(settings.allowed_private_networks),
        base_urls=settings.base_urls,
        admin_base_urls=run_in_transaction(catalog.admin_base_urls),
        tell=tell_also or publish_run_changed,
        share=share,
        shared=RedisLimiterStore(_connection()),
        server_keys=config.load_server_keys(),
        interval=_sync_interval(),
    )


def _keyring() -> Keyring:
    return (_binding[1] if _binding else None) or config.load_keyring()


def _now() -> datetime:
    return datetime.now(UTC)


def _sync_interval() -> timedelta:
    return timedelta(hours=config.current().sync_interval_hours)


def _job_options(function: Any, *arguments: Any) -> dict[str, Any]:
    job_id = None
    if function in (run_sync, run_syncs):
        job_id = run_job_id(*arguments)
    elif function is enqueue_all_users:
        job_id = _FULL_SYNC_JOB_ID
    elif function is make_plan:
        job_id = plan_job_id(*arguments)
    elif function is send_password_reset:
        job_id = password_reset_job_id(*arguments)
    elif function is run_provider_test:
        job_id = provider_test_job_id(*arguments)
    elif function is send_digest:
        job_id = digest_job_id(*arguments)
    elif function is refresh_source:
        job_id = refresh_job_id(str(arguments[0]))
    return {"job_id": job_id, "timeout": _JOB_TIMEOUT_S, "result_ttl": 0, "failure_ttl": 86_400}


def _push(
    function: Any,
    *arguments: Any,
    queue: str = INTERACTIVE,
    retry: Retry | None = None,
    at_front: bool = False,
    shows: bool = True,
) -> str | None:
    """shows: whether logs and the admin's page may show the arguments."""
    options = _job_options(function, *arguments)
    options["job_timeout"] = options.pop("timeout")
    if not shows:
        options["description"] = f"{function.__module__}.{function.__name__}()"
    if asked := structlog.contextvars.get_contextvars().get("request_id"):
        options["meta"] = {"request_id": asked}
    try:
        _queue(queue).enqueue(function, *arguments, retry=retry, at_front=at_front, **options)
    except redis.RedisError:
        log.warning("cannot queue %s%s: Redis is away", function.__name__, arguments if shows else "")
        return NO_REDIS
    return None


def _push_runs(run_ids: Sequence[int]) -> None:
    if run_ids:
        batches = [run_ids[start : start + _RUNS_PER_JOB] for start in range(0, len(run_ids), _RUNS_PER_JOB)]
        jobs = [Queue.prepare_data(run_syncs, tuple(batch), **_job_options(run_syncs, *batch)) for batch in batches]
        _queue(BULK).enqueue_many(jobs)
