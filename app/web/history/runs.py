"""The user's sync history: runs, results, a key's models over time, and comparisons of two points in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask_login import current_user, login_required

from app import clock
from app.catalog.changes import Change, compare, detect_renames, merge_partial
from app.catalog.listing import Listing
from app.jobs.lost_runs import close_lost_runs
from app.store import catalog, listings
from app.store.queries import history, runs
from app.store.queries.history import KeySnapshot
from app.web.admin import request_log
from app.web.app import filters
from app.web.app.arguments import cursor, parse_id, require
from app.web.history import scope_chart
from app.web.history.scope_chart import CalendarDay

blueprint = Blueprint("history", __name__)

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ScopeStep:
    """A change of the number of chat models that a key can use."""

    moment: KeySnapshot
    more: int | None
    """Difference to the previous step; None for the first."""


@blueprint.get("/history")
@login_required
def index() -> str:
    close_lost_runs()
    zone = filters.current_zone()
    day = _parse_day(request.args.get("day", ""))
    start, end = scope_chart.day_bounds([day], zone) if day else (None, None)
    run_lines, next_cursor = runs.list_runs(current_user.id, cursor(), within=(start, end) if start and end else None)
    days = scope_chart.calendar_dates(clock.utc_now().astimezone(zone).date())
    counts = history.count_outcomes_by_day(current_user.id, scope_chart.day_bounds(days, zone))
    squares = [CalendarDay(*pair) for pair in zip(days, counts, strict=True)]
    return render_template(
        "history/index.html",
        runs=run_lines,
        following=next_cursor,
        day=day,
        query={"day": day.isoformat()} if day else {},
        calendar=scope_chart.draw_calendar(squares),
        squares=[square for square in reversed(squares) if square.worst],
    )


@blueprint.get("/history/keys/<int:credential_id>")
@login_required
def key(credential_id: int) -> str:
    """A key's usable models over time."""
    key_ref = require(history.find_key(current_user.id, credential_id))
    snapshots = history.list_snapshots(current_user.id, key_ref.id)
    points = [(snapshot.at, snapshot.chat) for snapshot in reversed(snapshots)]
    return render_template(
        "history/key.html",
        key=key_ref,
        steps=_scope_steps(snapshots),
        chart=scope_chart.draw_scope(points, clock.utc_now()) if points else None,
        bottom=scope_chart.axis_floor([number for _, number in points]) if points else 0,
        top=max((number for _, number in points), default=0),
        first=points[0][0] if points else None,
        most=history.MAX_SNAPSHOTS,
    )


@blueprint.get("/history/compare")
@login_required
def compare_lists() -> Any:
    """What a key gained and lost between two of its lists; by default, the last two that differ."""
    number = parse_id(request.args.get("key", ""))
    if number is None:
        return render_template("history/compare.html", keys=history.list_keys(current_user.id), key=None)
    key_ref = require(history.find_key(current_user.id, number))
    start, end = (parse_id(request.args.get(name, "")) for name in ("from", "to"))
    snapshot_ids = [snapshot_id for snapshot_id in (start, end) if snapshot_id is not None]
    snapshots = history.list_snapshots(current_user.id, key_ref.id, snapshot_ids)
    ends = _comparison_ends(snapshots, start, end)
    return render_template(
        "history/compare.html",
        key=key_ref,
        moments=snapshots,
        ends=ends,
        changes=_changes_between(*ends) if ends else {},
    )


@blueprint.get("/history/<int:run_id>")
@login_required
def run(run_id: int) -> str:
    close_lost_runs()
    run_view = require(runs.load_run(run_id, None if current_user.is_admin else current_user.id))
    return render_template("history/run.html", run=run_view, groups=runs.load_changes(run_view.results, most=5_000))


@blueprint.get("/history/<int:run_id>/results/<int:result_id>")
@login_required
def result(run_id: int, result_id: int) -> str:
    """All models of one response, with the reason for those filtered out."""
    run_view = require(runs.load_run(run_id, None if current_user.is_admin else current_user.id))
    result_view = require(next((one for one in run_view.results if one.id == result_id), None))
    requests = request_log.read_requests(result_view)
    return render_template(
        "history/result.html",
        run=run_view,
        result=result_view,
        listing=runs.load_listing_of_result(result_view),
        requests=requests,
        timeline=request_log.draw_timeline(result_view, requests),
        size=request_log.format_size,
    )


def _scope_steps(snapshots: Sequence[KeySnapshot]) -> list[ScopeStep]:
    """Newest first."""
    earlier: list[KeySnapshot | None] = [*snapshots[1:], None]
    return [
        ScopeStep(snapshot, None if previous is None else snapshot.chat - previous.chat)
        for snapshot, previous in zip(snapshots, earlier, strict=False)
    ]


def _comparison_ends(
    snapshots: Sequence[KeySnapshot], start: int | None, end: int | None
) -> tuple[KeySnapshot, KeySnapshot] | None:
    """The two points to compare, the earlier first; None if there are not two. 404 if one is not the user's."""
    by_id = {moment.id: moment for moment in snapshots}
    if {start, end} - {None} - by_id.keys():
        abort(404)
    if len(snapshots) < 2:  # nothing to compare
        return None
    last = by_id[end] if end is not None else snapshots[0]
    first = by_id[start] if start is not None else next((moment for moment in snapshots if moment.id < last.id), last)
    return (first, last) if first.id <= last.id else (last, first)


def _changes_between(first: KeySnapshot, last: KeySnapshot) -> dict[str, list[Change]]:
    """Kind → changes of chat models. A partial list removes nothing."""
    loaded = listings.load_many([first.listing_id, last.listing_id])
    before, after = loaded[first.listing_id], loaded[last.listing_id]
    if last.outcome == "partial":
        after = merge_partial(before, after)
    kinds: dict[str, list[Change]] = {"new": [], "unlisted": [], "changed": []}
    for change in compare(before, after, renamed=_detect_renames(before, after)):
        kinds[change.kind].append(change)
    return kinds


def _detect_renames(before: Listing, after: Listing) -> dict[str, str]:
    """With today's catalog, as a sync does."""
    _, index = catalog.load_index()
    return detect_renames(before, after, partial(index.identity, after.provider), frozenset())


def _parse_day(text: str) -> date | None:
    """None for a malformed day, and for days at the limits of the calendar."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if date.min + _ONE_DAY * 2 < day < date.max - _ONE_DAY * 2 else None
