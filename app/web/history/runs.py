"""The user's own history: when, why, and what each key's provider said; any two moments of a key compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask_login import current_user, login_required

from app.catalog.changes import Change, compare, detect_renames, merge_partial
from app.catalog.listing import Listing
from app.store import catalog, listings
from app.store.queries import history, runs
from app.store.queries.history import KeyChoice, KeySnapshot
from app.web.admin import request_log
from app.web.app import filters
from app.web.history import scope_chart
from app.web.history.scope_chart import CalendarDay
from app.web.sync import close_lost

blueprint = Blueprint("history", __name__)

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ScopeStep:
    """One moment of a key's scope, with how many chat models more or fewer it had than before."""

    moment: KeySnapshot
    more: int | None
    """None for the first that is known."""


@blueprint.get("/history")
@login_required
def index() -> str:
    close_lost()
    zone = filters.current_zone()
    day = _parse_day(request.args.get("day", ""))
    within = scope_chart.day_bounds([day], zone) if day else None
    lines, following = runs.list_runs(current_user.id, cursor(), within=(within[0], within[1]) if within else None)
    of = scope_chart.calendar_dates(filters.now().astimezone(zone).date())
    counts = history.count_outcomes_by_day(current_user.id, scope_chart.day_bounds(of, zone))
    squares = [CalendarDay(*pair) for pair in zip(of, counts, strict=True)]
    return render_template(
        "history/index.html",
        runs=lines,
        following=following,
        day=day,
        query={"day": day.isoformat()} if day else {},
        calendar=scope_chart.draw_calendar(squares),
        squares=[square for square in reversed(squares) if square.worst],
    )


@blueprint.get("/history/keys/<int:credential_id>")
@login_required
def key(credential_id: int) -> str:
    """What one of the user's own keys could use, over time."""
    found = _require_key(credential_id)
    moments = history.list_snapshots(current_user.id, found.id)
    points = [(moment.at, moment.chat) for moment in reversed(moments)]
    return render_template(
        "history/key.html",
        key=found,
        steps=_scope_steps(moments),
        chart=scope_chart.draw_scope(points, filters.now()) if points else None,
        bottom=scope_chart.axis_floor([number for _, number in points]) if points else 0,
        top=max((number for _, number in points), default=0),
        first=points[0][0] if points else None,
        most=history.MAX_SNAPSHOTS,
    )


@blueprint.get("/history/compare")
@login_required
def compare_lists() -> Any:
    """What a key gained and lost between two of its lists; by default, the last two that differ."""
    number = _int_argument("key")
    if number is None:
        return render_template("history/compare.html", keys=history.list_keys(current_user.id), key=None)
    found = _require_key(number)
    chosen = [wanted for wanted in (_int_argument("from"), _int_argument("to")) if wanted is not None]
    moments = history.list_snapshots(current_user.id, found.id, chosen)
    ends = _comparison_ends(moments, _int_argument("from"), _int_argument("to"))
    return render_template(
        "history/compare.html",
        key=found,
        moments=moments,
        ends=ends,
        changes=_changes_between(*ends) if ends else {},
    )


@blueprint.get("/history/<int:run_id>")
@login_required
def run(run_id: int) -> str:
    close_lost()
    found = runs.load_run(run_id, None if current_user.is_admin else current_user.id)
    if found is None:
        abort(404)
    return render_template("history/run.html", run=found, groups=runs.load_changes(found.results, most=5_000))


@blueprint.get("/history/<int:run_id>/results/<int:result_id>")
@login_required
def result(run_id: int, result_id: int) -> str:
    """Every model of one answer, the filtered ones with their reason."""
    found = runs.load_run(run_id, None if current_user.is_admin else current_user.id)
    line = next((line for line in found.results if line.id == result_id), None) if found else None
    if found is None or line is None:
        abort(404)
    requests = request_log.read_requests(line)
    return render_template(
        "history/result.html",
        run=found,
        result=line,
        listing=runs.load_listing_of_result(line),
        requests=requests,
        timeline=request_log.draw_timeline(line, requests),
        size=request_log.format_size,
    )


def _require_key(credential_id: int) -> KeyChoice:
    found = history.find_key(current_user.id, credential_id)
    if found is None:
        abort(404)
    return found


def _scope_steps(moments: Sequence[KeySnapshot]) -> list[ScopeStep]:
    """Newest first, as the moments."""
    earlier: list[KeySnapshot | None] = [*moments[1:], None]
    return [
        ScopeStep(moment, None if before is None else moment.chat - before.chat)
        for moment, before in zip(moments, earlier, strict=False)
    ]


def _comparison_ends(
    moments: Sequence[KeySnapshot], start: int | None, end: int | None
) -> tuple[KeySnapshot, KeySnapshot] | None:
    """The two moments to compare, the earlier first; None where there are no two. 404 for one that is not theirs."""
    by_id = {moment.id: moment for moment in moments}
    if {start, end} - {None} - by_id.keys():
        abort(404)
    if len(moments) < 2:  # a comparison takes two
        return None
    last = by_id[end] if end is not None else moments[0]
    first = by_id[start] if start is not None else next((one for one in moments if one.id < last.id), last)
    return (first, last) if first.id <= last.id else (last, first)


def _changes_between(first: KeySnapshot, last: KeySnapshot) -> dict[str, list[Change]]:
    """Kind → changes of chat models from one moment to the other; what was partly read takes nothing away."""
    loaded = listings.load_many([first.listing_id, last.listing_id])
    before, after = loaded[first.listing_id], loaded[last.listing_id]
    if last.outcome == "partial":
        after = merge_partial(before, after)
    kinds: dict[str, list[Change]] = {"new": [], "unlisted": [], "changed": []}
    for change in compare(before, after, renamed=_detect_renames(before, after)):
        kinds[change.kind].append(change)
    return kinds


def _detect_renames(before: Listing, after: Listing) -> dict[str, str]:
    """By the catalog's knowledge of today, as a sync tells renames."""
    _, index = catalog.load_index()
    return detect_renames(before, after, partial(index.identity, after.provider), frozenset())


def _parse_day(text: str) -> date | None:
    """A day that has another before and after it; anything else is none."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if date.min + _ONE_DAY * 2 < day < date.max - _ONE_DAY * 2 else None


def _int_argument(name: str) -> int | None:
    value = request.args.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def cursor() -> int | None:
    """`?before=` of a keyset-paginated page; anything but a number is no cursor."""
    return _int_argument("before")
