"""What every request passes: who is signed in, which headers go out, what an error looks like."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, redirect, render_template, request, url_for
from flask_login import LoginManager, current_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, OperationalError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter, Map

from app import config
from app.catalog import wording
from app.extensions import db
from app.store import pages, users
from app.web import showing

log = logging.getLogger(__name__)

_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_SENTENCES = {
    400: ("That request was not understood", "Go back and try again."),
    403: ("That is not yours to see", "Sign in with another account, or ask an admin."),
    404: ("There is nothing here", "The address may be mistyped, or the thing was removed."),
    405: ("That cannot be done here", "Go back and use the page's own buttons."),
    413: ("That was too large", "Send less at once."),
    419: ("The page was open too long", "Reload it and try again; nothing was changed."),
    429: ("Too many attempts", "Wait a few minutes, then try again."),
    500: ("Something went wrong on our side", "It was written to the server's log. Try again in a moment."),
    503: ("The database cannot be reached", "Try again in a moment; if it stays so, tell the operator."),
}


class _RowId(IntegerConverter):
    """`<int:…>` in an address: a number beyond what a database counts to is nobody's, hence 404."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, max=2**63 - 1)


def init_app(app: Flask, login_manager: LoginManager) -> None:
    app.url_map.converters["int"] = _RowId
    login_manager.login_view = "accounts.login"
    login_manager.login_message = None
    login_manager.user_loader(users.by_session)
    login_manager.unauthorized_handler(_sign_in_first)
    app.after_request(_headers)
    app.context_processor(_everywhere)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(OperationalError, _database_error)
    app.register_error_handler(DataError, _unfit_data)
    app.register_error_handler(Exception, _unknown_error)
    app.jinja_env.filters.update(showing.FILTERS)
    app.jinja_env.globals.update(plural=wording.plural, number=wording.number)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def wants_json() -> bool:
    return request.path.startswith("/api/")


def _sign_in_first() -> Any:
    if wants_json():
        return {"error": "Sign in first."}, 401
    target = url_for("accounts.login", next=request.full_path.rstrip("?") if request.method == "GET" else None)
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target, 303)


def _headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", _POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    if config.current().secure_cookies:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        headers.setdefault("Cache-Control", "no-store")
        response.vary.add("HX-Request")
        response.vary.add("Cookie")
    return response


def _everywhere() -> dict[str, Any]:
    """What `base.html` shows on every page; a partial needs none of it, so it costs one no query."""
    settings = config.current()

    def nav() -> pages.Nav | None:
        return pages.nav(current_user.id) if current_user.is_authenticated else None

    return {
        "nav": nav,
        "demo": bool(settings.demo_url),
        "signup": settings.signup,
        "providers": showing.providers(),
        "now": showing.now(),
        "today": f"{showing.now():%Y-%m-%d}",
    }


def _answer(status: int, sentence: str | None = None, action: str | None = None) -> Any:
    title, todo = _SENTENCES.get(status, _SENTENCES[400 if status < 500 else 500])
    title, todo = sentence or title, action or todo
    if wants_json():
        return {"error": f"{title.rstrip('.')}. {todo}"}, status
    template = "_error.html" if request.headers.get("HX-Request") else "error.html"
    return render_template(template, title=title, action=todo, status=status), status


def _http_error(error: HTTPException) -> Any:
    if error.code is None or error.code < 400:
        return error
    answer = _answer(error.code)
    if error.code == 405 and error.get_response().headers.get("Allow"):
        return (*answer, {"Allow": error.get_response().headers["Allow"]})
    return answer


def _csrf_error(_error: CSRFError) -> Any:
    return _answer(419) if not wants_json() else _answer(400, "The CSRF token is missing or old")


def _database_error(error: OperationalError) -> Any:
    db.session.rollback()
    # The statement's parameters stay out of the log: they may hold what a person typed.
    log.error("database trouble at %s %s: %s", request.method, request.path, type(error.orig).__name__)
    return _answer(503)


def _unfit_data(_error: DataError) -> Any:
    """Something in the address or the form that the database cannot take, such as a NUL character."""
    db.session.rollback()
    return _answer(400)


def _unknown_error(error: Exception) -> Any:
    db.session.rollback()
    log.error("unknown failure at %s %s", request.method, request.path, exc_info=error)
    return _answer(500)
