"""Completes sign-in after the password or OpenID Connect step: second factor, session, redirect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask import redirect, request, session, url_for
from flask_login import current_user

from app import clock
from app.auth import passwords
from app.jobs import enqueue
from app.store import runs
from app.store.accounts import sessions, user_actions, users
from app.store.audit import AuditState
from app.store.schema.tables import UserRow
from app.web.app import login_session, page_context

log = structlog.get_logger("app.entrance")

PENDING_LOGIN_S = 300
"""Seconds allowed between the password and the second-factor code."""
_PENDING = "half_open"
_RECENT_LOGIN = timedelta(minutes=10)
RECENT_LOGIN_NEEDED = (
    "Sign out, sign in again and do it within ten minutes: that shows that it is you. Nothing was changed."
)


def begin_login(user: UserRow, target: str | None) -> Any:
    """Sign in and redirect to `target` (a local path), or ask for the second factor first.

    Until the code is verified, the session only records whose password was verified and gives access to nothing else.
    """
    if user.second_factor_at is None:
        return finish_login(user, target)
    session.clear()
    session.permanent = False
    session[_PENDING] = {"who": user.get_id(), "at": int(clock.utc_now().timestamp()), "next": target}
    return redirect(url_for("second_factor.ask"), 303)


def pending_second_factor() -> tuple[UserRow, str | None] | None:
    """The user whose code is expected and the redirect target; None if the login expired or the user's security stamp
    changed."""
    pending = session.get(_PENDING)
    if not isinstance(pending, dict) or not 0 <= clock.utc_now().timestamp() - pending["at"] <= PENDING_LOGIN_S:
        return None
    user = users.find_by_identity(str(pending["who"]))
    return (user, pending["next"]) if user is not None and user.second_factor_at is not None else None


def finish_login(user: UserRow, target: str | None) -> Any:
    """Sign in, start a sync if one is due, and redirect."""
    sign_in(user)
    _sync_if_due(user)
    return redirect(target or url_for("keys.profile"), 303)


def sign_in(user: UserRow) -> None:
    session.clear()  # prevents session fixation
    log_auth_event("signed in", user)
    users.touch(user, clock.utc_now(), timedelta(0))
    login_session.begin_session(user)
    page_context.remember_theme(user.theme)


def log_auth_event(event: str, user: UserRow | None, **more: str) -> None:
    """Log an authentication event with the account id and the network prefix. Never logs user input."""
    network = sessions.shorten_address(request.remote_addr or "")
    fields = {"account": user.id if user else None, "from_network": network, **more}
    (log.info if event == "signed in" else log.warning)(event, **fields)


def confirms_identity(password: str) -> bool:
    """True if the password is right, or, for an account without a password, if this session began within the last ten
    minutes."""
    if current_user.has_password:
        return passwords.verify(current_user.password_hash, password[:1000])
    current = login_session.current_session()
    return current is not None and clock.utc_now() - current.created_at <= _RECENT_LOGIN


def password_error(sentence: str) -> str:
    """Why `confirms_identity` is false. sentence: for accounts that have a password."""
    return sentence if current_user.has_password else RECENT_LOGIN_NEEDED


def record_own_change(after: AuditState) -> None:
    """Write a change by the user to their own account to the audit log; the caller commits."""
    user_actions.record_own_change(current_user._get_current_object(), after, clock.utc_now())


def safe_next_url(target: str | None) -> str | None:
    """The target if it is a path on this server, else None (prevents open redirects)."""
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    if not target.isprintable():  # a line break would only fail as a header after the session has started
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return target if not parts.scheme and not parts.netloc else None


def _sync_if_due(user: UserRow) -> None:
    """Start a sync if the last one is over thirty days old and the user allows it."""
    if user.sync_on_sign_in and runs.needs_sync(runs.last_finished(user.id, whole=True), clock.utc_now()):
        enqueue.start_sync(user.id, "sign-in")
