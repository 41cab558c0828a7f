"""Request ids, carried by log lines, responses and queued jobs, and one log line per request."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from flask import Flask, Response, g, request

from app import config

HEADER = "X-Request-ID"
WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{7,63}")
"""Request ids accepted from a trusted proxy; others are replaced."""
_QUIET_ENDPOINTS = ("static", "health.health", "health.ready", "metrics.metrics")
"""Polled by machines every few seconds; logged only on failure or at LOG_LEVEL=DEBUG."""

log = structlog.get_logger("app.requests")


def init_app(app: Flask) -> None:
    """Must be registered first: later hooks log with the id, and their time is measured."""
    app.before_request(_start_request)
    app.after_request(_finish_request)


def request_id() -> str:
    """The id of the current request."""
    return str(g.get("request_id", ""))


def bind_user(user_id: int) -> None:
    """Add the user id to this request's further log lines."""
    structlog.contextvars.bind_contextvars(user_id=user_id)


def _start_request() -> None:
    g.request_id, g.began = _new_request_id(), time.perf_counter()
    structlog.contextvars.clear_contextvars()  # left from the previous request in this context
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _new_request_id() -> str:
    """The trusted proxy's id if it is well-formed, else a new one."""
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
        rule=str(request.url_rule) if request.url_rule else "(none)",  # paths may contain user input
        status=response.status_code,
        ms=round((time.perf_counter() - g.get("began", time.perf_counter())) * 1_000, 1),
    )
    return response
