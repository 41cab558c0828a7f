"""What can go wrong at a simulated provider, on demand. Every fault works for every shape.

A fault is a function that answers one exchange. Those that take their time watch `exchange.fault.released`, which
is set when the fault is cleared or replaced and when the simulator stops.
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
from app.demo.shapes import BadQuery, OpenAI, Query, Slice, Trouble, masked

HUGE_BYTES = 40_000_000
BOMB_BYTES = 1_100 * 1_048_576
HOME = "/_home"
"""Paths below it answer as without the prefix: where `redirect_home` leads."""
ELSEWHERE = "/_elsewhere"
"""Where `redirect_elsewhere` leads, under another host name: nobody should ever ask there."""
_CHUNK = 65_536
_JSON = "application/json"


@dataclass(slots=True)
class ActiveFault:
    """A fault as it was set for one provider."""

    name: str
    seconds: float | None = None
    """How long a slow answer takes, how far apart a drip's bytes are, what Retry-After says."""
    times: int | None = None
    """For how many requests more it holds; None until it is cleared."""
    released: threading.Event = field(default_factory=threading.Event)

    def seconds_or(self, default: float) -> float:
        return default if self.seconds is None else self.seconds


@dataclass(slots=True)
class Exchange:
    """One request that was let in, and the means to answer it."""

    handler: BaseHTTPRequestHandler
    shape: OpenAI
    models: Sequence[SimModel]
    path: str
    query: Query
    key: str
    page_size: int | None
    number: int
    """Counts the provider's requests, so that a cursor can be new each time."""
    fault: ActiveFault

    def send(self, status: int, body: bytes, content_type: str = _JSON, **headers: str) -> None:
        """A whole answer; in the names of further headers an underscore stands for a dash."""
        self.begin(status, content_type, {"Content-Length": str(len(body))} | _dashed(headers))
        self.handler.wfile.write(body)

    def begin(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        """Status and headers; without a Content-Length the end of the connection is the end of the body."""
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        if "Content-Length" not in headers:
            self.handler.send_header("Connection", "close")  # http.server notices it and closes
        self.handler.end_headers()

    def send_list(self, models: Sequence[SimModel]) -> None:
        """The page of `models` that was asked for."""
        try:
            page = self.shape.cut(models, self.query, self.page_size)
        except BadQuery as bad:
            self.send(400, encoded({"type": "error", "error": {"type": "invalid_request_error", "message": str(bad)}}))
            return
        self.send_page(page)

    def send_page(self, page: Slice) -> None:
        self.send(200, encoded(self.shape.answer(page)))

    def send_trouble(self, trouble: Trouble, key: str = "", **headers: str) -> None:
        status, body = self.shape.error(trouble, key)
        self.send(status, encoded(body), **headers)

    def whole(self) -> Any:
        """The answer with all models on one page."""
        return self.shape.answer(Slice(self.models))

    def entries(self) -> list[Any]:
        """The array in that answer."""
        body = self.whole()
        found: list[Any] = body[self.shape.array] if self.shape.array else body
        return found

    def send_with(self, entries: object) -> None:
        """That answer with something else in the place of its array."""
        self.send(200, encoded({**self.whole(), self.shape.array: entries} if self.shape.array else entries))

    def stream(self, chunks: Iterator[bytes]) -> None:
        for chunk in chunks:
            if self.fault.released.is_set():
                return
            self.handler.wfile.write(chunk)


def encoded(body: object) -> bytes:
    return json.dumps(body).encode()


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# ------------------------------------------------------------------ slow in one way or another


def slow(exchange: Exchange) -> None:
    """The right answer, late."""
    exchange.fault.released.wait(exchange.fault.seconds_or(8.0))
    exchange.send_list(exchange.models)


def drip(exchange: Exchange) -> None:
    """A good beginning, then one byte every 0.2 s for ever."""
    exchange.begin(200, _JSON, {})
    exchange.handler.wfile.write(b'{"padding":"')
    while not exchange.fault.released.wait(exchange.fault.seconds_or(0.2)):
        exchange.handler.wfile.write(b"a")


def hang(exchange: Exchange) -> None:
    """Nothing at all until released; then the right answer."""
    exchange.fault.released.wait()
    exchange.send_list(exchange.models)


# ------------------------------------------------------------------ answers that are no lists


def html(exchange: Exchange) -> None:
    body = b"<!doctype html><html><head><title>Welcome</title></head><body><p>Please sign in.</p></body></html>"
    exchange.send(200, body, "text/html; charset=utf-8")


def truncated(exchange: Exchange) -> None:
    """JSON that breaks off, although the Content-Length says it is all."""
    body = encoded(exchange.whole())
    exchange.send(200, body[: len(body) * 2 // 3])


def null(exchange: Exchange) -> None:
    exchange.send(200, b"null")


def wrong_types(exchange: Exchange) -> None:
    """The list is an object."""
    exchange.send_with({str(number): entry for number, entry in enumerate(exchange.entries())})


def wrong_entries(exchange: Exchange) -> None:
    """A list of anything but models."""
    exchange.send_with([12345, "text", None, True, [], {}, _bad_entry()])


def one_bad_model(exchange: Exchange) -> None:
    """One entry whose id is a number, between good ones."""
    entries = exchange.entries()
    entries.insert(len(entries) // 2, _bad_entry())
    exchange.send_with(entries)


def duplicates(exchange: Exchange) -> None:
    """The first three models come twice."""
    exchange.send_page(Slice([*exchange.models, *exchange.models[:3]]))


def _bad_entry() -> dict[str, Any]:
    return {"id": 12345, "name": 12345, "created": "yesterday", "pricing": [], "architecture": "x86"}


# ------------------------------------------------------------------ size and compression


def huge(exchange: Exchange) -> None:
    """A right answer, behind 40 MB of blanks."""
    body = encoded(exchange.whole())
    exchange.begin(200, _JSON, {"Content-Length": str(HUGE_BYTES + len(body))})
    exchange.stream(_padded(HUGE_BYTES, body))


def _padded(count: int, body: bytes) -> Iterator[bytes]:
    chunk = b" " * _CHUNK
    for _ in range(count // _CHUNK):
        yield chunk
    yield chunk[: count % _CHUNK] + body


def gzip_answer(exchange: Exchange) -> None:
    """The right answer, compressed."""
    exchange.send(200, gzip.compress(encoded(exchange.whole()), mtime=0), Content_Encoding="gzip")


def conditional(exchange: Exchange) -> None:
    """The right answer with validators, and 304 for who comes with them. Both change when the list does."""
    body = encoded(exchange.whole())
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    if exchange.handler.headers.get("If-None-Match") == etag:
        exchange.begin(304, _JSON, {"Content-Length": "0", "ETag": etag})
    else:
        exchange.send(200, body, ETag=etag, Last_Modified="Thu, 01 Oct 2026 08:00:00 GMT")


def gzip_bomb(exchange: Exchange) -> None:
    """1 MB that unfolds to 1.1 GB, a thousandfold: the most that deflate can do."""
    exchange.begin(200, _JSON, {"Content-Encoding": "gzip"})
    exchange.stream(_bomb())


def _bomb() -> Iterator[bytes]:
    # After a full flush the same block can follow any number of times: made once, sent eleven hundred times.
    press = zlib.compressobj(9, wbits=31)
    yield press.compress(b'{"padding":"') + press.flush(zlib.Z_FULL_FLUSH)
    block = press.compress(b"a" * 1_048_576) + press.flush(zlib.Z_FULL_FLUSH)
    for _ in range(BOMB_BYTES // 1_048_576):
        yield block


# ------------------------------------------------------------------ pages, redirects, connections


def endless_pages(exchange: Exchange) -> None:
    """There is always a next page, under a new cursor. Shapes without pages just answer."""
    exchange.send_page(Slice(exchange.models, f"cursor-{exchange.number}"))


def repeated_cursor(exchange: Exchange) -> None:
    """Half of the list, then the other half with the cursor that led there. Shapes without pages just answer."""
    half = (len(exchange.models) + 1) // 2 if exchange.shape.pages else len(exchange.models)
    is_first = not (exchange.query.get("after_id") or exchange.query.get("pageToken"))
    exchange.send_page(Slice(exchange.models[:half] if is_first else exchange.models[half:], "cursor-again"))


def redirect_elsewhere(exchange: Exchange) -> None:
    """To another host name, where the simulator notes whoever follows."""
    port = exchange.handler.server.server_address[1]  # type: ignore[index,misc]
    exchange.send(302, b"", Location=f"http://localhost:{port}{ELSEWHERE}{exchange.path}")


def redirect_home(exchange: Exchange) -> None:
    """To another path of the same host, which answers."""
    _, _, query = exchange.handler.path.partition("?")
    exchange.send(302, b"", Location=f"{HOME}{exchange.path}" + (f"?{query}" if query else ""))


def reset(exchange: Exchange) -> None:
    """The connection breaks in the middle of the body."""
    body = encoded(exchange.whole())
    exchange.begin(200, _JSON, {"Content-Length": str(len(body))})
    exchange.handler.wfile.write(body[: len(body) // 2])
    exchange.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.handler.close_connection = True


# ------------------------------------------------------------------ refusals


def rate_limited(exchange: Exchange) -> None:
    exchange.send_trouble("rate_limited", Retry_After=str(int(exchange.fault.seconds_or(30))))


def rate_limited_until(exchange: Exchange) -> None:
    """As a rate limit, but Retry-After is a date."""
    moment = time.time() + exchange.fault.seconds_or(30)
    exchange.send_trouble("rate_limited", Retry_After=formatdate(moment, usegmt=True))


def maintenance(exchange: Exchange) -> None:
    body = b"<html><body><h1>503</h1><p>We are down for scheduled maintenance.</p></body></html>"
    exchange.send(503, body, "text/html; charset=utf-8")


def empty(exchange: Exchange) -> None:
    exchange.send_list([])


def shrunk(exchange: Exchange) -> None:
    """A third of the list, as if that were all."""
    exchange.send_list(exchange.models[: len(exchange.models) // 3])


def echo_key(exchange: Exchange) -> None:
    """A refusal that repeats the whole key, to prove that nobody shows it."""
    exchange.send_trouble("bad_key", exchange.key)


def unauthorized(exchange: Exchange) -> None:
    exchange.send_trouble("bad_key", masked(exchange.key))


def _refusing(trouble: Trouble) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.send_trouble(trouble)


FAULTS: dict[str, Callable[[Exchange], None]] = {
    "slow": slow,
    "drip": drip,
    "hang": hang,
    "html": html,
    "truncated": truncated,
    "null": null,
    "wrong_types": wrong_types,
    "wrong_entries": wrong_entries,
    "one_bad_model": one_bad_model,
    "duplicates": duplicates,
    "huge": huge,
    "gzip": gzip_answer,
    "gzip_bomb": gzip_bomb,
    "conditional": conditional,
    "endless_pages": endless_pages,
    "repeated_cursor": repeated_cursor,
    "redirect_elsewhere": redirect_elsewhere,
    "redirect_home": redirect_home,
    "reset": reset,
    "unauthorized": unauthorized,
    "echo_key": echo_key,
    "revoked": _refusing("revoked"),
    "forbidden": _refusing("forbidden"),
    "quota": _refusing("quota"),
    "rate_limited": rate_limited,
    "rate_limited_until": rate_limited_until,
    "error_500": _refusing("error"),
    "unavailable_503": _refusing("unavailable"),
    "maintenance": maintenance,
    "empty": empty,
    "shrunk": shrunk,
}
