"""For admins: what is theirs to decide about each provider, and how it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user

from app import config, jobs
from app.extensions import db, limiter
from app.jobs import provider_test
from app.providers import PROVIDERS, get
from app.providers.addresses import InvalidBaseURL, validate_shared_url
from app.store import audit, catalog, credentials
from app.store.audit import Actor
from app.store.queries import admin
from app.web.account import login
from app.web.admin.overview import admin_required
from app.web.app import charts, filters

blueprint = Blueprint("admin_providers", __name__)

FREQUENCIES = ("realtime", "daily", "weekly", "manual")
_PASSWORD_REQUIRED = "All keys of this provider will be sent to that address: type your own password to set it."  # noqa: S105


@blueprint.get("/providers")
@admin_required
def redirect_old_path() -> Any:
    """The address that the owner's documents give it."""
    return redirect(url_for(".index"), 303)


@blueprint.get("/admin/providers")
@admin_required
def index() -> str:
    return render_template("admin/providers.html", **_context())


@blueprint.post("/admin/providers/<slug>")
@admin_required
@limiter.limit("10 per hour", exempt_when=lambda: not request.form.get("password"))
def change(slug: str) -> Any:
    """Enable or disable it, set how often it is asked, and where; for another address with the admin's password."""
    provider, row = get(slug), credentials.providers_by_slug().get(slug)
    if provider is None or row is None:
        abort(404)
    frequency, address = request.form.get("frequency", ""), request.form.get("base_url", "").strip()
    try:
        base_url = validate_shared_url(address, provider.base_url) if address else None
    except InvalidBaseURL as bad:
        return _render_error(slug, str(bad), address)
    if base_url not in (None, row.admin_base_url) and not _is_reauthenticated():
        return _render_error(
            slug, _PASSWORD_REQUIRED if current_user.has_password else login.RECENT_LOGIN_NEEDED, address
        )
    frequency_before = row.admin_update_frequency
    catalog.update_provider(
        row,
        is_active=request.form.get("enabled") == "yes",
        frequency=frequency if frequency in FREQUENCIES else None,
        base_url=base_url,
        actor=Actor(current_user.id, current_user.email),
        now=filters.now(),
    )
    db.session.commit()
    if row.admin_update_frequency != frequency_before:
        jobs.reschedule_provider(row)
    if request.headers.get("HX-Request"):
        return _render_row(slug, saved=True)
    flash(f"Saved what is set for {provider.title}.", "good")
    return redirect(url_for(".index", _anchor=f"provider-{slug}"), 303)


@blueprint.post("/admin/providers/<slug>/test")
@admin_required
@limiter.limit("30 per minute")
def test(slug: str) -> Any:
    """Have a worker ask it once, with the server's own key or without one; nothing is recorded but who asked."""
    if slug not in jobs.SYNCABLE or slug not in credentials.providers_by_slug():
        abort(404)
    trouble = jobs.start_provider_test(slug)
    audit.record(Actor(current_user.id, current_user.email), "test", slug, None, {"test": "asked"}, "", filters.now())
    db.session.commit()
    if request.headers.get("HX-Request"):
        return _render_test(slug, trouble)
    if trouble:
        flash(trouble, "warn")
    return redirect(url_for(".index", _anchor=f"provider-test-{slug}"), 303)


@blueprint.get("/admin/providers/<slug>/test")
@admin_required
def test_result(slug: str) -> Any:
    """What came of it, as a piece of the page; without htmx, the page."""
    if slug not in jobs.SYNCABLE:
        abort(404)
    if not request.headers.get("HX-Request"):
        return redirect(url_for(".index", _anchor=f"provider-test-{slug}"), 303)
    return _render_test(slug)


def _render_test(slug: str, trouble: str | None = None) -> str:
    trial = _latest_tests([slug]).get(slug)
    return render_template("admin/_provider_test.html", line={"slug": slug}, trial=trial, trouble=trouble)


def _latest_tests(slugs: Iterable[str]) -> dict[str, provider_test.ProviderTest | None]:
    """The last test of each; none of any, where Redis is away."""
    try:
        return provider_test.load_all(slugs)
    except redis.RedisError:
        return {}


def _is_reauthenticated() -> bool:
    """A session that somebody else came by is not enough to have everybody's keys sent elsewhere."""
    typed = request.form.get("password", "")
    return bool(typed or not current_user.has_password) and login.reauthenticated(typed)


def _render_error(slug: str, complaint: str, typed: str) -> Any:
    """One sentence in the row; what was typed is still there, and nothing was written."""
    db.session.rollback()
    if request.headers.get("HX-Request"):
        return _render_row(slug, complaint=complaint, typed=typed), 422
    return render_template("admin/providers.html", **_context(), wrong=slug, complaint=complaint, typed=typed), 422


def _render_row(slug: str, **said: Any) -> str:
    context = _context(slug)
    return render_template("admin/_provider.html", line=context["lines"][0], **context, **said)


def _context(slug: str | None = None) -> dict[str, Any]:
    """Of all providers, those with keys first; or of one."""
    now = filters.now()
    lines = [line for line in admin.list_providers() if line.slug in PROVIDERS and slug in (None, line.slug)]
    counts = admin.load_counts(charts.DAYS, now)
    tested = _latest_tests([line.slug for line in lines])
    return {
        "lines": sorted(lines, key=lambda line: (-line.keys, line.slug)),
        "health": charts.chart_health(counts, [line.slug for line in lines], now.date()),
        "charts": charts,
        "trials": tested,
        "frequencies": FREQUENCIES,
        "from_environment": dict(config.current().base_urls),
    }
