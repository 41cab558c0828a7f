"""Response compression by Flask-Compress: zstd, else brotli, else gzip.

Excluded: static files (compressed by `static_files`), event streams and exports, which are flushed message by message.
"""

from __future__ import annotations

from flask import Flask, Response, request
from flask_compress import Compress

_SETTINGS = {
    # fastest first: a page takes milliseconds, and so should its compression
    "COMPRESS_ALGORITHM": ["zstd", "br", "gzip"],
    "COMPRESS_ZSTD_LEVEL": 3,
    "COMPRESS_BR_LEVEL": 4,
    "COMPRESS_LEVEL": 4,
    "COMPRESS_MIMETYPES": ["text/html", "application/json", "application/atom+xml", "text/plain"],
    "COMPRESS_STREAMS": False,
}


class _GetOnlyCompress(Compress):
    """Compresses responses to GET only, against BREACH.

    The length of a compressed response leaks whether attacker-chosen text matches a secret in it, if an attacker can
    trigger many requests with the victim's cookie. Responses with a fresh token, a feed URL or another one-time secret
    are therefore all responses to POST. What remains in pages is the CSRF token: its signature changes every second,
    the SameSite=Lax cookie is not sent by other sites' subresource requests, and the token is useless without that
    cookie.
    """

    def after_request(self, response: Response | None) -> Response:
        if response is not None and (request.method not in ("GET", "HEAD") or request.endpoint == "static"):
            return response
        return super().after_request(response)


def init_app(app: Flask) -> None:
    app.config.from_mapping(_SETTINGS)
    _GetOnlyCompress(app)
