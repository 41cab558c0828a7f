"""Adding keys by pasting them: the preview and the saving. `pasting` says what stays where."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app.catalog import humanize
from app.extensions import db, limiter
from app.providers.key_detection import Reading, TooMuch
from app.store.credentials import TooManyKeys
from app.web import key_import, keys
from app.web.key_import import Line

blueprint = Blueprint("pasted_keys", __name__)

_CHANGED = "The text changed since you looked. See what is recognised now, then save."
_NOTHING = "No key is recognised here. Paste keys, one on a line, or choose a provider below."
_NONE_TICKED = "Tick the keys to save."


@blueprint.post("/keys/preview")
@login_required
@limiter.limit("60 per minute")
def preview() -> Any:
    """Whose the pasted keys are, before anything is saved. For pages with a script: it is swapped beside the text."""
    if not keys.by_htmx():
        return redirect(url_for("keys.profile", _anchor="add-keys"), 303)
    text = request.form.get("pasted", "")
    if not text.strip():
        return _shown([], said="")
    try:
        reading = key_import.read(text)
    except TooMuch as too_much:
        return _shown([], complaint=str(too_much)), 422
    made = key_import.lines(reading, keys.mine())
    if _is_same(text):
        key_import.choose(made, request.form)
    return _shown(made, reading, complaint="" if made else _NOTHING)


@blueprint.post("/keys/paste")
@login_required
@limiter.limit("120 per hour")
def paste() -> Any:
    """Save what was pasted: what was chosen in the preview; without a script, all that is recognised for certain."""
    text = request.form.get("pasted", "")
    try:
        reading = key_import.read(text)
    except TooMuch as too_much:
        return _refused([], str(too_much))
    mine = keys.mine()
    made = key_import.lines(reading, mine)
    if not made:
        return _refused(made, _NOTHING, reading)
    if not keys.by_htmx():
        return _save_certain(made, reading)
    if not _is_same(text):
        return _refused(made, _CHANGED, reading)
    key_import.choose(made, request.form)
    if not any(line.is_ticked for line in made):
        return _refused(made, _NONE_TICKED, reading)
    if not key_import.check(made, mine):
        return _refused(made, "", reading)
    saved = _save(made)
    if isinstance(saved, str):
        key_import.check(made, keys.mine())
        return _refused(made, saved, reading)
    return _after_saving(made, reading)


def _save(made: list[Line]) -> int | str:
    """How many were saved; else why none was, as a sentence."""
    try:
        rows = key_import.save(current_user.id, made, keys.sealer())
    except TooManyKeys as too_many:
        db.session.rollback()
        return str(too_many)
    if rows is None:
        db.session.rollback()
        return "Another page saved one of these keys meanwhile. Look at them again, then save."
    db.session.commit()
    keys.have_checked([row.id for row in rows])
    return len(rows)


def _save_certain(made: list[Line], reading: Reading) -> Any:
    """Without a script nothing can be asked in between: what is certain is saved, the rest is told by line number."""
    for line in made:
        line.is_ticked = line.have is None and line.place is not None and not line.find.needs_address(line.place)
    certain = [line for line in made if line.is_ticked]
    saved = _save(made) if certain else 0
    if isinstance(saved, str):
        return _refused(made, saved)
    if saved:
        titles = ", ".join(key_import.titles([line.place for line in certain if line.place]))
        flash(f"Saved {humanize.plural(saved, 'key')} ({titles}). Each is being checked now.", "good")
    left = [_why_left(line) for line in made if not line.is_ticked] + key_import.unread(reading)
    if left:
        flash(" ".join(left[:8]) + (" And so on." if len(left) > 8 else ""), "warn")
    return redirect(url_for("keys.profile", _anchor="keys" if saved and not left else None), 303)


def _why_left(line: Line) -> str:
    where = f"Line {line.find.line}"
    if line.have is not None:
        return f"{where} looks like a key that you have ({line.hint}): it was left out."
    titles = key_import.titles(line.find.places)
    if line.place is None and len(titles) > 1:
        shown = ", ".join(titles[:-1]) + " or " + titles[-1]
        return f"{where} may be of {shown}: paste it again under its provider below."
    return f"{where} looks like a key of {titles[0]}: paste it again under that provider below."


def _after_saving(made: list[Line], reading: Reading) -> str:
    saved = [line for line in made if line.is_ticked]
    said = f"Saved {humanize.plural(len(saved), 'key')}: " + ", ".join(
        key_import.titles([line.place for line in saved if line.place])
    )
    report = render_template(
        "keys/_found.html", saved=said, unread=key_import.unread(reading), left=len(made) - len(saved), lines=[]
    )
    form = render_template("keys/_paste_piece.html", said=f"{said}.")
    listed = render_template("keys/_list_piece.html", groups=keys.grouped(keys.mine()))
    return report + form + listed + keys.idle_piece()


def _refused(made: list[Line], complaint: str, reading: Reading | None = None) -> Any:
    if keys.by_htmx():
        return _shown(made, reading, complaint=complaint, focus=True), 422
    flash(complaint, "bad")
    return redirect(url_for("keys.profile"), 303)


def _shown(
    made: list[Line],
    reading: Reading | None = None,
    *,
    complaint: str = "",
    said: str | None = None,
    focus: bool = False,
) -> str:
    unread = key_import.unread(reading) if reading else []
    if said is None:
        unclear = sum(line.place is None for line in made)
        said = complaint or f"{humanize.plural(len(made), 'key')} recognised" + (
            f", {unclear} to choose the provider of." if unclear else "."
        )
    stamp = key_import.stamp(_secret(), current_user.id, request.form.get("pasted", ""))
    found = render_template(
        "keys/_found.html", lines=made, unread=unread, complaint=complaint, stamp=stamp, saved="", focus=focus
    )
    return found + render_template("keys/_said_piece.html", said=said)


def _is_same(text: str) -> bool:
    """Whether what was chosen was chosen in a preview of this text."""
    given = request.form.get("stamp", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, key_import.stamp(_secret(), current_user.id, text).encode())


def _secret() -> str:
    return str(current_app.config["SECRET_KEY"])
