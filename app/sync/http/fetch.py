"""Fetch one provider's whole list: find it, sign, read every page, say what is missing.

The key joins the request here, in a header, and nothing that leaves this module holds it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import httpx
import msgspec

from app.catalog.listing import ListedModel
from app.clock import utc_now
from app.providers import parsing
from app.providers.addresses import list_addresses
from app.providers.contract import Endpoint, ListScope, Page, Provider, ReadPage, Request, SkippedEntry
from app.providers.error_mapping import find_embedded_error
from app.providers.paging import FurtherPage, resolve_link
from app.sync.http import errors
from app.sync.http.client import TOTAL_TIMEOUT_S
from app.sync.http.key_redaction import redact_page, repeats_key
from app.sync.http.request import MAX_BYTES, NO_VALIDATORS, HttpDocument, Validators, get_signed
from app.sync.http.retry import DEFAULT_RETRY, Deadline, RetryPolicy
from app.vault import ApiKey

MAX_PAGES = 100
_MAX_VALIDATOR_LENGTH = 200
_KEY_FRAGMENT_LENGTH = 8


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
    validators: Validators = NO_VALIDATORS
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
        validators=reader.validators if reader.pages == 1 else NO_VALIDATORS,
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
            reader = dataclasses.replace(reader, base_url=address, known=NO_VALIDATORS, budget=MAX_BYTES, pages=0)
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
    known: Validators = NO_VALIDATORS
    validators: Validators = NO_VALIDATORS
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
            known = NO_VALIDATORS
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
            return get_signed(self.client, url, dict(params), sign, self.deadline, self.budget, known)

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


def _storable_validators(document: HttpDocument, key: ApiKey | None, digest: str) -> Validators:
    """The validators that may be stored: they come from outside, and one that repeats part of the key is dropped."""
    if not (document.etag or document.last_modified):
        return Validators(digest=digest)

    def checked(value: str) -> str:
        fits = len(value) <= _MAX_VALIDATOR_LENGTH and value.isascii() and value.isprintable()
        return value if fits and not repeats_key(value, key, _KEY_FRAGMENT_LENGTH) else ""

    return Validators(checked(document.etag), checked(document.last_modified), digest)


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
