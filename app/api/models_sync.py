"""`/api/models/sync` and its cron endpoint, with the original specification's field names."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, abort, request, url_for
from flask_login import current_user, login_required

from app import clock, config
from app.api.operations import describe
from app.api.schemas import QueuedSyncs, StartedSync, SyncState
from app.extensions import csrf, limiter
from app.jobs import enqueue
from app.store import credentials, runs
from app.store.queries import runs as run_queries
from app.store.queries.results import result_json

blueprint = Blueprint("models_sync", __name__, url_prefix="/api/models/sync")


@blueprint.get("")
@describe({200: SyncState}, tag="Sync, as before", security=("session",), errors=(401, 503))
@login_required
def last_sync() -> dict[str, Any]:
    """The last finished sync of the signed-in user, and whether a new one is recommended."""
    last = runs.last_finished(current_user.id)
    run = run_queries.load_run(last.id) if last else None
    return {
        "lastSync": {
            "id": run.id,
            "synced_at": clock.isoformat(run.ended_at),
            "total_new_models": run.total_new_models,
            "sync_results": [result_json(result) for result in run.results],
        }
        if run
        else None,
        "needsSync": runs.needs_sync(runs.last_finished(current_user.id, whole=True), clock.utc_now()),
    }


@blueprint.post("")
@describe({202: StartedSync}, tag="Sync, as before", security=("session",), errors=(400, 401, 409, 429, 503, 507))
@login_required
@limiter.limit("60 per minute")
def start() -> Any:
    """Start a sync of the signed-in user: 202 with the run's id, or the live one's."""
    started = enqueue.start_sync(current_user.id, "api")
    if started is None:
        return {"error": "There is no active API key to sync. Add one on the profile page."}, 409
    body = {"run_id": started.run_id, "id": started.run_id, "started": started.is_new, "notice": started.queue_problem}
    return body, 202, {"Location": url_for("history.run", run_id=started.run_id)}


@blueprint.route("/cron", methods=["GET", "POST"])
@describe({200: QueuedSyncs}, tag="Sync, as before", security=("cron",), errors=(401, 404, 429, 503))
@csrf.exempt
@limiter.limit("30 per minute")
def cron() -> Any:
    """Queue a sync of every user with an active key. One job is queued, so the answer does not wait for it."""
    secret = config.current().cron_secret
    if not secret:
        abort(404)
    header = request.headers.get("Authorization", "")
    if not hmac.compare_digest(header.encode("utf-8", "surrogateescape"), f"Bearer {secret}".encode()):
        return {"error": "The Authorization header must be: Bearer, then CRON_SECRET."}, 401
    queued = credentials.count_users_to_sync()
    problem = enqueue.enqueue_full_sync("cron")
    if problem:
        return {"error": "The job queue (Redis) cannot be reached, so nothing was queued. Try again later."}, 503
    return {"queued": queued, "notice": enqueue.queue_problem()}
