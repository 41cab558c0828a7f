"""Two-factor authentication (TOTP and recovery codes): setup, verification at sign-in, deactivation, and the operator's
requirement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import segno
from flask import Blueprint, Flask, Response, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required

from app import clock, config
from app.auth import secretbox, totp
from app.auth.settings import SecurityEvent
from app.extensions import client_network, db, limiter, login_manager
from app.jobs import enqueue
from app.store.accounts import second_factors, sessions
from app.store.schema.tables import UserRow
from app.web.account import login
from app.web.app import errors, login_session

blueprint = Blueprint("second_factor", __name__)

PER_ACCOUNT = "10 per 15 minutes;50 per day"
"""Codes tried per account, over all forms. With a window of ±1 step, three of a million codes are valid at a time."""
_OFFER_LIFETIME = timedelta(minutes=15)
"""How long a displayed secret can be confirmed."""
_EXEMPT_ENDPOINTS = (
    "static",
    "health.health",
    "health.ready",
    "metrics.metrics",
    "help.index",
    "help.page",
    "accounts.logout",
    "settings.change_theme",
    "notifications.ask",
    "notifications.stop",
)
_WRONG_PASSWORD = "The password is not right; nothing was changed."  # noqa: S105  (a sentence)
_WRONG_CODE = "That code is not right, or it was used already. Type the one that is shown now."
_CODES_UNREADABLE = (
    "Codes of your app cannot be checked any more, because this server's secret was changed. "
    "Use a recovery code, then set it up again, or ask an admin."
)
_OFFER_EXPIRED = "That took too long. Begin again."
_SETUP_REQUIRED = "Set up two-step sign-in first: this server requires it."


def init_app(app: Flask) -> None:
    app.before_request(_require_setup)


# ------------------------------------------------------------------ at sign-in


def _limit_key() -> str:
    """Rate limit per account, wherever the requests come from."""
    if current_user.is_authenticated:
        return f"code:{current_user.id}"
    pending = login.pending_second_factor()
    return f"code:{pending[0].id}" if pending else client_network()


code_limit = limiter.shared_limit(PER_ACCOUNT, scope="second factor", key_func=_limit_key)


@blueprint.get("/login/code")
def ask() -> Any:
    if current_user.is_authenticated:
        return redirect(url_for("keys.profile"), 303)
    if login.pending_second_factor() is None:
        return login_manager.unauthorized()
    return render_template("accounts/second_factor.html")


@blueprint.post("/login/code")
@code_limit
def check() -> Any:
    pending = login.pending_second_factor()
    if pending is None:
        return login_manager.unauthorized()
    user, target = pending
    result = _use_code(user, request.form.get("code", ""))
    if result in ("wrong", "shut"):
        login.log_auth_event("sign-in refused", user, why="code")
        return render_template(
            "accounts/second_factor.html", error=_WRONG_CODE if result == "wrong" else _CODES_UNREADABLE
        ), 422
    db.session.commit()  # the code stays consumed even if the next step fails
    response = login.finish_login(user, target)
    if result == "recovery":
        login.log_auth_event("recovery code used", user)
        left = second_factors.count_unused_codes(user.id)
        flash(f"You used a recovery code; {left} are left. Make new ones in the settings before they run out.", "warn")
    return response


# ------------------------------------------------------------------ in the settings


@blueprint.get("/settings/second-factor")
@login_required
def set_up() -> Any:
    """Ask for the password. The secret is only ever shown in the response to a POST."""
    if current_user.second_factor_at is not None:
        return _redirect_to_settings()
    return _render_setup(None)


@blueprint.post("/settings/second-factor")
@login_required
@limiter.limit("10 per hour")
def begin() -> Any:
    """Generate a secret after password confirmation."""
    if current_user.second_factor_at is not None:
        return _redirect_to_settings()
    if not login.confirms_identity(request.form.get("password", "")):
        return _render_setup(None, error=login.password_error(_WRONG_PASSWORD)), 422
    secret = totp.new_secret()
    second_factors.save_pending(
        _current_user(),
        secretbox.encrypt(config.current().secret_key, secret.encode(), _associated_data(current_user.id)),
        clock.utc_now(),
    )
    db.session.commit()
    return _render_setup(secret)


@blueprint.post("/settings/second-factor/confirm")
@login_required
@code_limit
def confirm() -> Any:
    """The first valid code activates the second factor and ends all other sessions."""
    user, secret = _current_user(), _offered_secret()
    if user.second_factor_at is not None:
        return _redirect_to_settings()
    if secret is None:
        return _render_setup(None, error=_OFFER_EXPIRED), 422
    step = totp.verify(secret, request.form.get("code", ""), clock.utc_now(), after=0)
    if step is None or not second_factors.consume_step(user.id, step):
        db.session.rollback()
        return _render_setup(secret, error=_WRONG_CODE), 422
    codes = second_factors.enable(user, clock.utc_now())
    session_row = login_session.current_session()
    sessions.end_all(user.id, excluding=session_row.id if session_row else None)
    _record_change("on", "second factor on")
    return _render_codes(codes, is_new=True)


@blueprint.post("/settings/second-factor/codes")
@login_required
@code_limit
def renew() -> Any:
    """Replace the recovery codes by ten new ones."""
    if sentence := _form_error():
        return _flash_error(sentence)
    codes = second_factors.replace_codes(current_user.id)
    _record_change("recovery codes renewed", "recovery codes")
    return _render_codes(codes, is_new=False)


@blueprint.post("/settings/second-factor/off")
@login_required
@code_limit
def turn_off() -> Any:
    if sentence := _form_error():
        return _flash_error(sentence)
    second_factors.disable(_current_user())
    _record_change("off", "second factor off")
    flash("Two-step sign-in is off: your password alone is asked for.", "good")
    return _redirect_to_settings()


def _record_change(description: str, change: SecurityEvent) -> None:
    """Write to the audit log (committed with the change) and notify the owner by e-mail."""
    login.record_own_change({"second factor": description})
    db.session.commit()
    enqueue.notify_owner(current_user.id, change)


@dataclass(frozen=True, slots=True)
class SecondFactorState:
    """State shown on the settings page."""

    since: datetime | None
    """None if off."""
    codes_left: int
    is_required: bool


def current_state() -> SecondFactorState:
    since = current_user.second_factor_at
    return SecondFactorState(
        since, second_factors.count_unused_codes(current_user.id) if since else 0, is_required(_current_user())
    )


# ------------------------------------------------------------------ where it is required


def is_required(user: UserRow) -> bool:
    """Whether the operator requires a second factor for this account."""
    required = config.current().require_second_factor
    return required == "everyone" or (required == "admins" and user.is_admin)


def _require_setup() -> Any:
    """Redirect users who must have a second factor and have none to its setup. Personal tokens are not affected."""
    if (
        request.endpoint in _EXEMPT_ENDPOINTS
        or request.blueprint in ("second_factor", "oidc")
        or request.endpoint is None
    ):
        return None
    if config.current().require_second_factor == "off" or not current_user.is_authenticated:
        return None
    if current_user.second_factor_at is not None or not is_required(_current_user()):
        return None
    if errors.wants_json():
        return errors.error_response(403, _SETUP_REQUIRED, "Open the settings in a browser.")
    target = url_for("second_factor.set_up")
    if request.headers.get("HX-Request"):
        return Response(status=403, headers={"HX-Redirect": target})
    return redirect(target, 303)


# ------------------------------------------------------------------ inside


def _use_code(user: UserRow, code: str) -> Literal["code", "recovery", "wrong", "shut"]:
    """Verify and consume a code; the caller commits. "shut": the TOTP secret cannot be decrypted, and the input is not
    a recovery code either."""
    code, row, secret = code[:100], second_factors.find_by_user(user.id), None
    if row is not None:
        secret = _decrypt_secret(row.sealed_secret, user.id)
        step = totp.verify(secret, code, clock.utc_now(), after=row.last_step) if secret else None
        if step is not None and second_factors.consume_step(user.id, step):
            return "code"
    if second_factors.consume_code(user.id, code, clock.utc_now()):
        return "recovery"
    db.session.rollback()
    return "wrong" if secret else "shut"


def _form_error() -> str | None:
    """Why the submitted form is rejected; None once password and code are right."""
    user = _current_user()
    if user.second_factor_at is None:
        return "Two-step sign-in is off already."
    if request.endpoint == "second_factor.turn_off" and is_required(user):
        return "This server requires two-step sign-in, so it stays on."
    if not login.confirms_identity(request.form.get("password", "")):
        return login.password_error(_WRONG_PASSWORD)
    how = _use_code(user, request.form.get("code", ""))
    return {"wrong": _WRONG_CODE, "shut": _CODES_UNREADABLE}.get(how)


def _offered_secret() -> str | None:
    """The secret displayed to this user within the last fifteen minutes."""
    row = second_factors.find_by_user(current_user.id)
    if row is None or clock.utc_now() - row.created_at > _OFFER_LIFETIME:
        return None
    return _decrypt_secret(row.sealed_secret, current_user.id)


def _decrypt_secret(sealed: bytes, user_id: int) -> str | None:
    try:
        return secretbox.decrypt(config.current().secret_key, sealed, _associated_data(user_id)).decode()
    except secretbox.DecryptionError:
        return None


def _associated_data(user_id: int) -> str:
    return f"second factor of {user_id}"


def _current_user() -> UserRow:
    user: UserRow = current_user._get_current_object()
    return user


def _flash_error(sentence: str) -> Any:
    flash(sentence, "bad")
    return _redirect_to_settings()


def _redirect_to_settings() -> Any:
    return redirect(url_for("settings.index", _anchor="second-factor"), 303)


def _render_setup(secret: str | None, **context: Any) -> str:
    return render_template(
        "settings/second_factor.html",
        secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)) if secret else None,
        picture=_qr_code(totp.provisioning_uri(secret, current_user.email)) if secret else None,
        required=is_required(_current_user()),
        **context,
    )


def _qr_code(address: str) -> str:
    """A QR code as an SVG data: URL; dark on light in every theme, because cameras need it."""
    return str(segno.make(address, error="m", micro=False).svg_data_uri(scale=4, border=4, light="#fff"))


def _render_codes(codes: list[str], is_new: bool) -> str:
    return render_template("accounts/recovery.html", codes=codes, is_new=is_new)
