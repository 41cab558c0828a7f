"""Admin pages of the providers: enable, frequency, base URL, health, test requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user

from app import clock, config
from app.extensions import db, limiter
from app.jobs import enqueue, provider_test
from app.providers import PROVIDERS, SYNCABLE, get
from app.providers.addresses import InvalidBaseURL, validate_shared_url
from app.store import audit, catalog, credentials
from app.store.queries import admin
from app.web.account import login
from app.web.admin.overview import admin_required
from app.web.app import charts
from app.web.app.arguments import current_actor

blueprint = Blueprint("admin_providers", __name__)

FREQUENCIES = ("realtime", "daily", "weekly", "manual")
_PASSWORD_REQUIRED = "All keys of this provider will be sent to that address: type your own password to set it."  # noqa: S105


@blueprint.get("/providers")
@admin_required
def redirect_old_path() -> Any:
    """The path given in the original specification."""
    return redirect(url_for(".index"), 303)


@blueprint.get("/admin/providers")
@admin_required
def index() -> str:
    return render_template("admin/providers.html", **_context())


@blueprint.post("/admin/providers/<slug>")
@admin_required
@limiter.limit("10 per hour", exempt_when=lambda: not request.form.get("password"))
def change(slug: str) -> Any:
    """Save a provider's settings. A new base URL requires the admin's password."""
    provider, row = get(slug), credentials.providers_by_slug().get(slug)
    if provider is None or row is None:
        abort(404)
    frequency, address = request.form.get("frequency", ""), request.form.get("base_url", "").strip()
    try:
        base_url = validate_shared_url(address, provider.base_url) if address else None
    except InvalidBaseURL as error:
        return _render_error(slug, str(error), address)
    if base_url not in (None, row.admin_base_url) and not _is_reauthenticated():
        return _render_error(slug, login.password_error(_PASSWORD_REQUIRED), address)
    frequency_before = row.admin_update_frequency
    catalog.update_provider(
        row,
        is_active=request.form.get("enabled") == "yes",
        frequency=frequency if frequency in FREQUENCIES else None,
        base_url=base_url,
        actor=current_actor(),
        now=clock.utc_now(),
    )
    db.session.commit()
    if row.admin_update_frequency != frequency_before:
        enqueue.reschedule_provider(row)
    if request.headers.get("HX-Request"):
        return _render_row(slug, saved=True)
    flash(f"Saved what is set for {provider.title}.", "good")
    return redirect(url_for(".index", _anchor=f"provider-{slug}"), 303)


@blueprint.post("/admin/providers/<slug>/test")
@admin_required
@limiter.limit("30 per minute")
def test(slug: str) -> Any:
    """Queue one request to the provider, with the server's key or none. Only the audit log records it."""
    if slug not in SYNCABLE or slug not in credentials.providers_by_slug():
        abort(404)
    problem = enqueue.start_provider_test(slug)
    audit.record(current_actor(), "test", slug, None, {"test": "asked"}, "", clock.utc_now())
    db.session.commit()
    if request.headers.get("HX-Request"):
        return _render_test(slug, problem)
    if problem:
        flash(problem, "warn")
    return redirect(url_for(".index", _anchor=f"provider-test-{slug}"), 303)


@blueprint.get("/admin/providers/<slug>/test")
@admin_required
def test_result(slug: str) -> Any:
    """The result of a test as a partial; without htmx, redirects to the page."""
    if slug not in SYNCABLE:
        abort(404)
    if not request.headers.get("HX-Request"):
        return redirect(url_for(".index", _anchor=f"provider-test-{slug}"), 303)
    return _render_test(slug)


def _render_test(slug: str, problem: str | None = None) -> str:
    trial = _latest_tests([slug]).get(slug)
    return render_template("admin/_provider_test.html", line={"slug": slug}, trial=trial, problem=problem)


def _latest_tests(slugs: Iterable[str]) -> dict[str, provider_test.ProviderTest | None]:
    """The last test of each provider; empty while Redis is unreachable."""
    try:
        return provider_test.load_all(slugs)
    except redis.RedisError:
        return {}


def _is_reauthenticated() -> bool:
    """A stolen session must not suffice to redirect all users' keys to another server."""
    typed = request.form.get("password", "")
    return bool(typed or not current_user.has_password) and login.confirms_identity(typed)


def _render_error(slug: str, error: str, typed: str) -> Any:
    """Render the error in the provider's row; nothing is written, and the input is kept."""
    db.session.rollback()
    if request.headers.get("HX-Request"):
        return _render_row(slug, setting_error=error, typed=typed), 422
    return render_template("admin/providers.html", **_context(), wrong=slug, setting_error=error, typed=typed), 422


def _render_row(slug: str, **state: Any) -> str:
    context = _context(slug)
    return render_template("admin/_provider.html", line=context["lines"][0], **context, **state)


def _context(slug: str | None = None) -> dict[str, Any]:
    """All providers, those with keys first, or one."""
    now = clock.utc_now()
    views = [line for line in admin.list_providers() if line.slug in PROVIDERS and slug in (None, line.slug)]
    counts = admin.load_counts(charts.DAYS, now)
    tests = _latest_tests([line.slug for line in views])
    return {
        "lines": sorted(views, key=lambda line: (-line.keys, line.slug)),
        "health": charts.chart_health(counts, [line.slug for line in views], now.date()),
        "charts": charts,
        "trials": tests,
        "frequencies": FREQUENCIES,
        "from_environment": dict(config.current().base_urls),
    }
