"""The changes page. Opening it clears the badge, for this user only.

New changes stay marked for the duration of a visit, which ends after half an hour without a page view or when
everything is marked as read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from flask import Blueprint, redirect, render_template, session, url_for
from flask_login import current_user, login_required
from htmx_flask import request
from werkzeug.datastructures import MultiDict

from app import clock
from app.catalog import humanize
from app.extensions import db
from app.providers import PROVIDERS, provider_title
from app.store.accounts import feeds, users
from app.store.queries import changes, history, nav, runs
from app.store.queries.changes import ChangeFilter, FeedNews
from app.store.queries.history import KeyChoice
from app.store.schema.tables import CHANGE_KINDS
from app.web.app import filters
from app.web.app.arguments import cursor, parse_id, parse_time

blueprint = Blueprint("changes", __name__)

VISIT_LENGTH = timedelta(minutes=30)
"""A page view after this long begins a new visit."""
_MAX_SEARCH_LENGTH = 200
_SESSION_KEY = "changes_visit"
_NEVER = ""


@dataclass(frozen=True, slots=True)
class ChangesQuery:
    """The filters in the query string."""

    kind: str = ""
    provider: str = ""
    key: int | None = None
    text: str = ""
    only_unseen: bool = False

    @property
    def is_empty(self) -> bool:
        return self == ChangesQuery()

    def filter(self, seen_at: datetime | None) -> ChangeFilter:
        since = seen_at if self.only_unseen else None
        return ChangeFilter(self.kind, self.provider, self.key, self.text, since)

    @property
    def query(self) -> dict[str, str]:
        """The filters as query arguments."""
        arguments = {
            "kind": self.kind,
            "provider": self.provider,
            "key": "" if self.key is None else str(self.key),
            "q": self.text,
            "since": "visit" if self.only_unseen else "",
        }
        return {name: value for name, value in arguments.items() if value}


@blueprint.get("/changes")
@login_required
def index() -> str:
    query, before = parse_query(request.args), cursor()
    until = nav.load_last_change_at(current_user.id)
    seen_at = _continue_visit()
    zone = filters.current_zone()
    page = changes.load_feed(current_user.id, query.filter(seen_at), seen_at=seen_at, zone=zone, before=before)
    if query.is_empty and before is None and not request.htmx:
        _mark_seen(until)
    latest_run = runs.load_latest_run(current_user.id) if query.is_empty and before is None else None
    is_first_sync = latest_run and not latest_run.is_live and any(result.is_first for result in latest_run.results)
    context = {
        "first_sync": latest_run if is_first_sync else None,
        "filters": query,
        "days": page.days,
        "following": page.following,
        "follows_unseen": page.follows_unseen,
        "before": before,
        "query": query.query,
        "until": until,
        "seen_at": seen_at,
        "this_day": clock.utc_now().astimezone(zone).date(),
        "headline": headline,
        "day_name": day_title,
    }
    if request.htmx:
        return render_template("changes/_list.html", **context)
    keys = history.list_keys(current_user.id)
    return render_template(
        "changes.html",
        kinds=CHANGE_KINDS,
        key_name=key_title,
        keys=keys,
        slugs=sorted({key.provider for key in keys} | ({query.provider} - {""})),
        address=feeds.find_by_user(current_user.id),
        **context,
    )


@blueprint.post("/changes/read")
@login_required
def read() -> Any:
    """Mark what the page showed as read, but not what arrived since."""
    until = parse_time(request.form.get("until", ""))
    if until is not None:
        now = clock.utc_now()
        users.mark_changes_seen(current_user.id, min(until, now))
        db.session.commit()
        session[_SESSION_KEY] = [current_user.id, until.isoformat(), now.isoformat()]
    query: dict[str, Any] = {**parse_query(request.form).query}
    return redirect(url_for("changes.index", **query), 303)


def parse_query(args: MultiDict[str, str]) -> ChangesQuery:
    """Parse the filters; invalid values are ignored."""
    kind, provider = args.get("kind", ""), args.get("provider", "")
    return ChangesQuery(
        kind=kind if kind in CHANGE_KINDS else "",
        provider=provider if provider in PROVIDERS else "",
        key=parse_id(args.get("key", "")),
        text=args.get("q", "").replace("\x00", "").strip()[:_MAX_SEARCH_LENGTH],
        only_unseen=args.get("since") == "visit",
    )


def headline(news: FeedNews) -> str:
    return humanize.headline(provider_title(news.provider), news.changes, news.uncatalogued, news.left_out)


def key_title(key: KeyChoice) -> str:
    return f"{provider_title(key.provider)}, {key.label or key.hint or 'no key needed'}"


def day_title(day: date, today: date) -> str:
    """ "Today", "Yesterday", then "Friday, 20 November 2026"."""
    days_ago = (today - day).days
    return {0: "Today", 1: "Yesterday"}.get(days_ago) or f"{day:%A, %-d %B %Y}"


def _continue_visit() -> datetime | None:
    """Until when the user had seen changes when this visit began; None on the first visit."""
    now = clock.utc_now()
    user_id, since, last_view = _stored_visit()
    viewed_at = parse_time(last_view)
    if user_id != current_user.id or viewed_at is None or not timedelta(0) <= now - viewed_at < VISIT_LENGTH:
        since = clock.isoformat(current_user.changes_seen_at) or _NEVER
    session[_SESSION_KEY] = [current_user.id, since, now.isoformat()]
    return parse_time(since)


def _stored_visit() -> tuple[int, str, str]:
    stored = session.get(_SESSION_KEY)
    match stored:
        case [int(user_id), str(since), str(last)]:
            return user_id, since, last
        case _:
            return 0, _NEVER, _NEVER


def _mark_seen(until: datetime | None) -> None:
    if until and (current_user.changes_seen_at is None or until > current_user.changes_seen_at):
        users.mark_changes_seen(current_user.id, until)
        db.session.commit()
