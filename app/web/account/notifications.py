"""Notification settings, toasts for events since the page was loaded, and one-click unsubscribe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app import config
from app.catalog import humanize, topics
from app.extensions import client_network, csrf, db, limiter
from app.jobs.digest_email import KEY_ERROR_CODES
from app.providers import provider_title
from app.store.accounts import subscriptions
from app.store.queries import digest
from app.store.queries import nav as nav_queries
from app.store.queries.digest import DigestKeyProblem, ProviderNews
from app.store.queries.nav import NavCounters
from app.store.schema.tables import UserRow

blueprint = Blueprint("notifications", __name__)

TITLES = {
    topics.NEW: ("New models", "that a key of yours did not list before"),
    topics.GONE: ("Models that went away", "or came back, were renamed, deprecated or given an end of service"),
    topics.TERMS: ("Prices and limits", "when a price, the context window or the longest answer changes"),
    topics.KEYS: ("A key that fails", "once, when a provider begins to refuse it"),
}
"""Topic → (title, description)."""
LINKS_PER_NETWORK = "600 per hour"
"""High, because mail providers unsubscribe on behalf of many users from one address."""
_LINK_EXPIRED = "This link ends nobody's letters any more. Sign in, and choose in the settings what letters you get."
_MAX_NAMED = 2
"""A toast names up to this many providers or keys; more are counted."""


@dataclass(frozen=True, slots=True)
class NavBadge:
    """State of the navigation badge."""

    nav: NavCounters
    after: int | None
    """The newest run already reported; None if the user only wants new models."""


@dataclass(frozen=True, slots=True)
class Toast:
    text: str
    endpoint: str
    """Link target."""
    link: str
    tone: Literal["busy", "warn"] = "busy"


def nav_badge(user: UserRow) -> NavBadge:
    """The navigation badge, according to the user's in-app topics."""
    topics_in_app = topics.parse(user.told_topics)
    nav = nav_queries.load_nav(user.id) if topics.NEW in topics_in_app else NavCounters(0)
    return NavBadge(nav, digest.newest_finished_run(user.id) if topics_in_app - {topics.NEW} else None)


def nav_badge_of(user_id: int) -> NavBadge | None:
    """The badge for an event stream; re-reads the account."""
    user = db.session.get(UserRow, user_id, populate_existing=True)
    return nav_badge(user) if user else None


def toasts_since(user: UserRow, after: int | None) -> tuple[list[Toast], int | None]:
    """Toasts for runs after `after`, and the newest run they cover. New models are reported by `home.news`."""
    topics_in_app = topics.parse(user.told_topics) - {topics.NEW}
    if not topics_in_app:
        return [], None
    until = digest.newest_finished_run(user.id)
    if after is None or until <= after:
        return [], until
    notices = digest.load_digest(user.id, after, until, topics_in_app, KEY_ERROR_CODES)
    toasts = []
    if notices.news:
        toasts.append(Toast(_headlines(notices.news), "changes.index", "See the changes"))
    if notices.keys:
        toasts.append(Toast(_describe_failing_keys(notices.keys), "keys.profile", "See your keys", "warn"))
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
    """Show the confirmation page. GET changes nothing, because mail scanners follow links."""
    if not subscriptions.is_valid_token(token[:100]):
        return _invalid_link()
    return render_template("accounts/unsubscribe.html", token=token)


@blueprint.post("/unsubscribe/<token>")
@csrf.exempt  # RFC 8058 one-click: mail programs post without a CSRF token; the URL's token suffices
@limiter.limit(LINKS_PER_NETWORK, key_func=client_network)
def stop(token: str) -> Any:
    """Unsubscribe. Needs no sign-in and is idempotent."""
    if not subscriptions.unsubscribe(token[:100]):
        return _invalid_link()
    db.session.commit()
    return render_template("accounts/unsubscribe.html", token=token, done=True)


def _invalid_link() -> Any:
    return render_template("accounts/unsubscribe.html", error=_LINK_EXPIRED), 404


def _headlines(news: list[ProviderNews]) -> str:
    sentences = [
        humanize.headline(provider_title(one.provider), one.changes, one.uncatalogued) + "."
        for one in news[:_MAX_NAMED]
    ]
    if len(news) > _MAX_NAMED:
        sentences.append(f"{humanize.pluralize(len(news) - _MAX_NAMED, 'more provider')} changed something.")
    return " ".join(sentences)


def _describe_failing_keys(keys: list[DigestKeyProblem]) -> str:
    if len(keys) > _MAX_NAMED:
        return f"{humanize.format_number(len(keys))} keys began to fail."
    return " ".join(
        f"{provider_title(key.provider)}{f' ({key.label})' if key.label else ''}: {key.message}" for key in keys
    )
