"""Error pages, for people as HTML and for programs as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, current_app, g, render_template, request
from flask_login import AnonymousUserMixin
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter, Map

from app.extensions import db
from app.store.engine.db_errors import PERMANENT, DatabaseProblem, classify
from app.web.app import request_id

log = logging.getLogger(__name__)

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
_SECRET_ENDPOINTS = (
    "feeds.atom",
    "password_reset.choose",
    "password_reset.change",
    "notifications.ask",
    "notifications.stop",
)
"""Endpoints whose path contains a secret."""

ErrorFormatter = Callable[[int, str, str], Response]
"""(status, what happened, what to do) → a response for programs."""


class BigIntConverter(IntegerConverter):
    """`<int:…>` in a route: 404 for numbers beyond the database's range."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, max=2**63 - 1)


def init_app(app: Flask, formatters: Mapping[str, ErrorFormatter]) -> None:
    """formatters: path prefix → format of the errors below it; the longest prefix wins."""
    app.extensions["error_formatters"] = formatters
    app.url_map.converters["int"] = BigIntConverter
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(PoolTimeout, _database_error)
    app.register_error_handler(DataError, _invalid_data)
    app.register_error_handler(Exception, _unexpected_error)


def wants_json() -> bool:
    return request.path.startswith("/api/") or _error_formatter() is not None


def _error_formatter() -> ErrorFormatter | None:
    formatters: Mapping[str, ErrorFormatter] = current_app.extensions["error_formatters"]
    prefixes = [prefix for prefix in formatters if request.path.startswith(prefix)]
    return formatters[max(prefixes, key=len)] if prefixes else None


def error_response(status: int, title: str = "", action: str = "", *, plain: bool = False) -> Any:
    """An error in the format that the request expects. `plain`: a page that needs no database."""
    default_title, default_action = _HTTP_ERRORS.get(status, _HTTP_ERRORS[400 if status < 500 else 500])
    title, action = title or default_title, action or default_action
    if status == 500:
        action = f"{action}; if it stays so, tell the operator this number: {request_id.request_id()}."
    if formatter := _error_formatter():
        return formatter(status, title.rstrip("."), action), status
    if wants_json():
        return {"error": f"{title.rstrip('.')}. {action}"}, status
    template = "_error.html" if request.headers.get("HX-Request") else "error.html"
    return render_template(template, title=title, action=action, status=status, plain=plain), status


def _http_error(error: HTTPException) -> Any:
    if error.code is None or error.code < 400:
        return error
    response = error_response(error.code)
    if error.code == 405 and error.get_response().headers.get("Allow"):
        return (*response, {"Allow": error.get_response().headers["Allow"]})
    return response


def _csrf_error(error: CSRFError) -> Any:
    log.warning("a form was refused: %s", error.description)  # reveals a proxy that changes the host or port
    return error_response(419) if not wants_json() else error_response(400, "The CSRF token is missing or old")


def _database_error(error: DBAPIError | PoolTimeout) -> Any:
    problem = classify(error)
    if problem is None:
        return _unexpected_error(error)
    db.session.rollback()
    # Statement parameters are not logged: they may hold what a user typed.
    cause = error.orig if isinstance(error, DBAPIError) else error
    log.error("database trouble at %s %s: %s (%s)", request.method, _loggable_path(), problem, type(cause).__name__)
    g._login_user = AnonymousUserMixin()  # rendering the error page must not query the database for the user
    status, title, action = _DATABASE_ERRORS[problem]
    response = error_response(status, title, action, plain=True)
    return response if problem in PERMANENT else (*response, {"Retry-After": _RETRY_AFTER_S})


def _loggable_path() -> str:
    """The request's path, or its route if the path contains a secret."""
    return str(request.url_rule) if request.endpoint in _SECRET_ENDPOINTS else request.path


def _invalid_data(_error: DataError) -> Any:
    """Input that the database rejects, such as a NUL character."""
    db.session.rollback()
    return error_response(400)


def _unexpected_error(error: Exception) -> Any:
    db.session.rollback()
    log.error("unknown failure at %s %s", request.method, _loggable_path(), exc_info=error)
    return error_response(500)
