"""Personal access tokens: created for a program, shown once, revocable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app import clock
from app.catalog import humanize
from app.extensions import db, limiter
from app.store.accounts import feeds, tokens
from app.store.accounts.tokens import MAX_NAME_LENGTH, MAX_TOKENS
from app.web.account.login import record_own_change

blueprint = Blueprint("tokens", __name__, url_prefix="/settings/tokens")

LIFETIMES = (30, 90, 365)
"""Lifetimes offered by the form, in days; the alternative is no expiry."""


@dataclass(frozen=True, slots=True)
class TokenForm:
    """The submitted form."""

    name: str
    scopes: tuple[str, ...]
    days: int | None
    error: str | None
    """Why it cannot be, as a sentence."""


@blueprint.get("")
@login_required
def index() -> str:
    return _render_page()


@blueprint.post("")
@login_required
@limiter.limit("60 per hour")
def add() -> Any:
    """Create a token. Its text is shown only in this response."""
    form = _read_form()
    token = None
    if form.error is None:
        token = tokens.create(current_user.id, form.name, form.scopes, clock.utc_now(), form.days)
        if token is not None:
            # without the token's name, which is the user's own text
            record_own_change({"token made": token[0].id, "it may": ", ".join(token[0].scopes)})
        db.session.commit()
    if token is None:
        error = form.error or f"You have {MAX_TOKENS} tokens. Revoke one you no longer use, then make another."
        return _render_page(error=error, typed=form), 422
    return _render_page(made=token[0], text=token[1])


@blueprint.post("/<int:token_id>/revoke")
@login_required
def revoke(token_id: int) -> Any:
    if not tokens.revoke(current_user.id, token_id, clock.utc_now()):
        abort(404)
    record_own_change({"token revoked": token_id})
    db.session.commit()
    if request.headers.get("HX-Request"):
        return _render_page()
    flash("The token is revoked: what still uses it is refused from now on.", "good")
    return redirect(url_for("tokens.index"), 303)


@blueprint.post("/revoke-all")
@login_required
def revoke_all() -> Any:
    """Revoke everything that grants access without a session: all tokens and the feed URL."""
    revoked = tokens.revoke_all(current_user.id, clock.utc_now())
    had_feed = feeds.revoke(current_user.id)
    if description := describe_access(revoked, had_feed):
        record_own_change({"revoked": description})
    db.session.commit()
    flash(
        f"Revoked: {description}. What still uses them is refused from now on." if description else "There was none.",
        "good",
    )
    return redirect(url_for("settings.index", _anchor="programs"), 303)


def describe_access(count: int, has_feed: bool) -> str:
    """Active program access in words: "2 personal tokens and the feed's address"; empty for none."""
    parts = [humanize.pluralize(count, "personal token")] if count else []
    return " and ".join([*parts, "the feed's address"] if has_feed else parts)


def _read_form() -> TokenForm:
    name = request.form.get("name", "").strip()
    scopes = tuple(dict.fromkeys(request.form.getlist("scope")))
    written = request.form.get("days", "").strip()
    days = int(written) if written.isascii() and written.isdigit() and len(written) < 6 else 0 if written else None
    return TokenForm(name, scopes, days, tokens.validation_error(name, scopes, days))


def _render_page(**context: Any) -> str:
    template = "tokens/_list.html" if request.headers.get("HX-Request") else "tokens/index.html"
    now = clock.utc_now()
    lines = [(row, row.state(now)) for row in tokens.list_for_user(current_user.id, now)]
    return render_template(
        template, tokens=lines, lives=LIFETIMES, most=MAX_TOKENS, longest_name=MAX_NAME_LENGTH, **context
    )
