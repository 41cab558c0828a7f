"""The signed-in user of a request: loading and starting sessions, and redirecting to sign-in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask, Response, g, redirect, request, session, url_for
from flask_login import LoginManager, current_user, login_user
from sqlalchemy.exc import DBAPIError

from app import clock, config
from app.extensions import db
from app.store.accounts import sessions, users
from app.store.accounts.sessions import SessionRow
from app.store.schema.tables import UserRow
from app.web.app import errors, request_id

_TOKEN = "session_token"  # noqa: S105  (a name)
_ANONYMOUS_ENDPOINTS = ("static", "health.health", "health.ready", "metrics.metrics", "feeds.atom", "reports.csp")
"""Endpoints that skip loading the user (and the database)."""


def init_app(app: Flask, login_manager: LoginManager) -> None:
    login_manager.login_view = "accounts.login"
    login_manager.login_message = None
    login_manager.user_loader(load_user)
    login_manager.unauthorized_handler(unauthorized)
    app.before_request(record_visit)


def unauthorized() -> Any:
    if errors.wants_json():
        return {"error": "Sign in first."}, 401
    target = url_for("accounts.login", next=request.full_path.rstrip("?") if request.method == "GET" else None)
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target, 303)


def begin_session(user: UserRow) -> None:
    """Sign this browser in under a new session token. Commits."""
    agent, address = request.headers.get("User-Agent", ""), request.remote_addr or ""
    session[_TOKEN] = sessions.create(user.id, agent, address, clock.utc_now())
    db.session.commit()
    login_user(user)
    session.permanent = True


def session_limits() -> sessions.SessionLimits:
    settings = config.current()
    return sessions.SessionLimits(
        timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours)
    )


def current_session() -> SessionRow | None:
    """The session of this request; None if no user is signed in."""
    row: SessionRow | None = g.get("session_row") if current_user.is_authenticated else None
    return row


def load_user(identity: str) -> UserRow | None:
    token = session.get(_TOKEN)
    limits = session_limits()
    row = users.find_by_session(identity, token, clock.utc_now(), limits) if isinstance(token, str) else None
    if row is None:
        return None
    g.session_row, user = row
    g.time_zone = user.time_zone
    request_id.bind_user(user.id)
    return user


def record_visit() -> None:
    """Record activity: once a day on the user (unused keys are synced less often), every few minutes on the session."""
    if request.endpoint in _ANONYMOUS_ENDPOINTS or not current_user.is_authenticated:
        return
    try:
        now, current = clock.utc_now(), current_session()
        touched = current is not None and sessions.touch(current, now)
        if users.touch(current_user, now) or touched:
            db.session.commit()
        if touched:
            session.modified = True  # renews the cookie, so that it expires together with the row
    except DBAPIError:  # pages stay readable on a full disk or a standby server
        db.session.rollback()
