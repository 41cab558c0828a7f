"""Adding keys by pasting them: the preview and the saving. `pasting` says what stays where."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app.catalog import humanize
from app.extensions import db, limiter
from app.providers.key_detection import ParsedPaste, PasteTooLarge
from app.store.credentials import TooManyKeys
from app.web import key_import, keys
from app.web.key_import import PastedKey

blueprint = Blueprint("pasted_keys", __name__)

_TEXT_CHANGED = "The text changed since you looked. See what is recognised now, then save."
_NOTHING_FOUND = "No key is recognised here. Paste keys, one on a line, or choose a provider below."
_NOTHING_SELECTED = "Tick the keys to save."


@blueprint.post("/keys/preview")
@login_required
@limiter.limit("60 per minute")
def preview() -> Any:
    """Whose the pasted keys are, before anything is saved. For pages with a script: it is swapped beside the text."""
    if not keys.is_htmx():
        return redirect(url_for("keys.profile", _anchor="add-keys"), 303)
    text = request.form.get("pasted", "")
    if not text.strip():
        return _render_preview([], said="")
    try:
        reading = key_import.parse_paste(text)
    except PasteTooLarge as too_much:
        return _render_preview([], complaint=str(too_much)), 422
    made = key_import.propose_keys(reading, keys.my_keys())
    if _matches_preview(text):
        key_import.apply_choices(made, request.form)
    return _render_preview(made, reading, complaint="" if made else _NOTHING_FOUND)


@blueprint.post("/keys/paste")
@login_required
@limiter.limit("120 per hour")
def paste() -> Any:
    """Save what was pasted: what was chosen in the preview; without a script, all that is recognised for certain."""
    text = request.form.get("pasted", "")
    try:
        reading = key_import.parse_paste(text)
    except PasteTooLarge as too_much:
        return _paste_error([], str(too_much))
    mine = keys.my_keys()
    made = key_import.propose_keys(reading, mine)
    if not made:
        return _paste_error(made, _NOTHING_FOUND, reading)
    if not keys.is_htmx():
        return _save_unambiguous(made, reading)
    if not _matches_preview(text):
        return _paste_error(made, _TEXT_CHANGED, reading)
    key_import.apply_choices(made, request.form)
    if not any(line.is_ticked for line in made):
        return _paste_error(made, _NOTHING_SELECTED, reading)
    if not key_import.validate_keys(made, mine):
        return _paste_error(made, "", reading)
    saved = _try_save(made)
    if isinstance(saved, str):
        key_import.validate_keys(made, keys.my_keys())
        return _paste_error(made, saved, reading)
    return _render_saved(made, reading)


def _try_save(made: list[PastedKey]) -> int | str:
    """How many were saved; else why none was, as a sentence."""
    try:
        rows = key_import.save_keys(current_user.id, made, keys.sealer())
    except TooManyKeys as too_many:
        db.session.rollback()
        return str(too_many)
    if rows is None:
        db.session.rollback()
        return "Another page saved one of these keys meanwhile. Look at them again, then save."
    db.session.commit()
    keys.enqueue_checks([row.id for row in rows])
    return len(rows)


def _save_unambiguous(made: list[PastedKey], reading: ParsedPaste) -> Any:
    """Without a script nothing can be asked in between: what is certain is saved, the rest is told by line number."""
    for line in made:
        line.is_ticked = line.have is None and line.place is not None and not line.find.needs_base_url(line.place)
    certain = [line for line in made if line.is_ticked]
    saved = _try_save(made) if certain else 0
    if isinstance(saved, str):
        return _paste_error(made, saved)
    if saved:
        titles = ", ".join(key_import.provider_titles([line.place for line in certain if line.place]))
        flash(f"Saved {humanize.pluralize(saved, 'key')} ({titles}). Each is being checked now.", "good")
    left = [_describe_skipped(line) for line in made if not line.is_ticked] + key_import.describe_unrecognised(reading)
    if left:
        flash(" ".join(left[:8]) + (" And so on." if len(left) > 8 else ""), "warn")
    return redirect(url_for("keys.profile", _anchor="keys" if saved and not left else None), 303)


def _describe_skipped(line: PastedKey) -> str:
    where = f"Line {line.find.line}"
    if line.have is not None:
        return f"{where} looks like a key that you have ({line.hint}): it was left out."
    titles = key_import.provider_titles(line.find.choices)
    if line.place is None and len(titles) > 1:
        shown = ", ".join(titles[:-1]) + " or " + titles[-1]
        return f"{where} may be of {shown}: paste it again under its provider below."
    return f"{where} looks like a key of {titles[0]}: paste it again under that provider below."


def _render_saved(made: list[PastedKey], reading: ParsedPaste) -> str:
    saved = [line for line in made if line.is_ticked]
    said = f"Saved {humanize.pluralize(len(saved), 'key')}: " + ", ".join(
        key_import.provider_titles([line.place for line in saved if line.place])
    )
    report = render_template(
        "keys/_found.html",
        saved=said,
        unread=key_import.describe_unrecognised(reading),
        left=len(made) - len(saved),
        lines=[],
    )
    form = render_template("keys/_paste_piece.html", said=f"{said}.")
    listed = render_template("keys/_list_piece.html", groups=keys.group_by_provider(keys.my_keys()))
    return report + form + listed + keys.render_idle_status()


def _paste_error(made: list[PastedKey], complaint: str, reading: ParsedPaste | None = None) -> Any:
    if keys.is_htmx():
        return _render_preview(made, reading, complaint=complaint, focus=True), 422
    flash(complaint, "bad")
    return redirect(url_for("keys.profile"), 303)


def _render_preview(
    made: list[PastedKey],
    reading: ParsedPaste | None = None,
    *,
    complaint: str = "",
    said: str | None = None,
    focus: bool = False,
) -> str:
    unread = key_import.describe_unrecognised(reading) if reading else []
    if said is None:
        unclear = sum(line.place is None for line in made)
        said = complaint or f"{humanize.pluralize(len(made), 'key')} recognised" + (
            f", {unclear} to choose the provider of." if unclear else "."
        )
    stamp = key_import.text_digest(_secret(), current_user.id, request.form.get("pasted", ""))
    found = render_template(
        "keys/_found.html", lines=made, unread=unread, complaint=complaint, stamp=stamp, saved="", focus=focus
    )
    return found + render_template("keys/_said_piece.html", said=said)


def _matches_preview(text: str) -> bool:
    """Whether what was chosen was chosen in a preview of this text."""
    given = request.form.get("stamp", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, key_import.text_digest(_secret(), current_user.id, text).encode())


def _secret() -> str:
    return str(current_app.config["SECRET_KEY"])
