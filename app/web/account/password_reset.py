"""Password reset by e-mail. Only available when e-mail is configured.

The response is the same for known and unknown addresses: a row is written and a job queued in either case, and a worker
sends the e-mail, so neither content nor timing reveals whether an account exists.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from app import clock, config
from app.auth import passwords
from app.auth.emails import is_email_address
from app.extensions import client_network, db, limiter
from app.jobs import enqueue
from app.store.accounts import password_resets, user_actions, users

blueprint = Blueprint("password_reset", __name__, url_prefix="/reset")

PER_NETWORK, PER_ADDRESS, LINKS_PER_NETWORK = "20 per hour", "5 per hour", "30 per hour"
"""Rate limits: requests per network, requests per address, and links tried per network."""
_LINK_EXPIRED = "This link does not work any more: it is older than an hour, or was used. Ask for another."
_INVALID_EMAIL = "That is not an e-mail address. Type it as name@example.com."


def _read_email() -> str:
    return request.form.get("email", "")[:400].replace("\0", "").strip()


def _email_limit_key() -> str:
    return "reset:" + users.normalize_email(_read_email())


@blueprint.before_request
def _require_mail() -> None:
    if not config.current().mail_from:
        abort(404)


@blueprint.get("")
def ask() -> str:
    return render_template("accounts/reset.html")


@blueprint.post("")
@limiter.limit(PER_NETWORK, key_func=client_network)
@limiter.limit(PER_ADDRESS, key_func=_email_limit_key)
def send() -> Any:
    email = _read_email()
    if not is_email_address(email):
        return render_template("accounts/reset.html", email=email, error=_INVALID_EMAIL), 422
    reset_id = password_resets.create(users.find_by_email(email), clock.utc_now())
    db.session.commit()
    enqueue.enqueue_password_reset(reset_id)  # if it cannot be queued now, housekeeping finds the row later
    return render_template("accounts/reset_asked.html", email=email)


@blueprint.get("/<token>")
@limiter.limit(LINKS_PER_NETWORK, key_func=client_network)
def choose(token: str) -> Any:
    """Show the form. GET does not consume the token, because mail scanners follow links."""
    if password_resets.find_account(token[:100], clock.utc_now()) is None:
        return render_template("accounts/reset.html", error=_LINK_EXPIRED), 422
    return render_template("accounts/reset_choose.html", token=token)


@blueprint.post("/<token>")
@limiter.limit(LINKS_PER_NETWORK, key_func=client_network)
def change(token: str) -> Any:
    """Set the new password and end all sessions. Signing in still requires the second factor."""
    password = request.form.get("password", "")[:1000]
    owner = password_resets.find_account(token[:100], clock.utc_now())
    if error := passwords.policy_violation(password, owner.email if owner else ""):
        return render_template("accounts/reset_choose.html", token=token, error=error), 422
    hashed = passwords.hash_password(password)
    user = password_resets.consume(token[:100], clock.utc_now())
    if user is None:
        db.session.rollback()
        return render_template("accounts/reset.html", error=_LINK_EXPIRED), 422
    users.set_password(user, hashed)
    user_actions.record_own_change(user, {"password": "reset by mail"}, clock.utc_now())
    db.session.commit()
    enqueue.notify_owner(user.id, "password reset")
    flash("Your password is changed, and all sessions are ended. Sign in with the new one.", "good")
    return redirect(url_for("accounts.login"), 303)
