"""The profile page: sync status, the user's API keys, and adding keys. Keys are write-only and never shown."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app import clock, config
from app.extensions import db, limiter
from app.jobs import enqueue
from app.providers import PROVIDERS, addresses, get
from app.providers.contract import Provider
from app.providers.key_detection import InvalidKey, parse_key
from app.store import credentials
from app.store.credentials import CredentialWithSlug, TooManyKeys
from app.store.queries import keys as key_queries
from app.vault import ApiKey, PublicKey
from app.web import sync
from app.web.app.arguments import require

blueprint = Blueprint("keys", __name__)

ANOTHER_HOST = (
    "That is another host, and your key is only sent where you gave it: paste it again, or tick “Send no key”."
)
KEYLESS_PROVIDER = "openrouter"
"""The provider to try without a key: its public list is the longest."""


@blueprint.get("/profile")
@login_required
def profile() -> str:
    run = sync.latest_run()
    return render_template(
        "profile.html",
        run=run,
        problem=sync.queue_problem_of(run),
        groups=group_by_provider(my_keys()),
        **sync.status_context(current_user.id, run),
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
    key = _read_key(provider, needed=not provider.public)
    label = request.form.get("label", "").strip()
    if isinstance(key, str):
        return _add_error(slug, key, label)
    if error := credentials.label_error(label):
        return _add_error(slug, error, label)
    try:
        base_url, key = _read_address(provider, key)
    except addresses.InvalidBaseURL as error:
        return _add_error(slug, str(error), label)
    try:
        credential = credentials.add(current_user.id, row, label, key, vault_public_key(), clock.utc_now(), base_url)
    except TooManyKeys as error:
        return _add_error(slug, str(error), label)
    if credential is None:
        db.session.rollback()
        return _add_error(slug, f"{describe_duplicate(provider.title, label)}: choose another label.", label)
    db.session.commit()
    enqueued = enqueue.start_first_sync(current_user.id)
    if not is_htmx():
        return _redirect_to_profile(slug)
    offer = render_template("keys/_offer.html", provider=provider, saved=True)
    return offer + render_keys_piece() + sync.render_status_piece(enqueued)


@blueprint.post("/keys/try")
@login_required
@limiter.limit("30 per hour")
def try_without() -> Any:
    """Add the keyless provider and sync at once."""
    provider = require(credentials.providers_by_slug().get(KEYLESS_PROVIDER))
    try:
        credentials.add(current_user.id, provider, "", None, vault_public_key(), clock.utc_now())
    except TooManyKeys as error:
        flash(str(error), "bad")
        return redirect(url_for("keys.profile"), 303)
    db.session.commit()
    enqueued = enqueue.start_sync(current_user.id, "manual")
    response = sync.sync_response(enqueued)
    if not is_htmx():
        return response
    return response + render_keys_piece()


@blueprint.post("/keys/<int:credential_id>/sync")
@login_required
@limiter.limit("60 per minute")
def sync_one(credential_id: int) -> Any:
    """Sync this key; a live run is shown instead of starting a second one."""
    _require_own_key(credential_id)
    return sync.sync_response(enqueue.start_sync(current_user.id, "manual", credential_id=credential_id))


@blueprint.post("/keys/<int:credential_id>/label")
@login_required
def rename(credential_id: int) -> Any:
    row, slug = _require_own_key(credential_id)
    label = request.form.get("label", "").strip()
    if error := credentials.label_error(label):
        return _row_error(slug, credential_id, "label", error)
    if not credentials.rename(row, label):
        db.session.rollback()
        return _row_error(slug, credential_id, "label", f"{describe_duplicate(PROVIDERS[slug].title, label)}.")
    db.session.commit()
    return _render_group(slug)


@blueprint.post("/keys/<int:credential_id>/replace")
@login_required
@limiter.limit("120 per hour")
def replace(credential_id: int) -> Any:
    row, slug = _require_own_key(credential_id)
    typed = _read_key(PROVIDERS[slug], needed="login" not in request.form)
    if isinstance(typed, str):
        return _row_error(slug, credential_id, "key", typed)
    try:
        key = _add_login(typed, addresses.validate_login(request.form.get("login", "")))
    except addresses.InvalidBaseURL as error:
        return _row_error(slug, credential_id, "key", str(error))
    if key is None:
        return _row_error(slug, credential_id, "key", "Paste the key or the login first.")
    credentials.replace(row, slug, key, vault_public_key(), clock.utc_now())
    db.session.commit()
    return _render_group(slug, enqueue.start_first_sync(current_user.id))


@blueprint.post("/keys/<int:credential_id>/address")
@login_required
@limiter.limit("120 per hour")
def change_address(credential_id: int) -> Any:
    """Change the address or region. A stored key stays with its host: for another one it has to be typed again."""
    row, slug = _require_own_key(credential_id)
    provider = PROVIDERS[slug]
    typed = _read_key(provider, needed=False)
    if isinstance(typed, str):
        return _row_error(slug, credential_id, "address", typed)
    try:
        base_url, key = _read_address(provider, typed)
    except addresses.InvalidBaseURL as error:
        return _row_error(slug, credential_id, "address", str(error))
    if key or request.form.get("no_key"):
        row.base_url = base_url
        credentials.replace(row, slug, key, vault_public_key(), clock.utc_now())
    elif row.sealed_key is None or addresses.keeps_key(
        row.base_url or provider.base_url, base_url or provider.base_url
    ):
        credentials.change_address(row, base_url, clock.utc_now())
    else:
        return _row_error(slug, credential_id, "address", ANOTHER_HOST, address=base_url or "")
    db.session.commit()
    return _render_group(slug, enqueue.start_first_sync(current_user.id) if row.check_asked_at else None)


@blueprint.post("/keys/<int:credential_id>/active")
@login_required
def set_active(credential_id: int) -> Any:
    row, slug = _require_own_key(credential_id)
    row.is_active = request.form.get("active") == "yes"
    db.session.commit()
    return _render_group(slug, enqueue.start_first_sync(current_user.id) if row.is_active else None)


@blueprint.post("/keys/<int:credential_id>/accept")
@login_required
@limiter.limit("60 per minute")
def accept(credential_id: int) -> Any:
    """Accept a quarantined list: fetch again, and apply the list if it is still the same."""
    row, slug = _require_own_key(credential_id)
    enqueued = None
    if credentials.accept_quarantined(row):  # otherwise it was settled in the meantime
        db.session.commit()
        enqueued = enqueue.start_sync(current_user.id, "manual", credential_id=credential_id)
    return _render_group(slug, enqueued)


@blueprint.post("/keys/<int:credential_id>/keep")
@login_required
def keep(credential_id: int) -> Any:
    """Reject a quarantined list and keep the current one."""
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
    return (
        render_template("keys/_list.html", groups=group_by_provider(my_keys()), focus=True) + sync.render_status_piece()
    )


def _require_own_key(credential_id: int) -> CredentialWithSlug:
    return require(credentials.find_own(current_user.id, credential_id))


def vault_public_key() -> PublicKey:
    """The public key that encrypts API keys; it cannot decrypt them."""
    public_key: PublicKey | None = current_app.extensions.get("vault_public_key")
    if public_key is None:
        public_key = current_app.extensions["vault_public_key"] = config.load_public_key(config.current())
    return public_key


def _read_key(provider: Provider, *, needed: bool) -> ApiKey | str | None:
    """The key of the form; an error message if it is invalid; None if optional and absent."""
    value = request.form.get("key", "").strip()
    if not value:
        return "Paste the key first." if needed else None
    try:
        return ApiKey(parse_key(value, provider))
    except InvalidKey as error:
        return str(error)


def _add_login(key: ApiKey | None, login: str) -> ApiKey | None:
    return ApiKey(key.reveal() if key else "", login) if login else key


def _read_address(provider: Provider, key: ApiKey | None) -> tuple[str | None, ApiKey | None]:
    """The base URL of the form, and the key with the login from the address or its own field. Raises InvalidBaseURL."""
    form = request.form
    address = addresses.resolve_address(provider, form.get("region", ""), form.get("base_url", ""))
    typed = form.get("login", "") if provider.base_url_example else ""
    return address.base_url, _add_login(key, addresses.validate_login(typed) or address.login)


def describe_duplicate(title: str, label: str) -> str:
    """The beginning of a sentence. title: the provider's."""
    description = f"labelled “{label}”" if label else "without a label"
    return f"You have a key of {title} {description} already"


def is_htmx() -> bool:
    """Whether a partial is requested."""
    return bool(request.headers.get("HX-Request"))


def _redirect_to_profile(slug: str) -> Any:
    return redirect(url_for("keys.profile", _anchor=f"provider-{slug}"), 303)


def _add_error(slug: str, error: str, label: str) -> Any:
    """Report beside the form why a new key was not saved."""
    if is_htmx():
        return render_template("keys/_offer.html", provider=PROVIDERS[slug], error=error, label=label), 422
    flash(f"{PROVIDERS[slug].title}: {error}", "bad")
    return redirect(url_for("keys.profile"), 303)


def _row_error(slug: str, credential_id: int, wrong: str, error: str, address: str = "") -> Any:
    """Report beside the field `wrong` why a key was not changed."""
    if is_htmx():
        return _render_group(slug, error_at=(credential_id, wrong), error=error, address=address), 422
    flash(error, "bad")
    return redirect(url_for("keys.profile"), 303)


def my_keys() -> list[key_queries.KeyView]:
    """The current user's keys."""
    return key_queries.list_keys(current_user.id)


def group_by_provider(lines: list[key_queries.KeyView]) -> dict[str, list[key_queries.KeyView]]:
    """Provider slug → keys, in the registry's order (best known first)."""
    groups: dict[str, list[key_queries.KeyView]] = {slug: [] for slug in PROVIDERS}
    for line in lines:
        groups.setdefault(line.provider, []).append(line)
    return {slug: keys for slug, keys in groups.items() if keys and slug in PROVIDERS}


def render_keys_piece() -> str:
    """All keys of the user as an out-of-band partial."""
    return render_template("keys/_list_piece.html", groups=group_by_provider(my_keys()))


def _render_group(slug: str, enqueued: enqueue.EnqueuedRun | None = None, **context: Any) -> Any:
    """A provider's keys after a change, and the sync status, which depends on them. enqueued: the run it started."""
    if not is_htmx():
        return _redirect_to_profile(slug)
    keys = [line for line in my_keys() if line.provider == slug]
    group = render_template("keys/_provider.html", provider=PROVIDERS[slug], keys=keys, **context)
    return group + sync.render_status_piece(enqueued)
