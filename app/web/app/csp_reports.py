"""What browsers report of broken rules of the Content-Security-Policy: into the log, bounded, and nowhere else.

Anyone may send anything here, so nothing is kept, little is read, and what is told of it is cut short.
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
# Our word ← what the older report-uri calls it, and the newer Reporting API.
_FIELDS = {
    "directive": ("effective-directive", "violated-directive", "effectiveDirective"),
    "page": ("document-uri", "documentURL"),
    "blocked": ("blocked-uri", "blockedURL"),
    "source": ("source-file", "sourceFile"),
    "line": ("line-number", "lineNumber"),
}
_URL_FIELDS = ("page", "blocked", "source")


@blueprint.post(PATH)
@csrf.exempt  # a browser sends reports by itself, and knows no token
@limiter.limit("30 per minute", key_func=client_network)
@limiter.limit("300 per minute", key_func=lambda: "everyone")
def csp() -> Response:
    request.max_content_length = MAX_BODY_BYTES
    if request.mimetype not in _TYPES:
        raise UnsupportedMediaType
    try:
        sent = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise BadRequest from None
    for told in list(_parse_reports(sent))[:MAX_REPORTS]:
        log.warning("a page broke its security policy", **told)
    return Response(status=204)


def _parse_reports(sent: Any) -> Iterator[dict[str, str]]:
    """Of each report the few words that help to find the place."""
    for one in (sent if isinstance(sent, list) else [sent])[: 4 * MAX_REPORTS]:
        body = (one.get("csp-report") or one.get("body")) if isinstance(one, Mapping) else None
        if isinstance(body, Mapping):
            yield {word: found for word, names in _FIELDS.items() if (found := _read_value(word, names, body))}


def _read_value(word: str, names: tuple[str, ...], body: Mapping[Any, Any]) -> str:
    value = next((body[name] for name in names if isinstance(body.get(name), str | int)), "")
    return (_strip_query(str(value)) if word in _URL_FIELDS else str(value))[:MAX_VALUE_LENGTH]


def _strip_query(address: str) -> str:
    """An address without its query, which may hold what somebody typed; a bare word such as `inline` as it is."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "(not readable)"
    if parts.scheme not in ("http", "https"):
        return parts.scheme or parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{_to_route(parts.path)}"


def _to_route(path: str) -> str:
    """Of our pages the route alone, since some paths are secrets: that of a password's reset, or of a feed."""
    try:
        rule, _ = current_app.url_map.bind("").match(path, method="GET", return_rule=True)
    except HTTPException:
        return path
    return path if rule.endpoint == "static" else rule.rule
