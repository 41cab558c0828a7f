"""Personal tokens: made for a program, shown once, revoked by one press."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app.catalog import humanize
from app.extensions import db, limiter
from app.store.accounts import feeds, tokens, user_actions
from app.store.accounts.tokens import LONGEST_LIFE_DAYS, LONGEST_NAME, MOST, SCOPES
from app.store.audit import State
from app.web.app import filters

blueprint = Blueprint("tokens", __name__, url_prefix="/settings/tokens")

LIVES = (30, 90, 365)
"""Days that the form offers; besides them, for ever."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form asks for."""

    name: str
    scopes: tuple[str, ...]
    days: int | None
    complaint: str | None
    """Why it cannot be, as a sentence."""


@blueprint.get("")
@login_required
def index() -> str:
    return _page()


@blueprint.post("")
@login_required
@limiter.limit("60 per hour")
def add() -> Any:
    """Make a token. It stands in this one answer and nowhere else."""
    asked = _typed()
    made = None
    if asked.complaint is None:
        made = tokens.add(current_user.id, asked.name, asked.scopes, filters.now(), asked.days)
        if made is not None:
            _note({"token made": made[0].id, "it may": ", ".join(made[0].scopes)})
        db.session.commit()
    if made is None:
        complaint = asked.complaint or f"You have {MOST} tokens. Revoke one you no longer use, then make another."
        return _page(complaint=complaint, typed=asked), 422
    return _page(made=made[0], text=made[1])


@blueprint.post("/<int:token_id>/revoke")
@login_required
def revoke(token_id: int) -> Any:
    if not tokens.revoke(current_user.id, token_id, filters.now()):
        abort(404)
    _note({"token revoked": token_id})
    db.session.commit()
    if request.headers.get("HX-Request"):
        return _page()
    flash("The token is revoked: what still uses it is refused from now on.", "good")
    return redirect(url_for("tokens.index"), 303)


@blueprint.post("/revoke-all")
@login_required
def revoke_all() -> Any:
    """End all that is not a session: every token, and the address of the feed."""
    ended = tokens.revoke_all(current_user.id, filters.now())
    had_feed = feeds.revoke(current_user.id)
    if said := going_on(ended, had_feed):
        _note({"revoked": said})
    db.session.commit()
    flash(f"Revoked: {said}. What still uses them is refused from now on." if said else "There was none.", "good")
    return redirect(url_for("settings.index", _anchor="programs"), 303)


def going_on(live: int, has_feed: bool) -> str:
    """What lets programs in, as words: "2 personal tokens and the feed's address"; empty for nothing."""
    said = [humanize.plural(live, "personal token")] if live else []
    return " and ".join([*said, "the feed's address"] if has_feed else said)


def complaint_about(name: str, scopes: tuple[str, ...], days: int | None) -> str | None:
    """Why there can be no such token, as a sentence; None if there can."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        return f"Name the program that will use it, in at most {LONGEST_NAME} characters on one line."
    if not scopes or not set(scopes) <= set(SCOPES):
        return "Choose what it may do: read, sync, or both."
    if days is not None and not 1 <= days <= LONGEST_LIFE_DAYS:
        return f"Let it live for 1 to {LONGEST_LIFE_DAYS} days, or for ever."
    return None


def _note(after: State) -> None:
    """An entry of the audit log. What the token was called is not in it: that is the person's own word."""
    user_actions.note_own(current_user._get_current_object(), after, filters.now())


def _typed() -> Asked:
    name = request.form.get("name", "").strip()
    scopes = tuple(dict.fromkeys(request.form.getlist("scope")))
    written = request.form.get("days", "").strip()
    days = int(written) if written.isascii() and written.isdigit() and len(written) < 6 else 0 if written else None
    return Asked(name, scopes, days, complaint_about(name, scopes, days))


def _page(**context: Any) -> str:
    template = "tokens/_list.html" if request.headers.get("HX-Request") else "tokens/index.html"
    now = filters.now()
    lines = [(row, row.state(now)) for row in tokens.of_user(current_user.id, now)]
    return render_template(template, tokens=lines, lives=LIVES, most=MOST, longest_name=LONGEST_NAME, **context)
