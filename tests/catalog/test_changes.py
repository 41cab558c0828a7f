"""Where two listings differ, for the person whose key gave them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog.changes import (
    COMPARED_FIELDS,
    Change,
    FieldChange,
    compare,
    detect_renames,
    has_shrunk_suspiciously,
    merge_partial,
)
from app.catalog.humanize import describe_change
from app.catalog.listing import ListedModel, Listing, build_listing


def chat(model_id: str, **facts: Any) -> ListedModel:
    return ListedModel(id=model_id, name=f"Name of {model_id}", **facts)


def listed(*models: ListedModel | str) -> Listing:
    return build_listing("openai", [chat(model) if isinstance(model, str) else model for model in models])


def told(changes: tuple[Change, ...]) -> list[tuple[str, str]]:
    return [(change.kind, change.model_id) for change in changes]


def test_on_a_first_sync_only_uncatalogued_chat_models_are_new() -> None:
    after = listed("known", "unknown", ListedModel(id="unknown-embedding", kind="embedding"))
    changes = compare(None, after, uncatalogued={"unknown", "unknown-embedding"})
    assert changes == (Change("new", "unknown", "Name of unknown"),)


def test_afterwards_a_chat_model_that_was_not_listed_is_new_catalogued_or_not() -> None:
    assert told(compare(listed("a"), listed("a", "b"))) == [("new", "b")]


def test_a_model_that_this_key_lost_once_is_relisted() -> None:
    assert told(compare(listed("a"), listed("a", "b", "c"), listed_earlier={"b"})) == [("new", "c"), ("relisted", "b")]


def test_a_model_that_is_missing_is_unlisted() -> None:
    assert compare(listed("a", "b"), listed("a")) == (Change("unlisted", "b", "Name of b"),)


def test_changes_come_in_their_order_each_by_id() -> None:
    before = listed("gone-2", "gone-1", chat("kept-2", tools=True), chat("kept-1", tools=True))
    after = listed("new-2", "new-1", "back-2", "back-1", "kept-2", "kept-1")
    assert told(compare(before, after, listed_earlier={"back-1", "back-2"})) == [
        ("new", "new-1"),
        ("new", "new-2"),
        ("relisted", "back-1"),
        ("relisted", "back-2"),
        ("changed", "kept-1"),
        ("changed", "kept-2"),
        ("unlisted", "gone-1"),
        ("unlisted", "gone-2"),
    ]


FIELD_CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], Any, Any]] = [
    ("context_length", {"context_length": 128_000}, {"context_length": 200_000}, 128_000, 200_000),
    ("max_output_tokens", {}, {"max_output_tokens": 4_096}, None, 4_096),
    ("modality", {}, {"input_modalities": ("text",), "output_modalities": ("text",)}, "", "text->text"),
    *((name, {name: True}, {name: False}, True, False) for name in ("streaming", "tools", "vision", "reasoning")),
    ("structured_output", {}, {"structured_output": True}, None, True),
    *(
        (f"{name}_per_million", {f"{name}_per_million": Decimal("0.15")}, {}, "0.15", None)
        for name in ("input", "output", "cache_read", "cache_write")
    ),
    *(
        (name, {}, {name: datetime(2026, 12, 31, tzinfo=UTC)}, None, "2026-12-31T00:00:00+00:00")
        for name in ("deprecated_at", "retires_at")
    ),
    ("kind", {"kind": "chat"}, {"kind": "image"}, "chat", "image"),
    ("kind", {"kind": "other"}, {"kind": "chat"}, "other", "chat"),
]


@pytest.mark.parametrize(("field", "was", "now", "before", "after"), FIELD_CHANGES)
def test_a_changed_field_is_told_with_both_values(
    field: str, was: dict[str, Any], now: dict[str, Any], before: Any, after: Any
) -> None:
    (change,) = compare(listed(chat("m", **was)), listed(chat("m", **now)))
    assert change == Change("changed", "m", "Name of m", (FieldChange(field, before, after),))


def test_every_compared_field_but_the_name_is_tried_above() -> None:
    assert {field for field, *_ in FIELD_CHANGES} == set(COMPARED_FIELDS) - {"name"}


def test_a_new_name_is_told_under_the_new_name() -> None:
    before, after = listed(ListedModel(id="m", name="Old")), listed(ListedModel(id="m", name="New"))
    assert compare(before, after) == (Change("changed", "m", "New", (FieldChange("name", "Old", "New"),)),)


@pytest.mark.parametrize(
    "facts",
    [
        {"created_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"kind_reason": "other words"},
        {"canonical_slug": "lab/m"},
        {"hugging_face_id": "Lab/m"},
    ],
)
def test_some_facts_are_never_news(facts: dict[str, Any]) -> None:
    assert compare(listed("m"), listed(chat("m", **facts))) == ()


def test_models_that_do_not_chat_are_not_told_of() -> None:
    def other(model_id: str, **facts: Any) -> ListedModel:
        return ListedModel(id=model_id, kind="embedding", **facts)

    before, after = listed(other("gone"), other("kept")), listed(other("kept", context_length=8), other("came"))
    assert compare(before, after) == ()


def test_a_partial_answer_laid_over_the_last_list_takes_nothing_away() -> None:
    before = listed("a", chat("b", tools=True), "d")
    merged = merge_partial(before, listed("b", "c"))
    assert merged == listed("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("before", "after", "suspicious"),
    [
        (None, 0, True),
        (None, 1, False),
        (0, 0, True),
        (0, 5, False),
        (1, 0, True),
        (1, 1, False),
        (10, 5, False),
        (10, 4, True),
        (11, 6, False),
        (11, 5, True),
        (4, 100, False),
    ],
)
def test_less_than_half_or_nothing_is_suspicious(before: int | None, after: int, suspicious: bool) -> None:
    def of(count: int) -> Listing:
        return listed(*(f"m{number}" for number in range(count)))

    assert has_shrunk_suspiciously(None if before is None else of(before), of(after)) is suspicious


_models = st.builds(
    ListedModel,
    id=st.sampled_from("abcdefgh"),
    name=st.sampled_from(["", "A name"]),
    kind=st.sampled_from(["chat", "chat", "image"]),
    context_length=st.none() | st.integers(1, 3),
    tools=st.none() | st.booleans(),
    input_per_million=st.none() | st.sampled_from([Decimal(0), Decimal("0.15")]),
)
_listings = st.lists(_models, max_size=8, unique_by=lambda model: model.id).map(
    lambda models: build_listing("openai", models)
)
quick = settings(max_examples=150, deadline=None, derandomize=True)


@quick
@given(listing=_listings)
def test_nothing_changed_between_a_listing_and_itself(listing: Listing) -> None:
    assert compare(listing, listing) == ()


@quick
@given(before=_listings, after=_listings)
def test_changes_applied_to_the_list_before_give_the_chat_models_after(before: Listing, after: Listing) -> None:
    changes = compare(before, after)
    shown = {model.id: model for model in before.models}
    arrived = {model.id: model for model in after.models}
    for change in changes:
        if change.kind == "unlisted":
            del shown[change.model_id]
        elif change.kind == "new":
            assert change.model_id not in shown
            shown[change.model_id] = arrived[change.model_id]
        else:
            facts = {field.field: field.after for field in change.fields}
            if price := facts.get("input_per_million"):
                facts["input_per_million"] = Decimal(str(price))
            shown[change.model_id] = msgspec.structs.replace(shown[change.model_id], **facts)
    assert [model for _, model in sorted(shown.items()) if model.kind == "chat"] == after.chat()


@quick
@given(before=_listings, after=_listings)
def test_a_change_back_tells_the_opposite(before: Listing, after: Listing) -> None:
    there, back = compare(before, after), compare(after, before)

    def ids(changes: tuple[Change, ...], kind: str) -> set[str]:
        return {change.model_id for change in changes if change.kind == kind}

    assert ids(there, "new") == ids(back, "unlisted")
    assert ids(there, "changed") == ids(back, "changed")


@quick
@given(before=_listings, partial=_listings)
def test_a_merge_unlists_nothing(before: Listing, partial: Listing) -> None:
    assert not [change for change in compare(before, merge_partial(before, partial)) if change.kind == "unlisted"]


# ------------------------------------------------------------------ renames


def canonical(model: ListedModel) -> str | None:
    """What the catalog would say of ids such as "new-name@a": the model "a"."""
    return model.id.partition("@")[2] or None


def renamed(before: list[str], after: list[str], listed_earlier: frozenset[str] = frozenset()) -> dict[str, str]:
    return detect_renames(_listed(before), _listed(after), canonical, listed_earlier)


def _listed(ids: list[str]) -> Listing:
    return build_listing("acme", [ListedModel(id=model_id) for model_id in ids])


def test_a_model_that_only_changed_its_id_is_a_rename_and_no_removal() -> None:
    before, after = _listed(["old@a", "kept@b"]), _listed(["new@a", "kept@b"])
    moved = detect_renames(before, after, canonical, frozenset())
    assert moved == {"new@a": "old@a"}
    (change,) = compare(before, after, renamed=moved)
    assert (change.kind, change.model_id) == ("changed", "new@a")
    assert [(field.field, field.before, field.after) for field in change.fields] == [("id", "old@a", "new@a")]
    assert describe_change(change) == "renamed old@a → new@a"


def test_a_rename_tells_what_else_changed() -> None:
    before = build_listing("acme", [ListedModel(id="old@a", context_length=8_000)])
    after = build_listing("acme", [ListedModel(id="new@a", context_length=16_000)])
    (change,) = compare(before, after, renamed={"new@a": "old@a"})
    assert [field.field for field in change.fields] == ["id", "context_length"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["old@a"], ["new@b"]),  # another model
        (["old"], ["new"]),  # unknown to the catalog
        (["old@a", "older@a"], ["new@a"]),  # which of the two?
        (["old@a"], ["new@a", "newer@a"]),
        (["old@a"], ["old@a", "new@a"]),  # nothing vanished
        (["old@a", "kept@a"], ["kept@a"]),  # nothing appeared
    ],
)
def test_where_it_is_not_certain_nothing_is_called_a_rename(before: list[str], after: list[str]) -> None:
    assert renamed(before, after) == {}


def test_an_id_that_was_listed_earlier_comes_back_and_is_no_rename() -> None:
    assert renamed(["old@a"], ["new@a"], frozenset({"new@a"})) == {}
