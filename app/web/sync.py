"""Starting a sync, and the sync status partial, which is the same for responses, event stream and polling."""

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

from app import clock, config
from app.extensions import db, limiter
from app.jobs import enqueue, monitoring
from app.jobs.lost_runs import close_lost_runs
from app.providers import get
from app.store import credentials, runs
from app.store.queries import keys as key_queries
from app.store.queries import runs as run_queries
from app.web.account import notifications

blueprint = Blueprint("sync", __name__)

NO_KEYS = "There is no active API key to sync. Add one below first."
_MAX_STREAM_EVENTS = 900
"""Events and heartbeats after which a stream ends; the page then reconnects."""
_POLL_EVERY = 6
"""Heartbeats between database checks while a run is live, in case a notification was lost."""
_streams = 0


@blueprint.post("/sync")
@login_required
@limiter.limit("60 per minute")
def start() -> Any:
    """Start a run over all keys or one provider's; a live run is shown instead of a second one."""
    provider = request.form.get("provider") or None
    return sync_response(
        enqueue.start_sync(current_user.id, "manual", provider=provider if provider and get(provider) else None)
    )


def sync_response(enqueued: enqueue.EnqueuedRun | None) -> Any:
    """The status partial or, without htmx, a redirect to it. None: the user has no active key."""
    if not request.headers.get("HX-Request"):
        if enqueued is None:
            flash(NO_KEYS, "bad")
        return redirect(url_for("keys.profile", _anchor="sync-status"), 303)
    if enqueued is None:
        return render_status(None, problem=NO_KEYS)
    return render_status(run_queries.load_run(enqueued.run_id), problem=enqueued.queue_problem)


@blueprint.post("/sync/cancel")
@login_required
def cancel() -> Any:
    """Cancel the live run. Finished results stay; other keys keep their last list."""
    run = latest_run()
    if run and run.is_live:
        enqueue.cancel_run(run.id, current_user.id)
    if not request.headers.get("HX-Request"):
        return redirect(url_for("keys.profile", _anchor="sync-status"), 303)
    run = latest_run()
    return render_status(run) + _render_side_updates(run)


@blueprint.get("/sync/status")
@login_required
def status() -> Any:
    """The status partial. With `?revision=`, 204 while nothing has changed."""
    run = latest_run()
    problem = queue_problem_of(run)
    if run and run.is_live and request.args.get("revision") == _revision(run, problem):
        return "", 204
    if not request.headers.get("HX-Request"):
        return redirect(url_for("keys.profile", _anchor="sync-status"), 303)
    return render_status(run, problem=problem, polls="poll" in request.args) + _render_side_updates(run)


@blueprint.get("/sync/stream")
@login_required
@limiter.exempt
def stream() -> Any:
    """Server-sent events of the live run: each row as it changes, at the end the whole partial.

    Without a live run, or beyond MAX_STREAMS, the response is the partial itself, which polls.
    """
    run = latest_run()
    if run is None or not run.is_live or _streams >= config.current().max_streams:
        return render_status(run, problem=queue_problem_of(run), polls=True)
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
    sent_rows: dict[int, str] = {}
    revision = ""
    shows_problem = request.args.get("trouble") == "1"  # what the page already shows
    run: run_queries.RunView | None = None
    db.session.remove()  # release the connection while waiting
    for count, is_notified in enumerate(monitoring.watch_run(run_id)):
        if not is_notified and run and run.state == "running" and count % _POLL_EVERY:
            yield ": still here\n\n"
            continue
        run = run_queries.load_progress(run_id, user_id)
        if run is None or not run.is_live or count > _MAX_STREAM_EVENTS:
            break
        problem = queue_problem_of(run)
        if (problem is not None) != shows_problem:
            # The whole partial, which reconnects with the new state.
            context = status_context(user_id, run)
            yield _format_message(render_template("sync/_status.html", run=run, problem=problem, **context))
            return
        if run.revision == revision and run.settled == len(run.results):
            yield ": still here\n\n"
            continue
        pieces = [
            _render_piece("sync/_row.html", result=result)
            for result in run.results
            if sent_rows.get(result.id) != _row_state(result)
        ]
        sent_rows = {result.id: _row_state(result) for result in run.results}
        if pieces or run.revision != revision:
            pieces.append(_render_piece("sync/_progress.html", run=run))
        revision = run.revision
        yield _format_message("".join(pieces)) if pieces else ": still here\n\n"
    status = render_template("sync/_status.html", run=run, problem=None, **status_context(user_id, run))
    last = _format_message(status + _render_side_updates(run))
    db.session.remove()  # a slow reader must not hold a connection
    yield last
    yield "event: done\ndata: \n\n"


def _render_piece(template: str, **context: Any) -> str:
    """Render without the app's context processors: a sync sends hundreds of these per second."""
    return current_app.jinja_env.get_template(template).render(**context, as_piece=True)


def _row_state(result: run_queries.ResultView) -> str:
    return f"{result.state}.{result.outcome}"


def _format_message(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"


def latest_run() -> run_queries.RunView | None:
    """The newest run, after closing live runs whose worker died."""
    run = run_queries.load_latest_run(current_user.id)
    if run and run.is_live and close_lost_runs():
        run = run_queries.load_latest_run(current_user.id)
    return run


def _revision(run: run_queries.RunView, problem: str | None) -> str:
    return run.revision + (".waits" if problem else "")


def _render_side_updates(run: run_queries.RunView | None) -> str:
    """Out-of-band partials after a finished run: the badge and the keys' rows."""
    if run is None or run.is_live:
        return ""
    keys = key_queries.list_keys(run.user_id)
    return render_template("sync/_beside.html", counters=notifications.nav_badge_of(run.user_id), keys=keys)


def queue_problem_of(run: run_queries.RunView | None) -> str | None:
    """Why a queued run is waiting; also re-enqueues its job in case Redis lost it."""
    return enqueue.requeue_if_lost(run.id, run.created_at, run.trigger) if run and run.state == "queued" else None


def render_status(run: run_queries.RunView | None, *, problem: str | None = None, polls: bool = False) -> str:
    context = status_context(current_user.id, run)
    return render_template("sync/_status.html", run=run, problem=problem, polls=polls, **context)


def render_status_piece(enqueued: enqueue.EnqueuedRun | None = None) -> str:
    """The status as an out-of-band partial, after a change of the user's keys. enqueued: the run that it started.

    Empty while an earlier run is live: its stream updates the partial, which hardly depends on the keys then.
    """
    run = latest_run()
    if run and run.is_live and enqueued is None:
        return ""
    status = render_status(run, problem=enqueued.queue_problem if enqueued else None)
    return render_template("sync/_status_piece.html", status=status)


def status_context(user_id: int, run: run_queries.RunView | None) -> dict[str, Any]:
    """What the status says of the user's keys: whether there are any and some wait for their first sync; and, while no
    sync is under way, whether to recommend one and when the last one over all keys ended."""
    active, new = credentials.count_active(user_id)
    context: dict[str, Any] = {"has_keys": active > 0, "has_new_keys": new > 0, "recommend": False, "last_whole": None}
    if active and not (run and run.is_live):
        last = runs.last_finished(user_id, whole=True)
        context |= {"recommend": runs.needs_sync(last, clock.utc_now()), "last_whole": last}
    return context
