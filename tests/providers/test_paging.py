"""Announcements of further pages, in the forms that OpenAI-compatible servers use (their documentation, 2026-11)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers.paging import FurtherPage, find_further_page, find_total, resolve_link

TWO = [{"id": "a"}, {"id": "b"}]


def find(**envelope: Any) -> FurtherPage | None:
    return find_further_page({"object": "list", "data": TWO, **envelope}, 2, "b")


@pytest.mark.parametrize(
    ("envelope", "params"),
    [
        ({"has_more": True, "last_id": "b"}, {"after": "b"}),
        ({"has_more": True, "last_id": None}, {"after": "b"}),
        ({"has_more": True}, {"after": "b"}),
        ({"hasMore": True, "nextCursor": "c2"}, {"cursor": "c2"}),
        ({"has_more": True, "next_cursor": None, "last_id": "z"}, {"after": "z"}),
        ({"next_cursor": "c2"}, {"cursor": "c2"}),
        ({"next_page_token": "t2"}, {"page_token": "t2"}),
        ({"nextPageToken": "t2"}, {"pageToken": "t2"}),
        ({"next": "c2"}, {"cursor": "c2"}),
        ({"next_page": 2}, {"page": "2"}),
        ({"pagination": {"next_cursor": "c2"}}, {"cursor": "c2"}),
        ({"meta": {"pagination": {"page": 1, "total_pages": 2}}}, {"page": "2"}),
        ({"page_info": {"has_next_page": True, "end_cursor": "e"}}, {"after": "e"}),
        ({"result_info": {"page": 1, "per_page": 2, "total_pages": 2, "total_count": 3}}, {"page": "2"}),
        ({"result_info": {"page": 1, "per_page": 2, "total_count": 3}}, {"page": "2"}),
        ({"page": 1, "page_size": 2, "total": 4}, {"page": "2"}),
        ({"current_page": 1, "last_page": 3}, {"page": "2"}),
        ({"offset": 0, "limit": 2, "total": 5}, {"offset": "2", "limit": "2"}),
        ({"total": 40}, {"after": "b"}),
        ({"total_count": "40"}, {"after": "b"}),
    ],
)
def test_an_announced_page_is_asked_for_by_its_parameters(envelope: dict[str, Any], params: dict[str, str]) -> None:
    page = find(**envelope)
    assert page and not page.link
    assert dict(page.params) == params


@pytest.mark.parametrize(
    "envelope",
    [
        {"next": "https://host/v1/models?page=2"},
        {"next": "?page=2"},
        {"next_page_url": "/v1/models?page=2"},
        {"links": {"next": "/v1/models?page=2"}},
        {"_links": {"next": {"href": "/v1/models?page=2"}}},
        {"paging": {"next": "/v1/models?page=2"}},
    ],
)
def test_an_announced_page_is_asked_for_at_its_link(envelope: dict[str, Any]) -> None:
    page = find(**envelope)
    assert page and page.link.endswith("?page=2")


@pytest.mark.parametrize(
    "envelope",
    [
        {},
        {"has_more": False, "first_id": "a", "last_id": "b"},
        {"has_more": False, "next_cursor": "stale"},
        {"next": None, "next_cursor": "", "next_page_token": None, "next_page": 0},
        {"links": {"next": None}, "total_count": 2},
        {"total": 1},
        {"total": True},
        {"result_info": {"page": 2, "per_page": 2, "total_pages": 2, "total_count": 4}},
        {"offset": 2, "limit": 2, "total": 4},
        {"pages": 9},
    ],
)
def test_a_last_page_announces_none(envelope: dict[str, Any]) -> None:
    assert find(**envelope) is None


@pytest.mark.parametrize("answer", [[], [{"next": "x"}], None, 7, "text", {"data": {"list": TWO}}])
def test_answers_without_an_envelope_announce_none(answer: Any) -> None:
    assert find_further_page(answer, 2, "b") is None
    assert find_total(answer) is None


def test_more_after_an_empty_page_is_announced_without_saying_where() -> None:
    assert find_further_page({"data": [], "has_more": True}, 0, "") == FurtherPage()


REQUEST = "https://host.example/base/v1/models"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("?after=b", (REQUEST, {"after": "b"})),
        ("/v2/models?x=", ("https://host.example/v2/models", {"x": ""})),
        ("https://host.example/v1/models?page=2#top", ("https://host.example/v1/models", {"page": "2"})),
        ("https://HOST.example:443/v1/models", ("https://host.example/v1/models", {})),
        ("http://host.example/v1/models", ("https://host.example/v1/models", {})),  # behind a TLS proxy
        ("https://other.example/v1/models", None),
        ("//other.example/v1/models", None),
        ("https://host.example:8443/v1/models", None),
        ("https://host.example.evil/v1", None),
        ("https://user:password@host.example/v1/models", None),
        ("ftp://host.example/v1/models", None),
        ("https://[broken/v1", None),
    ],
)
def test_only_a_link_to_the_same_host_is_followed(link: str, target: tuple[str, dict[str, str]] | None) -> None:
    assert resolve_link(REQUEST, link) == target


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["next", "links", "data", "meta", "total", "page", "has_more", "offset", "last_id", "href"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.text(max_size=12))
def test_nothing_that_a_server_sends_breaks_the_search(answer: Any, link: str) -> None:
    page = find_further_page(answer, 2, "b")
    assert page is None or isinstance(page.params, dict)
    resolved = resolve_link(REQUEST, page.link if page and page.link else link)
    assert resolved is None or resolved[0].startswith("https://host.example/")
