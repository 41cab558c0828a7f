"""The user's own history: when, why, and what each key's provider said; any two moments of a key compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask_login import current_user, login_required

from app.catalog.changes import Change, compare, merge, renames
from app.catalog.listing import Listing
from app.store import catalog, listings
from app.store.queries import history, runs
from app.store.queries.history import KeyMoment, KeyName
from app.web.admin import request_log
from app.web.app import filters
from app.web.history import scope_chart
from app.web.history.scope_chart import Square
from app.web.sync import close_lost

blueprint = Blueprint("history", __name__)

_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Step:
    """One moment of a key's scope, with how many chat models more or fewer it had than before."""

    moment: KeyMoment
    more: int | None
    """None for the first that is known."""


@blueprint.get("/history")
@login_required
def index() -> str:
    close_lost()
    zone = filters.zone()
    day = _day(request.args.get("day", ""))
    within = scope_chart.bounds([day], zone) if day else None
    lines, following = runs.history(current_user.id, cursor(), within=(within[0], within[1]) if within else None)
    of = scope_chart.days(filters.now().astimezone(zone).date())
    counts = history.outcomes_by_day(current_user.id, scope_chart.bounds(of, zone))
    squares = [Square(*pair) for pair in zip(of, counts, strict=True)]
    return render_template(
        "history/index.html",
        runs=lines,
        following=following,
        day=day,
        query={"day": day.isoformat()} if day else {},
        calendar=scope_chart.calendar(squares),
        squares=[square for square in reversed(squares) if square.worst],
    )


@blueprint.get("/history/keys/<int:credential_id>")
@login_required
def key(credential_id: int) -> str:
    """What one of the user's own keys could use, over time."""
    found = _key(credential_id)
    moments = history.moments(current_user.id, found.id)
    points = [(moment.at, moment.chat) for moment in reversed(moments)]
    return render_template(
        "history/key.html",
        key=found,
        steps=_steps(moments),
        chart=scope_chart.steps(points, filters.now()) if points else None,
        bottom=scope_chart.floor_of([number for _, number in points]) if points else 0,
        top=max((number for _, number in points), default=0),
        first=points[0][0] if points else None,
        most=history.MOMENTS,
    )


@blueprint.get("/history/compare")
@login_required
def compared() -> Any:
    """What a key gained and lost between two of its lists; by default, the last two that differ."""
    number = _number("key")
    if number is None:
        return render_template("history/compare.html", keys=history.keys(current_user.id), key=None)
    found = _key(number)
    chosen = [wanted for wanted in (_number("from"), _number("to")) if wanted is not None]
    moments = history.moments(current_user.id, found.id, chosen)
    ends = _ends(moments, _number("from"), _number("to"))
    return render_template(
        "history/compare.html",
        key=found,
        moments=moments,
        ends=ends,
        changes=_between(*ends) if ends else {},
    )


@blueprint.get("/history/<int:run_id>")
@login_required
def run(run_id: int) -> str:
    close_lost()
    found = runs.run(run_id, None if current_user.is_admin else current_user.id)
    if found is None:
        abort(404)
    return render_template("history/run.html", run=found, groups=runs.changes_of(found.results, most=5_000))


@blueprint.get("/history/<int:run_id>/results/<int:result_id>")
@login_required
def result(run_id: int, result_id: int) -> str:
    """Every model of one answer, the filtered ones with their reason."""
    found = runs.run(run_id, None if current_user.is_admin else current_user.id)
    line = next((line for line in found.results if line.id == result_id), None) if found else None
    if found is None or line is None:
        abort(404)
    requests = request_log.requests_of(line)
    return render_template(
        "history/result.html",
        run=found,
        result=line,
        listing=runs.listing_of_result(line),
        requests=requests,
        timeline=request_log.timeline(line, requests),
        size=request_log.size,
    )


def _key(credential_id: int) -> KeyName:
    found = history.key(current_user.id, credential_id)
    if found is None:
        abort(404)
    return found


def _steps(moments: Sequence[KeyMoment]) -> list[Step]:
    """Newest first, as the moments."""
    earlier: list[KeyMoment | None] = [*moments[1:], None]
    return [
        Step(moment, None if before is None else moment.chat - before.chat)
        for moment, before in zip(moments, earlier, strict=False)
    ]


def _ends(moments: Sequence[KeyMoment], start: int | None, end: int | None) -> tuple[KeyMoment, KeyMoment] | None:
    """The two moments to compare, the earlier first; None where there are no two. 404 for one that is not theirs."""
    by_id = {moment.id: moment for moment in moments}
    if {start, end} - {None} - by_id.keys():
        abort(404)
    if len(moments) < 2:  # a comparison takes two
        return None
    last = by_id[end] if end is not None else moments[0]
    first = by_id[start] if start is not None else next((one for one in moments if one.id < last.id), last)
    return (first, last) if first.id <= last.id else (last, first)


def _between(first: KeyMoment, last: KeyMoment) -> dict[str, list[Change]]:
    """Kind → changes of chat models from one moment to the other; what was partly read takes nothing away."""
    loaded = listings.load_many([first.listing_id, last.listing_id])
    before, after = loaded[first.listing_id], loaded[last.listing_id]
    if last.outcome == "partial":
        after = merge(before, after)
    kinds: dict[str, list[Change]] = {"new": [], "unlisted": [], "changed": []}
    for change in compare(before, after, renamed=_renamed(before, after)):
        kinds[change.kind].append(change)
    return kinds


def _renamed(before: Listing, after: Listing) -> dict[str, str]:
    """By the catalog's knowledge of today, as a sync tells renames."""
    _, index = catalog.index()
    return renames(before, after, partial(index.identity, after.provider), frozenset())


def _day(text: str) -> date | None:
    """A day that has another before and after it; anything else is none."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if date.min + _A_DAY * 2 < day < date.max - _A_DAY * 2 else None


def _number(name: str) -> int | None:
    value = request.args.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def cursor() -> int | None:
    """`?before=` of a keyset-paginated page; anything but a number is no cursor."""
    return _number("before")
