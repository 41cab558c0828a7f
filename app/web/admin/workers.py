"""Admin pages: workers, queues and failed jobs. Job payloads and error messages are not shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from flask import Blueprint, flash, redirect, render_template, request, url_for

from app import clock
from app.extensions import db
from app.jobs import monitoring
from app.store import audit
from app.web.admin.overview import NO_REDIS, admin_required
from app.web.app.arguments import current_actor

blueprint = Blueprint("admin_workers", __name__, url_prefix="/admin/workers")

JOB_LABELS = {
    "run_sync": "a sync",
    "run_syncs": "syncs that were due",
    "sync_new_keys": "starting the syncs of new keys",
    "run_provider_test": "testing a provider",
    "send_digest": "mailing news",
    "enqueue_digests": "looking for news to mail",
    "send_password_reset": "mailing the link to another password",
    "send_security_notice": "mailing that an account was changed",
    "send_signup_email": "mailing who signs up",
    "enqueue_all_users": "starting everyone's sync",
    "enqueue_due": "starting what is due",
    "make_plan": "a dry run with the server's own keys",
    "refresh_source": "refreshing the catalog",
    "rebuild_catalog": "putting decisions into force",
    "refresh_catalog_if_due": "looking after the catalog",
    "prune_history": "pruning old history",
    "aggregate_days": "counting days for the charts",
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
        queue_state = {
            "workers": monitoring.list_workers(),
            "queues": monitoring.list_queues(),
            "failed": monitoring.list_failed_jobs(),
            "scheduler_at": monitoring.last_scheduler_pass(),
        }
    except redis.RedisError:
        queue_state = {}
    return render_template("admin/workers.html", **queue_state, is_away=not queue_state, no_redis=NO_REDIS)


@blueprint.post("/failed/requeue")
@admin_required
def requeue() -> Any:
    return _act(monitoring.requeue_failed_job, "queued again", "It is queued once more.")


@blueprint.post("/failed/delete")
@admin_required
def delete() -> Any:
    return _act(monitoring.delete_failed_job, "deleted", "It is deleted.")


def _act(action: Callable[[str], bool], state: str, message: str) -> Any:
    """Apply an action to the job of the form, write it to the audit log, and report the result."""
    job_id = request.form.get("job", "")[:200]
    try:
        succeeded = action(job_id)
    except redis.RedisError:
        flash(NO_REDIS, "bad")
        return redirect(url_for(".index"), 303)
    if succeeded:
        audit.record(current_actor(), "job", job_id, {"state": "failed"}, {"state": state}, "", clock.utc_now())
        db.session.commit()
    flash(message if succeeded else JOB_GONE, "good" if succeeded else "warn")
    return redirect(url_for(".index", _anchor="failed"), 303)


def describe_job(name: str) -> str:
    """What a job does."""
    return JOB_LABELS.get(name, name.replace("_", " ") or "a job")


def describe_failure(job: monitoring.FailedJob) -> str:
    """Why a job failed, in a sentence of our own."""
    if not job.error:
        return WORKER_STOPPED
    label = _ERROR_LABELS.get(job.error)
    return f"{label} ({job.error})" if label else f"It failed with {job.error}; the worker's log has the details."


blueprint.add_app_template_filter(describe_job, "describe_job")
blueprint.add_app_template_filter(describe_failure, "describe_failure")
