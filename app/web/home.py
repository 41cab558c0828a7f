"""The front page, and what every page has: the version in its footer, and news that come while it is open."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, url_for
from flask_login import current_user, login_required
from htmx_flask import request
from werkzeug.wrappers import Response

from app.catalog import humanize, topics
from app.store.queries import runs
from app.web.account import notifications
from app.web.account.notifications import Counters, Toast
from app.web.app import filters

blueprint = Blueprint("pages", __name__)

_NAMED = 2
"""So many providers are named in a news; more are counted."""


@blueprint.get("/")
def front() -> str | Response:
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    return render_template("front.html")


@blueprint.get("/news")
@login_required
def news() -> Any:
    """What the badge asks each minute: 204, or itself anew, with a toast if there are models that were not told of.

    `since` is the newest result that the page knows, `known` the number that its badge shows, `after` the newest run,
    where somebody wants to be told of more than new models.
    """
    if not request.htmx:
        return redirect(url_for("changes.index"), 303)
    found = _new_models(_moment(request.args.get("since", "")))
    toasts, after = notifications.since(current_user, _number(request.args.get("after", "")))
    if not found.fresh and not toasts and str(found.nav.unseen_new) == request.args.get("known"):
        return "", 204
    if found.fresh:
        toasts.insert(0, Toast(told(found.fresh), "changes.index", "See the changes"))
    return render_template("_news.html", counters=Counters(found.nav, after), toasts=toasts)


def _new_models(since: datetime | None) -> runs.News:
    if topics.NEW not in topics.read(current_user.told_topics):
        return runs.News(runs.Nav(0), [])
    return runs.news(current_user.id, since)


def told(fresh: Sequence[tuple[str, int]]) -> str:
    """ "2 new chat models at Groq and 1 at OpenAI.", given (slug, models); empty for none."""
    if not fresh:
        return ""
    (slug, count), *others = fresh
    if len(fresh) > _NAMED:
        total = sum(count for _, count in fresh)
        return f"{humanize.plural(total, 'new chat model')} at {humanize.number(len(fresh))} providers."
    rest = "".join(f" and {humanize.number(count)} at {filters.title(slug)}" for slug, count in others)
    return f"{humanize.plural(count, 'new chat model')} at {filters.title(slug)}{rest}."


@blueprint.app_context_processor
def _in_the_footer() -> dict[str, Any]:
    return {"app_version": _version(), "design_page": "design.index" in current_app.view_functions}


@functools.cache
def _version() -> str:
    try:
        return version("modelsync")
    except PackageNotFoundError:  # run from a folder that was never installed
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
