"""Which further page an answer announces, in any of the forms that OpenAI-compatible servers use. Pure.

Forms, by the APIs they come from (documentation, 2026-11): `has_more` with `last_id` (OpenAI, Anthropic),
`next_cursor`, `next_page_token` and `nextPageToken` (Google), `next` and `links.next` (Django REST, JSON:API),
`next_page_url` and `last_page` (Laravel), `result_info` (Cloudflare), `offset`/`limit`/`total`, and `Link` headers
(RFC 8288), which the fetcher reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit, urlunsplit

_SECTIONS = (
    "data",
    "result",
    "result_info",
    "pagination",
    "meta",
    "page_info",
    "pageInfo",
    "paging",
    "page",
    "links",
    "_links",
    "response",
)
"""Objects of an envelope that may tell about pages, at most two levels deep."""
_HAS_MORE = ("has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "is_truncated", "truncated")
_CURSORS = {
    "next_cursor": "cursor",
    "nextCursor": "cursor",
    "next_page_token": "page_token",
    "nextPageToken": "pageToken",
    "next_token": "next_token",
    "nextToken": "nextToken",
    "continuation_token": "continuation_token",
}
"""Field with the next page's cursor → query parameter that takes it."""
_CURSORS_IF_MORE = {"last_id": "after", "end_cursor": "after", "endCursor": "after", "cursor": "cursor"}
"""Fields that name the end of this page, on the last one too: they count only where a flag says that there is more."""
_LINKS = ("next", "next_url", "nextUrl", "next_link", "nextLink", "@odata.nextLink", "next_page_url", "nextPageUrl")
_NEXT_PAGE = ("next_page", "nextPage")
_PAGE = ("page", "current_page", "currentPage", "page_number", "pageNumber")
_PAGE_COUNT = ("total_pages", "totalPages", "last_page", "lastPage", "page_count", "pageCount", "num_pages", "pages")
_PER_PAGE = ("per_page", "perPage", "page_size", "pageSize")
_TOTAL = ("total", "total_count", "totalCount", "total_items", "totalItems", "total_results", "totalResults")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class FurtherPage:
    """A page that an answer announces. Where neither field is set, the answer does not say where the page is."""

    link: str = ""
    """Its URL as the answer gives it: absolute, or relative to the request's."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Query parameters to add to the request that got the answer."""
    is_counted: bool = False
    """Whether only a total says that there is more, so that the page is not needed once that many entries came."""


def find_further_page(answer: Any, entry_count: int, last_id: str) -> FurtherPage | None:
    """The further page that a decoded answer announces; None if it announces none.

    entry_count: entries on this page. last_id: the last id on it, the cursor where a server announces more without
    naming one; empty if unknown.
    """
    sections = list(_sections(answer))
    flags = [section[name] for section in sections for name in _HAS_MORE if isinstance(section.get(name), bool)]
    if flags and not any(flags):
        return None
    has_more = any(flags)
    for section in sections:
        if page := _find_in_section(section, entry_count, has_more=has_more):
            return page
    total = find_total(answer)
    is_counted = total is not None and total > entry_count > 0 and not _has_position(sections)
    if has_more or is_counted:
        return FurtherPage(params={"after": last_id} if last_id else {}, is_counted=not has_more)
    return None


def find_total(answer: Any) -> int | None:
    """How many entries the whole list has, as the answer states it; None if it does not."""
    totals = [number for section in _sections(answer) if (number := _first_number(section, _TOTAL)) is not None]
    return max(totals, default=None)


def resolve_link(request_url: str, link: str) -> tuple[str, dict[str, str]] | None:
    """Address and query of the page at `link`; None unless it is on the host and port of `request_url`.

    The scheme stays that of `request_url`: a server behind a TLS proxy writes `http` into its links, and the key must
    not follow it there.
    """
    try:
        base, target = urlsplit(request_url), urlsplit(urljoin(request_url, link))
        is_same_host = (base.hostname, _custom_port(base)) == (target.hostname, _custom_port(target))
    except ValueError:
        return None
    if not is_same_host or target.username or target.password or target.scheme not in _DEFAULT_PORTS:
        return None
    address = urlunsplit((base.scheme, base.netloc, target.path, "", ""))
    return address, dict(parse_qsl(target.query, keep_blank_values=True))


def _custom_port(parts: SplitResult) -> int | None:
    """The port, None for the default one of the URL's scheme."""
    return None if parts.port == _DEFAULT_PORTS.get(parts.scheme) else parts.port


def _sections(answer: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    if not isinstance(answer, dict):
        return
    yield answer
    if depth < 2:
        for name in _SECTIONS:
            yield from _sections(answer.get(name), depth + 1)


def _find_in_section(section: Mapping[str, Any], entry_count: int, *, has_more: bool) -> FurtherPage | None:
    for name in _LINKS:
        value = section.get(name)
        if isinstance(value, dict):
            value = value.get("href") or value.get("url")
        if page := _read_link(value):
            return page
    for name, parameter in (_CURSORS | _CURSORS_IF_MORE if has_more else _CURSORS).items():
        if cursor := _cursor(section.get(name)):
            return FurtherPage(params={parameter: cursor})
    for name in _NEXT_PAGE:
        if page := _read_link(section.get(name), parameter="page"):
            return page
    return _count_pages(section, entry_count, has_more=has_more)


def _read_link(value: Any, parameter: str = "cursor") -> FurtherPage | None:
    """value: a URL, its path or query, or a cursor."""
    if isinstance(value, str) and (value.startswith(("http://", "https://", "/", "?"))):
        return FurtherPage(link=value)
    cursor = _cursor(value)
    return FurtherPage(params={parameter: cursor}) if cursor else None


def _count_pages(section: Mapping[str, Any], entry_count: int, *, has_more: bool) -> FurtherPage | None:
    total, page, offset = (_first_number(section, names) for names in (_TOTAL, _PAGE, ("offset",)))
    if page is not None:
        last, size = _first_number(section, _PAGE_COUNT), _first_number(section, _PER_PAGE) or entry_count
        if has_more or (last is not None and page < last):
            return FurtherPage(params={"page": str(page + 1)})
        if last is None and total is not None and entry_count and page * size < total:
            return FurtherPage(params={"page": str(page + 1)}, is_counted=True)
    if offset is not None and entry_count and (has_more or (total is not None and offset + entry_count < total)):
        limit = _first_number(section, ("limit",))
        return FurtherPage(params={"offset": str(offset + entry_count), **({"limit": str(limit)} if limit else {})})
    return None


def _has_position(sections: list[Mapping[str, Any]]) -> bool:
    """Whether an answer states which page it is, so that a total beyond its own entries announces nothing."""
    return any(_first_number(section, (*_PAGE, "offset")) is not None for section in sections)


def _cursor(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value > 0 else ""  # 0 ends a scan
    return value.strip() if isinstance(value, str) else ""


def _first_number(section: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = section.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
