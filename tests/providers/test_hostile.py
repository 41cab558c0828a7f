"""Parsing any provider response raises BadAnswer or nothing, and a bad entry drops only itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers import PROVIDERS
from app.providers.contract import Page
from app.providers.paging import FurtherPage
from app.providers.parsing import InvalidResponse
from tests.providers.shapes import shapes_first
from tests.providers.test_answers import files_of

# Few for each provider: there are many, and all of them read with the same helpers.
quick = settings(max_examples=20, deadline=None, derandomize=True)

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["-1", "1e400", "NaN", "9999-12-31T23:59:59-14:00", "0001-01-01", "models/", "\x00", "²"])
)


def array_of(slug: str, path: Path) -> str:
    """Where an answer file has its models; empty if it is the array itself.

    Found by the first id that is read, which one of the entries has as some value, perhaps behind a prefix.
    """
    answer = json.loads(path.read_bytes())
    if isinstance(answer, list):
        return ""
    first = PROVIDERS[slug].read(path.read_bytes()).models[0].id
    found = [
        key
        for key, entries in sorted(answer.items())
        if isinstance(entries, list)
        for entry in entries
        if isinstance(entry, dict)
        if any(isinstance(value, str) and value.endswith(first) for value in entry.values())
    ]
    assert found, f"no list in {slug}/{path.name} has {first}"
    return found[0]


def entries_of(slug: str, path: Path, answer: Any) -> list[Any]:
    key = array_of(slug, path)
    found: list[Any] = answer[key] if key else answer
    return found


def with_models(slug: str) -> list[Path]:
    return [path for path in files_of(slug) if PROVIDERS[slug].read(path.read_bytes()).models]


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)


@cache
def hostile_json(slug: str) -> st.SearchStrategy[Any]:
    """Any JSON, with many of the names that this provider's answers have."""
    names = {name for path in files_of(slug) for name in _names(json.loads(path.read_bytes()))}
    keys = st.sampled_from(sorted(names | {"data", "models"}))
    return st.recursive(
        _scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=5), inner, max_size=6),
        max_leaves=20,
    )


def read(slug: str, body: bytes) -> Page | None:
    try:
        return PROVIDERS[slug].read(body)
    except InvalidResponse as bad:
        assert str(bad)
        return None


def sound(page: Page | None) -> None:
    """What holds for every page that was read."""
    if page is None:
        return
    for skipped in page.skipped:
        assert isinstance(skipped.reason, str) and skipped.reason
    for model in page.models:
        assert model.id and model.id == model.id.strip()
        assert model.kind_reason
    assert page.next is None or page.next


@shapes_first
@quick
@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(slug: str, body: bytes) -> None:
    sound(read(slug, body))


@shapes_first
@quick
@given(data=st.data())
def test_any_json_is_read_or_refused(slug: str, data: st.DataObject) -> None:
    sound(read(slug, json.dumps(data.draw(hostile_json(slug))).encode()))


@shapes_first
@quick
@given(data=st.data())
def test_any_entries_are_read_or_skipped_and_counted(slug: str, data: st.DataObject) -> None:
    entries = data.draw(st.lists(hostile_json(slug), max_size=5))
    key = array_of(slug, with_models(slug)[0])
    page = read(slug, json.dumps({key: entries} if key else entries).encode())
    assert page is not None
    assert len(page.models) + len(page.skipped) + len(page.ignored) == len(entries)
    sound(page)


@shapes_first
@quick
@given(data=st.data())
def test_a_spoiled_field_costs_at_most_its_own_entry(slug: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(with_models(slug)))
    answer = json.loads(path.read_bytes())
    before = PROVIDERS[slug].read(path.read_bytes())
    entries = entries_of(slug, path, answer)
    number = data.draw(st.sampled_from([n for n, entry in enumerate(entries) if isinstance(entry, dict) and entry]))
    field = data.draw(st.sampled_from(sorted(entries[number])))
    entries[number][field] = data.draw(hostile_json(slug))
    after = read(slug, json.dumps(answer).encode())
    assert after is not None
    sound(after)
    assert len(after.models) + len(after.skipped) + len(after.ignored) == len(entries)
    skipped_before = {int(skipped.entry.split()[1]) - 1 for skipped in before.skipped}
    kept = [index for index in range(len(entries)) if index not in skipped_before]
    others = [model for index, model in zip(kept, before.models, strict=True) if index != number]
    assert all(model in after.models for model in others)


@shapes_first
@quick
@given(data=st.data())
def test_a_cut_answer_is_refused(slug: str, data: st.DataObject) -> None:
    body = files_of(slug)[0].read_bytes().strip()
    with pytest.raises(InvalidResponse):
        PROVIDERS[slug].read(body[: data.draw(st.integers(0, len(body) - 1))])


@shapes_first
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "sent an empty answer"),
        (b" \n", "sent an empty answer"),
        (b"  <!doctype html><html>", "answered with a web page instead of a list of models"),
        (b"[" * 200_000, "sent an answer that is not valid JSON"),
        (b'{"data": [}, "models": [}', "sent an answer that is not valid JSON"),
        (b"\xff\xfe{}", "sent an answer that is not valid JSON"),
    ],
)
def test_a_refusal_is_a_clause_that_says_why(slug: str, body: bytes, said: str) -> None:
    with pytest.raises(InvalidResponse) as bad:
        PROVIDERS[slug].read(body)
    assert str(bad.value) == said


@shapes_first
@pytest.mark.parametrize("value", [None, True, 7, "text", [], {"error": {"message": "sk-not-to-be-shown"}}])
def test_json_without_a_list_is_refused(slug: str, value: Any) -> None:
    if value == [] and not array_of(slug, with_models(slug)[0]):
        assert PROVIDERS[slug].read(b"[]") == Page([])
        return
    with pytest.raises(InvalidResponse) as bad:
        PROVIDERS[slug].read(json.dumps(value).encode())
    assert "sk-not" not in str(bad.value)


@pytest.mark.parametrize("slug", ["anthropic", "alibaba"])
def test_without_a_cursor_the_last_id_asks_for_the_next_page(slug: str) -> None:
    body = {"data": [{"id": "first-1"}, {"id": "last-2"}], "has_more": True, "last_id": None}
    assert PROVIDERS[slug].read(json.dumps(body).encode()).next == "last-2"


@pytest.mark.parametrize("slug", ["anthropic", "alibaba", "openai", "fal"])
def test_more_without_a_cursor_or_an_entry_is_announced_without_an_address(slug: str) -> None:
    page = PROVIDERS[slug].read(json.dumps({"data": [], "models": [], "has_more": True}).encode())
    assert page.next is None
    assert page.further == FurtherPage()


@pytest.mark.parametrize(
    ("model_id", "kind"),
    [
        ("ft:gpt-4o-mini-2024-07-18:acme:embedding-judge:abc", "chat"),
        ("ft:davinci-002:acme::abc", "completion"),
        ("ft:", "chat"),
    ],
)
def test_a_fine_tune_is_its_owners_and_of_its_bases_kind(model_id: str, kind: str) -> None:
    (model,) = PROVIDERS["openai"].read(json.dumps({"data": [{"id": model_id}]}).encode()).models
    assert (model.private, model.kind) == (True, kind)


def test_a_google_name_that_is_only_its_prefix_is_skipped() -> None:
    page = PROVIDERS["google"].read(b'{"models": [{"name": "models/"}, {"name": "models/gemini-x"}]}')
    assert [model.id for model in page.models] == ["gemini-x"]
    assert [skipped.entry for skipped in page.skipped] == ["entry 1"]


def test_one_number_beyond_all_bounds_does_not_condemn_the_answer() -> None:
    body = (
        b'{"data": [{"id": "o3", "created": 1e400}, {"id": "o4-mini", "created": NaN}, {"id": "gpt-5", "created": 1}]}'
    )
    page = PROVIDERS["openai"].read(body)
    assert [model.id for model in page.models] == ["o3", "o4-mini", "gpt-5"]


def test_a_price_beyond_belief_is_left_out_and_told() -> None:
    body = (
        b'{"data": [{"id": "a/one", "pricing": {"prompt": "1000", "completion": "0.000002"}},'
        b' {"id": "a/two", "pricing": {"prompt": "0.000001", "completion": "-1"}}]}'
    )
    page = PROVIDERS["openrouter"].read(body)
    one, two = page.models
    assert (one.input_per_million, one.output_per_million) == (None, Decimal(2))
    assert (two.input_per_million, two.output_per_million) == (Decimal(1), None)
    assert [(remark.entry, "price for input" in remark.reason) for remark in page.remarks] == [("a/one", True)]
    assert page.skipped == []
