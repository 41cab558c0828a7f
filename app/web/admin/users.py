"""Admin pages: user accounts and the actions on them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user

from app import clock, config
from app.auth.emails import is_email_address
from app.auth.invitations import sign_invitation
from app.extensions import db, limiter
from app.jobs import enqueue
from app.store.accounts import user_actions, users
from app.store.accounts.user_actions import ACTIONS, UserActionError
from app.store.queries import admin
from app.web.account import login
from app.web.admin.overview import admin_required
from app.web.app.arguments import current_actor, cursor, require

blueprint = Blueprint("admin_users", __name__, url_prefix="/admin/users")

SENSITIVE_ACTIONS = ("promote", "reset-second-factor")
"""Actions that grant power or cannot be undone, like deletion: they require the admin's own password, because a stolen
session must not suffice."""
_WRONG_PASSWORD = "Your own password is not right; nothing was changed."  # noqa: S105  (a sentence)
_CONFIRMATIONS = {
    "disable": "{} cannot sign in any more, and is not synced. Tokens and the feed's address are revoked.",
    "enable": "{} may sign in again.",
    "promote": "{} is an admin now.",
    "demote": "{} is no admin any more.",
    "reset-second-factor": "{} signs in with the password alone, until two-step sign-in is set up again.",
    "sign-out": "All sessions of {} are ended. Personal tokens and the feed's address go on: disabling ends them too.",
}


@blueprint.get("")
@admin_required
def index() -> str:
    return _render_index()


def _render_index(**context: Any) -> str:
    search = request.args.get("q", "")[:320].replace("\0", "")  # PostgreSQL rejects NUL
    lines, following = admin.list_users(search, cursor())
    return render_template(
        "admin/users.html",
        lines=lines,
        following=following,
        search=search,
        query={"q": search} if search else {},
        mode=config.current().signup,
        **context,
    )


@blueprint.post("/invite")
@admin_required
def invite() -> Any:
    """Create a sign-up link for one address. It is shown to the admin, not e-mailed."""
    email = request.form.get("email", "").replace("\0", "").strip()[:320]
    if not is_email_address(email):
        return _render_index(invited=email, error="That is not an e-mail address. Type it as name@example.com."), 422
    if users.find_by_email(email):
        return _render_index(invited=email, error="There is an account with this address already."), 422
    user_actions.record_invitation(email, current_actor(), clock.utc_now())
    db.session.commit()
    token = sign_invitation(users.normalize_email(email), str(current_app.config["SECRET_KEY"]))
    link = url_for("accounts.signup", invite=token, _external=True)
    return _render_index(invited=email, link=link)


@blueprint.get("/<int:user_id>")
@admin_required
def one(user_id: int) -> str:
    return _render_user(user_id)


def _render_user(user_id: int, **context: Any) -> str:
    facts = require(admin.load_user(user_id))
    return render_template("admin/user.html", facts=facts, user=facts.line, serious=SENSITIVE_ACTIONS, **context)


@blueprint.post("/<int:user_id>/<any(disable, enable, promote, demote, 'sign-out', 'reset-second-factor'):act>")
@admin_required
@limiter.limit("20 per hour", exempt_when=lambda: not request.form.get("password"))
def change(user_id: int, act: str) -> Any:
    """`SENSITIVE_ACTIONS` require the admin's own password."""
    if act in SENSITIVE_ACTIONS and (error := _password_error()):
        return _render_user(user_id, error=error), 422
    user = require(user_actions.find_by_id(user_id))
    had_factor = user.second_factor_at is not None
    try:
        ACTIONS[act](user, current_actor(), clock.utc_now())
    except UserActionError as error:
        db.session.rollback()
        return _render_user(user_id, error=str(error)), 422
    db.session.commit()
    if had_factor and user.second_factor_at is None:
        enqueue.notify_owner(user_id, "second factor off")
    flash(_CONFIRMATIONS[act].format(user.email), "good")
    return redirect(url_for(".one", user_id=user_id), 303)


@blueprint.post("/<int:user_id>/delete")
@admin_required
@limiter.limit("20 per hour", exempt_when=lambda: not request.form.get("password"))
def delete(user_id: int) -> Any:
    """Delete an account with all its data, after confirming its address and the admin's own password."""
    if error := _password_error():
        return _render_user(user_id, error=error), 422
    user = require(user_actions.find_by_id(user_id))
    email = user.email
    if users.normalize_email(request.form.get("email", "")) != email:
        return _render_user(user_id, error="Type the address of the account exactly; nothing was deleted."), 422
    try:
        user_actions.remove(user, current_actor(), clock.utc_now())
    except UserActionError as error:
        db.session.rollback()
        return _render_user(user_id, error=str(error)), 422
    db.session.commit()
    flash(f"{email} is deleted, with all keys and all history.", "good")
    return redirect(url_for(".index"), 303)


def _password_error() -> str | None:
    """An error message; None if the admin has confirmed their identity."""
    if login.confirms_identity(request.form.get("password", "")):
        return None
    login.log_auth_event("password refused", current_user)
    return login.password_error(_WRONG_PASSWORD)
