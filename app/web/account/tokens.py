"""Personal tokens: made for a program, shown once, revoked by one press."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app.catalog import humanize
from app.extensions import db, limiter
from app.store.accounts import feeds, tokens, user_actions
from app.store.accounts.tokens import MAX_LIFETIME_DAYS, MAX_NAME_LENGTH, MAX_TOKENS, SCOPES
from app.store.audit import AuditState
from app.web.app import filters

blueprint = Blueprint("tokens", __name__, url_prefix="/settings/tokens")

LIFETIMES = (30, 90, 365)
"""Days that the form offers; besides them, for ever."""


@dataclass(frozen=True, slots=True)
class TokenForm:
    """What the form asks for."""

    name: str
    scopes: tuple[str, ...]
    days: int | None
    complaint: str | None
    """Why it cannot be, as a sentence."""


@blueprint.get("")
@login_required
def index() -> str:
    return _render_page()


@blueprint.post("")
@login_required
@limiter.limit("60 per hour")
def add() -> Any:
    """Make a token. It stands in this one answer and nowhere else."""
    asked = _read_form()
    made = None
    if asked.complaint is None:
        made = tokens.create(current_user.id, asked.name, asked.scopes, filters.now(), asked.days)
        if made is not None:
            _audit({"token made": made[0].id, "it may": ", ".join(made[0].scopes)})
        db.session.commit()
    if made is None:
        complaint = asked.complaint or f"You have {MAX_TOKENS} tokens. Revoke one you no longer use, then make another."
        return _render_page(complaint=complaint, typed=asked), 422
    return _render_page(made=made[0], text=made[1])


@blueprint.post("/<int:token_id>/revoke")
@login_required
def revoke(token_id: int) -> Any:
    if not tokens.revoke(current_user.id, token_id, filters.now()):
        abort(404)
    _audit({"token revoked": token_id})
    db.session.commit()
    if request.headers.get("HX-Request"):
        return _render_page()
    flash("The token is revoked: what still uses it is refused from now on.", "good")
    return redirect(url_for("tokens.index"), 303)


@blueprint.post("/revoke-all")
@login_required
def revoke_all() -> Any:
    """End all that is not a session: every token, and the address of the feed."""
    ended = tokens.revoke_all(current_user.id, filters.now())
    had_feed = feeds.revoke(current_user.id)
    if said := describe_access(ended, had_feed):
        _audit({"revoked": said})
    db.session.commit()
    flash(f"Revoked: {said}. What still uses them is refused from now on." if said else "There was none.", "good")
    return redirect(url_for("settings.index", _anchor="programs"), 303)


def describe_access(live: int, has_feed: bool) -> str:
    """What lets programs in, as words: "2 personal tokens and the feed's address"; empty for nothing."""
    said = [humanize.pluralize(live, "personal token")] if live else []
    return " and ".join([*said, "the feed's address"] if has_feed else said)


def validation_error(name: str, scopes: tuple[str, ...], days: int | None) -> str | None:
    """Why there can be no such token, as a sentence; None if there can."""
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        return f"Name the program that will use it, in at most {MAX_NAME_LENGTH} characters on one line."
    if not scopes or not set(scopes) <= set(SCOPES):
        return "Choose what it may do: read, sync, or both."
    if days is not None and not 1 <= days <= MAX_LIFETIME_DAYS:
        return f"Let it live for 1 to {MAX_LIFETIME_DAYS} days, or for ever."
    return None


def _audit(after: AuditState) -> None:
    """An entry of the audit log. What the token was called is not in it: that is the person's own word."""
    user_actions.record_own_change(current_user._get_current_object(), after, filters.now())


def _read_form() -> TokenForm:
    name = request.form.get("name", "").strip()
    scopes = tuple(dict.fromkeys(request.form.getlist("scope")))
    written = request.form.get("days", "").strip()
    days = int(written) if written.isascii() and written.isdigit() and len(written) < 6 else 0 if written else None
    return TokenForm(name, scopes, days, validation_error(name, scopes, days))


def _render_page(**context: Any) -> str:
    template = "tokens/_list.html" if request.headers.get("HX-Request") else "tokens/index.html"
    now = filters.now()
    lines = [(row, row.state(now)) for row in tokens.list_for_user(current_user.id, now)]
    return render_template(
        template, tokens=lines, lives=LIFETIMES, most=MAX_TOKENS, longest_name=MAX_NAME_LENGTH, **context
    )
