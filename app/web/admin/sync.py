"""Admin pages: sync a provider with the server's own key, and show and apply plans (dry runs)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from app import clock
from app.extensions import limiter
from app.jobs import enqueue
from app.jobs.lost_runs import close_lost_runs
from app.providers import SYNCABLE
from app.store import credentials, plans
from app.store.accounts import users
from app.store.queries import runs, sync_counts
from app.store.queries.labels import StatusBadge
from app.store.queries.runs import ResultView, RunView
from app.store.queries.sync_counts import OverrideCounts
from app.web.admin.overview import admin_required
from app.web.app.arguments import current_actor, cursor, parse_id, require

blueprint = Blueprint("admin_sync", __name__, url_prefix="/admin")

MAX_CHANGES = 200
"""Changes shown per provider."""
PROVIDER_DISABLED = "This provider is disabled: enable it first."
_PLAN_BADGES = {
    "waiting": StatusBadge("being made", "busy"),
    "failed": StatusBadge("could not be made", "bad"),
    "ready": StatusBadge("ready to apply", "good"),
    "applied": StatusBadge("applied", "muted"),
    "expired": StatusBadge("too old to apply", "warn"),
}
_PART_BADGES = {
    "complete": StatusBadge("would be updated", "good"),
    "unchanged": StatusBadge("nothing changed", "good"),
    "partial": StatusBadge("partly read", "warn"),
    "suspect": StatusBadge("would be kept aside", "warn"),
    "failed": StatusBadge("failed", "bad"),
    "skipped": StatusBadge("skipped", "muted"),
}


@blueprint.app_template_test("syncable")
def is_syncable(slug: str) -> bool:
    """Whether it can be synced with the server's own key or without a key."""
    return slug in SYNCABLE


@blueprint.app_template_filter("plan_badge")
def plan_badge(plan: plans.Plan) -> StatusBadge:
    return _PLAN_BADGES[plan.state(clock.utc_now())]


@blueprint.app_template_filter("part_badge")
def part_badge(part: plans.PlanPart) -> StatusBadge:
    return _PART_BADGES[part.outcome]


# ------------------------------------------------------------------ one provider


@blueprint.post("/providers/<slug>/sync")
@admin_required
@limiter.limit("60 per minute")
def start(slug: str) -> Any:
    """Start a sync or, with `dry_run`, a plan."""
    row = credentials.providers_by_slug().get(slug)
    if row is None or slug not in SYNCABLE:
        abort(404)
    if not row.is_active:
        return _not_started(slug, PROVIDER_DISABLED)
    if request.form.get("dry_run"):
        plan_id, problem = enqueue.start_plan(current_actor(), [slug])
        if request.headers.get("HX-Request"):
            return _render_partial(slug, plan=plans.get(plan_id), problem=problem)
        return redirect(url_for(".plan", plan_id=plan_id), 303)
    enqueued = enqueue.start_server_sync("manual", [slug], current_actor())
    run = runs.load_run(enqueued.run_id)
    if run is None or slug not in {result.provider for result in run.results}:
        return _not_started(
            slug, f"Sync {enqueued.run_id}, of other providers, is under way. Try again when it is over."
        )
    if request.headers.get("HX-Request"):
        return _render_partial(slug, run=run, problem=enqueued.queue_problem)
    return redirect(url_for("history.run", run_id=run.id), 303)


@blueprint.get("/providers/<slug>/sync")
@admin_required
def progress(slug: str) -> Any:
    """Progress of the run or plan in the query string; without htmx, redirects to its page."""
    if slug not in SYNCABLE:
        abort(404)
    run, plan_id = _server_run(_id_argument("run")), _id_argument("plan")
    plan = plans.get(plan_id) if plan_id is not None else None
    if not request.headers.get("HX-Request"):
        target = url_for("history.run", run_id=run.id) if run else url_for("admin_providers.index")
        return redirect(url_for(".plan", plan_id=plan.id) if plan else target, 303)
    problem = enqueue.queue_problem() if (run and run.state == "queued") or (plan and plan.made_at is None) else None
    return _render_partial(slug, run=run, plan=plan, problem=problem)


def _id_argument(name: str) -> int | None:
    """None if absent; 404 if it is not a valid id."""
    value = request.args.get(name, "")
    return require(parse_id(value)) if value else None


def _not_started(slug: str, message: str) -> Any:
    """Report why nothing was started."""
    if request.headers.get("HX-Request"):
        return _render_partial(slug, error=message), 409
    flash(message, "bad")
    return redirect(url_for("admin_providers.index", _anchor=f"provider-{slug}"), 303)


def _render_partial(
    slug: str,
    *,
    run: RunView | None = None,
    plan: plans.Plan | None = None,
    problem: str | None = None,
    error: str = "",
) -> str:
    result = next((one for one in run.results if one.provider == slug), None) if run else None
    part = next((one for one in plan.parts if one.provider == slug), None) if plan else None
    context = {"run": run, "result": result, "plan": plan, "part": part, "problem": problem, "error": error}
    return render_template(
        "admin/_provider_sync.html",
        line={"slug": slug, "is_active": True},
        written=_overrides_of(run, result),
        **context,
    )


def _overrides_of(run: RunView | None, result: ResultView | None) -> OverrideCounts:
    """The overrides that a finished run wrote for one provider."""
    if run is None or result is None or run.ended_at is None:
        return OverrideCounts()
    return sync_counts.count_overrides_written(run.started_at or run.created_at, run.ended_at).get(
        result.provider, OverrideCounts()
    )


def _server_run(run_id: int | None) -> RunView | None:
    """A run of the server's own keys."""
    server = users.server_account(clock.utc_now(), create=False)
    if run_id is None or server is None:
        return None
    close_lost_runs()
    return runs.load_run(run_id, server.id)


# ------------------------------------------------------------------ plans


@blueprint.get("/plans")
@admin_required
def index() -> str:
    lines, following = plans.list_newest(cursor())
    return render_template("admin/plans.html", plans=lines, following=following)


@blueprint.get("/plans/<int:plan_id>")
@admin_required
def plan(plan_id: int) -> Any:
    plan = require(plans.get(plan_id))
    problem = enqueue.queue_problem() if plan.made_at is None else None
    template = "admin/_plan.html" if request.headers.get("HX-Request") else "admin/plan.html"
    return render_template(template, **_context(plan), problem=problem)


@blueprint.post("/plans/<int:plan_id>/apply")
@admin_required
@limiter.limit("60 per minute")
def apply(plan_id: int) -> Any:
    """Apply exactly what the plan shows; rejected with a message if the plan is stale."""
    try:
        enqueued = enqueue.start_apply(plan_id, current_actor(), "manual")
    except LookupError:
        abort(404)
    except enqueue.PlanConflict as conflict:
        plan = require(plans.get(plan_id))
        return render_template("admin/plan.html", **_context(plan), error=str(conflict)), 409
    if enqueued.queue_problem:
        flash(enqueued.queue_problem, "warn")
    return redirect(url_for("history.run", run_id=enqueued.run_id), 303)


def _context(plan: plans.Plan) -> dict[str, Any]:
    """Changes first, then unchanged, failed, and skipped providers."""

    def order(part: plans.PlanPart) -> tuple[int, str]:
        if part.has_answer:
            return (0 if part.changes else 1), part.provider
        return (3 if part.outcome == "skipped" else 2), part.provider

    is_ready = plan.state(clock.utc_now()) == "ready"
    return {
        "plan": plan,
        "parts": sorted(plan.parts, key=order),
        "objection": enqueue.plan_objection(plan) if is_ready else None,
        "most": MAX_CHANGES,
    }
