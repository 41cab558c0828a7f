"""The front page, the footer's version, and news polled by every page."""

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
from app.providers import provider_title
from app.store.queries import nav
from app.web.account import notifications
from app.web.account.notifications import NavBadge, Toast
from app.web.app.arguments import parse_id, parse_time

blueprint = Blueprint("pages", __name__)

_MAX_NAMED = 2
"""A toast names up to this many providers; more are counted."""


@blueprint.get("/")
def front() -> str | Response:
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    return render_template("front.html")


@blueprint.get("/news")
@login_required
def news() -> Any:
    """Polled every minute by the badge: 204, or the updated badge with toasts for new events.

    `since`: the newest result that the page knows; `known`: the number on its badge; `after`: the newest run reported,
    if the user wants events other than new models.
    """
    if not request.htmx:
        return redirect(url_for("changes.index"), 303)
    update = _new_models(parse_time(request.args.get("since", "")))
    toasts, after = notifications.toasts_since(current_user, parse_id(request.args.get("after", "")))
    if not update.fresh and not toasts and str(update.nav.unseen_new) == request.args.get("known"):
        return "", 204
    if update.fresh:
        toasts.insert(0, Toast(describe_new_models(update.fresh), "changes.index", "See the changes"))
    return render_template("_news.html", counters=NavBadge(update.nav, after), toasts=toasts)


def _new_models(since: datetime | None) -> nav.BadgeUpdate:
    if topics.NEW not in topics.parse(current_user.told_topics):
        return nav.BadgeUpdate(nav.NavCounters(0), [])
    return nav.load_badge_update(current_user.id, since)


def describe_new_models(fresh: Sequence[tuple[str, int]]) -> str:
    """ "2 new chat models at Groq and 1 at OpenAI."; fresh: (provider slug, number); empty for none."""
    if not fresh:
        return ""
    (slug, count), *others = fresh
    if len(fresh) > _MAX_NAMED:
        total = sum(count for _, count in fresh)
        return f"{humanize.pluralize(total, 'new chat model')} at {humanize.format_number(len(fresh))} providers."
    rest = "".join(f" and {humanize.format_number(count)} at {provider_title(slug)}" for slug, count in others)
    return f"{humanize.pluralize(count, 'new chat model')} at {provider_title(slug)}{rest}."


@blueprint.app_context_processor
def _footer_context() -> dict[str, Any]:
    return {"app_version": _version(), "design_page": "design.index" in current_app.view_functions}


@functools.cache
def _version() -> str:
    try:
        return version("modelsync")
    except PackageNotFoundError:  # not installed
        return ""
