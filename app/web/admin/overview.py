"""Admin pages: the state of the installation, and all users' sync history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache, wraps
from typing import Any

import redis
from flask import Blueprint, Response, abort, render_template, request, stream_with_context
from flask_login import current_user, login_required

from app import clock
from app.jobs import monitoring
from app.store import catalog, sources
from app.store.queries import admin
from app.store.queries import runs as run_queries
from app.store.queries.admin import WHOLE_RUNS, DayCounts
from app.store.schema.tables import OUTCOMES, RUN_STATES, TRIGGERS
from app.web.admin import export as run_export
from app.web.app import charts
from app.web.app.arguments import cursor

blueprint = Blueprint("admin", __name__, url_prefix="/admin")

NO_REDIS = (
    "The job queue (Redis) cannot be reached, so nothing is known of queue and workers. Syncs wait in the database "
    "and start by themselves when it is back."
)
_MAX_FAILING_KEYS = 25


def admin_required(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    @login_required
    def check_admin(*args: Any, **kwargs: Any) -> Any:
        if not current_user.is_admin:
            abort(403)
        return view(*args, **kwargs)

    return check_admin


# ------------------------------------------------------------------ overview


@blueprint.get("")
@admin_required
def overview() -> str:
    now = clock.utc_now()
    counts = admin.load_counts(charts.DAYS, now)
    return render_template(
        "admin/overview.html",
        totals=admin.load_totals(),
        periods=_periods(counts, now),
        counts=counts,
        day=now.date(),
        summary=_build_charts,
        failing=admin.list_failing_keys(_MAX_FAILING_KEYS),
        in_force=catalog.version_in_force(),
        sources=sources.list_sources(),
        queue=_inspect_queue(),
        no_redis=NO_REDIS,
        charts=charts,
        outcomes=OUTCOMES,
    )


def _inspect_queue() -> monitoring.QueueState | None:
    """The queue's state; None while Redis is unreachable."""
    try:
        return monitoring.inspect_queues()
    except redis.RedisError:
        return None


def _periods(counts: DayCounts, now: datetime) -> list[tuple[str, int, int, charts.Chart]]:
    """(label, runs, lost runs, results) of the last 24 hours, 7 and 30 days."""
    counts_by_kind = admin.count_last_day(now)
    runs = {state: count for (scope, state), count in counts_by_kind.items() if scope == WHOLE_RUNS}
    results = {outcome: count for (scope, outcome), count in counts_by_kind.items() if scope != WHOLE_RUNS}
    periods = [_period("24 hours", runs, results)]
    return periods + [_period(f"{days} days", *sums) for days, sums in _build_charts(counts, now.date()).sums.items()]


@dataclass(frozen=True, slots=True)
class _OverviewCharts:
    """The charts of the last days."""

    by_day: charts.Chart
    health: dict[str, charts.Chart]
    sums: dict[int, tuple[dict[str, int], dict[str, int]]]
    """Number of days → (runs by state, results by outcome)."""


@lru_cache(4)
def _build_charts(counts: DayCounts, today: date) -> _OverviewCharts:
    """Cached for all viewers until counts change."""
    slugs = sorted({count.slug for count in counts if count.slug != WHOLE_RUNS})
    sums: dict[int, tuple[dict[str, int], dict[str, int]]] = {}
    for days in (7, charts.DAYS):
        first = today - timedelta(days=days - 1)
        runs, results = sums.setdefault(days, ({}, {}))
        for count in counts:
            if count.day >= first:
                target = runs if count.slug == WHOLE_RUNS else results
                target[count.word] = target.get(count.word, 0) + count.number
    return _OverviewCharts(charts.chart_by_day(counts, today), charts.chart_health(counts, slugs, today), sums)


def _period(label: str, runs: dict[str, int], results: dict[str, int]) -> tuple[str, int, int, charts.Chart]:
    chart = charts.chart_period(label.replace(" ", "-"), f"Results of the last {label}, by outcome", results)
    return label, sum(runs.values()), runs.get("lost", 0), chart


# ------------------------------------------------------------------ history


@blueprint.get("/history")
@admin_required
def history() -> str:
    filters = _history_filter()
    runs, next_cursor = run_queries.list_all_runs(filters, cursor())
    return render_template(
        "admin/history.html",
        runs=runs,
        following=next_cursor,
        filters=filters,
        outcomes=OUTCOMES,
        triggers=TRIGGERS,
        states=RUN_STATES,
        query={name: value for name, value in request.args.items() if value and name != "before"},
    )


@blueprint.get("/history.<any(csv, json):form>")
@admin_required
def export(form: str) -> Response:
    """All runs that match the page's filters, streamed."""
    batches = admin.iter_runs(_history_filter())
    write: Callable[[Iterator[list[run_queries.RunView]]], Iterator[str]] = getattr(run_export, f"write_{form}")
    response = Response(stream_with_context(write(batches)), mimetype=run_export.TYPES[form])
    response.headers.set("Content-Disposition", "attachment", filename=f"modelsync-{clock.utc_now():%Y-%m-%d}.{form}")
    return response


def _history_filter() -> run_queries.HistoryFilter:
    return run_queries.HistoryFilter(
        user=request.args.get("user", "")[:320].replace("\0", ""),
        provider=request.args.get("provider", "")[:64].replace("\0", ""),
        outcome=_choice("outcome", OUTCOMES),
        trigger=_choice("trigger", TRIGGERS),
        state=_choice("state", RUN_STATES),
        since=_date("since"),
        until=_date("until"),
    )


def _choice(name: str, allowed: tuple[str, ...]) -> str:
    value = request.args.get(name, "")
    return value if value in allowed else ""


def _date(name: str) -> date | None:
    try:
        return date.fromisoformat(request.args.get(name, ""))
    except ValueError:
        return None
