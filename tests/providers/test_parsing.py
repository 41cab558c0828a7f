"""The careful readers, at their edges."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.catalog.listing import ListedModel
from app.providers import parsing
from app.providers.contract import SkippedEntry
from app.providers.parsing import InvalidEntry


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (128_000, 128_000),
        (1.0, 1),
        (2**53 - 1, 2**53 - 1),
        (0, None),
        (-1, None),
        (2**53, None),
        (10**400, None),
        (1.5, None),
        (True, None),
        ("128000", 128_000),
        ("0", None),
        ("128k", None),
        ("-5", None),
        ("²", None),
        ("9" * 17, None),
        (None, None),
        ([], None),
        (float("nan"), None),
        (float("inf"), None),
        (float("-inf"), None),
    ],
)
def test_a_whole_number_is_positive_and_no_flag(value: Any, read: int | None) -> None:
    assert parsing.integer({"it": value}, "it") == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (1715367049, datetime(2024, 5, 10, 18, 50, 49, tzinfo=UTC)),
        (1715367049.5, datetime(2024, 5, 10, 18, 50, 49, 500_000, tzinfo=UTC)),
        ("2026-10-23", datetime(2026, 10, 23, tzinfo=UTC)),
        ("2026-02-04T00:00:00Z", datetime(2026, 2, 4, tzinfo=UTC)),
        ("2026-02-04T01:30:00", datetime(2026, 2, 4, 1, 30, tzinfo=UTC)),
        ("2026-02-04T01:30:00+02:00", datetime(2026, 2, 3, 23, 30, tzinfo=UTC)),
        ("9999-12-31", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("1999-12-31", None),
        ("yesterday", None),
        ("", None),
        (0, None),
        (-5, None),
        (True, None),
        (10**30, None),
        (1e300, None),
        (float("nan"), None),
        (float("inf"), None),
        (1715367049000, None),  # milliseconds
        (None, None),
    ],
)
def test_a_moment_is_aware_and_plausible(value: Any, read: datetime | None) -> None:
    found = parsing.timestamp({"it": value}, "it")
    assert found == read
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("0.00000015", "0.15"),
        ("0.000003", "3"),
        ("0.0000012345", "1.2345"),
        ("0", "0"),
        (" 0.000001 ", "1"),
        (0.0000001, "0.1"),
        (0, "0"),
        ("0.1", "100000"),
        ("0.2", "Infinity"),
        ("-1", None),
        (-1, None),
        ("-0.000001", None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
        ("1e400", "Infinity"),
        ("1e-400", "0"),
        ("1" * 61, None),
        (10**70, None),
        (True, None),
        (None, None),
        ({}, None),
        ("free", None),
        ("", None),
    ],
)
def test_a_price_per_token_becomes_an_exact_price_per_million(value: Any, read: str | None) -> None:
    found = parsing.price_per_token({"it": value}, "it")
    assert (None if found is None else str(found)) == read


def test_a_price_per_million_stays_as_it_is() -> None:
    assert parsing.price_per_million({"it": "2.50"}, "it") == Decimal("2.5")
    assert str(parsing.price_per_million({"it": 0.1}, "it")) == "0.1"
    assert str(parsing.price_per_million({"it": 100}, "it")) == "100"


@pytest.mark.parametrize(
    ("noisy", "price"),
    [(0.180000003, "0.18"), ("0.27999999999", "0.28"), ("1.10000", "1.1"), ("0.0000000004", "0"), (123456.7, None)],
)
def test_six_digits_of_a_price_count(noisy: object, price: str | None) -> None:
    found = parsing.price_per_million({"it": noisy}, "it")
    assert str(found) == price if price else found is parsing.IMPLAUSIBLE_PRICE


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (" GPT-4o ", "GPT-4o"),
        ("two\nlines\tand\x00more", "two lines and more"),
        ("right\u202eleft", "right left"),
        ("x" * 3_000, "x" * 2_000),
        (7, ""),
        (None, ""),
        (["a"], ""),
    ],
)
def test_text_is_one_printable_line_of_bounded_length(value: Any, read: str) -> None:
    assert parsing.text({"it": value}, "it") == read


@pytest.mark.parametrize("value", ["", "  ", None, 7, True, [], "x" * 301, "a\x00b", "a\nb", "a\u202eb"])
def test_an_id_that_cannot_be_one_spoils_its_entry(value: Any) -> None:
    with pytest.raises(InvalidEntry) as bad:
        parsing.identifier({"id": value})
    assert "its “id”" in str(bad.value) or "it has no “id”" in str(bad.value)


def test_an_id_of_three_hundred_characters_is_kept() -> None:
    assert parsing.identifier({"id": " " + "x" * 298 + " "}) == "x" * 298


@pytest.mark.parametrize(("value", "read"), [(True, True), (False, False), (1, None), ("true", None), (None, None)])
def test_a_flag_is_a_boolean_or_missing(value: Any, read: bool | None) -> None:
    assert parsing.flag({"it": value}, "it") is read


def test_words_are_short_texts_in_their_order() -> None:
    value = ["text", 7, "", None, "image", "x" * 101, "a\x00", ["audio"]]
    assert parsing.strings({"it": value}, "it") == ("text", "image")
    assert parsing.strings({"it": "text"}, "it") == ()
    assert len(parsing.strings({"it": ["w"] * 1_000}, "it")) == 200


def test_a_section_is_an_object_or_empty() -> None:
    assert parsing.mapping({"it": {"a": 1}}, "it") == {"a": 1}
    assert parsing.mapping({"it": [1]}, "it") == {}
    assert parsing.mapping({}, "it") == {}


def test_an_entry_that_offers_no_model_is_neither_read_nor_skipped() -> None:
    def read(entry: parsing.JsonObject) -> ListedModel:
        if entry["id"] == "*":
            raise parsing.NotAModel("its id is a wildcard")
        return ListedModel(id=parsing.identifier(entry))

    page = parsing.build_page([{"id": "*"}, {"id": "a"}, {"id": ""}], read)
    assert [model.id for model in page.models] == ["a"]
    assert page.ignored == [SkippedEntry("entry 1", "its id is a wildcard")]
    assert page.skipped == [SkippedEntry("entry 3", "it has no “id”")]
