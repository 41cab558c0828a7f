"""Each request has a number, which its log lines, its answer and the jobs it queues carry, and one line in the log."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from flask import Flask, Response, g, request

from app import config

HEADER = "X-Request-ID"
WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{7,63}")
"""What a proxy may send as a number; anything else is replaced by our own."""
_QUIET_ENDPOINTS = ("static", "health.health", "health.ready", "metrics.metrics")
"""Asked for every few seconds, by machines: told only where it failed, or at LOG_LEVEL=DEBUG."""

log = structlog.get_logger("app.requests")


def init_app(app: Flask) -> None:
    """Before all others: what they log has the number, and what they take counts."""
    app.before_request(_start_request)
    app.after_request(_finish_request)


def request_id() -> str:
    """The number of the request that is being answered."""
    return str(g.get("request_id", ""))


def bind_user(user_id: int) -> None:
    """Further lines of this request tell whose it is."""
    structlog.contextvars.bind_contextvars(user_id=user_id)


def _start_request() -> None:
    g.request_id, g.began = _new_request_id(), time.perf_counter()
    structlog.contextvars.clear_contextvars()  # of the request before, on the same connection
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _new_request_id() -> str:
    """A proxy's, where one is trusted and it sent a good one, else our own."""
    sent = request.headers.get(HEADER, "")
    if config.current().trusted_proxies and WELL_FORMED.fullmatch(sent):
        return sent
    return secrets.token_hex(8)


def _finish_request(response: Response) -> Response:
    response.headers[HEADER] = request_id()
    quiet = request.endpoint in _QUIET_ENDPOINTS and response.status_code < 400
    (log.debug if quiet else log.info)(
        "request",
        method=request.method,
        rule=str(request.url_rule) if request.url_rule else "(none)",  # an address may hold what somebody typed
        status=response.status_code,
        ms=round((time.perf_counter() - g.get("began", time.perf_counter())) * 1_000, 1),
    )
    return response
