"""Sign up, sign in, sign out, and the account's own settings."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from flask import (
    Blueprint,
    Response,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_limiter.util import get_remote_address
from flask_login import current_user, login_required, login_user, logout_user
from itsdangerous import BadData, URLSafeTimedSerializer

from app import config, jobs, passwords
from app.extensions import db, limiter
from app.store import runs, users
from app.store.tables import UserRow
from app.web import showing

blueprint = Blueprint("accounts", __name__)

_INVITE_DAYS = 7
_PER_ADDRESS, _PER_ACCOUNT = "30 per 15 minutes", "8 per 15 minutes"
_WRONG = "That e-mail address and password do not go together. Check both and try again."


def invite_token(email: str) -> str:
    """What the address `/signup?invite=…` carries: an e-mail address, signed, good for a week."""
    return _invites().dumps(users.normal(email))


@blueprint.route("/signup", methods=["GET", "POST"])
@limiter.limit("20 per hour", methods=["POST"])
def signup() -> Any:
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    invited = _invited(request.values.get("invite", ""))
    mode = config.current().signup
    if mode != "open" and not (mode == "invite" and invited):
        return render_template("accounts/signup.html", closed=mode), 403
    if request.method == "GET":
        return render_template("accounts/signup.html", email=invited or "", invite=request.values.get("invite"))
    email, password = _typed()
    complaint = _address_complaint(email) or passwords.complaint(password)
    if invited and users.normal(email) != invited:
        complaint = "This invitation is for another e-mail address."
    user = None if complaint else users.create(email, passwords.hash_password(password), showing.now())
    if user is None:
        db.session.rollback()
        said = complaint or "There is an account with this e-mail address. Sign in instead."
        again = {"email": email, "error": said, "invite": request.values.get("invite")}
        return render_template("accounts/signup.html", **again), 422
    db.session.commit()
    _sign_in(user)
    return redirect(url_for("keys.profile"), 303)


def _account() -> str:
    return "account:" + users.normal(request.form.get("email", ""))[:400]


def _was_wrong(response: Response) -> bool:
    return response.status_code == 422


# Throttled per address and per account, and only failures count: nobody is locked out by signing in often.
@blueprint.route("/login", methods=["GET", "POST"])
@limiter.limit(_PER_ADDRESS, methods=["POST"], deduct_when=_was_wrong, key_func=get_remote_address)
@limiter.limit(_PER_ACCOUNT, methods=["POST"], deduct_when=_was_wrong, key_func=_account)
def login() -> Any:
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    target = _own_path(request.values.get("next"))
    if request.method == "GET":
        return render_template("accounts/login.html", next=target)
    email, password = _typed()
    user = users.by_email(email)
    if not passwords.is_right(user.password_hash if user else None, password) or user is None:
        return render_template("accounts/login.html", email=email, next=target, error=_WRONG), 422
    _sign_in(user)
    _sync_if_due(user)
    return redirect(target or url_for("keys.profile"), 303)


@blueprint.post("/logout")
@login_required
def logout() -> Any:
    logout_user()
    session.clear()
    return redirect(url_for("accounts.login"), 303)


@blueprint.post("/profile/password")
@login_required
@limiter.limit("10 per hour")
def change_password() -> Any:
    old, new = request.form.get("current_password", ""), request.form.get("password", "")
    complaint = passwords.complaint(new)
    if not passwords.is_right(current_user.password_hash, old):
        complaint = "The current password is not right."
    if complaint:
        flash(complaint, "bad")
        return redirect(url_for("keys.profile", _anchor="settings"), 303)
    users.set_password(current_user, passwords.hash_password(new))
    db.session.commit()
    login_user(current_user._get_current_object())  # this session goes on under the new stamp, all others end
    flash("Your password is changed. All other sessions are signed out.", "good")
    return redirect(url_for("keys.profile", _anchor="settings"), 303)


@blueprint.post("/profile/settings")
@login_required
def change_settings() -> Any:
    current_user.sync_on_sign_in = request.form.get("sync_on_sign_in") == "yes"
    db.session.commit()
    flash("Saved.", "good")
    return redirect(url_for("keys.profile", _anchor="settings"), 303)


def _typed() -> tuple[str, str]:
    email = request.form.get("email", "")[:400].replace("\0", "")  # which PostgreSQL cannot even look for
    return email.strip(), request.form.get("password", "")[:1000]


def _sign_in(user: UserRow) -> None:
    session.clear()  # nothing of a session from before goes on
    user.last_sign_in_at = showing.now()
    db.session.commit()
    login_user(user)
    session.permanent = True


def _sync_if_due(user: UserRow) -> None:
    """Signing in after more than thirty days starts a sync, if the user allows it."""
    if user.sync_on_sign_in and runs.needs_sync(runs.last_done(user.id, whole=True), showing.now()):
        jobs.begin_sync(user.id, "sign-in")


def _address_complaint(email: str) -> str | None:
    try:
        validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return "That is not an e-mail address. Type it as name@example.com."
    return None


def _own_path(target: str | None) -> str | None:
    """A path of ours to go on to; never another host, whatever the address says."""
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc else None


def _invites() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.config["SECRET_KEY"]), salt="invitation")


def _invited(token: str) -> str | None:
    try:
        email = _invites().loads(token, max_age=_INVITE_DAYS * 86_400) if token else None
    except BadData:
        return None
    return email if isinstance(email, str) else None
