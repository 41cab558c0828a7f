"""Sync Now: start a run, and the status partial by answer, by stream and by polling: one file for all three."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import (
    Blueprint,
    Response,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from flask_login import current_user, login_required

from app import config, jobs
from app.extensions import db, limiter
from app.jobs import monitoring
from app.providers import get
from app.store import credentials, runs
from app.store.queries import runs as run_queries
from app.web.account import notifications
from app.web.app import filters

blueprint = Blueprint("sync", __name__)

NO_KEYS = "There is no active API key to sync. Add one below first."
_MAX_STREAM_EVENTS = 900
"""Messages and heartbeats after which a stream ends; the page then connects anew."""
_POLL_EVERY = 6
"""While a run is under way, every so many heartbeats the database is asked for what nobody told of."""
_streams = 0


@blueprint.post("/sync")
@login_required
@limiter.limit("60 per minute")
def start() -> Any:
    """Start a run over all keys, or over one provider's; a live run is shown instead of a second one."""
    slug = request.form.get("provider") or None
    return sync_response(jobs.start_sync(current_user.id, "manual", provider=slug if slug and get(slug) else None))


def sync_response(begun: jobs.EnqueuedRun | None) -> Any:
    """What whoever began a sync is shown: the status, or the page with it; None: there was no key to sync."""
    if not request.headers.get("HX-Request"):
        if begun is None:
            flash(NO_KEYS, "bad")
        return redirect(url_for("keys.profile", _anchor="sync-status"), 303)
    if begun is None:
        return render_status(None, trouble=NO_KEYS)
    return render_status(run_queries.load_run(begun.run_id), trouble=begun.trouble)


@blueprint.post("/sync/cancel")
@login_required
def cancel() -> Any:
    """End the live run: what it settled stays, what it did not come to keeps its last list."""
    run = latest_run()
    if run and run.is_live:
        jobs.cancel_run(run.id, current_user.id)
    if not request.headers.get("HX-Request"):
        return redirect(url_for("keys.profile", _anchor="sync-status"), 303)
    run = latest_run()
    return render_status(run) + _render_side_updates(run)


@blueprint.get("/sync/status")
@login_required
def status() -> Any:
    """The status partial. With `?revision=` of what the page shows, 204 while there is nothing else to show."""
    run = latest_run()
    trouble = queue_problem_of(run)
    if run and run.is_live and request.args.get("revision") == _revision(run, trouble):
        return "", 204
    if not request.headers.get("HX-Request"):
        return redirect(url_for("keys.profile", _anchor="sync-status"), 303)
    return render_status(run, trouble=trouble, polls="poll" in request.args) + _render_side_updates(run)


@blueprint.get("/sync/stream")
@login_required
@limiter.exempt
def stream() -> Any:
    """Server-sent events of the live run: each row as it turns, at the end the whole partial.

    Beyond the cap of streams, and without a live run, the answer is the partial itself, which polls.
    """
    run = latest_run()
    if run is None or not run.is_live or _streams >= config.current().max_streams:
        return render_status(run, trouble=queue_problem_of(run), polls=True)
    events = stream_with_context(_events(run.id, current_user.id))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(events, mimetype="text/event-stream", headers=headers)


def _events(run_id: int, user_id: int) -> Iterator[str]:
    global _streams
    _streams += 1
    try:
        yield from _stream_messages(run_id, user_id)
    finally:
        _streams -= 1


def _stream_messages(run_id: int, user_id: int) -> Iterator[str]:
    shown: dict[int, str] = {}
    revision = ""
    told_trouble = request.args.get("trouble") == "1"  # what the page that asks shows already
    run: run_queries.RunView | None = None
    db.session.remove()  # no transaction stays open while we wait, and no connection is held
    for count, is_told in enumerate(monitoring.watch_run(run_id)):
        if not is_told and run and run.state == "running" and count % _POLL_EVERY:
            yield ": still here\n\n"
            continue
        run = run_queries.load_progress(run_id, user_id)
        if run is None or not run.is_live or count > _MAX_STREAM_EVENTS:
            break
        trouble = queue_problem_of(run)
        if (trouble is not None) != told_trouble:
            # The whole piece, which connects anew and says what it knows.
            yield _format_message(render_template("sync/_status.html", run=run, has_keys=True, trouble=trouble))
            return
        if run.revision == revision and run.settled == len(run.results):
            yield ": still here\n\n"
            continue
        pieces = [
            _render_piece("sync/_row.html", result=result)
            for result in run.results
            if shown.get(result.id) != _row_state(result)
        ]
        shown = {result.id: _row_state(result) for result in run.results}
        if pieces or run.revision != revision:
            pieces.append(_render_piece("sync/_progress.html", run=run))
        revision = run.revision
        yield _format_message("".join(pieces)) if pieces else ": still here\n\n"
    last = _format_message(
        render_template("sync/_status.html", run=run, has_keys=True, trouble=None) + _render_side_updates(run)
    )
    db.session.remove()  # whoever reads slowly holds no connection meanwhile
    yield last
    yield "event: done\ndata: \n\n"


def _render_piece(template: str, **told: Any) -> str:
    """Rendered without what a whole page knows of its reader: of a sync, hundreds are sent in a moment."""
    return current_app.jinja_env.get_template(template).render(**told, as_piece=True)


def _row_state(result: run_queries.ResultView) -> str:
    return f"{result.state}.{result.outcome}"


def _format_message(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"


def latest_run() -> run_queries.RunView | None:
    """The newest run; a live one only once those whose worker died were closed."""
    run = run_queries.load_latest_run(current_user.id)
    if run and run.is_live and close_lost():
        run = run_queries.load_latest_run(current_user.id)
    return run


def close_lost() -> bool:
    """Whoever looks at runs first closes those whose worker died, so that no page shows them as live.

    True if there were any.
    """
    lost = runs.close_lost(filters.now())
    if lost:
        db.session.commit()
    for run_id in lost:
        jobs.publish_run_changed(run_id)
    return bool(lost)


def _revision(run: run_queries.RunView, trouble: str | None) -> str:
    return run.revision + (".waits" if trouble else "")


def _render_side_updates(run: run_queries.RunView | None) -> str:
    """The pieces beside the status that a finished run changes: the badge, and what the keys' rows say."""
    if run is None or run.is_live:
        return ""
    keys = run_queries.list_keys(run.user_id, filters.now())
    return render_template("sync/_beside.html", counters=notifications.nav_badge_of(run.user_id), keys=keys)


def queue_problem_of(run: run_queries.RunView | None) -> str | None:
    """Why a queued run waits; looking at one also queues its job again, should Redis have lost it."""
    return jobs.requeue_if_lost(run.id, run.created_at) if run and run.state == "queued" else None


def render_status(run: run_queries.RunView | None, *, trouble: str | None = None, polls: bool = False) -> str:
    has_keys = credentials.has_active(current_user.id)
    return render_template("sync/_status.html", run=run, has_keys=has_keys, trouble=trouble, polls=polls)
