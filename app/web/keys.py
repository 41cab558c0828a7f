"""The profile: API keys by provider, write-only, and the sync status above them."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app import config, jobs
from app.extensions import db, limiter
from app.providers import PROVIDERS, addresses, get
from app.store import credentials, pages, runs
from app.store.credentials import Sealed
from app.vault import Sealer, SecretKey
from app.web import showing, sync

blueprint = Blueprint("keys", __name__)

SHORTEST_KEY, LONGEST_KEY, LONGEST_LABEL = 8, 8_000, 60


@blueprint.get("/profile")
@login_required
def profile() -> str:
    run = sync.latest()
    lines = pages.keys(current_user.id, showing.now())
    mine = {line.provider for line in lines}
    last = runs.last_done(current_user.id, whole=True)
    # Providers with keys come first, the others in the registry's order: the best known ones at its beginning.
    order = sorted(PROVIDERS, key=lambda slug: slug not in mine)
    by_provider: dict[str, list[pages.KeyLine]] = {slug: [] for slug in order}
    for line in lines:
        by_provider.setdefault(line.provider, []).append(line)
    return render_template(
        "profile.html",
        run=run,
        trouble=sync.trouble_of(run),
        by_provider=by_provider,
        has_keys=any(line.is_active for line in lines),
        recommend=any(line.is_active for line in lines) and runs.needs_sync(last, showing.now()),
        last=last,
    )


@blueprint.post("/keys")
@login_required
@limiter.limit("120 per hour")
def add() -> Any:
    slug = request.form.get("provider", "")
    provider = get(slug)
    row = credentials.providers().get(slug)
    if provider is None or row is None:
        abort(404)
    typed = _typed_key(needed=not provider.public)
    label = request.form.get("label", "").strip()
    complaint = typed if isinstance(typed, str) else label_complaint(label)
    if complaint or isinstance(typed, str):
        return _refused(slug, complaint or "", label)
    try:
        base_url = addresses.chosen(provider, request.form.get("region", ""), request.form.get("base_url", ""))
    except addresses.BadAddress as bad:
        return _refused(slug, str(bad), label)
    added = credentials.add(current_user.id, row, label, typed, _sealer(), showing.now(), base_url)
    if added is None:
        db.session.rollback()
        named = f"labelled “{label}”" if label else "without a label"
        return _refused(slug, f"You have a {provider.title} key {named} already: choose another label.", label)
    db.session.commit()
    return _saved(slug, added.id)


@blueprint.post("/keys/<int:credential_id>/replace")
@login_required
@limiter.limit("120 per hour")
def replace(credential_id: int) -> Any:
    row, slug = _own(credential_id)
    typed = _typed_key(needed=True)
    if isinstance(typed, str):
        return _refused(slug, typed, "")
    credentials.replace(row, slug, typed, _sealer(), showing.now())
    db.session.commit()
    return _saved(slug, row.id)


@blueprint.post("/keys/<int:credential_id>/active")
@login_required
def set_active(credential_id: int) -> Any:
    row, slug = _own(credential_id)
    row.is_active = request.form.get("active") == "yes"
    db.session.commit()
    return _section(slug)


@blueprint.post("/keys/<int:credential_id>/accept")
@login_required
def accept(credential_id: int) -> Any:
    """The answer that was kept aside is right: ask again, and take it if it is still the same."""
    row, slug = _own(credential_id)
    row.suspect_accepted = row.suspect_listing_id is not None
    db.session.commit()
    jobs.begin_sync(current_user.id, "manual", credential_id=credential_id)
    return _section(slug)


@blueprint.post("/keys/<int:credential_id>/delete")
@login_required
def delete(credential_id: int) -> Any:
    row, slug = _own(credential_id)
    credentials.remove(row)
    db.session.commit()
    return _section(slug)


@blueprint.get("/keys/<int:credential_id>")
@login_required
def row(credential_id: int) -> Any:
    """One key's row, asked for by itself while its check is under way."""
    found = pages.keys(current_user.id, showing.now(), credential_id)
    if not found:
        abort(404)
    if not request.headers.get("HX-Request"):
        return redirect(url_for("keys.profile", _anchor=f"provider-{found[0].provider}"), 303)
    return render_template("keys/_row.html", key=found[0])


def _own(credential_id: int) -> Sealed:
    found = credentials.of_user(current_user.id, credential_id)
    if found is None:
        abort(404)
    return found


def _sealer() -> Sealer:
    found: Sealer | None = current_app.extensions.get("sealer")
    if found is None:
        found = current_app.extensions["sealer"] = config.sealer(config.current())
    return found


def _typed_key(*, needed: bool) -> SecretKey | str | None:
    """The key of the form; a sentence if it cannot be one."""
    value = request.form.get("key", "").strip()
    if not value:
        return "Paste the key first." if needed else None
    return key_complaint(value) or SecretKey(value)


def key_complaint(value: str) -> str | None:
    """Why this cannot be an API key, as a sentence; None if it may be one."""
    if len(value) > LONGEST_KEY:
        return f"That is longer than any key ({LONGEST_KEY} characters at most). Paste the key alone."
    if value.startswith("{"):
        # A service account's JSON, which a form may have folded into one line.
        return (
            None if _is_json(value) else "That begins like a service account's JSON but is not whole. Paste all of it."
        )
    if len(value) < SHORTEST_KEY:
        return "That is too short for a key. Copy it again from the provider's site."
    if not value.isascii() or not value.isprintable() or " " in value:
        return "That has spaces or characters that no key has. Copy the key alone, on one line."
    return None


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


def label_complaint(label: str) -> str | None:
    if len(label) > LONGEST_LABEL or not (label.isprintable() or not label):
        return f"Choose a label of at most {LONGEST_LABEL} characters on one line."
    return None


def _saved(slug: str, credential_id: int) -> Any:
    if jobs.enqueue_check(credential_id):
        # Nobody will check it now, so the row is not to wait for it.
        credentials.expect_no_check(credential_id)
        db.session.commit()
    return _section(slug)


def _refused(slug: str, error: str, label: str) -> Any:
    if request.headers.get("HX-Request"):
        return _section(slug, error=error, label=label), 422
    flash(error, "bad")
    return redirect(url_for("keys.profile", _anchor=f"provider-{slug}"), 303)


def _section(slug: str, **context: Any) -> Any:
    if not request.headers.get("HX-Request"):
        return redirect(url_for("keys.profile", _anchor=f"provider-{slug}"), 303)
    lines = [line for line in pages.keys(current_user.id, showing.now()) if line.provider == slug]
    section = render_template("keys/_provider.html", provider=PROVIDERS[slug], keys=lines, **context)
    run = sync.latest()
    # Whether Sync Now can be pressed depends on the keys; a live run's piece is left to its stream.
    return (
        section
        if run and run.is_live
        else section + render_template("sync/_idle.html", status=sync.status_partial(run))
    )
