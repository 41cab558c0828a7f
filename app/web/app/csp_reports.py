"""Logs Content-Security-Policy violation reports.

Anyone can post here, so nothing is stored, only a few fields are read, and values are truncated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import BadRequest, HTTPException, UnsupportedMediaType

from app.extensions import client_network, csrf, limiter

blueprint = Blueprint("reports", __name__)
log = structlog.get_logger("app.reports")

PATH = "/csp-reports"
MAX_BODY_BYTES, MAX_REPORTS, MAX_VALUE_LENGTH = 16_384, 5, 200
_TYPES = ("application/csp-report", "application/reports+json")
# Our name ← names in the older report-uri format and in the Reporting API.
_FIELDS = {
    "directive": ("effective-directive", "violated-directive", "effectiveDirective"),
    "page": ("document-uri", "documentURL"),
    "blocked": ("blocked-uri", "blockedURL"),
    "source": ("source-file", "sourceFile"),
    "line": ("line-number", "lineNumber"),
}
_URL_FIELDS = ("page", "blocked", "source")


@blueprint.post(PATH)
@csrf.exempt  # browsers send reports without a token
@limiter.limit("30 per minute", key_func=client_network)
@limiter.limit("300 per minute", key_func=lambda: "everyone")
def csp() -> Response:
    request.max_content_length = MAX_BODY_BYTES
    if request.mimetype not in _TYPES:
        raise UnsupportedMediaType
    try:
        payload = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise BadRequest from None
    for report_fields in list(_parse_reports(payload))[:MAX_REPORTS]:
        log.warning("a page broke its security policy", **report_fields)
    return Response(status=204)


def _parse_reports(payload: Any) -> Iterator[dict[str, str]]:
    """The few fields of each report that help to find the cause."""
    for report in (payload if isinstance(payload, list) else [payload])[: 4 * MAX_REPORTS]:
        body = (report.get("csp-report") or report.get("body")) if isinstance(report, Mapping) else None
        if isinstance(body, Mapping):
            yield {name: value for name, keys in _FIELDS.items() if (value := _read_value(name, keys, body))}


def _read_value(field: str, keys: tuple[str, ...], body: Mapping[Any, Any]) -> str:
    value = next((body[name] for name in keys if isinstance(body.get(name), str | int)), "")
    return (_strip_query(str(value)) if field in _URL_FIELDS else str(value))[:MAX_VALUE_LENGTH]


def _strip_query(url: str) -> str:
    """A URL without query and userinfo, which may hold user input; bare words such as `inline` unchanged."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not readable)"
    if parts.scheme not in ("http", "https"):
        return parts.scheme or parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{_to_route(parts.path)}"


def _to_route(path: str) -> str:
    """The route instead of the path for our own pages, because some paths contain secrets (password reset, feed)."""
    try:
        rule, _ = current_app.url_map.bind("").match(path, method="GET", return_rule=True)
    except HTTPException:
        return path
    return path if rule.endpoint == "static" else rule.rule
