"""Ask one provider for its whole list: sign, send, bound time, size and pages, map failures to errors.

The only user of httpx. The key joins the request here, in a header, and nothing that leaves this module
holds it: errors are made from statuses and our own words, never from a request or a provider's text.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx
import msgspec

from app.catalog.listing import ListedModel
from app.providers import parsing
from app.providers.contract import Endpoint, Page, Provider, Request, SkippedEntry
from app.providers.error_mapping import classify_error
from app.sync.http import errors
from app.sync.http.decompression import DECOMPRESSION_ERRORS, DECOMPRESSORS, Decompressor
from app.sync.http.retry import DEFAULT_RETRY, Deadline, RetryPolicy
from app.sync.http.ssrf import Network, SSRFSafeBackend
from app.vault import ApiKey

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
TOTAL_TIMEOUT_S = 60.0
MAX_BYTES = 32 * 1024 * 1024
"""Of one provider's whole answer, after decompression."""
MAX_PAGES = 100
_MAX_REDIRECTS = 3
_MAX_ERROR_BYTES = 64 * 1024
_MAX_RETRY_AFTER_S = 86_400.0
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Statuses that mean "later", so that another try within the run may help; 529 is Anthropic's "overloaded"."""
_MAX_VALIDATOR_LENGTH = 200
_KEY_FRAGMENT_LENGTH = 8
_USER_AGENT = "Modelsync/0.1 (+model list sync)"


@dataclass(frozen=True, slots=True)
class Validators:
    """What a provider said by which to ask whether its list changed (RFC 9110, 13.1); empty where it said nothing."""

    etag: str = ""
    last_modified: str = ""
    digest: str = ""
    """Of the list's bytes, which need not be read again where they come again; ours, and told to nobody."""

    def __bool__(self) -> bool:
        return bool(self.etag or self.last_modified or self.digest)

    def headers(self) -> dict[str, str]:
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in asked.items() if value}


@dataclass(frozen=True, slots=True)
class Answer:
    """All pages of one provider's list. Each id is in `models` once."""

    models: list[ListedModel]
    skipped: list[SkippedEntry]
    complete: bool
    """Whether every page was read; a page cap or a cursor that repeats leaves it False."""
    pages: int
    caveat: str = ""
    """Why it is not complete, as a sentence; empty if it is."""
    remarks: Sequence[SkippedEntry] = ()
    """What was left out of models that were kept."""
    whole: bool = True
    """Whether every page was read, whatever the provider leaves out of its list."""
    validators: Validators = Validators()
    """Of a list on a single page, where the provider gives them."""


class NotModified(Exception):
    """The list is as it was when the provider gave the validators it was asked with; nothing was read."""


Trace = list[tuple[int, int, int, int, str]]
"""Requests in their order: begun after … ms, status (0: no answer), bytes of the answer, took … ms, what went wrong."""
_MAX_TRACED = 200


_tls: ssl.SSLContext | None = None
_tls_lock = threading.Lock()
_clients_lock = threading.Lock()


def new_client(guarded: Sequence[Network] | None = None) -> httpx.Client:
    """A client for many threads. The CA bundle is loaded once per process: it costs 20 ms, a request 1 ms.

    guarded: for addresses that users chose; it reaches public addresses and these networks only, and no proxy of
    the environment can lead it elsewhere.
    """
    global _tls
    with _tls_lock:
        _tls = _tls or httpx.create_ssl_context()
    # httpx logs every address it asks at INFO; ours are without keys, but a library's log is not ours to vouch for.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=32)
    return httpx.Client(
        verify=_tls,
        transport=None if guarded is None else _SSRFSafeTransport(_tls, limits, guarded),
        trust_env=guarded is None,
        timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=TOTAL_TIMEOUT_S),
        limits=limits,
        follow_redirects=False,
        # One client serves all users: a cookie set for one key must not travel with another.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": _USER_AGENT, "Accept": "application/json", "Accept-Encoding": ", ".join(DECOMPRESSORS)},
    )


_clients: dict[tuple[int, tuple[Network, ...] | None], httpx.Client] = {}


def process_client(guarded: Sequence[Network] | None = None) -> httpx.Client:
    """The one client of this process for these addresses, as `new_client` makes it; nobody closes it.

    Its connections outlive a job, so the next one to the same provider needs no handshake. A forked process gets one of
    its own: two that write to one connection would mix their requests, and their keys.
    """
    name = os.getpid(), None if guarded is None else tuple(guarded)
    with _clients_lock:
        if name not in _clients:
            _clients[name] = new_client(guarded)
            atexit.register(_clients[name].close)
        return _clients[name]


class _SSRFSafeTransport(httpx.HTTPTransport):
    """httpx's own transport over a pool that connects through the guard."""

    def __init__(self, tls: ssl.SSLContext, limits: httpx.Limits, allowed: Sequence[Network]) -> None:
        super().__init__(verify=tls, limits=limits, trust_env=False)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=SSRFSafeBackend(allowed),
        )


def post(client: httpx.Client, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Send a small form and read a small answer, for token exchanges: status and body. Raises SyncError."""
    failure: errors.SyncError
    deadline = DEFAULT_RETRY.deadline(READ_TIMEOUT_S)
    try:
        with client.stream("POST", url, content=body, headers=dict(headers), timeout=_timeout(deadline)) as response:
            return response.status_code, b"".join(_iter_body(response, deadline, _MAX_ERROR_BYTES))
    except httpx.TimeoutException:
        failure = errors.TimedOut()
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError):
        failure = errors.Unreachable()
    raise failure


def fetch(
    provider: Provider,
    key: ApiKey | None,
    client: httpx.Client,
    *,
    base_url: str | None = None,
    in_all_s: float = TOTAL_TIMEOUT_S,
    patience: RetryPolicy = DEFAULT_RETRY,
    known: Validators | None = None,
    trace: Trace | None = None,
) -> Answer:
    """Read every page of `provider`'s list with `key` (None: without one). Raises SyncError or NotModified.

    base_url: takes the place of the provider's own. in_all_s: bound on the whole, in seconds, waits and further tries
    included. known: given with the last answer to this very question; with them it may be confirmed instead of read.
    trace: gets what was asked, whatever comes of it.
    """
    deadline = patience.deadline(in_all_s)
    ask = _ListReader(provider, key, client, base_url or provider.base_url, deadline, patience)
    ask.trace = trace if trace is not None else []
    if known and len(provider.endpoints) == 1:
        ask.known = known
    for endpoint in provider.endpoints:
        ask.read_all(endpoint)
    caveats = [] if ask.complete else ["Not every page of the list could be read."]
    if provider.documented:
        ask.take([model for model in provider.documented.models if model.id not in ask.models])
        caveats.append(f"Some models are from the documentation, as of {provider.documented.as_of}.")
    if provider.caveat:
        caveats.append(f"This list {provider.caveat}.")
    models = list(ask.models.values())
    if provider.private:
        models = [msgspec.structs.replace(model, private=True) for model in models]
    validators = ask.validators if ask.pages == 1 else Validators()
    told = " ".join(caveats)
    return Answer(models, ask.skipped, not caveats, ask.pages, told, ask.remarks, ask.complete, validators)


def read_raw(provider: Provider, key: ApiKey | None, client: httpx.Client, base_url: str) -> list[bytes]:
    """The bodies of all pages of the first endpoint as they came, for saving. Raises SyncError."""
    bodies: list[bytes] = []

    def keep(body: bytes) -> Page:
        bodies.append(body)
        return provider.read(body)

    ask = _ListReader(provider, key, client, base_url, DEFAULT_RETRY.deadline(TOTAL_TIMEOUT_S), DEFAULT_RETRY)
    ask.read_all(Endpoint(provider.ask, keep))
    return bodies


@dataclass(slots=True)
class _ListReader:
    """All pages of all endpoints of one provider, within one bound of time and one of size."""

    provider: Provider
    key: ApiKey | None
    client: httpx.Client
    base_url: str
    deadline: Deadline
    patience: RetryPolicy
    known: Validators = Validators()
    validators: Validators = Validators()
    budget: int = MAX_BYTES
    pages: int = 0
    complete: bool = True
    models: dict[str, ListedModel] = field(default_factory=dict)
    skipped: list[SkippedEntry] = field(default_factory=list)
    remarks: list[SkippedEntry] = field(default_factory=list)
    trace: Trace = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def read_all(self, endpoint: Endpoint) -> None:
        cursor: str | None = None
        asked: set[str | None] = set()
        while cursor not in asked and self.pages < MAX_PAGES:
            asked.add(cursor)
            self.pages += 1
            body = self.body(endpoint.ask(cursor), self.known if cursor is None else Validators())
            self.budget -= len(body)
            page = _parse_page(endpoint, body)
            self.skipped += page.skipped
            self.remarks += page.remarks
            self.take(page.models)
            cursor = page.next
            if cursor is None:
                return
        self.complete = False

    def body(self, request: Request, known: Validators) -> bytes:
        """One page, by as many tries as it takes: a page that fails costs only itself. Raises NotModified."""
        url = self.provider.url(self.base_url, request.path)

        def sign() -> Mapping[str, str]:
            return {**_headers(self.provider, self.key), **known.headers()}

        def get() -> HttpDocument:
            return _get(self.client, url, request.params, sign, self.deadline, self.budget, known)

        got = self.patience.persist(lambda: self.traced(get), self.deadline)
        if got.body is None:
            raise NotModified
        digest = hashlib.sha256(got.body).hexdigest()
        if digest == known.digest:
            raise NotModified
        self.validators = _storable_validators(got, self.key, digest)
        return got.body

    def traced(self, get: Callable[[], HttpDocument]) -> HttpDocument:
        begun, status, size, trouble = time.monotonic(), 0, 0, ""
        try:
            got = get()
            status, size = (304, 0) if got.body is None else (200, len(got.body))
            return got
        except errors.SyncError as error:
            status, trouble = error.status or 0, error.code
            raise
        finally:
            if len(self.trace) < _MAX_TRACED:
                ended = time.monotonic()
                moments = round((begun - self.begun) * 1000), round((ended - begun) * 1000)
                self.trace.append((moments[0], status, size, moments[1], trouble))

    def take(self, found: Iterable[ListedModel]) -> None:
        for model in found:
            kept = self.models.setdefault(model.id, model)
            if kept is not model:
                same = "" if kept == model else ", with other facts; the first is kept"
                self.skipped.append(SkippedEntry(model.id, f"it is listed twice{same}"))


def _parse_page(endpoint: Endpoint, body: bytes) -> Page:
    try:
        return endpoint.read(body)
    except parsing.InvalidResponse as bad:
        raise errors.UnreadableAnswer(f"The provider {bad}") from None


def _get(
    client: httpx.Client,
    url: str,
    params: Mapping[str, str],
    sign: Callable[[], Mapping[str, str]],
    deadline: Deadline,
    budget: int,
    known: Validators,
) -> HttpDocument:
    """sign: gives the headers at the last moment, so that no frame of ours holds them."""
    failure: errors.SyncError
    try:
        address = _build_url(url, tuple(params.items()))
        for _hop in range(_MAX_REDIRECTS + 1):
            with client.stream("GET", address, headers=sign(), timeout=_timeout(deadline)) as response:
                if response.has_redirect_location:
                    address = _redirect_target(address, response)
                    continue
                return _read_document(response, deadline, budget, known)
        failure = errors.Redirected("The address redirects in a circle")
    except httpx.TimeoutException:
        failure = errors.TimedOut(again=True)
    except (httpx.NetworkError, httpx.RemoteProtocolError) as broken:
        failure = errors.Unreachable(again=not _is_certificate_error(broken))
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError):
        failure = errors.Unreachable()
    # Raised out here: inside, the original would hang on it as its context, with the request and so the key.
    raise failure


@lru_cache(maxsize=256)
def _build_url(url: str, params: tuple[tuple[str, str], ...]) -> httpx.URL:
    """Reading an address costs as much as a tenth of asking there, and most are asked again and again."""
    return httpx.URL(url, params=params) if params else httpx.URL(url)


def _read_document(response: httpx.Response, deadline: Deadline, budget: int, known: Validators) -> HttpDocument:
    if response.status_code == 304 and known.headers():
        return HttpDocument(None, known.etag, known.last_modified)
    if response.status_code >= 400:
        raise _status_error(response, deadline)
    if response.status_code != 200:
        raise errors.UnreadableAnswer(status=response.status_code)
    body = b"".join(_iter_body(response, deadline, budget))
    return HttpDocument(body, response.headers.get("etag", ""), response.headers.get("last-modified", ""))


def _is_certificate_error(error: BaseException) -> bool:
    """Whether the connection failed at a certificate, which is the same a second later."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ssl.SSLCertVerificationError):
            return True
        link = link.__cause__
    return False


def _storable_validators(got: HttpDocument, key: ApiKey | None, digest: str) -> Validators:
    """The validators of an answer, as far as they can be stored: they come from outside and may repeat the key."""
    if not (got.etag or got.last_modified):
        return Validators(digest=digest)
    length = len(key.reveal()) if key else 0
    marks = (
        {key.reveal()[at : at + _KEY_FRAGMENT_LENGTH] for at in range(max(1, length - _KEY_FRAGMENT_LENGTH + 1))}
        if key and length
        else set()
    )

    def checked(value: str) -> str:
        fits = len(value) <= _MAX_VALIDATOR_LENGTH and value.isascii() and value.isprintable()
        return value if fits and not any(mark in value for mark in marks) else ""

    return Validators(checked(got.etag), checked(got.last_modified), digest)


def _timeout(deadline: Deadline) -> httpx.Timeout:
    left = deadline.left_s
    if left <= 0:
        raise errors.TimedOut
    return httpx.Timeout(min(READ_TIMEOUT_S, left), connect=min(CONNECT_TIMEOUT_S, left), pool=left)


def _headers(provider: Provider, key: ApiKey | None) -> Mapping[str, str]:
    if key is None:
        return provider.headers
    if not _is_header_safe(key):
        raise errors.KeyRejected("This key holds characters that no key has")
    return {**provider.headers, **provider.sign(key.reveal())}


def _is_header_safe(key: ApiKey) -> bool:
    return key.reveal().isascii() and key.reveal().isprintable()


def _redirect_target(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    # httpx has read the address already: whoever checks it must read it as the one who will ask there.
    target = response.next_request.url if response.next_request else None
    if target is None or target.userinfo or (target.scheme, target.netloc) != (url.scheme, url.netloc):
        raise errors.Redirected
    return target


def _status_error(response: httpx.Response, deadline: Deadline) -> errors.SyncError:
    try:
        body = b"".join(_take_bytes(_iter_body(response, deadline, MAX_BYTES), _MAX_ERROR_BYTES))
    except errors.UnreadableAnswer:
        body = b""  # the status alone tells enough
    status = response.status_code
    kind = errors.ERROR_BY_FAULT[classify_error(status, body)]
    return kind(
        status=status,
        retry_after_s=_parse_retry_after(response.headers.get("retry-after")),
        again=kind.passing and status in _RETRYABLE_STATUSES,
    )


def _take_bytes(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        most -= len(chunk)
        if most <= 0:
            return


def _iter_body(response: httpx.Response, deadline: Deadline, budget: int) -> Iterator[bytes]:
    """Decompress within bounds: a small answer that unfolds to gigabytes stops at the budget."""
    unpacker = _decompressor_for(response)
    left = budget
    for raw in response.iter_raw():
        if deadline.left_s < 0:
            raise errors.TimedOut
        chunk = _decompress(unpacker, raw, left) if unpacker else raw
        left -= len(chunk)
        if left < 0:
            raise errors.TooLarge
        yield chunk
        if unpacker and unpacker.eof:
            return  # what follows the end would only be collected in memory
    if unpacker:
        raise errors.UnreadableAnswer("The provider's compressed answer is cut off")


def _decompressor_for(response: httpx.Response) -> Decompressor | None:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return None
    if encoding not in DECOMPRESSORS:
        raise errors.UnreadableAnswer("The provider used a compression that was not asked for")
    return DECOMPRESSORS[encoding]()


def _decompress(unpacker: Decompressor, raw: bytes, left: int) -> bytes:
    try:
        return unpacker.decompress(raw, left + 1)
    except DECOMPRESSION_ERRORS:
        raise errors.UnreadableAnswer("The provider's compressed answer is damaged") from None


def _parse_retry_after(value: str | None) -> float | None:
    """Seconds, from either form of Retry-After; None when absent or unreadable."""
    if not value:
        return None
    if value.isascii() and value.strip().isdigit():
        return min(float(value), _MAX_RETRY_AFTER_S)
    try:
        wait_s = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait_s), _MAX_RETRY_AFTER_S)


# ------------------------------------------------------------------ public documents


Client = httpx.Client
"""For those who hand a client on and do not ask by it themselves."""


@dataclass(frozen=True, slots=True)
class HttpDocument:
    """A public file, with what to ask by whether it changed."""

    body: bytes | None
    """None: it is as it was when these headers were given."""
    etag: str = ""
    last_modified: str = ""


def get_document(client: httpx.Client, url: str, etag: str = "", last_modified: str = "") -> HttpDocument:
    """Ask for a public file, without any key, unless it is unchanged. Raises SyncError.

    etag, last_modified: as the answer had them that is at hand; empty where there is none.
    """
    known = Validators(etag, last_modified)
    return _get(client, url, {}, known.headers, DEFAULT_RETRY.deadline(TOTAL_TIMEOUT_S), MAX_BYTES, known)
