"""Simulated providers: one HTTP server on loopback for all of them, each below its own path.

As strict as the real APIs (key header, version header, page cursors); records its requests and fails on demand with
the faults of `app.demo.faults`.
"""

from __future__ import annotations

import hmac
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from app.demo import catalogs
from app.demo.faults import FAULTS, FOREIGN_PATH, HOME_PATH, ActiveFault, Exchange
from app.demo.listings import TODAY, SimModel, invent_models, list_models
from app.demo.server import SimulatorServer, send_error
from app.demo.shapes import PLAIN, SHAPES, OpenAIShape, mask_key
from app.providers import PROVIDERS
from app.providers.contract import Provider, join_url

DEMO_LATENCY_S = {"openai": 0.6, "anthropic": 0.3, "google": 1.5, "groq": 0.1, "openrouter": 0.9}
_MAX_REQUESTS = 2_000
_MAX_ADDED = 50
_KEY_PARAMETERS = frozenset({"key", "api_key", "apikey", "api-key", "access_token", "token"})


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A received request; header names in lower case."""

    slug: str
    """The provider; empty for an unknown path."""
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Simulator:
    """Simulates all of `PROVIDERS` and the public catalogs.

    page_size: maximum size of a page. latency_s: before every response, for all providers or by slug. token: enables
    `/_control`, by which another process controls the simulator.

    A key is valid if it has at least 8 characters and contains neither "bad" nor "revoked".
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
        self._providers = {slug: SimulatedProvider(provider) for slug, provider in PROVIDERS.items()}
        self._requests: deque[RecordedRequest] = deque(maxlen=_MAX_REQUESTS)
        self.catalogs = catalogs.CatalogServer()
        self._server = SimulatorServer(("127.0.0.1", port), self)
        self._thread: threading.Thread | None = None
        self.reset()

    # -------------------------------------------------------------- running

    def start(self) -> Self:
        """Serve in a thread. The port is bound on construction, so connections are never refused."""
        self._thread = threading.Thread(target=self._server.serve, name="simulator", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Release hanging responses, open connections and the port."""
        self.clear_fault()
        if self._thread:
            self._server.end()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.close_connections()

    def reset(self) -> None:
        """Restore the initial lists, latencies and page size; clear faults and recorded requests."""
        self.clear_fault()
        self.clear_requests()
        self.catalogs.reset()
        self.show_day(self._day)
        self.page_size = self._page_size
        latency_s = self._latency_s
        for slug, provider in self._providers.items():
            provider.request_count = 0
            provider.latency_s = latency_s.get(slug, 0.5) if isinstance(latency_s, Mapping) else latency_s

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return _url(self._server.server_address[1])

    @property
    def base_urls(self) -> dict[str, str]:
        """Slug → base URL, for `Settings.base_urls`."""
        return provider_urls(self._server.server_address[1])

    @property
    def catalog_urls(self) -> dict[str, str]:
        """Catalog → URL, for `Settings.catalog_urls`."""
        return catalogs.catalog_urls(self._server.server_address[1])

    # -------------------------------------------------------------- lists

    def models(self, slug: str) -> tuple[SimModel, ...]:
        return tuple(self._providers[slug].models)

    def set_models(self, slug: str, models: Iterable[SimModel]) -> None:
        with self._lock:
            self._providers[slug].models = list(models)

    def show_day(self, day: int, slug: str | None = None) -> None:
        """Serve the scripted lists of a day, of one provider or all."""
        for one in [slug] if slug else self._providers:
            self.set_models(one, list_models(one, day))

    def add_models(self, slug: str, models: Iterable[SimModel | str]) -> None:
        """Prepend models; a plain id gets default facts."""
        added = [SimModel(model, tools=True) if isinstance(model, str) else model for model in models]
        with self._lock:
            self._providers[slug].models[:0] = added

    def add_new(self, slug: str, count: int) -> list[str]:
        """Add `count` new chat models; their ids."""
        added = invent_models(slug, self.models(slug), count)
        self.add_models(slug, added)
        return [model.id for model in added]

    def remove(self, slug: str, *model_ids: str) -> None:
        self.set_models(slug, [model for model in self.models(slug) if model.id not in model_ids])

    def reprice(self, slug: str, model_id: str, prompt: str, completion: str) -> None:
        """USD per million tokens."""
        self.change(slug, model_id, prompt=Decimal(prompt), completion=Decimal(completion))

    def change(self, slug: str, model_id: str, **facts: Any) -> None:
        """Set facts of a listed model, by the field names of `SimModel`."""
        self.set_models(
            slug, [replace(model, **facts) if model.id == model_id else model for model in self.models(slug)]
        )

    # -------------------------------------------------------------- faults

    def set_fault(self, slug: str, name: str, *, seconds: float | None = None, times: int | None = None) -> None:
        """Make a provider fail with `FAULTS[name]`, for the next `times` requests or until cleared.

        Raises KeyError for an unknown name or slug.
        """
        if name not in FAULTS:
            raise KeyError(name)
        self._replace_fault(slug, ActiveFault(name, seconds, times))

    def clear_fault(self, slug: str | None = None) -> None:
        """Clear the fault of one provider or all, and release hanging responses."""
        for one in [slug] if slug else list(self._providers):
            self._replace_fault(one, None)

    def set_latency(self, slug: str, seconds: float) -> None:
        self._providers[slug].latency_s = seconds

    def _replace_fault(self, slug: str, fault: ActiveFault | None) -> None:
        with self._lock:
            before, self._providers[slug].fault = self._providers[slug].fault, fault
            if before:
                before.released.set()

    # -------------------------------------------------------------- recorded requests

    def requests(self, slug: str | None = None) -> list[RecordedRequest]:
        """The latest requests, oldest first, without control requests."""
        with self._lock:
            return [request for request in self._requests if slug in (None, request.slug)]

    def unexpected_requests(self) -> list[RecordedRequest]:
        """Requests that followed a redirect to another host; there must be none."""
        return [request for request in self.requests() if request.path.startswith(FOREIGN_PATH)]

    def clear_requests(self) -> None:
        with self._lock:
            self._requests.clear()

    def state(self) -> dict[str, Any]:
        """The body of `GET /_control`."""
        with self._lock:
            return {"providers": {slug: provider.state() for slug, provider in self._providers.items()}}

    # -------------------------------------------------------------- responses

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a GET for a provider: record it, wait, check the key, then send the list or the fault."""
        parts = urlsplit(handler.path)
        path = parts.path.removeprefix(HOME_PATH)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        provider = self._providers.get(path.split("/")[1])
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            self._requests.append(
                RecordedRequest(provider.slug if provider else "", handler.command, parts.path, query, headers)
            )
            exchange, has_no_fault = self._exchange(handler, provider, path, query, is_home=parts.path != path)
        if exchange is None or provider is None:
            send_error(handler, 404, "There is nothing at this path.")
            return
        time.sleep(provider.latency_s)
        if _reject_request(provider, exchange, handler.headers):
            return
        if has_no_fault:
            exchange.send_list(exchange.models)
        else:
            FAULTS[exchange.fault.name](exchange)

    def _exchange(
        self,
        handler: BaseHTTPRequestHandler,
        provider: SimulatedProvider | None,
        path: str,
        query: dict[str, str],
        is_home: bool,
    ) -> tuple[Exchange | None, bool]:
        """The exchange with the provider's current list and fault, and whether it has no fault."""
        if provider is None or path not in provider.paths:
            return None, True
        provider.request_count += 1
        fault = None if is_home else provider.use_fault()
        key = provider.shape.key_of(handler.headers) or ""  # type: ignore[arg-type]
        exchange = Exchange(
            handler=handler,
            shape=provider.shape,
            models=tuple(model for model in provider.models if model.key_substring in key),
            path=path,
            query=query,
            key=key,
            page_size=self.page_size,
            number=provider.request_count,
            fault=fault or ActiveFault(""),
        )
        return exchange, fault is None

    # -------------------------------------------------------------- control by another process

    def accepts_token(self, token: str | None) -> bool:
        return bool(self._token) and hmac.compare_digest((token or "").encode(), self._token.encode())

    def apply_order(self, order: object) -> str | None:
        """Apply a control request; an error sentence if it is invalid."""
        slug = order.get("provider") if isinstance(order, dict) else None
        if not isinstance(order, dict) or not isinstance(slug, str) or slug not in self._providers:
            return "Name a provider."
        if "add" in order:
            count = order["add"]
            if type(count) is not int or not 0 < count <= _MAX_ADDED:
                return f"Add between 1 and {_MAX_ADDED} models."
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


class SimulatedProvider:
    """One provider's paths, list and fault."""

    def __init__(self, provider: Provider) -> None:
        self.slug = provider.slug
        base = "http://host" + _base_path(provider)
        builders = [build for build in (provider.build_request, provider.build_keyed_request) if build]
        self.paths = {urlsplit(join_url(base, build(None).path)).path for build in builders}
        self.shape: OpenAIShape = SHAPES.get(provider.slug, PLAIN)
        self.needs_key = not provider.public
        self.models: list[SimModel] = []
        self.latency_s = 0.0
        self.fault: ActiveFault | None = None
        self.request_count = 0

    def use_fault(self) -> ActiveFault | None:
        """The fault of this request, if any; counts down one that was set for a number of requests."""
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
            "requests": self.request_count,
        }


def provider_urls(port: int) -> dict[str, str]:
    """Slug → base URL at a simulator on this port."""
    return {slug: _url(port) + _base_path(provider) for slug, provider in PROVIDERS.items()}


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _base_path(provider: Provider) -> str:
    return f"/{provider.slug}{urlsplit(provider.base_url).path}"


def _reject_request(provider: SimulatedProvider, exchange: Exchange, headers: Any) -> bool:
    """Check query and headers as the real API would; whether an error was sent."""
    shape, key = exchange.shape, exchange.key
    if _KEY_PARAMETERS & {name.lower() for name in exchange.query}:
        send_error(exchange.handler, 400, "Keys in the address are not accepted.")
    elif not key and provider.needs_key:
        exchange.send_error("missing_key")
    elif "revoked" in key:
        exchange.send_error("revoked")
    elif key and ("bad" in key or len(key) < 8):
        exchange.send_error("bad_key", mask_key(key))
    elif error := shape.header_error(headers):
        send_error(exchange.handler, 400, error)
    else:
        return False
    return True


def serve(port: int, token: str, latency_s: Mapping[str, float] | float = DEMO_LATENCY_S) -> None:
    """Run a simulator until SIGTERM or SIGINT, in the main thread of a separate process.

    Raises OSError if the port is taken.
    """
    # sigwait, not a handler: a handler that sets an Event may interrupt a wait that holds the Event's lock (deadlock).
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with Simulator(port, token=token, latency_s=latency_s):
        signal.sigwait(ends)
