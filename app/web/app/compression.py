"""Answers are compressed where the browser takes it, by Flask-Compress: zstd, else brotli, else gzip.

Static files are not its affair (`static_files` keeps them compressed), and neither are event streams, whose messages
must not wait for each other, nor exports, which are written while they are read.
"""

from __future__ import annotations

from flask import Flask, Response, request
from flask_compress import Compress

_SETTINGS = {
    # Those that cost least come first: a page of 40 kB is made in milliseconds, and must not take as long to compress.
    "COMPRESS_ALGORITHM": ["zstd", "br", "gzip"],
    "COMPRESS_ZSTD_LEVEL": 3,
    "COMPRESS_BR_LEVEL": 4,
    "COMPRESS_LEVEL": 4,
    "COMPRESS_MIMETYPES": ["text/html", "application/json", "application/atom+xml", "text/plain"],
    "COMPRESS_STREAMS": False,
}


class _GetOnlyCompress(Compress):
    """Compresses answers to GET alone.

    The length of a compressed answer tells whether text that an attacker chose is like a secret beside it (BREACH), if
    the attacker can have it fetched over and over with the person's cookie. So what holds a fresh token, a feed's
    secret address or anything else that is shown only once must not be compressed: all of these are answers to POST.
    What remains on pages is the CSRF token. Its signature is another one each second, the cookie (SameSite=Lax) does
    not go along with what other sites embed or send, and without that cookie the token is worth nothing.
    """

    def after_request(self, response: Response | None) -> Response:
        if response is not None and (request.method not in ("GET", "HEAD") or request.endpoint == "static"):
            return response
        return super().after_request(response)


def init_app(app: Flask) -> None:
    app.config.from_mapping(_SETTINGS)
    _GetOnlyCompress(app)
