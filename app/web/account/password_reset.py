"""Another password by mail, for who forgot theirs. There only where letters can be sent.

An address is never told to have an account: for one that has none a row is written and a job queued just the same, and
the letter, if there is one, is written by a worker, so neither the answer nor its time says anything.
"""

from __future__ import annotations

from typing import Any

from email_validator import EmailNotValidError, validate_email
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for

from app import config, jobs
from app.auth import passwords
from app.extensions import client_network, db, limiter
from app.store.accounts import password_resets, user_actions, users
from app.web.app import filters

blueprint = Blueprint("password_reset", __name__, url_prefix="/reset")

PER_NETWORK, PER_ADDRESS, LINKS_PER_NETWORK = "20 per hour", "5 per hour", "30 per hour"
"""Letters asked for from one network, and to one address; and links tried from one network."""
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
    try:
        validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return render_template("accounts/reset.html", email=email, error=_INVALID_EMAIL), 422
    reset_id = password_resets.create(users.find_by_email(email), filters.now())
    db.session.commit()
    jobs.enqueue_password_reset(reset_id)  # where it has to wait, a worker finds the row later
    return render_template("accounts/reset_asked.html", email=email)


@blueprint.get("/<token>")
@limiter.limit(LINKS_PER_NETWORK, key_func=client_network)
def choose(token: str) -> Any:
    """Looking at the link does not use it: mail programs look too."""
    if password_resets.find_account(token[:100], filters.now()) is None:
        return render_template("accounts/reset.html", error=_LINK_EXPIRED), 422
    return render_template("accounts/reset_choose.html", token=token)


@blueprint.post("/<token>")
@limiter.limit(LINKS_PER_NETWORK, key_func=client_network)
def change(token: str) -> Any:
    """The new password. Every session ends; signing in asks for the second factor as ever."""
    password = request.form.get("password", "")[:1000]
    found = password_resets.find_account(token[:100], filters.now())
    if complaint := passwords.policy_violation(password, found.email if found else ""):
        return render_template("accounts/reset_choose.html", token=token, error=complaint), 422
    hashed = passwords.hash_password(password)
    user = password_resets.consume(token[:100], filters.now())
    if user is None:
        db.session.rollback()
        return render_template("accounts/reset.html", error=_LINK_EXPIRED), 422
    users.set_password(user, hashed)
    user_actions.record_own_change(user, {"password": "reset by mail"}, filters.now())
    db.session.commit()
    jobs.notify_owner(user.id, "password reset")
    flash("Your password is changed, and all sessions are ended. Sign in with the new one.", "good")
    return redirect(url_for("accounts.login"), 303)
