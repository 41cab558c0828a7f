"""Sign-up, sign-in, sign-out, password change and sync-on-sign-in."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_login import current_user, login_required, logout_user

from app import clock, config
from app.auth import passwords
from app.auth.emails import is_email_address
from app.auth.invitations import sign_invitation, verify_invitation
from app.extensions import client_network, db, limiter
from app.jobs import enqueue, signup_email
from app.store.accounts import feeds, sessions, tokens, users
from app.web.account import login as login_flow
from app.web.account.tokens import describe_access
from app.web.app import login_session

blueprint = Blueprint("accounts", __name__)

PER_NETWORK, PER_ACCOUNT, PER_ACCOUNT_HERE = "100 per 15 minutes", "100 per hour", "20 per 15 minutes"
"""Login rate limits: per network, per account, and per account from one network."""
_ACCOUNT_DISABLED = "This account is disabled. Ask an admin to enable it again."
_WRONG_CREDENTIALS = "That e-mail address and password do not go together. Check both and try again."


def _signup_limit_key() -> str:
    return "signup:" + users.normalize_email(_read_credentials()[0])


# With e-mail configured, the page says the same for known and unknown addresses, and only the mailbox owner learns
# which it is. Without e-mail, sign-up reveals that an address is taken; only the rate limits slow enumeration.
@blueprint.route("/signup", methods=["GET", "POST"])
@limiter.limit("20 per hour", methods=["POST"])
@limiter.limit(
    "5 per hour", methods=["POST"], key_func=_signup_limit_key, exempt_when=lambda: not config.current().mail_from
)
def signup() -> Any:
    """Two steps when e-mail is configured (request a link, then choose a password); one step without e-mail, with an
    invitation, and for the first account."""
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    invited_email = verify_invitation(request.values.get("invite", ""), config.current().secret_key)
    mode = config.current().signup
    if mode != "open" and not (mode == "invite" and invited_email):
        return render_template("accounts/signup.html", closed=mode), 403
    by_email = bool(config.current().mail_from) and not invited_email and not users.is_empty()
    if request.method == "GET":
        form = {"email": invited_email or "", "invite": request.values.get("invite"), "by_letter": by_email}
        return render_template("accounts/signup.html", **form)
    if by_email:
        return _send_signup_email(_read_credentials()[0])
    email, password = _read_credentials()
    error = _email_error(email) or passwords.policy_violation(password, email)
    if invited_email and users.normalize_email(email) != invited_email:
        error = "This invitation is for another e-mail address."
    user = None if error else users.create(email, passwords.hash_password(password), clock.utc_now())
    if user is None:
        db.session.rollback()
        message = error or "There is an account with this e-mail address. Sign in instead."
        form = {"email": email, "error": message, "invite": request.values.get("invite")}
        return render_template("accounts/signup.html", **form), 422
    db.session.commit()
    login_flow.sign_in(user)
    return redirect(url_for("keys.profile"), 303)


def _send_signup_email(email: str) -> Any:
    """E-mail a sign-up link. The response and its timing are the same whether or not the address has an account.

    The e-mail goes to the normalised address, which the link is bound to: a raw address may belong to another mailbox
    (for example one with U+212A KELVIN SIGN, which lower-cases to k).
    """
    error, status = _email_error(email), 422
    if error is None:
        settings, is_known = config.current(), users.find_by_email(email) is not None
        link = settings.public_url + url_for(
            "accounts.signup", invite=sign_invitation(users.normalize_email(email), config.current().secret_key)
        )
        letter = signup_email.seal_message(
            users.normalize_email(email), "" if is_known else link, config.load_public_key(settings)
        )
        error, status = enqueue.enqueue_signup_email(letter), 503
    if error:
        return render_template("accounts/signup.html", email=email, error=error, by_letter=True), status
    return render_template("accounts/signup_asked.html", email=email)


def _account_limit_key() -> str:
    """Rate limit key: the normalised address, however it is typed."""
    return "account:" + users.normalize_email(_read_credentials()[0])


def _account_network_limit_key() -> str:
    return f"{_account_limit_key()} {client_network()}"


# Limits count every attempt, before the password is checked, so parallel attempts gain nothing. The strictest limit is
# per network, which makes it hard to lock another person out.
@blueprint.route("/login", methods=["GET", "POST"])
@limiter.limit(PER_NETWORK, methods=["POST"], key_func=client_network)
@limiter.limit(PER_ACCOUNT, methods=["POST"], key_func=_account_limit_key)
@limiter.limit(PER_ACCOUNT_HERE, methods=["POST"], key_func=_account_network_limit_key)
def login() -> Any:
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    target = login_flow.safe_next_url(request.values.get("next"))
    if request.method == "GET":
        return render_template("accounts/login.html", next=target)
    email, password = _read_credentials()
    user = users.find_by_email(email)
    if not passwords.verify(user.password_hash if user else None, password) or user is None:
        login_flow.log_auth_event("sign-in refused", user, why="password" if user else "no account")
        return render_template("accounts/login.html", email=email, next=target, error=_WRONG_CREDENTIALS), 422
    if not user.is_active:
        login_flow.log_auth_event("sign-in refused", user, why="disabled")
        return render_template("accounts/login.html", email=email, next=target, error=_ACCOUNT_DISABLED), 422
    return login_flow.begin_login(user, target)


@blueprint.post("/logout")
@login_required
def logout() -> Any:
    if here := login_session.current_session():
        sessions.end(current_user.id, here.id)
        db.session.commit()
    logout_user()
    session.clear()
    return redirect(url_for("accounts.login"), 303)


@blueprint.post("/profile/password")
@login_required
@limiter.limit("10 per hour")
def change_password() -> Any:
    old, new = request.form.get("current_password", ""), request.form.get("password", "")
    error = passwords.policy_violation(new, current_user.email)
    if not login_flow.confirms_identity(old):
        login_flow.log_auth_event("password refused", current_user)
        error = login_flow.password_error("The current password is not right.")
    if error:
        flash(error, "bad")
        return redirect(url_for("settings.index", _anchor="password"), 303)
    users.set_password(current_user, passwords.hash_password(new))
    login_flow.record_own_change({"password": "changed"})
    # set_password ended all sessions; this browser continues in a new one
    login_session.begin_session(current_user._get_current_object())
    enqueue.notify_owner(current_user.id, "password")
    flash("Your password is changed. All other sessions are signed out.", "good")
    live = tokens.count_live(current_user.id, clock.utc_now())
    if access := describe_access(live, has_feed=feeds.find_by_user(current_user.id) is not None):
        flash(f"Programs go on with {access}. Revoke them below if anybody else may have them.", "warn")
    return redirect(url_for("settings.index", _anchor="password"), 303)


@blueprint.post("/profile/settings")
@login_required
def change_settings() -> Any:
    current_user.sync_on_sign_in = request.form.get("sync_on_sign_in") == "yes"
    db.session.commit()
    flash("Saved.", "good")
    return redirect(url_for("settings.index", _anchor="syncing"), 303)


def _read_credentials() -> tuple[str, str]:
    email = request.form.get("email", "")[:400].replace("\0", "")  # PostgreSQL rejects NUL
    return email.strip(), request.form.get("password", "")[:1000]


def _email_error(email: str) -> str | None:
    return None if is_email_address(email) else "That is not an e-mail address. Type it as name@example.com."
