"""For admins: how the installation does, and everyone's history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache, wraps
from typing import Any

import redis
from flask import Blueprint, Response, abort, render_template, request, stream_with_context
from flask_login import current_user, login_required

from app.jobs import monitoring
from app.store import catalog, sources
from app.store.queries import admin
from app.store.queries import runs as run_queries
from app.store.queries.admin import WHOLE_RUNS, DayCounts
from app.store.schema.tables import OUTCOMES, RUN_STATES, TRIGGERS
from app.web.admin import export as run_export
from app.web.app import charts, filters
from app.web.history.runs import cursor

blueprint = Blueprint("admin", __name__, url_prefix="/admin")

NO_REDIS = (
    "The job queue (Redis) cannot be reached, so nothing is known of queue and workers. Syncs wait in the database "
    "and start by themselves when it is back."
)
_MAX_FAILING_KEYS = 25


def admin_required(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    @login_required
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not current_user.is_admin:
            abort(403)
        return view(*args, **kwargs)

    return guarded


# ------------------------------------------------------------------ overview


@blueprint.get("")
@admin_required
def overview() -> str:
    now = filters.now()
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
    """What the queue says of itself; None while Redis is away."""
    try:
        return monitoring.inspect_queues()
    except redis.RedisError:
        return None


def _periods(counts: DayCounts, now: datetime) -> list[tuple[str, int, int, charts.Chart]]:
    """(words, syncs, syncs that stopped early, their results) of the last 24 hours, 7 and 30 days."""
    day = admin.count_last_day(now)
    runs = {state: count for (what, state), count in day.items() if what == WHOLE_RUNS}
    results = {outcome: count for (what, outcome), count in day.items() if what != WHOLE_RUNS}
    found = [_period("24 hours", runs, results)]
    return found + [_period(f"{days} days", *sums) for days, sums in _build_charts(counts, now.date()).sums.items()]


@dataclass(frozen=True, slots=True)
class _OverviewCharts:
    """What the overview draws of the last days."""

    by_day: charts.Chart
    health: dict[str, charts.Chart]
    sums: dict[int, tuple[dict[str, int], dict[str, int]]]
    """Number of days → state of runs, and outcome of results → how many ended in them."""


@lru_cache(4)
def _build_charts(counts: DayCounts, today: date) -> _OverviewCharts:
    """Summed up once for all who look while nothing ends."""
    slugs = sorted({one.slug for one in counts if one.slug != WHOLE_RUNS})
    sums: dict[int, tuple[dict[str, int], dict[str, int]]] = {}
    for days in (7, charts.DAYS):
        first = today - timedelta(days=days - 1)
        runs, results = sums.setdefault(days, ({}, {}))
        for one in counts:
            if one.day >= first:
                into = runs if one.slug == WHOLE_RUNS else results
                into[one.word] = into.get(one.word, 0) + one.number
    return _OverviewCharts(charts.chart_by_day(counts, today), charts.chart_health(counts, slugs, today), sums)


def _period(words: str, runs: dict[str, int], results: dict[str, int]) -> tuple[str, int, int, charts.Chart]:
    chart = charts.chart_period(words.replace(" ", "-"), f"Results of the last {words}, by outcome", results)
    return words, sum(runs.values()), runs.get("lost", 0), chart


# ------------------------------------------------------------------ history


@blueprint.get("/history")
@admin_required
def history() -> str:
    wanted = _history_filter()
    lines, following = run_queries.list_all_runs(wanted, cursor())
    return render_template(
        "admin/history.html",
        runs=lines,
        following=following,
        wanted=wanted,
        outcomes=OUTCOMES,
        triggers=TRIGGERS,
        states=RUN_STATES,
        query={name: value for name, value in request.args.items() if value and name != "before"},
    )


@blueprint.get("/history.<any(csv, json):form>")
@admin_required
def export(form: str) -> Response:
    """Every run that the page's filters leave, whatever their number: written while it is read."""
    batches = admin.iter_runs(_history_filter())
    write: Callable[[Iterator[list[run_queries.RunView]]], Iterator[str]] = getattr(run_export, f"as_{form}")
    response = Response(stream_with_context(write(batches)), mimetype=run_export.TYPES[form])
    response.headers.set("Content-Disposition", "attachment", filename=f"modelsync-{filters.now():%Y-%m-%d}.{form}")
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
