"""Fetch one provider's whole list: sign, send, limit time, size and pages, map failures to errors.

The only user of httpx. The key joins the request here, in a header, and nothing that leaves this module holds it:
errors are made from statuses and our own words, never from a request or a provider's text.
"""

from __future__ import annotations

import atexit
import base64
import dataclasses
import hashlib
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx
import msgspec

from app.catalog.listing import ListedModel
from app.clock import utc_now
from app.providers import parsing
from app.providers.addresses import list_addresses
from app.providers.contract import Endpoint, ListScope, Page, Provider, ReadPage, Request, SkippedEntry
from app.providers.error_mapping import classify_error, find_embedded_error, is_login_url
from app.providers.paging import FurtherPage, resolve_link
from app.sync.http import errors
from app.sync.http.decompression import DECOMPRESSION_ERRORS, DECOMPRESSORS, Decompressor
from app.sync.http.key_redaction import redact_page, repeats_key
from app.sync.http.retry import DEFAULT_RETRY, Deadline, RetryPolicy
from app.sync.http.ssrf import Network, SSRFSafeBackend
from app.sync.http.transport import explain, find_scheme_error
from app.vault import ApiKey

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
TOTAL_TIMEOUT_S = 60.0
MAX_BYTES = 32 * 1024 * 1024
"""Of all pages together, after decompression."""
MAX_PAGES = 100
_MAX_REDIRECTS = 3
_MAX_ERROR_BYTES = 64 * 1024
_MAX_RETRY_AFTER_S = 86_400.0
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Another attempt within the run may help; 529 is Anthropic's "overloaded"."""
_MAX_VALIDATOR_LENGTH = 200
_KEY_FRAGMENT_LENGTH = 8
_USER_AGENT = "Modelsync/0.1 (+model list sync)"


@dataclass(frozen=True, slots=True)
class Validators:
    """Validators for a conditional request (RFC 9110, 13.1); empty where the provider sent none."""

    etag: str = ""
    last_modified: str = ""
    digest: str = ""
    """SHA-256 of the body, compared on our side: an equal body is not parsed again."""

    def __bool__(self) -> bool:
        return bool(self.etag or self.last_modified or self.digest)

    def headers(self) -> dict[str, str]:
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True, slots=True)
class Answer:
    """All pages of one provider's list. Ids in `models` are unique."""

    models: list[ListedModel]
    skipped: list[SkippedEntry]
    complete: bool
    """Whether a missing model is gone. False if a page is missing, or if the provider lists only some of its models."""
    pages: int
    caveat: str = ""
    """Why it is not complete, as a sentence; else empty."""
    remarks: Sequence[SkippedEntry] = ()
    """Fields that were dropped from models."""
    whole: bool = True
    """Whether every page was read, so that an id outside the list is new; unreadable entries do not count."""
    validators: Validators = Validators()
    """Of a list on a single page."""
    scope: ListScope = "provider"
    """Whose models it lists: those that the key may use, or all of the provider's."""
    base_url: str = ""
    """Where the list was, if not at the base URL that was asked first."""


class NotModified(Exception):
    """The list did not change since the provider sent the validators; nothing was read."""


Trace = list[tuple[int, int, int, int, str]]
"""Requests in order: start (ms), status (0: no answer), bytes of the body, duration (ms), error code or empty."""
_MAX_TRACED = 200
_Target = tuple[str, tuple[tuple[str, str], ...]]
"""URL and query of one page."""


_tls: ssl.SSLContext | None = None
_tls_lock = threading.Lock()
_clients_lock = threading.Lock()


def new_client(restricted: Sequence[Network] | None = None) -> httpx.Client:
    """A thread-safe client. The CA bundle is loaded once per process: that takes 20 ms, a request 1 ms.

    restricted: for addresses that users chose; it reaches public addresses and these networks only, and ignores the
    environment's proxies.
    """
    global _tls
    with _tls_lock:
        _tls = _tls or _load_authorities()
    # httpx logs every URL at INFO. Ours hold no keys, but this should not depend on it.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=32)
    return httpx.Client(
        verify=_tls,
        transport=None if restricted is None else _SSRFSafeTransport(_tls, limits, restricted),
        trust_env=restricted is None,
        timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=TOTAL_TIMEOUT_S),
        limits=limits,
        follow_redirects=False,
        event_hooks={"response": [_require_https]},
        # One client serves all users: a cookie set for one key must not be sent with another.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": _USER_AGENT, "Accept": "application/json", "Accept-Encoding": ", ".join(DECOMPRESSORS)},
    )


def _load_authorities() -> ssl.SSLContext:
    """Trusts the public authorities, and those in SSL_CERT_FILE and SSL_CERT_DIR besides: both kinds are asked."""
    context = httpx.create_ssl_context(trust_env=False)
    file, folder = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    if file or folder:
        context.load_verify_locations(file, folder)
    return context


_clients: dict[tuple[int, tuple[Network, ...] | None], httpx.Client] = {}


def process_client(restricted: Sequence[Network] | None = None) -> httpx.Client:
    """This process's client, as `new_client` makes it; closed at exit.

    Its connections outlive a job, so the next one to the same provider needs no handshake. A forked process gets its
    own: two that write to one connection would mix their requests, and their keys.
    """
    key = os.getpid(), None if restricted is None else tuple(restricted)
    with _clients_lock:
        if key not in _clients:
            _clients[key] = new_client(restricted)
            atexit.register(_clients[key].close)
        return _clients[key]


class _SSRFSafeTransport(httpx.HTTPTransport):
    """httpx's own transport over a pool that connects through `SSRFSafeBackend`."""

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
    """Status and body of a small POST, for token exchanges. Raises SyncError."""
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
    total_timeout_s: float = TOTAL_TIMEOUT_S,
    retry_policy: RetryPolicy = DEFAULT_RETRY,
    known: Validators | None = None,
    trace: Trace | None = None,
    today: date | None = None,
) -> Answer:
    """Fetch every page of `provider`'s list with `key` (None: without one). Raises SyncError or NotModified.

    base_url: instead of the provider's own. total_timeout_s: for all pages, seconds, waits and retries included.
    known: validators of the last answer from the same address to the same key. trace: filled with all requests, also
    if this raises. today: decides which documented models are still served; None is the current date.
    """
    base_url = base_url or provider.base_url
    deadline = retry_policy.deadline(total_timeout_s)
    reader = _ListReader(provider, key, client, base_url, deadline, retry_policy)
    reader.trace = trace if trace is not None else []
    if known and len(provider.endpoints) == 1:
        reader.known = known
    reader, scope = _find_list(reader)
    caveats = reader.caveats()
    if provider.documented and provider.documented.is_current(today or utc_now().date()):
        reader.add([model for model in provider.documented.models if model.id not in reader.models])
        caveats.append(f"Some models are from the documentation, as of {provider.documented.as_of}.")
    if provider.caveat:
        caveats.append(f"This list {provider.caveat}.")
    models = list(reader.models.values())
    if provider.private:
        models = [msgspec.structs.replace(model, private=True) for model in models]
    return Answer(
        models=models,
        skipped=reader.skipped,
        complete=not caveats,
        pages=reader.pages,
        caveat=" ".join(caveats),
        remarks=reader.remarks,
        whole=not reader.gap,
        validators=reader.validators if reader.pages == 1 else Validators(),
        scope=scope,
        base_url=reader.base_url if reader.base_url != base_url else "",
    )


def _find_list(reader: _ListReader) -> tuple[_ListReader, ListScope]:
    """A reader that has read the whole list, at the base URL of `reader` or elsewhere on that server, and its scope."""
    provider, base_url = reader.provider, reader.base_url
    tried = list_addresses(provider, base_url)
    first_error: errors.SyncError | None = None
    for address in tried:
        if address != base_url:
            reader = dataclasses.replace(reader, base_url=address, known=Validators(), budget=MAX_BYTES, pages=0)
        try:
            return reader, reader.read_list()
        except errors.UnusableAnswer as error:
            if reader.pages > 1 or not _may_be_elsewhere(error):
                raise
            first_error = first_error or error
    raise _no_list_error(provider, tried, first_error or errors.NoModelList())


def _may_be_elsewhere(error: errors.UnusableAnswer) -> bool:
    """Whether the server does not know this path: it says so, sends something else, or an error with status 200."""
    is_error_in_200 = isinstance(error, errors.RequestRejected) and error.status is None
    return is_error_in_200 or isinstance(error, errors.UnreadableAnswer | errors.NoModelList)


def _no_list_error(provider: Provider, tried: Sequence[str], error: errors.SyncError) -> errors.SyncError:
    """The error of the first address; where a person gave the address, one that names all that were tried."""
    is_page = isinstance(error, errors.UnreadableAnswer) and error.is_page
    if not provider.base_url_example or not (is_page or isinstance(error, errors.NoModelList)):
        return error
    path = provider.build_request(None).path
    urls = " or ".join(dict.fromkeys(provider.url(address, path) for address in tried))
    answer = ", but a web page" if is_page else ""
    return errors.NoModelList(f"There is no model list at {urls}{answer}", status=error.status)


def read_raw(provider: Provider, key: ApiKey | None, client: httpx.Client, base_url: str) -> list[bytes]:
    """The raw bodies of all pages of the first endpoint, for recording. Raises SyncError."""
    bodies: list[bytes] = []

    def keep(body: bytes) -> Page:
        bodies.append(body)
        return provider.read(body)

    deadline = DEFAULT_RETRY.deadline(TOTAL_TIMEOUT_S)
    reader = _ListReader(provider, key, client, base_url, deadline, DEFAULT_RETRY)
    reader.read_first(keep)
    return bodies


class _MissingPages(Exception):
    """The answers announce pages that were not read. The message is why, as a clause."""


@dataclass(slots=True)
class _PagesRead:
    """What was read of one endpoint so far."""

    targets: set[_Target] = field(default_factory=set)
    contents: set[frozenset[str]] = field(default_factory=set)
    """Ids of each page."""
    entry_count: int = 0
    total: int | None = None
    """How many entries there are, as the provider says."""

    @property
    def missing(self) -> bool:
        return self.total is not None and self.entry_count < self.total

    def add_target(self, target: _Target) -> None:
        if target in self.targets:
            raise _MissingPages("the provider announced a page that was read before")
        self.targets.add(target)

    def add(self, page: Page, models: Mapping[str, ListedModel]) -> None:
        """models: of the earlier pages. Raises _MissingPages if the server ignored what asks for the next page."""
        ids = frozenset(model.id for model in page.models)
        if ids and ids in self.contents:
            raise _MissingPages("the provider announced a further page, but sent the same one again")
        self.contents.add(ids)
        self.entry_count += page.entry_count - len(ids & models.keys())
        self.total = page.total if page.total is not None else self.total


@dataclass(slots=True)
class _ListReader:
    """Reads all pages of all endpoints of one provider, within one time limit and one size limit."""

    provider: Provider
    key: ApiKey | None
    client: httpx.Client
    base_url: str
    deadline: Deadline
    retry_policy: RetryPolicy
    known: Validators = Validators()
    validators: Validators = Validators()
    budget: int = MAX_BYTES
    pages: int = 0
    gap: str = ""
    """Why pages are missing, as a clause; empty if all were read."""
    models: dict[str, ListedModel] = field(default_factory=dict)
    skipped: list[SkippedEntry] = field(default_factory=list)
    remarks: list[SkippedEntry] = field(default_factory=list)
    trace: Trace = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def read_list(self) -> ListScope:
        """Read all endpoints; returns whose models the list has."""
        scope = self.read_first(self.provider.read)
        for endpoint in self.provider.extra_endpoints:
            self.read_all(endpoint)
        return scope

    def read_first(self, read: ReadPage) -> ListScope:
        """Read the first endpoint: with a key the narrower list of what it may use, where the server has one."""
        provider = self.provider
        if self.key is None or provider.build_keyed_request is None:
            self.read_all(Endpoint(provider.build_request, read))
            return provider.scope_of(has_key=self.key is not None)
        try:
            self.read_all(Endpoint(provider.build_keyed_request, read))
            return "key"
        except errors.SyncError as error:
            if error.status not in (404, 405) or self.pages > 1:
                raise
        self.pages = 0
        self.read_all(Endpoint(provider.build_request, read))
        return "provider"

    def read_all(self, endpoint: Endpoint) -> None:
        """Read the pages of one endpoint, for as long as answers announce another that can be read."""
        try:
            self.read_pages(endpoint)
        except _MissingPages as missing:
            self.gap = str(missing)

    def read_pages(self, endpoint: Endpoint) -> None:
        target = self.target(endpoint.build_request(None))
        pages = _PagesRead()
        known, further = self.known, None
        while True:
            pages.add_target(target)
            if self.pages >= MAX_PAGES:
                raise _MissingPages(f"it has more than {MAX_PAGES} pages")
            self.pages += 1
            document, page = self.read_page(endpoint, target, known, is_guess=further is not None)
            pages.add(page, self.models)
            self.skipped += page.skipped
            self.remarks += page.remarks
            self.add(page.models)
            if page.next is not None:
                target, further = self.target(endpoint.build_request(page.next)), None
            else:
                further = FurtherPage(link=document.next_link) if document.next_link else page.further
                if further is None or (further.is_counted and not pages.missing):
                    break
                target = self.follow(target, further)
            known = Validators()
        if pages.missing:
            raise _MissingPages(f"the provider says it has {pages.total:,} models, but listed {pages.entry_count:,}")

    def read_page(
        self, endpoint: Endpoint, target: _Target, known: Validators, *, is_guess: bool
    ) -> tuple[HttpDocument, Page]:
        """is_guess: the server may not know the parameters that usually ask for a page that it announced."""
        try:
            document = self.fetch_page(target, known)
            return document, redact_page(_parse_page(endpoint, document.body or b""), self.key)
        except errors.UnusableAnswer:
            if not is_guess:
                raise
        raise _MissingPages("the provider announced a further page, but did not send it")

    def target(self, request: Request) -> _Target:
        return self.provider.url(self.base_url, request.path), tuple(request.params.items())

    def follow(self, target: _Target, further: FurtherPage) -> _Target:
        """Where a further page is. Raises _MissingPages if it cannot be asked for."""
        url, params = target
        if further.link:
            resolved = resolve_link(url, further.link)
            if resolved is None:
                raise _MissingPages("the next page is on another host, where the key was not sent")
            url, params = resolved[0], tuple(resolved[1].items())
        elif further.params:
            params = tuple({**dict(params), **further.params}.items())
        else:
            raise _MissingPages("the provider says there are more, but not where")
        if any(repeats_key(text, self.key) for text in (url, *(value for _, value in params))):
            raise _MissingPages("the address of the next page repeats the key, so it was not asked for")
        return url, params

    def caveats(self) -> list[str]:
        """What the list lacks, in sentences."""
        caveats = [f"Not every page of the list could be read: {self.gap}."] if self.gap else []
        if unreadable := sum(not entry.is_duplicate for entry in self.skipped):
            caveats.append(f"{unreadable:,} {'entry' if unreadable == 1 else 'entries'} could not be read.")
        return caveats

    def fetch_page(self, target: _Target, known: Validators) -> HttpDocument:
        """One page, with its own retries. Raises NotModified."""
        url, params = target

        def sign() -> Mapping[str, str]:
            return {**_headers(self.provider, self.key), **known.headers()}

        def get() -> HttpDocument:
            return _get(self.client, url, dict(params), sign, self.deadline, self.budget, known)

        document = self.retry_policy.retry(lambda: self.trace_request(get), self.deadline)
        if document.body is None:
            raise NotModified
        digest = hashlib.sha256(document.body).hexdigest()
        if digest == known.digest and not document.next_link:
            raise NotModified
        self.budget -= len(document.body)
        self.validators = _storable_validators(document, self.key, digest)
        return document

    def trace_request(self, get: Callable[[], HttpDocument]) -> HttpDocument:
        started, status, size, code = time.monotonic(), 0, 0, ""
        try:
            document = get()
            status, size = (304, 0) if document.body is None else (200, len(document.body))
            return document
        except errors.SyncError as error:
            status, code = error.status or 0, error.code
            raise
        finally:
            if len(self.trace) < _MAX_TRACED:
                ended = time.monotonic()
                start_ms, duration_ms = round((started - self.started) * 1000), round((ended - started) * 1000)
                self.trace.append((start_ms, status, size, duration_ms, code))

    def add(self, models: Iterable[ListedModel]) -> None:
        for model in models:
            first = self.models.setdefault(model.id, model)
            if first is not model:
                same = "" if first == model else ", with other facts; the first is kept"
                self.skipped.append(SkippedEntry(model.id, f"it is listed twice{same}", is_duplicate=True))


def _parse_page(endpoint: Endpoint, body: bytes) -> Page:
    """Raises SyncError: what the provider says in place of a list, with a status of 200, goes before its shape."""
    failure: errors.SyncError | None = None
    try:
        page = endpoint.read(body)
        if page.models or page.skipped:
            return page
    except parsing.InvalidResponse as bad:
        failure = errors.UnreadableAnswer(f"{{provider}} {bad}")
        failure.is_page = isinstance(bad, parsing.WebPage)
    if meaning := find_embedded_error(body):
        raise errors.ERROR_BY_MEANING[meaning]
    if failure:
        raise failure
    return page


def _get(
    client: httpx.Client,
    url: str,
    params: Mapping[str, str],
    sign: Callable[[], Mapping[str, str]],
    deadline: Deadline,
    budget: int,
    known: Validators,
) -> HttpDocument:
    """sign: makes the headers at the last moment, so that no frame of ours holds them."""
    failure: errors.SyncError
    try:
        address = _build_url(url, tuple(params.items()))
        for _hop in range(_MAX_REDIRECTS + 1):
            with client.stream("GET", address, headers=sign(), timeout=_timeout(deadline)) as response:
                if response.has_redirect_location:
                    address = _redirect_target(address, response)
                    continue
                # Most servers answer so if HTTP comes to their TLS port.
                if response.status_code == 400 and address.scheme == "http":
                    wrong_scheme = find_scheme_error(client, address)
                    if wrong_scheme:
                        raise wrong_scheme
                return _read_document(response, deadline, budget, known)
        failure = errors.Redirected("The address redirects in a circle")
    except httpx.TimeoutException:
        failure = errors.TimedOut(retryable=True)
    except (httpx.InvalidURL, UnicodeError):
        failure = errors.Unreachable()
    except (httpx.HTTPError, ssl.SSLError) as broken:
        failure = explain(broken, client, address)
    # Raised outside the `except` blocks: as its context, the original would carry the request and so the key.
    raise failure


@lru_cache(maxsize=256)
def _build_url(url: str, params: tuple[tuple[str, str], ...]) -> httpx.URL:
    """Cached: parsing a URL takes a tenth of the time of a request."""
    return httpx.URL(url, params=params) if params else httpx.URL(url)


def _read_document(response: httpx.Response, deadline: Deadline, budget: int, known: Validators) -> HttpDocument:
    if response.status_code == 304 and known.headers():
        return HttpDocument(None, known.etag, known.last_modified)
    if response.status_code >= 400:
        raise _status_error(response, deadline)
    if response.status_code != 200:
        raise errors.UnreadableAnswer(status=response.status_code)
    body = b"".join(_iter_body(response, deadline, budget))
    return HttpDocument(
        body,
        response.headers.get("etag", ""),
        response.headers.get("last-modified", ""),
        _next_link(response),
    )


def _next_link(response: httpx.Response) -> str:
    """The URL of the next page in a `Link` header (RFC 8288); empty if there is none."""
    return response.links.get("next", {}).get("url", "") if "link" in response.headers else ""


def _storable_validators(document: HttpDocument, key: ApiKey | None, digest: str) -> Validators:
    """The validators that may be stored: they come from outside, and one that repeats part of the key is dropped."""
    if not (document.etag or document.last_modified):
        return Validators(digest=digest)

    def checked(value: str) -> str:
        fits = len(value) <= _MAX_VALIDATOR_LENGTH and value.isascii() and value.isprintable()
        return value if fits and not repeats_key(value, key, _KEY_FRAGMENT_LENGTH) else ""

    return Validators(checked(document.etag), checked(document.last_modified), digest)


def _timeout(deadline: Deadline) -> httpx.Timeout:
    remaining_s = deadline.remaining_s
    if remaining_s <= 0:
        raise errors.TimedOut
    return httpx.Timeout(
        min(READ_TIMEOUT_S, remaining_s), connect=min(CONNECT_TIMEOUT_S, remaining_s), pool=remaining_s
    )


def _headers(provider: Provider, key: ApiKey | None) -> Mapping[str, str]:
    """The headers of a request. A login takes `Authorization`; a key that would be there goes into `X-Api-Key`."""
    if key is None:
        return provider.headers
    if not _is_header_safe(key):
        raise errors.KeyRejected("This key holds characters that no key has")
    signed = dict(provider.sign(key.reveal())) if key.reveal() else {}
    if login := key.reveal_login():
        if signed.pop("Authorization", ""):
            signed["X-Api-Key"] = key.reveal()
        signed["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return {**provider.headers, **signed}


def _is_header_safe(key: ApiKey) -> bool:
    return key.reveal().isascii() and key.reveal().isprintable()


def _require_https(response: httpx.Response) -> None:
    """Raises HttpsRequired for a redirect from http:// to https:// on the same host; the rest of it may be malformed.

    A hook of the client, since httpx itself refuses a malformed `Location` before a caller sees the answer.
    """
    url = response.request.url
    target = re.compile(rf"https://{re.escape(url.host)}(?::(\d*)[^/?#@]*)?(?:[/?#]|$)", re.IGNORECASE)
    redirect = target.match(response.headers.get("location", "")) if response.has_redirect_location else None
    if url.scheme == "http" and redirect:
        required = errors.HttpsRequired(f"{url.host} redirects http:// to https://")
        port = f":{redirect[1]}" if redirect[1] else ""
        required.action = f"{errors.KEPT}Write https://{url.host}{port} in the address."
        raise required


def _redirect_target(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    # As httpx parsed it: a check that parses the header differently could be bypassed.
    target = response.next_request.url if response.next_request else None
    if target is not None and is_login_url(str(target)):
        raise errors.AccessPage(status=response.status_code)
    if target is None or target.userinfo or (target.scheme, target.netloc) != (url.scheme, url.netloc):
        raise errors.Redirected
    return target


def _status_error(response: httpx.Response, deadline: Deadline) -> errors.SyncError:
    try:
        body = b"".join(_take_bytes(_iter_body(response, deadline, MAX_BYTES), _MAX_ERROR_BYTES))
    except errors.UnreadableAnswer:
        body = b""  # the status is enough
    status = response.status_code
    kind = errors.ERROR_BY_MEANING[classify_error(status, body, response.headers)]
    return kind(
        status=status,
        retry_after_s=_parse_retry_after(response.headers.get("retry-after")),
        retryable=kind.is_transient and status in _RETRYABLE_STATUSES,
    )


def _take_bytes(chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        max_bytes -= len(chunk)
        if max_bytes <= 0:
            return


def _iter_body(response: httpx.Response, deadline: Deadline, budget: int) -> Iterator[bytes]:
    """Decompressed chunks, `budget` bytes at most: a decompression bomb stops there. Raises TooLarge, TimedOut."""
    decompressor = _decompressor_for(response)
    remaining = budget
    for raw in response.iter_raw():
        if deadline.remaining_s < 0:
            raise errors.TimedOut
        chunk = _decompress(decompressor, raw, remaining) if decompressor else raw
        remaining -= len(chunk)
        if remaining < 0:
            raise errors.TooLarge
        yield chunk
        if decompressor and decompressor.eof:
            return  # ignore data after the end
    if decompressor:
        raise errors.UnreadableAnswer("{provider} sent a compressed answer that is cut off")


def _decompressor_for(response: httpx.Response) -> Decompressor | None:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return None
    if encoding not in DECOMPRESSORS:
        raise errors.UnreadableAnswer("{provider} used a compression that was not asked for")
    return DECOMPRESSORS[encoding]()


def _decompress(decompressor: Decompressor, raw: bytes, max_bytes: int) -> bytes:
    try:
        return decompressor.decompress(raw, max_bytes + 1)
    except DECOMPRESSION_ERRORS:
        raise errors.UnreadableAnswer("{provider} sent a compressed answer that is damaged") from None


def _parse_retry_after(value: str | None) -> float | None:
    """Seconds, from either form of Retry-After; None if absent or invalid."""
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
"""For modules that only pass a client on."""


@dataclass(frozen=True, slots=True)
class HttpDocument:
    """A body with its validators."""

    body: bytes | None
    """None: not modified since these validators."""
    etag: str = ""
    last_modified: str = ""
    next_link: str = ""
    """URL of the next page, from the `Link` header."""


def get_document(client: httpx.Client, url: str, etag: str = "", last_modified: str = "") -> HttpDocument:
    """Fetch a public file, without a key. Raises SyncError.

    etag, last_modified: of the stored copy; the body is None if it has not changed since.
    """
    known = Validators(etag, last_modified)
    return _get(client, url, {}, known.headers, DEFAULT_RETRY.deadline(TOTAL_TIMEOUT_S), MAX_BYTES, known)
