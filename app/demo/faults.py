"""Faults of a simulated provider, on demand. Every fault works for every shape.

A fault is a function that answers one exchange. Slow ones wait on `exchange.fault.released`, which is set when the
fault is cleared or replaced and when the simulator stops.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any

from app.demo.listings import SimModel
from app.demo.shapes import ErrorKind, InvalidQuery, OpenAIShape, Query, SimPage, mask_key

HUGE_BYTES = 40_000_000
BOMB_BYTES = 1_100 * 1_048_576
HOME_PATH = "/_home"
"""Prefix of the target of `redirect_home`; paths below it answer as without the prefix."""
FOREIGN_PATH = "/_elsewhere"
"""Target of `redirect_elsewhere`, under another host name; must never be requested."""
_CHUNK = 65_536
_JSON = "application/json"


@dataclass(slots=True)
class ActiveFault:
    """A fault set for one provider."""

    name: str
    seconds: float | None = None
    """Duration of a slow answer, interval between the bytes of a drip, or value of Retry-After."""
    times: int | None = None
    """Remaining number of requests it applies to; None: until it is cleared."""
    released: threading.Event = field(default_factory=threading.Event)

    def seconds_or(self, default: float) -> float:
        return default if self.seconds is None else self.seconds


@dataclass(slots=True)
class Exchange:
    """An authenticated request, and the means to answer it."""

    handler: BaseHTTPRequestHandler
    shape: OpenAIShape
    models: Sequence[SimModel]
    path: str
    query: Query
    key: str
    page_size: int | None
    number: int
    """Running number of the provider's requests, for unique cursors."""
    fault: ActiveFault

    def send(self, status: int, body: bytes, content_type: str = _JSON, **headers: str) -> None:
        """Send a complete response. Underscores in header names become dashes."""
        self.begin(status, content_type, {"Content-Length": str(len(body))} | _header_names(headers))
        self.handler.wfile.write(body)

    def begin(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        """Send status and headers; without a Content-Length the body ends with the connection."""
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        if "Content-Length" not in headers:
            self.handler.send_header("Connection", "close")  # makes http.server close the connection
        self.handler.end_headers()

    def send_list(self, models: Sequence[SimModel]) -> None:
        """Send the requested page of `models`."""
        try:
            page = self.shape.page_of(models, self.query, self.page_size)
        except InvalidQuery as error:
            self.send(
                400, encode_json({"type": "error", "error": {"type": "invalid_request_error", "message": str(error)}})
            )
            return
        self.send_page(page)

    def send_page(self, page: SimPage) -> None:
        self.send(200, encode_json(self.shape.answer(page)))

    def send_error(self, kind: ErrorKind, key: str = "", **headers: str) -> None:
        status, body = self.shape.error(kind, key)
        self.send(status, encode_json(body), **headers)

    def full_body(self) -> Any:
        """The body with all models on one page."""
        return self.shape.answer(SimPage(self.models))

    def entries(self) -> list[Any]:
        """The array of models in that body."""
        body = self.full_body()
        entries: list[Any] = body[self.shape.array] if self.shape.array else body
        return entries

    def send_with(self, entries: object) -> None:
        """Send that body with its array replaced."""
        self.send(200, encode_json({**self.full_body(), self.shape.array: entries} if self.shape.array else entries))

    def stream(self, chunks: Iterator[bytes]) -> None:
        for chunk in chunks:
            if self.fault.released.is_set():
                return
            self.handler.wfile.write(chunk)


Fault = Callable[[Exchange], None]
FAULTS: dict[str, Fault] = {}
"""Name → fault."""


def _fault(answer: Fault) -> Fault:
    FAULTS[answer.__name__] = answer
    return answer


def encode_json(body: object) -> bytes:
    return json.dumps(body).encode()


def _header_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# ------------------------------------------------------------------ slowness


@_fault
def slow(exchange: Exchange) -> None:
    """A correct response, late."""
    exchange.fault.released.wait(exchange.fault.seconds_or(8.0))
    exchange.send_list(exchange.models)


@_fault
def drip(exchange: Exchange) -> None:
    """A correct start, then one byte every 0.2 s without end."""
    exchange.begin(200, _JSON, {})
    exchange.handler.wfile.write(b'{"padding":"')
    while not exchange.fault.released.wait(exchange.fault.seconds_or(0.2)):
        exchange.handler.wfile.write(b"a")


@_fault
def hang(exchange: Exchange) -> None:
    """No response until released, then a correct one."""
    exchange.fault.released.wait()
    exchange.send_list(exchange.models)


# ------------------------------------------------------------------ malformed bodies


@_fault
def html(exchange: Exchange) -> None:
    body = b"<!doctype html><html><head><title>Welcome</title></head><body><p>Please sign in.</p></body></html>"
    exchange.send(200, body, "text/html; charset=utf-8")


@_fault
def truncated(exchange: Exchange) -> None:
    """Truncated JSON with a Content-Length to match."""
    body = encode_json(exchange.full_body())
    exchange.send(200, body[: len(body) * 2 // 3])


@_fault
def null(exchange: Exchange) -> None:
    exchange.send(200, b"null")


@_fault
def wrong_types(exchange: Exchange) -> None:
    """A text in place of the array."""
    exchange.send_with("the models")


@_fault
def wrong_entries(exchange: Exchange) -> None:
    """An array without a single valid model."""
    exchange.send_with([12345, "text", None, True, [], {}, _bad_entry()])


@_fault
def one_bad_model(exchange: Exchange) -> None:
    """One entry with a numeric id among valid ones."""
    entries = exchange.entries()
    entries.insert(len(entries) // 2, _bad_entry())
    exchange.send_with(entries)


@_fault
def duplicates(exchange: Exchange) -> None:
    """The first three models twice."""
    exchange.send_page(SimPage([*exchange.models, *exchange.models[:3]]))


def _bad_entry() -> dict[str, Any]:
    return {"id": 12345, "name": 12345, "created": "yesterday", "pricing": [], "architecture": "x86"}


# ------------------------------------------------------------------ size and compression


@_fault
def huge(exchange: Exchange) -> None:
    """A correct body after 40 MB of spaces."""
    body = encode_json(exchange.full_body())
    exchange.begin(200, _JSON, {"Content-Length": str(HUGE_BYTES + len(body))})
    exchange.stream(_padded(HUGE_BYTES, body))


def _padded(count: int, body: bytes) -> Iterator[bytes]:
    chunk = b" " * _CHUNK
    for _ in range(count // _CHUNK):
        yield chunk
    yield chunk[: count % _CHUNK] + body


def _gzip(exchange: Exchange) -> None:
    """A correct response, compressed."""
    exchange.send(200, gzip.compress(encode_json(exchange.full_body()), mtime=0), Content_Encoding="gzip")


FAULTS["gzip"] = _gzip  # not named after its fault, which would hide the module


@_fault
def conditional(exchange: Exchange) -> None:
    """A correct response with validators that change with the list, and 304 for a matching ETag."""
    body = encode_json(exchange.full_body())
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    if exchange.handler.headers.get("If-None-Match") == etag:
        exchange.begin(304, _JSON, {"Content-Length": "0", "ETag": etag})
    else:
        exchange.send(200, body, ETag=etag, Last_Modified="Thu, 01 Oct 2026 08:00:00 GMT")


@_fault
def gzip_bomb(exchange: Exchange) -> None:
    """1 MB that decompresses to 1.1 GB, about the maximum ratio of deflate."""
    exchange.begin(200, _JSON, {"Content-Encoding": "gzip"})
    exchange.stream(_bomb())


def _bomb() -> Iterator[bytes]:
    # After a full flush the same compressed block can be repeated any number of times.
    compressor = zlib.compressobj(9, wbits=31)
    yield compressor.compress(b'{"padding":"') + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(b"a" * 1_048_576) + compressor.flush(zlib.Z_FULL_FLUSH)
    for _ in range(BOMB_BYTES // 1_048_576):
        yield block


# ------------------------------------------------------------------ pages, redirects, connections


@_fault
def endless_pages(exchange: Exchange) -> None:
    """After the list always another page, empty and under a new cursor. Shapes without pages answer normally."""
    is_first = not (exchange.query.get("after_id") or exchange.query.get("pageToken"))
    has_list = is_first or not exchange.shape.pages
    exchange.send_page(SimPage(exchange.models if has_list else (), f"cursor-{exchange.number}"))


@_fault
def repeated_cursor(exchange: Exchange) -> None:
    """Half of the list, then the other half with the same cursor again. Shapes without pages answer normally."""
    half = (len(exchange.models) + 1) // 2 if exchange.shape.pages else len(exchange.models)
    is_first = not (exchange.query.get("after_id") or exchange.query.get("pageToken"))
    exchange.send_page(SimPage(exchange.models[:half] if is_first else exchange.models[half:], "cursor-again"))


@_fault
def redirect_elsewhere(exchange: Exchange) -> None:
    """Redirect to another host name, where the simulator records any request that follows."""
    port = exchange.handler.server.server_address[1]  # type: ignore[index,misc]
    exchange.send(302, b"", Location=f"http://localhost:{port}{FOREIGN_PATH}{exchange.path}")


@_fault
def redirect_home(exchange: Exchange) -> None:
    """Redirect to another path of the same host, which answers normally."""
    _, _, query = exchange.handler.path.partition("?")
    exchange.send(302, b"", Location=f"{HOME_PATH}{exchange.path}" + (f"?{query}" if query else ""))


@_fault
def reset(exchange: Exchange) -> None:
    """A connection reset in the middle of the body."""
    body = encode_json(exchange.full_body())
    exchange.begin(200, _JSON, {"Content-Length": str(len(body))})
    exchange.handler.wfile.write(body[: len(body) // 2])
    exchange.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.handler.close_connection = True


# ------------------------------------------------------------------ errors and short lists


@_fault
def rate_limited(exchange: Exchange) -> None:
    exchange.send_error("rate_limited", Retry_After=str(int(exchange.fault.seconds_or(30))))


@_fault
def rate_limited_until(exchange: Exchange) -> None:
    """A rate limit with a date in Retry-After."""
    retry_at = time.time() + exchange.fault.seconds_or(30)
    exchange.send_error("rate_limited", Retry_After=formatdate(retry_at, usegmt=True))


@_fault
def maintenance(exchange: Exchange) -> None:
    body = b"<html><body><h1>503</h1><p>We are down for scheduled maintenance.</p></body></html>"
    exchange.send(503, body, "text/html; charset=utf-8")


@_fault
def empty(exchange: Exchange) -> None:
    exchange.send_list([])


@_fault
def shrunk(exchange: Exchange) -> None:
    """A third of the list, presented as complete."""
    exchange.send_list(exchange.models[: len(exchange.models) // 3])


@_fault
def echo_key(exchange: Exchange) -> None:
    """An error that repeats the whole key, to test that it is never shown or logged."""
    exchange.send_error("bad_key", exchange.key)


@_fault
def unauthorized(exchange: Exchange) -> None:
    exchange.send_error("bad_key", mask_key(exchange.key))


def _error_fault(kind: ErrorKind) -> Fault:
    return lambda exchange: exchange.send_error(kind)


_ERRORS: dict[str, ErrorKind] = {
    "revoked": "revoked",
    "forbidden": "forbidden",
    "quota": "quota",
    "error_500": "error",
    "unavailable_503": "unavailable",
}
FAULTS |= {name: _error_fault(kind) for name, kind in _ERRORS.items()}
