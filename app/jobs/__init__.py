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
from app.auth.settings import WayIn
from app.extensions import db
from app.hardening import keep_memory_private
from app.jobs import digest_email, provider_test, signup_email
from app.jobs.queues import (
    BULK,
    CHANNEL,
    CHORES,
    INTERACTIVE,
    PLAN_CHANNEL,
    QUEUES,
    letter_job,
    plan_job,
    refresh_job,
    reset_job,
    run_job,
    runs_of,
    trial_job,
    worker_connection,
    workers_alive,
)
from app.jobs.queues import all_queues as _queues
from app.jobs.queues import queue as _queue
from app.jobs.queues import redis_connection as _connection
from app.jobs.registry import door
from app.jobs.workers import SyncPool, SyncScheduler, SyncWorker
from app.store import catalog, due, listed_models, models, overrides, plans, runs, sources
from app.store.accounts import password_resets, subscriptions, users
from app.store.audit import Actor
from app.store.engine import retention
from app.store.engine.transaction import written
from app.store.queries import admin
from app.store.schema.tables import ProviderRow
from app.sync import planning, server_keys
from app.sync import reschedule as rescheduling
from app.sync import run as sync_run
from app.sync.catalog import refresh
from app.sync.catalog.auto_adopt import adopt_proposals
from app.sync.catalog.rebuild import rebuild
from app.sync.http.fetch import new_client, process_client
from app.sync.limits.limiter import FOR_BULK, FOR_PEOPLE, Share
from app.sync.limits.store import RedisStore
from app.sync.provider_test import attempt
from app.vault import Opener

log = logging.getLogger(__name__)

_JOB_TIMEOUT_S = 600
_REQUEUE_AFTER = timedelta(seconds=15)
_AFTER_FAILURE = timedelta(hours=1)
_BATCH = 500
_TOGETHER = 20
"""Runs of the schedule that one job does at once."""
_EVERYONE = "everyone"
SYNCABLE = server_keys.SYNCABLE
"""Providers that can be synced with the server's own keys."""
Stale, Busy = planning.Stale, planning.Busy

NO_REDIS = "The job queue (Redis) cannot be reached. Your sync is saved and starts by itself when it is back."
NO_REDIS_FOR_NEWS = "The job queue (Redis) cannot be reached, so the catalog was not asked: try again later."
NO_REDIS_FOR_DECISIONS = (
    "The job queue (Redis) cannot be reached. What you decided is saved; the catalog follows when it is back."
)
NO_REDIS_FOR_TRIALS = "The job queue (Redis) cannot be reached, so the provider was not asked: try again later."
NO_WORKER_FOR_TRIALS = "No worker is running, so nobody asks the provider: start one with `flask work`."
NO_REDIS_FOR_LETTERS = "The job queue (Redis) cannot be reached, so no letter can be sent. Try again in a moment."
NO_WORKER = "No worker is running. Your sync is saved and starts by itself when one does; tell the operator."


@dataclass(frozen=True, slots=True)
class Begun:
    run_id: int
    is_new: bool
    trouble: str | None
    """A sentence about the queue, if the run will have to wait for it."""


# ------------------------------------------------------------------ what the web and the command line call


def begin_sync(
    user_id: int,
    trigger: str,
    *,
    provider: str | None = None,
    providers: Sequence[str] = (),
    credential_id: int | None = None,
) -> Begun | None:
    """Start a run, or give the live one; commits. None if the user has no active key to sync."""
    started = runs.start(user_id, trigger, _now(), provider=provider, providers=providers, credential_id=credential_id)
    db.session.commit()
    if started is None:
        return None
    run = started.run
    return Begun(run.id, started.is_new, enqueue_run(run.id) if run.state == "queued" else None)


def enqueue_run(run_id: int) -> str | None:
    """Queue a run for the workers, ahead of the cron's. A sentence if it will have to wait."""
    try:
        queues = _queues()
        # A job of the schedule that has it among others finds it taken.
        if queues[0].get_job_position(run_job(run_id)) is None:
            _enqueue(do_run, run_id)
        return None if workers_alive() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


def look_after(run_id: int, created_at: datetime) -> str | None:
    """Why a queued run waits, as a sentence. Whoever looks at an old one queues its job again, if Redis lost it."""
    if _now() - created_at > _REQUEUE_AFTER:
        return enqueue_run(run_id)
    return trouble_now()


def begin_server_sync(trigger: str, providers: Sequence[str] = (), actor: Actor | None = None) -> Begun:
    """Sync the shared catalog with the server's own keys, at these providers or all, or give the live run; commits.

    actor: whoever asked for it, for the audit log. Raises ValueError where all of these providers are disabled.
    """
    started = server_keys.start(providers, trigger, _now(), actor)
    db.session.commit()
    run = started.run
    return Begun(run.id, started.is_new, enqueue_run(run.id) if run.state == "queued" else None)


def begin_plan(actor: Actor, providers: Sequence[str] = ()) -> tuple[int, str | None]:
    """Have a worker ask these providers or all, and keep what a sync would write; commits. The plan's number, and a
    sentence if it will have to wait."""
    plan_id = planning.ask_for(providers, actor, _now())
    db.session.commit()
    return plan_id, enqueue_plan(plan_id)


def begin_apply(plan_id: int, actor: Actor, trigger: str) -> Begun:
    """Start a run that writes exactly a plan; commits. Raises LookupError, Stale or Busy, each with its sentence."""
    try:
        run = planning.start(plan_id, actor, trigger, _now())
    except Exception:
        db.session.rollback()
        raise
    db.session.commit()
    return Begun(run.id, True, enqueue_run(run.id))


def objection_to(plan: plans.Plan) -> str | None:
    """Why a plan cannot be applied, as a sentence; None if it can."""
    return planning.objection(plan, _now())


def enqueue_plan(plan_id: int) -> str | None:
    """Have a worker make a plan; one that waits already is not doubled. A sentence if it will have to wait."""
    try:
        if _queues()[0].get_job_position(plan_job(plan_id)) is None:
            _enqueue(do_plan, plan_id)
        return None if workers_alive() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


def reschedule(provider: ProviderRow) -> None:
    """Put a provider's keys on the schedule that was just set for it, and committed. Commits."""
    rescheduling.reschedule(provider, _now())


def cancel(run_id: int, user_id: int | None = None) -> bool:
    """End a live run (of this user only, if one is given) and tell who watches; commits. False if it is over."""
    done = runs.cancel(run_id, _now(), user_id)
    db.session.commit()
    if done:
        tell(run_id)
        with contextlib.suppress(redis.RedisError):
            for queue in _queues():
                queue.remove(run_job(run_id))
    return done


def enqueue_check(credential_id: int) -> str | None:
    """Have a worker ask the provider about a newly saved key."""
    return _enqueue(do_check, credential_id)


def begin_trial(slug: str) -> str | None:
    """Have a worker ask a provider once, as a test. A sentence if it cannot, or will have to wait."""
    try:
        if _queues()[0].get_job_position(trial_job(slug)) is None:
            provider_test.begin(slug, _now())
            _enqueue(do_trial, slug)
        return None if workers_alive() else NO_WORKER_FOR_TRIALS
    except redis.RedisError:
        return NO_REDIS_FOR_TRIALS


def enqueue_everyone(trigger: str) -> str | None:
    """Have a worker start runs for all users with active keys; a call that waits already is not doubled."""
    try:
        if _queue(BULK).get_job_position(_EVERYONE) is not None:
            return None
    except redis.RedisError:
        return NO_REDIS
    return _enqueue(do_everyone, trigger, queue=BULK, retry=Retry(max=3), at_front=True)


def enqueue_refresh(source: str, trigger: str) -> str | None:
    """Have a worker ask a public catalog; a call that waits already is not doubled. A sentence if it cannot be."""
    try:
        if any(queue.get_job_position(refresh_job(source)) is not None for queue in _queues()):
            return None
    except redis.RedisError:
        return NO_REDIS_FOR_NEWS
    queue = BULK if trigger == "schedule" else INTERACTIVE
    return NO_REDIS_FOR_NEWS if _enqueue(do_refresh, source, trigger, queue=queue) else None


def enqueue_rebuild() -> str | None:
    """Have a worker put decisions into force that were just taken and committed. A sentence if that has to wait."""
    return NO_REDIS_FOR_DECISIONS if _enqueue(do_rebuild, retry=Retry(max=3)) else None


def enqueue_reset(reset_id: int) -> None:
    """Have a worker mail the link of a request for another password; where Redis is away, `housekeeping` does."""
    with contextlib.suppress(redis.RedisError):
        if _queues()[0].get_job_position(reset_job(reset_id)) is None:
            _enqueue(do_reset, reset_id)


def enqueue_sign_up(letter: str) -> str | None:
    """Have a worker write to an address that somebody wants an account with. letter: as `sign_ups.sealed` gives it.
    A sentence if it cannot be."""
    return NO_REDIS_FOR_LETTERS if _enqueue(do_sign_up, letter, retry=Retry(max=3), shows=False) else None


def tell_owner(user_id: int, change: WayIn) -> None:
    """Have a worker write to the owner of an account that a way into it was changed, where letters are sent. After the
    commit."""
    if config.current().mail_from:
        _enqueue(do_tell_owner, user_id, change, retry=Retry(max=3))


def trouble_now() -> str | None:
    """Why a queued run cannot begin at present, as a sentence; None if a worker is there."""
    try:
        return None if workers_alive() else NO_WORKER
    except redis.RedisError:
        return NO_REDIS


# ------------------------------------------------------------------ jobs


@door
def do_run(run_id: int) -> None:
    with _app().app_context(), means() as ours:
        sync_run.perform(run_id, ours)
        _adopt()


@door
def do_runs(*run_ids: int) -> None:
    """Several at once, in one process: what a fork and a connection cost is shared."""
    with _app().app_context(), means(share=FOR_BULK) as ours:
        sync_run.perform_all(run_ids, ours)
        _adopt()


@door
def do_check(credential_id: int) -> None:
    with _app().app_context(), means() as ours:
        sync_run.check(credential_id, ours)


@door
def do_reset(reset_id: int) -> None:
    """Mail the link of a request for another password: made here, and known to nobody but who gets the letter.

    Its hash is committed before the letter goes, so that the link works when it arrives. Raises MailError.
    """
    with _app().app_context():
        taken = password_resets.take(reset_id, _now())
        db.session.commit()
        if taken is None:
            return
        email, token = taken
        settings = config.current()
        letter = mail.reset_letter(settings.mail_from, email, f"{settings.public_url}/reset/{token}")
        mail.send(config.mail_server(), letter)
        password_resets.sent(reset_id, _now())
        db.session.commit()


@door
def do_trial(slug: str) -> None:
    """Ask a provider once, with the server's own key or without one, for an admin who waits."""
    with _app().app_context(), means() as ours:
        provider_test.end(slug, _now(), attempt(slug, ours))


@door
def do_letter(user_id: int) -> None:
    """Mail what this user's finished runs brought of what they want letters about."""
    with _app().app_context():
        digest_email.write(user_id, _now())


@door
def do_sign_up(letter: str) -> None:
    """Mail what `sign_ups` sealed. Raises MailError."""
    with _app().app_context():
        signup_email.write(letter, _vault())


@door
def do_tell_owner(user_id: int, change: WayIn) -> None:
    """Raises MailError."""
    with _app().app_context():
        email = users.address_of(user_id)
        db.session.rollback()
        if email is not None:
            settings = config.current()
            letter = mail.changed_letter(settings.mail_from, email, settings.public_url, change)
            mail.send(config.mail_server(), letter)


@door
def do_plan(plan_id: int) -> None:
    with _app().app_context(), means() as ours:
        try:
            planning.make(plan_id, ours)
        finally:
            with contextlib.suppress(redis.RedisError):
                _connection().publish(PLAN_CHANNEL.format(plan_id), b"")


@door
def do_everyone(trigger: str) -> int:
    """Start a run for every user with an active key and no live run; in batches, resumable by doing it again."""
    begun, last = 0, 0
    with _app().app_context():
        while user_ids := written(partial(runs.users_to_sync, last, _BATCH)):
            run_ids = written(partial(runs.start_many, user_ids, trigger, _now()))
            _enqueue_many(run_ids)
            begun, last = begun + len(run_ids), user_ids[-1]
    return begun


@door
def do_due() -> int:
    """Start runs of all that is due by the schedule, in batches; the number of runs."""
    begun = 0
    with _app().app_context():
        written(lambda: server_keys.mirror(config.server_keys(), _vault(), _now(), _interval()))
        # Two transactions: what is taken is let go before rows of runs are waited for, which workers hold the other
        # way round. What is lost by a kill between them is due again.
        while credentials := written(lambda: due.take(_now(), _BATCH)):
            run_ids = written(partial(runs.start_some, credentials, "schedule", _now()))
            _enqueue_many(run_ids)
            begun += len(run_ids)
    return begun


@door
def do_refresh(source: str, trigger: str) -> None:
    with _app().app_context(), new_client() as client:
        url = config.current().catalog_urls.get(source, "")
        refresh.refresh(source, trigger, client=client, now=_now, url=url)
        _adopt()


@door
def do_rebuild() -> None:
    with _app().app_context():
        rebuild(_now())
        db.session.commit()
        _adopt()


def _adopt() -> None:
    """Adopt what providers give evidence for by now, where an admin allowed it."""
    if adopt_proposals(_now()):
        rebuild(_now())
    db.session.commit()


@door
def look_after_catalog() -> None:
    """Queue the refreshes that are due, and put into force what a lost job left undone."""
    with _app().app_context():
        rebuild(_now())
        db.session.commit()
        if hours := config.current().catalog_refresh_hours:
            due = sources.due(_now(), timedelta(hours=hours), _AFTER_FAILURE)
            db.session.rollback()
            for source in due:
                enqueue_refresh(source, "schedule")


@door
def prune_history() -> None:
    """Take away history that is older than HISTORY_KEEP_DAYS, and old plans, in small transactions."""
    with _app().app_context():
        while plans.prune(_now()):
            db.session.commit()
        if days := config.current().history_keep_days:
            before = _now() - timedelta(days=days)
            while not retention.prune(before).is_empty:
                db.session.commit()
            db.session.rollback()


@door
def tally_days() -> None:
    """Count the days that are over, for the admin's charts."""
    with _app().app_context():
        admin.tally(_now())
        db.session.commit()


@door
def housekeeping() -> None:
    """Close runs whose worker died; queue anew those whose job was lost; tidy up what no page shows any more."""
    with _app().app_context():
        lost = runs.close_lost(_now())
        waiting = runs.waiting(_now() - _REQUEUE_AFTER)
        db.session.commit()
        if providers := listed_models.drop_unused():
            models.deactivate_unlisted(providers, _now())
            overrides.remove_unserved()
        db.session.commit()
        for run_id in lost:
            tell(run_id)
        for plan_id in plans.waiting(_now(), _REQUEUE_AFTER):
            enqueue_plan(plan_id)
        for reset_id in password_resets.waiting(_now(), _REQUEUE_AFTER) if config.current().mail_from else ():
            enqueue_reset(reset_id)
        queued = set().union(*(runs_of(job_id) for queue in _queues() for job_id in queue.job_ids))
        _enqueue_many([run_id for run_id in waiting if run_id not in queued])


@door
def mail_news() -> None:
    """Queue the letters that are due, each a job of its own: no run waits for a mail server."""
    with _app().app_context():
        if not config.current().mail_from:
            return
        subscriptions.pass_over_quiet(_now())
        db.session.commit()
        waiting = subscriptions.due(_now(), _BATCH)
        db.session.rollback()
        for user_id in waiting:
            if _queue(BULK).get_job_position(letter_job(user_id)) is None:
                _enqueue(do_letter, user_id, queue=BULK)


def tell(*run_ids: int) -> None:
    """Wake whoever watches these runs. Nobody's loss if Redis is away: watchers look at the database anyway."""
    with contextlib.suppress(redis.RedisError), _connection().pipeline(transaction=False) as pipe:
        for run_id in run_ids:
            pipe.publish(CHANNEL.format(run_id), b"")
        pipe.execute()


# ------------------------------------------------------------------ processes


def work(app: Flask, vault: Opener, count: int) -> None:
    """Run a pool of `count` workers until SIGTERM or SIGINT, and one more for people who wait; they finish what they
    are at.

    The app, the TLS certificates and the catalog are loaded before the workers fork: a job then costs a fork,
    not an import. No connection is open across the fork.
    """
    keep_memory_private()
    logs.speak()
    _use(app, vault)
    with app.app_context():
        catalog.index()
        sync_run.warm_up(_now())
        db.session.remove()
        db.engine.dispose(close=True)
        new_client().close()
        # What is there now stays: a collection in a fork would touch, and so copy, every page of it.
        gc.collect()
        gc.freeze()
        connection = worker_connection(app)
        pool = SyncPool(list(QUEUES), connection=connection, num_workers=count + 1, worker_class=SyncWorker)
        pool.start(logging_level="WARNING")


@dataclass(frozen=True, slots=True)
class Recurring:
    """What the scheduler queues again and again. Each is idempotent: a second scheduler by mistake does no harm."""

    job: Callable[[], object]
    every_s: int
    ttl_s: int
    """So long it may wait in the queue; then the next one will do."""


def schedule(app: Flask) -> None:
    """Run the scheduler until SIGTERM or SIGINT. It queues; workers do."""
    logs.speak()
    _use(app, None)
    with app.app_context():
        if config.current().sync_on_startup:
            begin_server_sync("schedule")
        scheduler = SyncScheduler(connection=worker_connection(app), logging_level="WARNING")
        for one in SCHEDULE:
            scheduler.register(one.job, queue_name=CHORES, interval=one.every_s, result_ttl=0, ttl=one.ttl_s)
        scheduler.start()


SCHEDULE = (
    Recurring(housekeeping, every_s=15, ttl_s=60),
    Recurring(do_due, every_s=60, ttl_s=60),
    Recurring(look_after_catalog, every_s=60, ttl_s=60),
    Recurring(mail_news, every_s=60, ttl_s=60),
    Recurring(prune_history, every_s=6 * 3_600, ttl_s=3_600),
    Recurring(tally_days, every_s=3_600, ttl_s=3_600),
)


# ------------------------------------------------------------------ inside

_bound: tuple[Flask, Opener | None] | None = None


def _use(app: Flask, vault: Opener | None) -> None:
    global _bound
    _bound = app, vault


def _app() -> Flask:
    """The app of this worker process, or of whoever calls a job function within an app context (tests)."""
    if _bound is None:
        if current_app:
            return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]
        raise RuntimeError("jobs are worked off by `flask work` or `flask up`, not by a bare rq worker")
    return _bound[0]


@contextlib.contextmanager
def means(
    vault: Opener | None = None, tell_also: sync_run.Tell | None = None, share: Share = FOR_PEOPLE
) -> Iterator[sync_run.Means]:
    """What a run of this process works with: the vault, clients, and whose base URL is overridden."""
    settings = config.current()
    yield sync_run.Means(
        vault=vault or _vault(),
        client=process_client(),
        guarded=process_client(settings.allowed_private_networks),
        base_urls=settings.base_urls,
        admin_base_urls=written(catalog.admin_base_urls),
        tell=tell_also or tell,
        share=share,
        shared=RedisStore(_connection()),
        server_keys=config.server_keys(),
        interval=_interval(),
    )


def _vault() -> Opener:
    return (_bound[1] if _bound else None) or config.open_vault()


def _now() -> datetime:
    return datetime.now(UTC)


def _interval() -> timedelta:
    return timedelta(hours=config.current().sync_interval_hours)


def _options(function: Any, *arguments: Any) -> dict[str, Any]:
    job_id = None
    if function in (do_run, do_runs):
        job_id = run_job(*arguments)
    elif function is do_everyone:
        job_id = _EVERYONE
    elif function is do_plan:
        job_id = plan_job(*arguments)
    elif function is do_reset:
        job_id = reset_job(*arguments)
    elif function is do_trial:
        job_id = trial_job(*arguments)
    elif function is do_letter:
        job_id = letter_job(*arguments)
    elif function is do_refresh:
        job_id = refresh_job(str(arguments[0]))
    return {"job_id": job_id, "timeout": _JOB_TIMEOUT_S, "result_ttl": 0, "failure_ttl": 86_400}


def _enqueue(
    function: Any,
    *arguments: Any,
    queue: str = INTERACTIVE,
    retry: Retry | None = None,
    at_front: bool = False,
    shows: bool = True,
) -> str | None:
    """shows: whether logs and the admin's page may show the arguments."""
    options = _options(function, *arguments)
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


def _enqueue_many(run_ids: Sequence[int]) -> None:
    if run_ids:
        batches = [run_ids[start : start + _TOGETHER] for start in range(0, len(run_ids), _TOGETHER)]
        jobs = [Queue.prepare_data(do_runs, tuple(batch), **_options(do_runs, *batch)) for batch in batches]
        _queue(BULK).enqueue_many(jobs)
