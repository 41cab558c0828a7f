"""Simulated providers: one HTTP server on loopback that plays all of them, each below its own path.

It is strict where the real ones are (the key in its header, versions, page cursors), remembers what it was asked,
and fails on demand in any of the ways of `app.demo.faults`.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import signal
import socket
import socketserver
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from app.demo import catalogs
from app.demo.faults import ELSEWHERE, FAULTS, HOME, ActiveFault, Exchange, encoded
from app.demo.listings import TODAY, SimModel, listing_on, novelties
from app.demo.shapes import PLAIN, SHAPES, OpenAI, masked
from app.providers import PROVIDERS
from app.providers.contract import Provider, join_url

CONTROL = "/_control"
TOKEN_HEADER = "X-Demo-Token"  # noqa: S105  # the name of a header
DEMO_LATENCY_S = {"openai": 0.6, "anthropic": 0.3, "google": 1.5, "groq": 0.1, "openrouter": 0.9}
_REQUESTS_KEPT = 2_000
_MOST_ADDED = 50
_LONGEST_ORDER = 4_096
_KEY_PARAMETERS = frozenset({"key", "api_key", "apikey", "api-key", "access_token", "token"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived. The names of its headers are in lower case."""

    slug: str
    """Whom it was for; empty if nobody is there."""
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Simulator:
    """All providers of `PROVIDERS`, simulated, and beside them the public catalogs.

    page_size: forces pages at most so large. latency_s: before every answer, for all or by slug. token: lets
    another process steer it under `/_control`; without one that path does not exist.

    A key is good if it has at least 8 characters and neither "bad" nor "revoked" in it.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        token: str = "",
        latency_s: float | Mapping[str, float] = 0.0,
        page_size: int | None = None,
        day: int = TODAY,
    ) -> None:
        self.page_size = self._page_size = page_size
        self._token = token
        self._latency_s = latency_s
        self._day = day
        self._lock = threading.Lock()
        self._booths = {slug: _Booth(provider) for slug, provider in PROVIDERS.items()}
        self._seen: deque[Seen] = deque(maxlen=_REQUESTS_KEPT)
        self.catalogs = catalogs.Shelf()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread: threading.Thread | None = None
        self.reset()

    # -------------------------------------------------------------- running

    def start(self) -> Self:
        """Serve from a thread of its own. The port is taken since construction, so nothing is ever refused."""
        self._thread = threading.Thread(target=self._server.serve, name="simulator", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Let go of everything: hanging answers, open connections, the port."""
        self.clear_fault()
        if self._thread:
            self._server.end()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.hang_up()

    def reset(self) -> None:
        """As it was made: lists, latencies, page size; no fault, no request remembered."""
        self.clear_fault()
        self.forget_requests()
        self.catalogs.reset()
        self.show_day(self._day)
        self.page_size = self._page_size
        latency_s = self._latency_s
        for slug, booth in self._booths.items():
            booth.latency_s = latency_s.get(slug, 0.5) if isinstance(latency_s, Mapping) else latency_s

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return _url(self._server.server_address[1])

    @property
    def base_urls(self) -> dict[str, str]:
        """Slug → what takes the place of the provider's own base URL, as in `Settings.base_urls`."""
        return addresses(self._server.server_address[1])

    @property
    def catalog_urls(self) -> dict[str, str]:
        """Public catalog → where it is simulated, as in `Settings.catalog_urls`."""
        return catalogs.addresses(self._server.server_address[1])

    # -------------------------------------------------------------- lists

    def models(self, slug: str) -> tuple[SimModel, ...]:
        return tuple(self._booths[slug].models)

    def set_models(self, slug: str, models: Iterable[SimModel]) -> None:
        with self._lock:
            self._booths[slug].models = list(models)

    def show_day(self, day: int, slug: str | None = None) -> None:
        """Serve the scripted lists of that day, of one provider or of all."""
        for one in [slug] if slug else self._booths:
            self.set_models(one, listing_on(one, day))

    def add_models(self, slug: str, models: Iterable[SimModel | str]) -> None:
        """Put models before the others; a plain id is listed with plain facts."""
        made = [SimModel(model, tools=True) if isinstance(model, str) else model for model in models]
        with self._lock:
            self._booths[slug].models[:0] = made

    def add_new(self, slug: str, count: int) -> list[str]:
        """List `count` chat models that were not there; their ids."""
        made = novelties(slug, self.models(slug), count)
        self.add_models(slug, made)
        return [model.id for model in made]

    def remove(self, slug: str, *model_ids: str) -> None:
        self.set_models(slug, [model for model in self.models(slug) if model.id not in model_ids])

    def reprice(self, slug: str, model_id: str, prompt: str, completion: str) -> None:
        """USD per million tokens."""
        self.change(slug, model_id, prompt=Decimal(prompt), completion=Decimal(completion))

    def change(self, slug: str, model_id: str, **facts: Any) -> None:
        """Give a listed model other facts, by the names of `SimModel`."""
        self.set_models(
            slug, [replace(model, **facts) if model.id == model_id else model for model in self.models(slug)]
        )

    # -------------------------------------------------------------- faults

    def set_fault(self, slug: str, name: str, *, seconds: float | None = None, times: int | None = None) -> None:
        """Make a provider fail in the way of `FAULTS[name]`, for the next `times` requests or until cleared.

        Raises KeyError for a name or a slug that does not exist.
        """
        if name not in FAULTS:
            raise KeyError(name)
        self._replace_fault(slug, ActiveFault(name, seconds, times))

    def clear_fault(self, slug: str | None = None) -> None:
        """Release whoever hangs, and work again: one provider, or all."""
        for one in [slug] if slug else list(self._booths):
            self._replace_fault(one, None)

    def set_latency(self, slug: str, seconds: float) -> None:
        self._booths[slug].latency_s = seconds

    def _replace_fault(self, slug: str, fault: ActiveFault | None) -> None:
        with self._lock:
            before, self._booths[slug].fault = self._booths[slug].fault, fault
            if before:
                before.released.set()

    # -------------------------------------------------------------- what was asked

    def requests(self, slug: str | None = None) -> list[Seen]:
        """The latest requests, oldest first; control requests are not among them."""
        with self._lock:
            return [seen for seen in self._seen if slug in (None, seen.slug)]

    def strays(self) -> list[Seen]:
        """Requests that followed a redirect to another host: there should be none."""
        return [seen for seen in self.requests() if seen.path.startswith(ELSEWHERE)]

    def forget_requests(self) -> None:
        with self._lock:
            self._seen.clear()

    def state(self) -> dict[str, Any]:
        """What `GET /_control` answers."""
        with self._lock:
            return {"providers": {slug: booth.state() for slug, booth in self._booths.items()}}

    # -------------------------------------------------------------- answering

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a GET for a provider: note it, wait its latency, check the key, then list or fail."""
        parts = urlsplit(handler.path)
        path = parts.path.removeprefix(HOME)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        booth = self._booths.get(path.split("/")[1])
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            self._seen.append(Seen(booth.slug if booth else "", handler.command, parts.path, query, headers))
            exchange, works = self._exchange(handler, booth, path, query, is_home=parts.path != path)
        if exchange is None or booth is None:
            _send_error(handler, 404, "There is nothing at this path.")
            return
        time.sleep(booth.latency_s)
        if _is_refused(booth, exchange, handler.headers):
            return
        if works:
            exchange.send_list(exchange.models)
        else:
            FAULTS[exchange.fault.name](exchange)

    def _exchange(
        self, handler: BaseHTTPRequestHandler, booth: _Booth | None, path: str, query: dict[str, str], is_home: bool
    ) -> tuple[Exchange | None, bool]:
        """The exchange with the booth's present list and fault, and whether it goes without the fault."""
        if booth is None or path != booth.path:
            return None, True
        booth.asked += 1
        fault = None if is_home else booth.use_fault()
        key = booth.shape.key_of(handler.headers) or ""  # type: ignore[arg-type]
        exchange = Exchange(
            handler=handler,
            shape=booth.shape,
            models=tuple(model for model in booth.models if model.seen_by in key),
            path=path,
            query=query,
            key=key,
            page_size=self.page_size,
            number=booth.asked,
            fault=fault or ActiveFault(""),
        )
        return exchange, fault is None

    # -------------------------------------------------------------- steering from another process

    def allows(self, token: str | None) -> bool:
        return bool(self._token) and hmac.compare_digest((token or "").encode(), self._token.encode())

    def obey(self, order: object) -> str | None:
        """Do what a control request asks for. A sentence if it cannot be done."""
        slug = order.get("provider") if isinstance(order, dict) else None
        if not isinstance(order, dict) or not isinstance(slug, str) or slug not in self._booths:
            return "Name a provider."
        if "add" in order:
            count = order["add"]
            if type(count) is not int or not 0 < count <= _MOST_ADDED:
                return f"Add between 1 and {_MOST_ADDED} models."
            self.add_new(slug, count)
            return None
        fault = order.get("fault", "")
        if fault is None:
            self.clear_fault(slug)
        elif isinstance(fault, str) and fault in FAULTS:
            self.set_fault(slug, fault)
        else:
            return "Name a fault, or null for none."
        return None


class _Booth:
    """One simulated provider: where it listens, what it lists, what is wrong with it."""

    def __init__(self, provider: Provider) -> None:
        self.slug = provider.slug
        self.path = urlsplit(join_url("http://host" + _base_path(provider), provider.ask(None).path)).path
        self.shape: OpenAI = SHAPES.get(provider.slug, PLAIN)
        self.needs_key = not provider.public
        self.models: list[SimModel] = []
        self.latency_s = 0.0
        self.fault: ActiveFault | None = None
        self.asked = 0

    def use_fault(self) -> ActiveFault | None:
        """The fault for this request; one that was set for a number of requests counts down."""
        fault = self.fault
        if fault is None or fault.times == 0:
            return None
        if fault.times is not None:
            fault.times -= 1
        return fault

    def state(self) -> dict[str, Any]:
        return {
            "fault": self.fault.name if self.fault and self.fault.times != 0 else None,
            "models": len(self.models),
            "requests": self.asked,
        }


def addresses(port: int) -> dict[str, str]:
    """Slug → base URL of the providers that a simulator on this port plays."""
    return {slug: _url(port) + _base_path(provider) for slug, provider in PROVIDERS.items()}


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _base_path(provider: Provider) -> str:
    return f"/{provider.slug}{urlsplit(provider.base_url).path}"


def _is_refused(booth: _Booth, exchange: Exchange, headers: Any) -> bool:
    """Check the headers as the real API would; whether an error was sent."""
    shape, key = exchange.shape, exchange.key
    if _KEY_PARAMETERS & {name.lower() for name in exchange.query}:
        _send_error(exchange.handler, 400, "Keys in the address are not accepted.")
    elif not key and booth.needs_key:
        exchange.send_trouble("missing_key")
    elif "revoked" in key:
        exchange.send_trouble("revoked")
    elif key and ("bad" in key or len(key) < 8):
        exchange.send_trouble("bad_key", masked(key))
    elif complaint := shape.complaint(headers):
        _send_error(exchange.handler, 400, complaint)
    else:
        return False
    return True


def _send_error(handler: BaseHTTPRequestHandler, status: int, message: str) -> None:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    _send_json(handler, status, body)


def _send_json(handler: BaseHTTPRequestHandler, status: int, value: object) -> None:
    body = encoded(value)
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class _Server(ThreadingHTTPServer):
    """Threads that end with the process, many waiting connections, and a way to close those still open."""

    daemon_threads = True
    request_queue_size = 128
    timeout = 1.0  # so often it looks whether it is to end, should nobody come to wake it

    def __init__(self, address: tuple[str, int], simulator: Simulator) -> None:
        self.simulator = simulator
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._is_ending = False
        super().__init__(address, _Handler)

    def serve(self) -> None:
        """Until `end`. `serve_forever` looks up every so often, and whoever shuts it down waits for that."""
        while not self._is_ending:
            self.handle_request()

    def end(self) -> None:
        self._is_ending = True
        with socket.socket() as visitor, contextlib.suppress(OSError):  # the last, who wakes it
            visitor.connect(("127.0.0.1", self.server_address[1]))

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return not self._is_ending

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the name server for the host's name

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake the threads that wait for another request on a kept connection."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: clients that hang up on a hostile answer do right."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Simulator"
    sys_version = ""
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.path.startswith(catalogs.PATH):
            self.server.simulator.catalogs.answer(self, self.path.removeprefix(catalogs.PATH))
        elif self.path != CONTROL:
            self.server.simulator.answer(self)
        elif self._may_steer():
            _send_json(self, 200, self.server.simulator.state())

    def do_POST(self) -> None:
        body = self._body()
        if self.path != CONTROL:
            _send_error(self, 405, "Only GET is served here.")
        elif self._may_steer():
            self._steer(body)

    def _steer(self, body: bytes) -> None:
        try:
            complaint = self.server.simulator.obey(json.loads(body))
        except ValueError:
            complaint = "The order is not valid JSON."
        if complaint:
            _send_error(self, 400, complaint)
        else:
            _send_json(self, 200, self.server.simulator.state())

    def _may_steer(self) -> bool:
        allowed = self.server.simulator.allows(self.headers.get(TOKEN_HEADER))
        if not allowed:
            _send_error(self, 404, "There is nothing at this path.")
        return allowed

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > _LONGEST_ORDER:
            self.close_connection = True
            return b""
        return self.rfile.read(int(length))

    def log_message(self, *_: Any) -> None:
        """Quiet: `Simulator.requests` remembers."""


def serve(port: int, token: str, latency_s: Mapping[str, float] | float = DEMO_LATENCY_S) -> None:
    """Simulate until SIGTERM or SIGINT; for a process of its own. Call it from the main thread.

    Raises OSError if the port is taken.
    """
    # Blocked and waited for, not handled: a handler that sets an Event can interrupt the wait for that very Event
    # while it holds the Event's lock, and then nothing ever goes on.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with Simulator(port, token=token, latency_s=latency_s):
        signal.sigwait(ends)
