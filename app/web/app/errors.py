"""What every request passes: who is signed in, which headers go out, what an error looks like."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import (
    Flask,
    Response,
    after_this_request,
    current_app,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_login import AnonymousUserMixin, LoginManager, current_user, login_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter, Map

from app import config
from app.catalog import humanize
from app.extensions import db
from app.store.accounts import sessions, users
from app.store.accounts.sessions import SessionRow
from app.store.engine.db_errors import PERMANENT, DatabaseProblem, classify
from app.store.schema.tables import THEMES, UserRow
from app.web.account import notifications
from app.web.app import csp_reports, filters, request_id

log = logging.getLogger(__name__)

_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'; "
    f"report-uri {csp_reports.PATH}; report-to csp"
)
_PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "autoplay",
        "browsing-topics",
        "camera",
        "display-capture",
        "encrypted-media",
        "geolocation",
        "gyroscope",
        "hid",
        "idle-detection",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "publickey-credentials-get",
        "screen-wake-lock",
        "serial",
        "usb",
        "xr-spatial-tracking",
    )
)
"""Nothing of a device is asked for; the clipboard and full screen, which harm nobody, stay as browsers have them."""
_HTTP_ERRORS = {
    400: ("That request was not understood", "Go back and try again."),
    403: ("That is not yours to see", "Sign in with another account, or ask an admin."),
    404: ("There is nothing here", "The address may be mistyped, or the thing was removed."),
    405: ("That cannot be done here", "Go back and use the page's own buttons."),
    413: ("That was too large", "Send less at once."),
    419: ("The page was open too long", "Reload it and try again; nothing was changed."),
    429: ("Too many attempts", "Wait a few minutes, then try again."),
    500: ("Something went wrong on our side", "It was written to the server's log. Try again in a moment"),
    503: ("The database cannot be reached", "Try again in a moment; if it stays so, tell the operator."),
}
_DATABASE_ERRORS: dict[DatabaseProblem, tuple[int, str, str]] = {
    "full": (507, "The server's disk is full", "Nothing new can be saved until the operator makes room."),
    "busy": (503, "The database is busy", "Somebody else is writing to it. Try again in a moment."),
    "read_only": (
        503,
        "The database cannot be written",
        "It is read-only, so nothing new can be saved: tell the operator.",
    ),
    "crowded": (
        503,
        "The server has too much to do at once",
        "Try again in a moment; if it stays so, tell the operator.",
    ),
    "starting": (503, "The database is being started or stopped", "Try again in a moment."),
    "damaged": (503, "The database is damaged", "Tell the operator: it has to be restored from a backup."),
    "away": (503, *_HTTP_ERRORS[503]),
}
_RETRY_AFTER_S = "5"
_TOKEN, _THEME = "session_token", "theme"
_SECRET_ENDPOINTS = (
    "feeds.atom",
    "password_reset.choose",
    "password_reset.change",
    "notifications.ask",
    "notifications.stop",
)
_YEAR_S = 365 * 86_400
_ANONYMOUS_ENDPOINTS = ("static", "health.health", "health.ready", "metrics.metrics", "feeds.atom", "reports.csp")
"""Endpoints that do not ask who is there, and so not the database either."""

ErrorFormatter = Callable[[int, str, str], Response]
"""An error for programs: (status, what happened, what to do) → the answer."""


class BigIntConverter(IntegerConverter):
    """`<int:…>` in an address: a number beyond what a database counts to is nobody's, hence 404."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, max=2**63 - 1)


def init_app(app: Flask, login_manager: LoginManager) -> None:
    app.url_map.converters["int"] = BigIntConverter
    login_manager.login_view = "accounts.login"
    login_manager.login_message = None
    login_manager.user_loader(load_user)
    login_manager.unauthorized_handler(unauthorized)
    app.before_request(record_visit)
    app.after_request(set_headers)
    app.context_processor(template_context)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(PoolTimeout, _database_error)
    app.register_error_handler(DataError, _invalid_data)
    app.register_error_handler(Exception, _unexpected_error)
    app.jinja_env.filters.update(filters.FILTERS)
    app.jinja_env.globals.update(plural=humanize.pluralize, number=humanize.format_number)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def format_errors(app: Flask, prefix: str, shape: ErrorFormatter) -> None:
    """Errors at addresses that begin so are told in this shape; the longest prefix counts."""
    app.extensions.setdefault("error_shapes", {})[prefix] = shape


def wants_json() -> bool:
    return request.path.startswith("/api/") or _error_formatter() is not None


def _error_formatter() -> ErrorFormatter | None:
    shapes: dict[str, ErrorFormatter] = current_app.extensions.get("error_shapes", {})
    fitting = [prefix for prefix in shapes if request.path.startswith(prefix)]
    return shapes[max(fitting, key=len)] if fitting else None


def unauthorized() -> Any:
    if wants_json():
        return {"error": "Sign in first."}, 401
    target = url_for("accounts.login", next=request.full_path.rstrip("?") if request.method == "GET" else None)
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target, 303)


def begin_session(user: UserRow) -> None:
    """Sign this browser in, under a token that no session had before; the caller commits first what it wrote."""
    agent, address = request.headers.get("User-Agent", ""), request.remote_addr or ""
    session[_TOKEN] = sessions.create(user.id, agent, address, filters.now())
    db.session.commit()
    login_user(user)
    session.permanent = True


def session_limits() -> sessions.SessionLimits:
    settings = config.current()
    return sessions.SessionLimits(
        timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours)
    )


def current_session() -> SessionRow | None:
    """The session that asks; None for a stranger."""
    found: SessionRow | None = g.get("session_row") if current_user.is_authenticated else None
    return found


def remember_theme(theme: str) -> None:
    """Pages look so in this browser also when nobody is signed in."""

    def remember(response: Response) -> Response:
        response.set_cookie(
            _theme_cookie(),
            theme,
            max_age=_YEAR_S,
            httponly=True,
            samesite="Lax",
            secure=config.current().secure_cookies,
        )
        return response

    after_this_request(remember)


def load_user(identity: str) -> UserRow | None:
    token = session.get(_TOKEN)
    lives = session_limits()
    found = users.find_by_session(identity, token, filters.now(), lives) if isinstance(token, str) else None
    if found is None:
        return None
    g.session_row, user = found
    g.time_zone = user.time_zone
    request_id.bind_user(user.id)
    return user


def _theme_cookie() -> str:
    """With the prefix no other host of the domain can set it (RFC 6265bis, 4.1.3.2); browsers want TLS for that."""
    return f"__Host-{_THEME}" if config.current().secure_cookies else _THEME


def current_theme() -> str:
    if current_user.is_authenticated:
        return str(current_user.theme)
    kept = request.cookies.get(_theme_cookie())
    return kept if kept in THEMES else "system"


def record_visit() -> None:
    """Once a day: keys of those who do not come any more are asked less often. Every few minutes: of the session."""
    if request.endpoint in _ANONYMOUS_ENDPOINTS or not current_user.is_authenticated:
        return
    try:
        now, here = filters.now(), current_session()
        seen = here is not None and sessions.touch(here, now)
        if users.touch(current_user, now) or seen:
            db.session.commit()
        if seen:
            session.modified = True  # the cookie is issued anew, and so lives as long as the row does
    except DBAPIError:  # on a full disk, or a standby server, pages can still be read
        db.session.rollback()


def set_headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Reporting-Endpoints", f'csp="{csp_reports.PATH}"')
    headers.setdefault("Permissions-Policy", _PERMISSIONS_POLICY)
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Embedder-Policy", "require-corp")
    if config.current().secure_cookies:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        headers.setdefault("Cache-Control", "no-store")
        response.vary.add("HX-Request")
        response.vary.add("Cookie")
    return response


def template_context() -> dict[str, Any]:
    """What `base.html` shows on every page; a partial needs none of it, so it costs one no query."""
    settings = config.current()

    def nav() -> notifications.NavBadge | None:
        return notifications.nav_badge(current_user) if current_user.is_authenticated else None

    return {
        "nav": nav,
        "theme": current_theme,
        "demo": bool(settings.demo_url),
        "signup": settings.signup,
        "signs_in_at": settings.oidc.title if settings.oidc else "",
        "sends_letters": bool(settings.mail_from),
        "providers": filters.providers(),
        "now": filters.now(),
        "today": f"{filters.now():%Y-%m-%d}",
    }


def error_response(status: int, sentence: str | None = None, action: str | None = None, *, plain: bool = False) -> Any:
    title, todo = _HTTP_ERRORS.get(status, _HTTP_ERRORS[400 if status < 500 else 500])
    title, todo = sentence or title, action or todo
    if status == 500:
        todo = f"{todo}; if it stays so, tell the operator this number: {request_id.request_id()}."
    if shape := _error_formatter():
        return shape(status, title.rstrip("."), todo), status
    if wants_json():
        return {"error": f"{title.rstrip('.')}. {todo}"}, status
    template = "_error.html" if request.headers.get("HX-Request") else "error.html"
    return render_template(template, title=title, action=todo, status=status, plain=plain), status


def refusal(status: int, sentence: str, action: str) -> Any:
    """An error in the shape that this request expects."""
    return error_response(status, sentence, action)


def _http_error(error: HTTPException) -> Any:
    if error.code is None or error.code < 400:
        return error
    answer = error_response(error.code)
    if error.code == 405 and error.get_response().headers.get("Allow"):
        return (*answer, {"Allow": error.get_response().headers["Allow"]})
    return answer


def _csrf_error(error: CSRFError) -> Any:
    log.warning("a form was refused: %s", error.description)  # a proxy that tells another host or port shows here
    return error_response(419) if not wants_json() else error_response(400, "The CSRF token is missing or old")


def _database_error(error: DBAPIError | PoolTimeout) -> Any:
    trouble = classify(error)
    if trouble is None:
        return _unexpected_error(error)
    db.session.rollback()
    # The statement's parameters stay out of the log: they may hold what a person typed.
    raised = error.orig if isinstance(error, DBAPIError) else error
    log.error("database trouble at %s %s: %s (%s)", request.method, _loggable_path(), trouble, type(raised).__name__)
    # The page that tells of it must not ask the database who looks at it.
    g._login_user = AnonymousUserMixin()
    status, sentence, action = _DATABASE_ERRORS[trouble]
    answer = error_response(status, sentence, action, plain=True)
    return answer if trouble in PERMANENT else (*answer, {"Retry-After": _RETRY_AFTER_S})


def _loggable_path() -> str:
    """What the log calls this request's address: never a secret one."""
    return str(request.url_rule) if request.endpoint in _SECRET_ENDPOINTS else request.path


def _invalid_data(_error: DataError) -> Any:
    """Something in the address or the form that the database cannot take, such as a NUL character."""
    db.session.rollback()
    return error_response(400)


def _unexpected_error(error: Exception) -> Any:
    db.session.rollback()
    log.error("unknown failure at %s %s", request.method, _loggable_path(), exc_info=error)
    return error_response(500)
