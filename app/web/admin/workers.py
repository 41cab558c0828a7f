"""For admins: workers, queues, and the jobs that failed. The jobs' payloads and the words of errors stay out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user

from app.extensions import db
from app.jobs import monitoring
from app.store import audit
from app.store.audit import Actor
from app.web.admin.overview import NO_REDIS, admin_required
from app.web.app import filters

blueprint = Blueprint("admin_workers", __name__, url_prefix="/admin/workers")

JOB_LABELS = {
    "do_run": "a sync",
    "do_runs": "syncs that were due",
    "do_check": "checking a new key",
    "do_trial": "testing a provider",
    "do_letter": "mailing news",
    "mail_news": "looking for news to mail",
    "do_reset": "mailing the link to another password",
    "do_tell_owner": "mailing that an account was changed",
    "do_sign_up": "mailing who signs up",
    "do_everyone": "starting everyone's sync",
    "do_due": "starting what is due",
    "do_server": "syncing the server's own keys",
    "do_plan": "a dry run with the server's own keys",
    "do_refresh": "refreshing the catalog",
    "do_rebuild": "putting decisions into force",
    "look_after_catalog": "looking after the catalog",
    "prune_history": "pruning old history",
    "tally_days": "counting days for the charts",
    "housekeeping": "housekeeping",
}
_ERROR_LABELS = {
    "OperationalError": "The database could not be reached, or was too busy.",
    "InterfaceError": "The connection to the database broke.",
    "IntegrityError": "The database refused a row that another one rules out.",
    "JobTimeoutException": "It took too long and was stopped.",
    "AbandonedJobError": "Its worker disappeared.",
    "MailError": "The mail server did not take the letter.",
    "ConnectionError": "A connection could not be made, or broke.",
    "TimeoutError": "Something it waited for did not answer in time.",
    "MemoryError": "There was not enough memory.",
    "ConfigError": "A setting is missing or wrong.",
}
WORKER_STOPPED = "The worker that was at it was stopped."
JOB_GONE = "That job is not among the failed ones any more."


@blueprint.get("")
@admin_required
def index() -> str:
    try:
        found = {
            "workers": monitoring.list_workers(),
            "queues": monitoring.list_queues(),
            "failed": monitoring.list_failed_jobs(),
            "scheduler_at": monitoring.last_scheduler_pass(),
        }
    except redis.RedisError:
        found = {}
    return render_template("admin/workers.html", **found, is_away=not found, no_redis=NO_REDIS)


@blueprint.post("/failed/requeue")
@admin_required
def requeue() -> Any:
    return _act(monitoring.requeue_failed_job, "queued again", "It is queued once more.")


@blueprint.post("/failed/delete")
@admin_required
def delete() -> Any:
    return _act(monitoring.delete_failed_job, "deleted", "It is deleted.")


def _act(act: Callable[[str], bool], state: str, sentence: str) -> Any:
    """Do it to the job that the form names, note it, and say what came of it."""
    job_id = request.form.get("job", "")[:200]
    try:
        is_done = act(job_id)
    except redis.RedisError:
        flash(NO_REDIS, "bad")
        return redirect(url_for(".index"), 303)
    if is_done:
        actor = Actor(current_user.id, current_user.email)
        audit.record(actor, "job", job_id, {"state": "failed"}, {"state": state}, "", filters.now())
        db.session.commit()
    flash(sentence if is_done else JOB_GONE, "good" if is_done else "warn")
    return redirect(url_for(".index", _anchor="failed"), 303)


def describe_job(name: str) -> str:
    """What a job does, in words."""
    return JOB_LABELS.get(name, name.replace("_", " ") or "a job")


def describe_failure(job: monitoring.FailedJob) -> str:
    """Why a job failed, in one sentence that we wrote ourselves."""
    if not job.error:
        return WORKER_STOPPED
    known = _ERROR_LABELS.get(job.error)
    return f"{known} ({job.error})" if known else f"It failed with {job.error}; the worker's log has the details."


blueprint.add_app_template_filter(describe_job, "job_kind")
blueprint.add_app_template_filter(describe_failure, "job_cause")
