"""Key import: recognises pasted API keys, previews them, and saves the selected ones.

The text stays in the browser: it is sent for the preview and again for saving, and no response contains it. The
preview carries a digest of the text, because choices refer to keys by position: if the text has changed since, the
preview is rendered again, and no key is sent to the wrong provider.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app import clock, config
from app.catalog import humanize
from app.extensions import db, limiter
from app.jobs import enqueue
from app.providers import addresses
from app.providers.key_detection import Detection, ParsedPaste, PasteTooLarge, ProviderChoice, parse_paste
from app.store import credentials
from app.store.credentials import TooManyKeys
from app.store.queries.keys import KeyView
from app.store.schema.tables import CredentialRow
from app.vault import ApiKey
from app.web import keys, sync

blueprint = Blueprint("key_import", __name__)

_TEXT_CHANGED = "The text changed since you looked. See what is recognised now, then save."
_NOTHING_FOUND = "No key is recognised here. Paste keys, one on a line, or choose a provider below."
_NOTHING_SELECTED = "Tick the keys to save."
_LABEL_TAKEN = "Another page saved one of these keys meanwhile. Look at them again, then save."
_NO_LOGIN = "Give a server with a login under “Choose a provider”, where the login has a field of its own."
_NO_HINT = "••••"
_MAX_LINES, _MAX_MESSAGES = 12, 8


@dataclass(slots=True)
class PastedKey:
    """A recognised key in the preview, with the user's choices."""

    number: int
    detection: Detection
    hint: str
    saved: KeyView | None
    """A saved key of the same provider with the same last characters; the rest is not known here."""
    is_selected: bool
    choice: ProviderChoice | None
    """None until chosen."""
    label: str
    base_url: str = ""
    has_login: bool = False
    """Whether a login was typed in the address; it is not kept, since the form would show it again."""
    errors: dict[str, str] = field(default_factory=dict)
    """Field → message."""

    @property
    def needs_base_url(self) -> bool:
        return any(self.detection.needs_base_url(choice) for choice in self.detection.choices)

    @property
    def login(self) -> str:
        """The login that stood in the pasted address, if the key goes there."""
        return self.detection.login if self.choice and self.choice.provider.base_url_example else ""

    def resolve_base_url(self) -> str | None:
        """The base URL to save; None for the provider's own. Raises InvalidBaseURL."""
        if self.choice is None:
            raise ValueError("no provider is chosen")
        provider = self.choice.provider
        if self.has_login:
            raise addresses.InvalidBaseURL(_NO_LOGIN)
        url = (self.detection.base_url or self.base_url) if provider.base_url_example else ""
        return addresses.resolve_address(provider, self.choice.region, url).base_url


@blueprint.post("/keys/preview")
@login_required
@limiter.limit("60 per minute")
def preview() -> Any:
    """The recognised keys, as a partial for pages with JavaScript."""
    if not keys.is_htmx():
        return redirect(url_for("keys.profile", _anchor="add-keys"), 303)
    text = request.form.get("pasted", "")
    if not text.strip():
        return _render_preview([], status="")
    try:
        paste = parse_paste(text)
    except PasteTooLarge as error:
        return _render_preview([], error=str(error)), 422
    pasted_keys = propose_keys(paste, keys.my_keys())
    if _matches_preview(text):
        apply_choices(pasted_keys, request.form)
    return _render_preview(pasted_keys, paste, error="" if pasted_keys else _NOTHING_FOUND)


@blueprint.post("/keys/paste")
@login_required
@limiter.limit("120 per hour")
def save() -> Any:
    """Save the keys selected in the preview; without JavaScript, all that are unambiguous."""
    text = request.form.get("pasted", "")
    try:
        paste = parse_paste(text)
    except PasteTooLarge as error:
        return _paste_error([], str(error))
    saved_keys = keys.my_keys()
    pasted_keys = propose_keys(paste, saved_keys)
    if not pasted_keys:
        return _paste_error(pasted_keys, _NOTHING_FOUND, paste)
    if not keys.is_htmx():
        return _save_unambiguous(pasted_keys, paste)
    if not _matches_preview(text):
        return _paste_error(pasted_keys, _TEXT_CHANGED, paste)
    apply_choices(pasted_keys, request.form)
    if not any(key.is_selected for key in pasted_keys):
        return _paste_error(pasted_keys, _NOTHING_SELECTED, paste)
    if not validate_keys(pasted_keys, saved_keys):
        return _paste_error(pasted_keys, "", paste)
    if error_message := _save_selected(pasted_keys):
        validate_keys(pasted_keys, keys.my_keys())
        return _paste_error(pasted_keys, error_message, paste)
    return _render_saved(pasted_keys, paste, enqueue.start_first_sync(current_user.id))


def text_digest(secret: str, user_id: int, text: str) -> str:
    """A keyed digest: equal for equal texts (ignoring line endings), and reveals nothing about them."""
    normalized = "\n".join(text.splitlines())
    return hmac.new(secret.encode(), f"pasted {user_id} {normalized}".encode(), hashlib.sha256).hexdigest()[:32]


def propose_keys(paste: ParsedPaste, saved_keys: Sequence[KeyView]) -> list[PastedKey]:
    """The recognised keys; selected unless a similar one is saved already."""
    taken = {(key.provider, key.label) for key in saved_keys}
    pasted_keys = []
    for number, detection in enumerate(paste.detections):
        hint = ApiKey(detection.key).hint
        slugs = {choice.slug for choice in detection.choices}
        similar = (key for key in saved_keys if key.hint == hint != _NO_HINT and key.provider in slugs)
        saved = next(similar, None)
        choice = detection.choices[0] if detection.is_certain else None
        label = ""
        if choice and saved is None:
            label = _free_label(choice.slug, taken, detection.suggested_label)
            taken.add((choice.slug, label))
        pasted_keys.append(
            PastedKey(number, detection, hint, saved, saved is None, choice, label, detection.suggested_url)
        )
    return pasted_keys


def apply_choices(pasted_keys: Sequence[PastedKey], form: Mapping[str, str]) -> None:
    """Apply the choices of a preview of the same text."""
    for key in pasted_keys:
        key.is_selected = f"take-{key.number}" in form
        value = form.get(f"place-{key.number}")
        if value is not None:
            key.choice = next((choice for choice in key.detection.choices if choice.value == value), None)
        key.label = form.get(f"label-{key.number}", key.label).strip()
        address = form.get(f"address-{key.number}", "").strip()
        key.has_login = "@" in address
        key.base_url = "" if key.has_login else address


def validate_keys(pasted_keys: Sequence[PastedKey], saved_keys: Sequence[KeyView]) -> bool:
    """Set the errors of the selected keys. Returns whether there are none."""
    taken = {(key.provider, key.label) for key in saved_keys}
    for key in pasted_keys:
        key.errors.clear()
        if not key.is_selected:
            continue
        if key.choice is None:
            key.errors["place"] = "Choose whose key this is, or leave it out."
            continue
        if error := credentials.label_error(key.label):
            key.errors["label"] = error
        elif (key.choice.slug, key.label) in taken:
            duplicate = keys.describe_duplicate(key.choice.provider.title, key.label)
            key.errors["label"] = f"{duplicate}: choose another label."
        taken.add((key.choice.slug, key.label))
        try:
            key.resolve_base_url()
        except addresses.InvalidBaseURL as invalid:
            key.errors["address"] = str(invalid)
    return not any(key.errors for key in pasted_keys)


def _save_selected(pasted_keys: Sequence[PastedKey]) -> str:
    """Save the selected keys, all or none. An error message, or empty."""
    try:
        rows = _create_credentials(pasted_keys)
    except TooManyKeys as error:
        db.session.rollback()
        return str(error)
    if rows is None:
        db.session.rollback()
        return _LABEL_TAKEN
    db.session.commit()
    return ""


def _create_credentials(pasted_keys: Sequence[PastedKey]) -> list[CredentialRow] | None:
    """None if another request took one of the labels first. Raises TooManyKeys."""
    providers = credentials.providers_by_slug()
    public_key, now = keys.vault_public_key(), clock.utc_now()
    rows = []
    for key in pasted_keys:
        if not (key.is_selected and key.choice):
            continue
        provider, secret = providers[key.choice.slug], ApiKey(key.detection.key, key.login)
        row = credentials.add(current_user.id, provider, key.label, secret, public_key, now, key.resolve_base_url())
        if row is None:
            return None
        rows.append(row)
    return rows


def _save_unambiguous(pasted_keys: Sequence[PastedKey], paste: ParsedPaste) -> Any:
    """Without JavaScript: save what is unambiguous, and report the other lines by number."""
    for key in pasted_keys:
        is_complete = key.choice is not None and not key.detection.needs_base_url(key.choice)
        key.is_selected = key.saved is None and is_complete
    selected = [key for key in pasted_keys if key.is_selected]
    if selected and (error := _save_selected(pasted_keys)):
        return _paste_error(pasted_keys, error)
    if selected:
        enqueue.start_first_sync(current_user.id)
        count, titles = humanize.pluralize(len(selected), "key"), ", ".join(_selected_titles(selected))
        flash(f"Saved {count} ({titles}). Syncing them now.", "good")
    skipped = [_describe_skipped(key) for key in pasted_keys if not key.is_selected]
    messages = skipped + describe_unrecognised(paste)
    if messages:
        flash(" ".join(messages[:_MAX_MESSAGES]) + (" And so on." if len(messages) > _MAX_MESSAGES else ""), "warn")
    return redirect(url_for("keys.profile", _anchor="keys" if selected and not messages else None), 303)


def _describe_skipped(key: PastedKey) -> str:
    where = f"Line {key.detection.line}"
    if key.saved is not None:
        return f"{where} looks like a key that you have ({key.hint}): it was left out."
    if key.detection.note:
        url = f" ({key.detection.suggested_url})" if key.detection.suggested_url else ""
        return f"{where}: {key.detection.note}{url}"
    titles = _provider_titles(key.detection.choices)
    if key.choice is None and len(titles) > 1:
        alternatives = ", ".join(titles[:-1]) + " or " + titles[-1]
        return f"{where} may be of {alternatives}: paste it again under its provider below."
    return f"{where} looks like a key of {titles[0]}: paste it again under that provider below."


def describe_unrecognised(paste: ParsedPaste) -> list[str]:
    """One sentence per reason, with the numbers of the lines that contain no key."""
    by_reason: dict[str, list[int]] = {}
    for entry in paste.unrecognised:
        by_reason.setdefault(entry.reason, []).append(entry.line)
    return [_describe_lines(numbers, reason) for reason, numbers in by_reason.items()]


def _describe_lines(numbers: list[int], reason: str) -> str:
    if len(numbers) == 1:
        return f"Line {numbers[0]} {reason}."
    listed = ", ".join(map(str, numbers[:_MAX_LINES])) + (" and more" if len(numbers) > _MAX_LINES else "")
    return f"Lines {listed}: each {reason}."


def _free_label(slug: str, taken: set[tuple[str, str]], first: str = "") -> str:
    """`first` for a provider's first key; then "key 2", "key 3" …"""
    if (slug, first) not in taken:
        return first
    stem = f"{first} key".strip()
    return next(f"{stem} {number}" for number in range(2, 10_000) if (slug, f"{stem} {number}") not in taken)


def _provider_titles(choices: Sequence[ProviderChoice]) -> list[str]:
    return list(dict.fromkeys(choice.provider.title for choice in choices))


def _selected_titles(pasted_keys: Sequence[PastedKey]) -> list[str]:
    return _provider_titles([key.choice for key in pasted_keys if key.is_selected and key.choice])


def _render_saved(pasted_keys: Sequence[PastedKey], paste: ParsedPaste, enqueued: enqueue.EnqueuedRun | None) -> str:
    count = sum(key.is_selected for key in pasted_keys)
    message = f"Saved {humanize.pluralize(count, 'key')}: " + ", ".join(_selected_titles(pasted_keys))
    return (
        render_template(
            "keys/_found.html",
            saved=message,
            unread=describe_unrecognised(paste),
            left=len(pasted_keys) - count,
            lines=[],
        )
        + render_template("keys/_paste_piece.html", said=f"{message}.")
        + keys.render_keys_piece()
        + sync.render_status_piece(enqueued)
    )


def _paste_error(pasted_keys: Sequence[PastedKey], error: str, paste: ParsedPaste | None = None) -> Any:
    if keys.is_htmx():
        return _render_preview(pasted_keys, paste, error=error, focus=True), 422
    flash(error, "bad")
    return redirect(url_for("keys.profile"), 303)


def _render_preview(
    pasted_keys: Sequence[PastedKey],
    paste: ParsedPaste | None = None,
    *,
    error: str = "",
    status: str | None = None,
    focus: bool = False,
) -> str:
    """status: the text for screen readers; by default, the error or the number of recognised keys."""
    if status is None:
        unclear = sum(key.choice is None for key in pasted_keys)
        count = humanize.pluralize(len(pasted_keys), "key")
        status = error or f"{count} recognised" + (f", {unclear} to choose the provider of." if unclear else ".")
    preview = render_template(
        "keys/_found.html",
        lines=pasted_keys,
        unread=describe_unrecognised(paste) if paste else [],
        error=error,
        stamp=text_digest(config.current().secret_key, current_user.id, request.form.get("pasted", "")),
        saved="",
        focus=focus,
    )
    return preview + render_template("keys/_said_piece.html", said=status)


def _matches_preview(text: str) -> bool:
    """Whether the choices were made in a preview of this text."""
    digest = request.form.get("stamp", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(digest, text_digest(config.current().secret_key, current_user.id, text).encode())
