"""Into the house: what happens once somebody has shown who they are, by a password or at an OpenID provider."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask import redirect, request, session, url_for
from flask_login import current_user

from app import jobs
from app.auth import passwords
from app.store import runs
from app.store.accounts import sessions, users
from app.store.schema.tables import UserRow
from app.web.app import errors, filters

log = structlog.get_logger("app.entrance")

PENDING_LOGIN_S = 300
"""So long one may take to type the code after the password."""
_PENDING = "half_open"
_RECENT_LOGIN = timedelta(minutes=10)
RECENT_LOGIN_NEEDED = (
    "Sign out, sign in again and do it within ten minutes: that shows that it is you. Nothing was changed."
)


def begin_login(user: UserRow, target: str | None) -> Any:
    """Sign in and go on to `target`, a path of ours; where the account has a second factor, ask for its code first.

    Until then the session is half open: it says who the password was right for and leads to nothing but that question.
    """
    if user.second_factor_at is None:
        return finish_login(user, target)
    session.clear()
    session.permanent = False
    session[_PENDING] = {"who": user.get_id(), "at": int(filters.now().timestamp()), "next": target}
    return redirect(url_for("second_factor.ask"), 303)


def pending_second_factor() -> tuple[UserRow, str | None] | None:
    """Who has yet to type a code, and where they are going. None once that took too long, or the stamp is another."""
    kept = session.get(_PENDING)
    if not isinstance(kept, dict) or not 0 <= filters.now().timestamp() - kept["at"] <= PENDING_LOGIN_S:
        return None
    user = users.find_by_identity(str(kept["who"]))
    return (user, kept["next"]) if user is not None and user.second_factor_at is not None else None


def finish_login(user: UserRow, target: str | None) -> Any:
    """All that was asked for is shown: sign in, and start the sync that is due."""
    sign_in(user)
    _sync_if_due(user)
    return redirect(target or url_for("keys.profile"), 303)


def sign_in(user: UserRow) -> None:
    session.clear()  # nothing of a session from before goes on
    log_auth_event("signed in", user)
    users.touch(user, filters.now(), timedelta(0))
    errors.begin_session(user)
    errors.remember_theme(user.theme)


def log_auth_event(event: str, user: UserRow | None, **more: str) -> None:
    """A line of the log about a door, for whoever has to find out later who came in: whose account it is, by its
    number, and from which network; never what was typed."""
    network = sessions.shorten_address(request.remote_addr or "")
    told = {"account": user.id if user else None, "from_network": network, **more}
    (log.info if event == "signed in" else log.warning)(event, **told)


def reauthenticated(password: str) -> bool:
    """Whether it is the account's owner who sits there: by the password, or, where the account has none, because they
    signed in just now."""
    if current_user.has_password:
        return passwords.verify(current_user.password_hash, password[:1000])
    here = errors.current_session()
    return here is not None and filters.now() - here.created_at <= _RECENT_LOGIN


def safe_next_url(target: str | None) -> str | None:
    """A path of ours to go on to; never another host, whatever the address says."""
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    if not target.isprintable():  # a line break would be refused as a header only once the session has begun
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return target if not parts.scheme and not parts.netloc else None


def _sync_if_due(user: UserRow) -> None:
    """Signing in after more than thirty days starts a sync, if the user allows it."""
    if user.sync_on_sign_in and runs.needs_sync(runs.last_finished(user.id, whole=True), filters.now()):
        jobs.start_sync(user.id, "sign-in")
