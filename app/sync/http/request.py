"""One request and its answer: redirects, time, size and decompression within bounds, failures as errors.

Errors are made from statuses and our own words, never from a request or a provider's text.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache

import httpx

from app.providers.error_mapping import classify_error, is_login_url
from app.sync.http import errors
from app.sync.http.client import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, TOTAL_TIMEOUT_S
from app.sync.http.decompression import DECOMPRESSION_ERRORS, DECOMPRESSORS, Decompressor
from app.sync.http.retry import DEFAULT_RETRY, Deadline
from app.sync.http.transport import explain, find_scheme_error

MAX_BYTES = 32 * 1024 * 1024
"""Of all pages together, after decompression."""
_MAX_REDIRECTS = 3
_MAX_ERROR_BYTES = 64 * 1024
_MAX_RETRY_AFTER_S = 86_400.0
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Another attempt within the run may help; 529 is Anthropic's "overloaded"."""


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


NO_VALIDATORS = Validators()


@dataclass(frozen=True, slots=True)
class HttpDocument:
    """A body with its validators."""

    body: bytes | None
    """None: not modified since these validators."""
    etag: str = ""
    last_modified: str = ""
    next_link: str = ""
    """URL of the next page, from the `Link` header."""


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


def get_document(client: httpx.Client, url: str, etag: str = "", last_modified: str = "") -> HttpDocument:
    """Fetch a public file, without a key. Raises SyncError.

    etag, last_modified: of the stored copy; the body is None if it has not changed since.
    """
    known = Validators(etag, last_modified)
    return get_signed(client, url, {}, known.headers, DEFAULT_RETRY.deadline(TOTAL_TIMEOUT_S), MAX_BYTES, known)


def get_signed(
    client: httpx.Client,
    url: str,
    params: Mapping[str, str],
    sign: Callable[[], Mapping[str, str]],
    deadline: Deadline,
    budget: int,
    known: Validators,
) -> HttpDocument:
    """Fetch one document. Raises SyncError.

    sign: makes the headers at the last moment, so that no frame of ours holds them."""
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


def _timeout(deadline: Deadline) -> httpx.Timeout:
    remaining_s = deadline.remaining_s
    if remaining_s <= 0:
        raise errors.TimedOut
    return httpx.Timeout(
        min(READ_TIMEOUT_S, remaining_s), connect=min(CONNECT_TIMEOUT_S, remaining_s), pool=remaining_s
    )


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
