"""The profile: the sync status, one's API keys, and the ways to add one. Keys are write-only: none is ever shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app import config, jobs
from app.extensions import db, limiter
from app.providers import PROVIDERS, addresses, get
from app.store import credentials, runs
from app.store.credentials import CredentialWithSlug, TooManyKeys
from app.store.queries import runs as run_queries
from app.vault import ApiKey, PublicKey
from app.web import sync
from app.web.app import filters

blueprint = Blueprint("keys", __name__)

MIN_KEY_LENGTH, MAX_KEY_LENGTH, MAX_LABEL_LENGTH = 8, 8_000, 60
KEYLESS_PROVIDER = "openrouter"
"""The provider to try without a key: its list is the longest that anybody may read."""


@blueprint.get("/profile")
@login_required
def profile() -> str:
    run = sync.latest_run()
    lines = my_keys()
    last = runs.last_finished(current_user.id, whole=True)
    has_keys = any(line.is_active for line in lines)
    return render_template(
        "profile.html",
        run=run,
        trouble=sync.queue_problem_of(run),
        groups=group_by_provider(lines),
        has_keys=has_keys,
        recommend=has_keys and runs.needs_sync(last, filters.now()),
        last=last,
    )


@blueprint.post("/keys")
@login_required
@limiter.limit("120 per hour")
def add() -> Any:
    slug = request.form.get("provider", "")
    provider = get(slug)
    row = credentials.providers_by_slug().get(slug)
    if provider is None or row is None:
        abort(404)
    typed = _read_key(needed=not provider.public)
    label = request.form.get("label", "").strip()
    complaint = typed if isinstance(typed, str) else label_error(label)
    if complaint or isinstance(typed, str):
        return _add_error(slug, complaint or "", label)
    try:
        base_url = addresses.resolve_base_url(
            provider, request.form.get("region", ""), request.form.get("base_url", "")
        )
    except addresses.InvalidBaseURL as bad:
        return _add_error(slug, str(bad), label)
    try:
        added = credentials.add(current_user.id, row, label, typed, sealer(), filters.now(), base_url)
    except TooManyKeys as too_many:
        return _add_error(slug, str(too_many), label)
    if added is None:
        db.session.rollback()
        named = f"labelled “{label}”" if label else "without a label"
        return _add_error(slug, f"You have a key of {provider.title} {named} already: choose another label.", label)
    db.session.commit()
    enqueue_checks([added.id])
    if not is_htmx():
        return _redirect_to_profile(slug)
    offer = render_template("keys/_offer.html", provider=provider, saved=True)
    return offer + render_template("keys/_list_piece.html", groups=group_by_provider(my_keys())) + render_idle_status()


@blueprint.post("/keys/try")
@login_required
@limiter.limit("30 per hour")
def try_without() -> Any:
    """The list that needs no key, added and synced at one press."""
    provider = credentials.providers_by_slug().get(KEYLESS_PROVIDER)
    if provider is None:
        abort(404)
    try:
        added = credentials.add(current_user.id, provider, "", None, sealer(), filters.now())
    except TooManyKeys as too_many:
        flash(str(too_many), "bad")
        return redirect(url_for("keys.profile"), 303)
    if added is not None:
        credentials.cancel_check(added.id)  # the sync that follows asks anyway
    db.session.commit()
    begun = jobs.start_sync(current_user.id, "manual")
    answer = sync.sync_response(begun)
    if not is_htmx():
        return answer
    return answer + render_template("keys/_list_piece.html", groups=group_by_provider(my_keys()))


@blueprint.post("/keys/<int:credential_id>/sync")
@login_required
@limiter.limit("60 per minute")
def sync_one(credential_id: int) -> Any:
    """Start a run over this one key; a live run is shown instead of a second one."""
    _require_own_key(credential_id)
    return sync.sync_response(jobs.start_sync(current_user.id, "manual", credential_id=credential_id))


@blueprint.post("/keys/<int:credential_id>/label")
@login_required
def rename(credential_id: int) -> Any:
    row, slug = _require_own_key(credential_id)
    label = request.form.get("label", "").strip()
    if complaint := label_error(label):
        return _row_error(slug, credential_id, "label", complaint)
    if not credentials.rename(row, label):
        db.session.rollback()
        title = PROVIDERS[slug].title
        named = f"labelled “{label}”" if label else "without a label"
        return _row_error(slug, credential_id, "label", f"You have a key of {title} {named} already.")
    db.session.commit()
    return _render_group(slug)


@blueprint.post("/keys/<int:credential_id>/replace")
@login_required
@limiter.limit("120 per hour")
def replace(credential_id: int) -> Any:
    row, slug = _require_own_key(credential_id)
    typed = _read_key(needed=True)
    if isinstance(typed, str):
        return _row_error(slug, credential_id, "key", typed)
    credentials.replace(row, slug, typed, sealer(), filters.now())
    db.session.commit()
    enqueue_checks([row.id])
    return _render_group(slug)


@blueprint.post("/keys/<int:credential_id>/active")
@login_required
def set_active(credential_id: int) -> Any:
    row, slug = _require_own_key(credential_id)
    row.is_active = request.form.get("active") == "yes"
    db.session.commit()
    return _render_group(slug)


@blueprint.post("/keys/<int:credential_id>/accept")
@login_required
@limiter.limit("60 per minute")
def accept(credential_id: int) -> Any:
    """The answer that was kept aside is right: ask again, and take it if it is still the same."""
    row, slug = _require_own_key(credential_id)
    if credentials.accept_quarantined(row):  # else a sync or another page settled it meanwhile: there is nothing to ask
        db.session.commit()
        jobs.start_sync(current_user.id, "manual", credential_id=credential_id)
    return _render_group(slug)


@blueprint.post("/keys/<int:credential_id>/keep")
@login_required
def keep(credential_id: int) -> Any:
    """The list in force is right: forget the answer that was kept aside."""
    row, slug = _require_own_key(credential_id)
    credentials.reject_quarantined(row)
    db.session.commit()
    return _render_group(slug)


@blueprint.post("/keys/<int:credential_id>/delete")
@login_required
def delete(credential_id: int) -> Any:
    row, slug = _require_own_key(credential_id)
    credentials.remove(row)
    db.session.commit()
    if not is_htmx():
        return _redirect_to_profile(slug)
    return render_template("keys/_list.html", groups=group_by_provider(my_keys()), focus=True) + render_idle_status()


@blueprint.get("/keys/<int:credential_id>")
@login_required
def row(credential_id: int) -> Any:
    """One key's row, asked for by itself while its check is under way."""
    found = run_queries.list_keys(current_user.id, filters.now(), credential_id)
    if not found:
        abort(404)
    if not is_htmx():
        return _redirect_to_profile(found[0].provider)
    return render_template("keys/_row.html", key=found[0])


def _require_own_key(credential_id: int) -> CredentialWithSlug:
    found = credentials.find_own(current_user.id, credential_id)
    if found is None:
        abort(404)
    return found


def sealer() -> PublicKey:
    """What seals keys for their owners; it cannot open one."""
    found: PublicKey | None = current_app.extensions.get("sealer")
    if found is None:
        found = current_app.extensions["sealer"] = config.load_public_key(config.current())
    return found


def _read_key(*, needed: bool) -> ApiKey | str | None:
    """The key of the form; a sentence if it cannot be one."""
    value = request.form.get("key", "").strip()
    if not value:
        return "Paste the key first." if needed else None
    return key_error(value) or ApiKey(value)


def key_error(value: str) -> str | None:
    """Why this cannot be an API key, as a sentence; None if it may be one."""
    if len(value) > MAX_KEY_LENGTH:
        return f"That is longer than any key ({MAX_KEY_LENGTH} characters at most). Paste the key alone."
    if value.startswith("{"):
        # A service account's JSON, which a form may have folded into one line.
        return (
            None if _is_json(value) else "That begins like a service account's JSON but is not whole. Paste all of it."
        )
    if len(value) < MIN_KEY_LENGTH:
        return "That is too short for a key. Copy it again from the provider's site."
    if not value.isascii() or not value.isprintable() or " " in value:
        return "That has spaces or characters that no key has. Copy the key alone, on one line."
    return None


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def label_error(label: str) -> str | None:
    if len(label) > MAX_LABEL_LENGTH or not (label.isprintable() or not label):
        return f"Choose a label of at most {MAX_LABEL_LENGTH} characters on one line."
    return None


def enqueue_checks(credential_ids: Sequence[int]) -> None:
    """Have workers ask the providers about keys that were just saved and committed."""
    for credential_id in credential_ids:
        if jobs.enqueue_key_check(credential_id):
            # Nobody will check it now, so the row is not to wait for it.
            credentials.cancel_check(credential_id)
            db.session.commit()


def is_htmx() -> bool:
    """Whether a piece of the page is wanted, not the page."""
    return bool(request.headers.get("HX-Request"))


def _redirect_to_profile(slug: str) -> Any:
    return redirect(url_for("keys.profile", _anchor=f"provider-{slug}"), 303)


def _add_error(slug: str, error: str, label: str) -> Any:
    """Why a new key was not saved, beside its form."""
    if is_htmx():
        return render_template("keys/_offer.html", provider=PROVIDERS[slug], error=error, label=label), 422
    flash(f"{PROVIDERS[slug].title}: {error}", "bad")
    return redirect(url_for("keys.profile"), 303)


def _row_error(slug: str, credential_id: int, wrong: str, error: str) -> Any:
    """Why a key was not changed, beside the field that is `wrong`."""
    if is_htmx():
        return _render_group(slug, trouble_with=(credential_id, wrong), error=error), 422
    flash(error, "bad")
    return redirect(url_for("keys.profile"), 303)


def my_keys() -> list[run_queries.KeyView]:
    """The keys of whoever asks."""
    return run_queries.list_keys(current_user.id, filters.now())


def group_by_provider(lines: list[run_queries.KeyView]) -> dict[str, list[run_queries.KeyView]]:
    """By provider, in the registry's order: the best known ones at its beginning."""
    groups: dict[str, list[run_queries.KeyView]] = {slug: [] for slug in PROVIDERS}
    for line in lines:
        groups.setdefault(line.provider, []).append(line)
    return {slug: keys for slug, keys in groups.items() if keys and slug in PROVIDERS}


def _render_group(slug: str, **context: Any) -> Any:
    """A provider's keys after one of them was changed, with the button that may depend on it."""
    if not is_htmx():
        return _redirect_to_profile(slug)
    keys = [line for line in my_keys() if line.provider == slug]
    return render_template("keys/_provider.html", provider=PROVIDERS[slug], keys=keys, **context) + render_idle_status()


def render_idle_status() -> str:
    """The sync status beside another answer; nothing while a run is live."""
    run = sync.latest_run()
    # Whether Sync Now can be pressed depends on the keys; a live run's piece is left to its stream.
    return "" if run and run.is_live else render_template("sync/_idle.html", status=sync.render_status(run))
