"""Sign up, sign in, sign out, and the account's own settings."""

from __future__ import annotations

from typing import Any

from email_validator import EmailNotValidError, validate_email
from flask import (
    Blueprint,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_login import current_user, login_required, logout_user
from itsdangerous import BadData, URLSafeTimedSerializer

from app import config, jobs
from app.auth import passwords
from app.extensions import client_network, db, limiter
from app.jobs import signup_email
from app.store.accounts import feeds, sessions, tokens, user_actions, users
from app.web.account import login as login_flow
from app.web.account.tokens import describe_access
from app.web.app import errors, filters

blueprint = Blueprint("accounts", __name__)

_INVITE_DAYS = 7
PER_NETWORK, PER_ACCOUNT, PER_ACCOUNT_HERE = "100 per 15 minutes", "100 per hour", "20 per 15 minutes"
"""Attempts to sign in: from one network, at one account from everywhere, and at one account from one network."""
_ACCOUNT_DISABLED = "This account is disabled. Ask an admin to enable it again."
_WRONG_CREDENTIALS = "That e-mail address and password do not go together. Check both and try again."


def invite_token(email: str) -> str:
    """What the address `/signup?invite=…` carries: an e-mail address, signed, good for a week."""
    return _invite_serializer().dumps(users.normalize_email(email))


def _signup_limit_key() -> str:
    return "signup:" + users.normalize_email(_read_credentials()[0])


# Where letters can be sent, who signs up is sent one, with the link to go on by: the page says the same of an address
# that has an account, and only whoever reads its mail learns of it. Without letters whoever signs up is let in at once,
# so an address that cannot be had any more is known to have an account; the limits are what is left then.
@blueprint.route("/signup", methods=["GET", "POST"])
@limiter.limit("20 per hour", methods=["POST"])
@limiter.limit(
    "5 per hour", methods=["POST"], key_func=_signup_limit_key, exempt_when=lambda: not config.current().mail_from
)
def signup() -> Any:
    """Two steps by letter; one where no letters are sent, with an invitation, and for the first account of all."""
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    invited = _invited_email(request.values.get("invite", ""))
    mode = config.current().signup
    if mode != "open" and not (mode == "invite" and invited):
        return render_template("accounts/signup.html", closed=mode), 403
    by_letter = bool(config.current().mail_from) and not invited and not users.is_empty()
    if request.method == "GET":
        again = {"email": invited or "", "invite": request.values.get("invite"), "by_letter": by_letter}
        return render_template("accounts/signup.html", **again)
    if by_letter:
        return _send_signup_email(_read_credentials()[0])
    email, password = _read_credentials()
    complaint = _email_error(email) or passwords.policy_violation(password, email)
    if invited and users.normalize_email(email) != invited:
        complaint = "This invitation is for another e-mail address."
    user = None if complaint else users.create(email, passwords.hash_password(password), filters.now())
    if user is None:
        db.session.rollback()
        said = complaint or "There is an account with this e-mail address. Sign in instead."
        again = {"email": email, "error": said, "invite": request.values.get("invite")}
        return render_template("accounts/signup.html", **again), 422
    db.session.commit()
    login_flow.sign_in(user)
    return redirect(url_for("keys.profile"), 303)


def _send_signup_email(email: str) -> Any:
    """The same for every address, and as long: whether it has an account is looked up, never told.

    The letter goes to the address as accounts have it, for which the link is: what is typed may be another mailbox,
    such as one with a sign that is a K only once it is written small.
    """
    complaint, status = _email_error(email), 422
    if complaint is None:
        settings, is_known = config.current(), users.find_by_email(email) is not None
        link = settings.public_url + url_for("accounts.signup", invite=invite_token(email))
        letter = signup_email.seal_message(
            users.normalize_email(email), "" if is_known else link, config.load_public_key(settings)
        )
        complaint, status = jobs.enqueue_signup_email(letter), 503
    if complaint:
        return render_template("accounts/signup.html", email=email, error=complaint, by_letter=True), status
    return render_template("accounts/signup_asked.html", email=email)


def _account_limit_key() -> str:
    """The very address that is looked up: however it is written, it is one account."""
    return "account:" + users.normalize_email(_read_credentials()[0])


def _account_network_limit_key() -> str:
    return f"{_account_limit_key()} {client_network()}"


# Every attempt counts, and before its password is looked at: of many at one moment no more get through than of many
# in a row. The strictest of the three is one network's alone, so that hardly anybody can lock another one out.
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
    if here := errors.current_session():
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
    complaint = passwords.policy_violation(new, current_user.email)
    if not login_flow.reauthenticated(old):
        login_flow.log_auth_event("password refused", current_user)
        complaint = (
            "The current password is not right." if current_user.has_password else login_flow.RECENT_LOGIN_NEEDED
        )
    if complaint:
        flash(complaint, "bad")
        return redirect(url_for("settings.index", _anchor="password"), 303)
    users.set_password(current_user, passwords.hash_password(new))
    user_actions.record_own_change(current_user._get_current_object(), {"password": "changed"}, filters.now())
    errors.begin_session(current_user._get_current_object())  # all sessions end; this browser goes on in a new one
    jobs.notify_owner(current_user.id, "password")
    flash("Your password is changed. All other sessions are signed out.", "good")
    live, has_feed = tokens.count_live(current_user.id, filters.now()), feeds.find_by_user(current_user.id) is not None
    if said := describe_access(live, has_feed):
        flash(f"Programs go on with {said}. Revoke them below if anybody else may have them.", "warn")
    return redirect(url_for("settings.index", _anchor="password"), 303)


@blueprint.post("/profile/settings")
@login_required
def change_settings() -> Any:
    current_user.sync_on_sign_in = request.form.get("sync_on_sign_in") == "yes"
    db.session.commit()
    flash("Saved.", "good")
    return redirect(url_for("settings.index", _anchor="syncing"), 303)


def _read_credentials() -> tuple[str, str]:
    email = request.form.get("email", "")[:400].replace("\0", "")  # which PostgreSQL cannot even look for
    return email.strip(), request.form.get("password", "")[:1000]


def _email_error(email: str) -> str | None:
    try:
        validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return "That is not an e-mail address. Type it as name@example.com."
    return None


def _invite_serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.config["SECRET_KEY"]), salt="invitation")


def _invited_email(token: str) -> str | None:
    try:
        email = _invite_serializer().loads(token, max_age=_INVITE_DAYS * 86_400) if token else None
    except BadData:
        return None
    return email if isinstance(email, str) else None
