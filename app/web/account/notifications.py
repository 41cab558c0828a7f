"""What a person is told of, and how: chosen in the settings, told while they look, ended from a letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app import config
from app.catalog import humanize, topics
from app.extensions import client_network, csrf, db, limiter
from app.jobs.digest_email import KEY_ERROR_CODES
from app.store.accounts import subscriptions
from app.store.queries import digest, runs
from app.store.queries.digest import DigestKeyProblem, ProviderNews
from app.store.queries.runs import NavCounters
from app.store.schema.tables import UserRow
from app.web.app import filters

blueprint = Blueprint("notifications", __name__)

TITLES = {
    topics.NEW: ("New models", "that a key of yours did not list before"),
    topics.GONE: ("Models that went away", "or came back, were renamed, deprecated or given an end of service"),
    topics.TERMS: ("Prices and limits", "when a price, the context window or the longest answer changes"),
    topics.KEYS: ("A key that fails", "once, when a provider begins to refuse it"),
}
"""Topic → its title, and what is in it."""
LINKS_PER_NETWORK = "600 per hour"
"""Large, as mail providers end letters for many of their people from one address."""
_LINK_EXPIRED = "This link ends nobody's letters any more. Sign in, and choose in the settings what letters you get."
_MAX_NAMED = 2
"""So many providers' news, or keys, are named in a toast; more are counted."""


@dataclass(frozen=True, slots=True)
class NavBadge:
    """What the badge shows, and from where on it asks for more."""

    nav: NavCounters
    after: int | None
    """The newest run of which there is nothing to tell; None where of runs nothing is told but new models."""


@dataclass(frozen=True, slots=True)
class Toast:
    text: str
    endpoint: str
    """Where its link leads."""
    link: str
    tone: Literal["busy", "warn"] = "busy"


def nav_badge(user: UserRow) -> NavBadge:
    """Of the navigation, for whoever wants to be told."""
    wanted = topics.parse(user.told_topics)
    nav = runs.load_nav(user.id) if topics.NEW in wanted else NavCounters(0)
    return NavBadge(nav, digest.newest_finished_run(user.id) if wanted - {topics.NEW} else None)


def nav_badge_of(user_id: int) -> NavBadge | None:
    """The same, for a stream, in which the account is read anew."""
    user = db.session.get(UserRow, user_id, populate_existing=True)
    return nav_badge(user) if user else None


def toasts_since(user: UserRow, after: int | None) -> tuple[list[Toast], int | None]:
    """What runs after this one brought beside new models, and the run until which that is told."""
    wanted = topics.parse(user.told_topics) - {topics.NEW}
    if not wanted:
        return [], None
    until = digest.newest_finished_run(user.id)
    if after is None or until <= after:
        return [], until
    found = digest.load_digest(user.id, after, until, wanted, KEY_ERROR_CODES)
    toasts = []
    if found.news:
        toasts.append(Toast(_headlines(found.news), "changes.index", "See the changes"))
    if found.keys:
        toasts.append(Toast(_describe_failing_keys(found.keys), "keys.profile", "See your keys", "warn"))
    return toasts, until


@blueprint.post("/settings/notifications")
@login_required
def choose() -> Any:
    current_user.told_topics = topics.serialize(request.form.getlist("in_app"))
    if config.current().mail_from:
        subscriptions.set_topics(current_user.id, request.form.getlist("by_mail"))
    db.session.commit()
    flash("Saved.", "good")
    return redirect(url_for("settings.index", _anchor="notifications"), 303)


@blueprint.get("/unsubscribe/<token>")
@limiter.limit(LINKS_PER_NETWORK, key_func=client_network)
def ask(token: str) -> Any:
    """Looking at the link ends nothing: mail programs look too."""
    if not subscriptions.is_valid_token(token[:100]):
        return _invalid_link()
    return render_template("accounts/unsubscribe.html", token=token)


@blueprint.post("/unsubscribe/<token>")
@csrf.exempt  # a mail program posts it, without a page before (RFC 8058); the token says whose letters end
@limiter.limit(LINKS_PER_NETWORK, key_func=client_network)
def stop(token: str) -> Any:
    """No more letters; nobody needs to sign in, and twice does no harm."""
    if not subscriptions.unsubscribe(token[:100]):
        return _invalid_link()
    db.session.commit()
    return render_template("accounts/unsubscribe.html", token=token, done=True)


def _invalid_link() -> Any:
    return render_template("accounts/unsubscribe.html", error=_LINK_EXPIRED), 404


def _headlines(news: list[ProviderNews]) -> str:
    told = [
        humanize.headline(filters.provider_title(one.provider), one.changes, one.uncatalogued) + "."
        for one in news[:_MAX_NAMED]
    ]
    if len(news) > _MAX_NAMED:
        told.append(f"{humanize.pluralize(len(news) - _MAX_NAMED, 'more provider')} changed something.")
    return " ".join(told)


def _describe_failing_keys(keys: list[DigestKeyProblem]) -> str:
    if len(keys) > _MAX_NAMED:
        return f"{humanize.format_number(len(keys))} keys began to fail."
    return " ".join(
        f"{filters.provider_title(key.provider)}{f' ({key.label})' if key.label else ''}: {key.message}" for key in keys
    )
