"""Changes and numbers as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.catalog.changes import COMPARED_FIELDS, Change, Fact, FieldChange
from app.catalog.humanize import (
    NARROW_SPACE,
    describe_change,
    describe_field_change,
    format_number,
    format_price,
    format_tokens,
    headline,
    pluralize,
)


@pytest.mark.parametrize(
    ("field", "before", "after", "said"),
    [
        ("context_length", 128_000, 200_000, "context window 128k → 200k"),
        ("context_length", 131_072, 1_048_576, "context window 131k → 1.05M"),
        ("context_length", None, 8_192, "context window unknown → 8.19k"),
        ("context_length", 8_192, None, "context window 8.19k → unknown"),
        ("context_length", 131_000, 131_072, f"context window 131{NARROW_SPACE}000 → 131{NARROW_SPACE}072"),
        ("context_length", 128_000, 131_072, "context window 128k → 131k"),
        (
            "context_length",
            1_000_000,
            1_048_576,
            "context window 1M → 1.05M",
        ),
        ("max_output_tokens", 4_096, 64_000, "longest answer 4.1k → 64k"),
        ("output_per_million", "10", "8", f"output price $10.00 → $8.00 (−20{NARROW_SPACE}%)"),
        ("input_per_million", "0.15", "0.3", f"input price $0.15 → $0.30 (+100{NARROW_SPACE}%)"),
        ("input_per_million", "0.1", "0.1001", "input price $0.10 → $0.1001"),
        ("input_per_million", "0", "0.3", "input price free → $0.30"),
        ("input_per_million", "0.3", "0", "input price $0.30 → free"),
        ("input_per_million", None, "0.3", "input price unknown → $0.30"),
        ("input_per_million", "0.3", None, "input price $0.30 → unknown"),
        ("cache_read_per_million", "0.0375", "0.075", f"cache read price $0.0375 → $0.075 (+100{NARROW_SPACE}%)"),
        ("input_per_million", "0.0000001", "0.0000002", f"input price 0.0000001 → 0.0000002 (+100{NARROW_SPACE}%)"),
        ("vision", None, True, "vision: yes"),
        ("vision", None, False, "vision: no"),
        ("vision", True, False, "vision yes → no"),
        ("tools", True, None, "tool use yes → unknown"),
        ("structured_output", False, True, "structured output no → yes"),
        ("retires_at", None, "2026-12-31T00:00:00+00:00", "end of service unknown → 2026-12-31"),
        (
            "deprecated_at",
            "2026-06-01T00:00:00+00:00",
            "2026-07-01T00:00:00+00:00",
            "deprecation date 2026-06-01 → 2026-07-01",
        ),
        ("modality", "text->text", "text+image->text", "modalities text->text → text+image->text"),
        ("kind", "other", "chat", "kind other → chat"),
        ("name", "", "GPT-4o", "name unknown → GPT-4o"),
        ("some_new_field", "a", "b", "some new field a → b"),
    ],
)
def test_a_field_change_is_a_sentence(field: str, before: Fact, after: Fact, said: str) -> None:
    assert describe_field_change(FieldChange(field, before, after)) == said


def test_a_changed_model_is_all_its_fields_in_one_sentence() -> None:
    fields = (FieldChange("context_length", 128_000, 200_000), FieldChange("output_per_million", "10", "8"))
    said = describe_change(Change("changed", "m", "M", fields))
    assert said == f"context window 128k → 200k; output price $10.00 → $8.00 (−20{NARROW_SPACE}%)"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("new", "new for this key"),
        ("relisted", "listed again"),
        ("unlisted", "no longer listed for this key"),
    ],
)
def test_other_changes_are_a_clause(kind: str, said: str) -> None:
    assert describe_change(Change(kind, "m", "M")) == said  # type: ignore[arg-type]


@pytest.mark.parametrize("field", COMPARED_FIELDS)
def test_every_compared_field_can_be_told(field: str) -> None:
    assert "_" not in describe_field_change(FieldChange(field, None, None))


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, "unknown"),
        (1, "1"),
        (448, "448"),
        (999, "999"),
        (1_000, "1k"),
        (1_024, "1.02k"),
        (1_500, "1.5k"),
        (8_192, "8.19k"),
        (128_000, "128k"),
        (131_072, "131k"),
        (202_752, "203k"),
        (200_000, "200k"),
        (65_535, "65.5k"),
        (999_499, "999k"),
        (999_999, "1M"),
        (1_000_000, "1M"),
        (1_048_576, "1.05M"),
        (1_500_000, "1.5M"),
        (2_000_000, "2M"),
        (2_097_152, "2.1M"),
        (10_485_760, "10.5M"),
        (1_500_000_000, "1500M"),
    ],
)
def test_tokens_are_short(count: int | None, said: str) -> None:
    assert format_tokens(count) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (None, "unknown"),
        (Decimal(0), "free"),
        ("0.000", "free"),
        ("2.5", "$2.50"),
        (Decimal("2.50"), "$2.50"),
        ("0.0375", "$0.0375"),
        ("1E+2", "$100.00"),
        (Decimal(15), "$15.00"),
        ("0.1234567", "$0.123457"),
    ],
)
def test_money_is_in_dollars(amount: Decimal | str | None, said: str) -> None:
    assert format_price(amount) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (1_000, f"1{NARROW_SPACE}000"), (12_345_678, f"12{NARROW_SPACE}345{NARROW_SPACE}678")],
)
def test_digits_are_grouped_by_a_narrow_space(count: int, said: str) -> None:
    assert format_number(count) == said


@pytest.mark.parametrize(
    ("count", "many", "said"),
    [
        (0, None, "0 models"),
        (1, None, "1 model"),
        (3, None, "3 models"),
        (1, "modelle", "1 model"),
        (2, "modelle", "2 modelle"),
        (1_200, None, f"1{NARROW_SPACE}200 models"),
    ],
)
def test_one_is_singular(count: int, many: str | None, said: str) -> None:
    assert pluralize(count, "model", many) == said


def moved(model_id: str, *fields: tuple[str, Fact, Fact]) -> Change:
    return Change("changed", model_id, model_id, tuple(FieldChange(*field) for field in fields))


NEW = [Change("new", name, name) for name in ("kimi-k2", "qwen3", "glm-5")]
CHEAPER = moved("gpt-4o", ("output_per_million", "10", "8"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (NEW[:1], "Groq added kimi-k2"),
        ([*NEW[:2], CHEAPER], f"Groq added 2 chat models; gpt-4o's output price fell 20{NARROW_SPACE}%"),
        ([CHEAPER], f"Groq: gpt-4o's output price fell 20{NARROW_SPACE}%"),
        ([Change("unlisted", "o3", "")], "Groq no longer lists o3"),
        ([Change("relisted", "o3", "")], "Groq lists o3 again"),
        (
            [*NEW, Change("relisted", "o3", ""), Change("unlisted", "o1", ""), Change("unlisted", "o2", "")],
            "Groq added 3 chat models, lists o3 again and no longer lists 2 chat models",
        ),
        ([CHEAPER, moved("o3", ("input_per_million", "2", "1"))], "Groq: prices of 2 models fell"),
        ([CHEAPER, moved("o3", ("input_per_million", "1", "2"))], "Groq: 2 models changed"),
        (
            [moved("o3", ("input_per_million", "1", "2"), ("output_per_million", "2", "4"))],
            f"Groq: o3's prices rose 100{NARROW_SPACE}%",
        ),
        (
            [moved("o3", ("input_per_million", "1", "2"), ("output_per_million", "2", "3"))],
            "Groq: o3's prices rose",
        ),
        (
            [moved("o3", ("input_per_million", "1", "2"), ("output_per_million", "2", "1"))],
            f"Groq: o3's output price fell 50{NARROW_SPACE}%, and 1 more fact changed",
        ),
        ([moved("o3", ("output_per_million", "2", "0"))], "Groq: o3's output price went from $2.00 to free"),
        ([moved("o3", ("output_per_million", None, "2"))], "Groq: o3's output price unknown → $2.00"),
        (
            [moved("o3", ("output_per_million", "1000", "1001"))],
            "Groq: o3's output price rose from $1000.00 to $1001.00",
        ),
        ([moved("o3", ("context_length", 128_000, 200_000))], "Groq: o3's context window grew from 128k to 200k"),
        (
            [moved("o3", ("context_length", 131_072, 128_000))],
            "Groq: o3's context window shrank from 131k to 128k",
        ),
        ([moved("o3", ("tools", False, True))], "Groq: o3 gained tool use"),
        ([moved("o3", ("vision", True, False), ("name", "a", "b"))], "Groq: o3 lost vision, and 1 more fact changed"),
        ([moved("o3", ("vision", None, True))], "Groq: o3's vision: yes"),
        ([moved("o3", ("retires_at", None, "2026-12-31T00:00:00+00:00"))], "Groq: o3 ends on 2026-12-31"),
        ([moved("o3", ("name", "O3", "o3 !"))], "Groq: o3's name O3 → o3 !"),
        ([moved("new/o3", ("id", "o3", "new/o3"), ("name", "a", "b"))], "Groq: o3 is now called new/o3"),
        ([moved("o3", ("something_of_later", 1, 2))], "Groq: o3 changed"),
    ],
)
def test_a_headline_says_what_a_provider_did(changes: list[Change], said: str) -> None:
    assert headline("Groq", changes) == said


def test_a_first_list_added_nothing_but_has_what_the_catalog_does_not_know() -> None:
    assert headline("Groq", [], NEW[:2]) == "Groq lists 2 chat models that the catalog does not know"
    assert headline("Groq", NEW[:1], NEW[1:2], more=1_200) == (
        f"Groq added kimi-k2 and lists qwen3 that the catalog does not know; and 1{NARROW_SPACE}200 more changes"
    )


def test_every_fact_that_is_compared_can_make_a_headline() -> None:
    for name in COMPARED_FIELDS:
        assert "changed" not in headline("Groq", [moved("o3", (name, None, "2"))]), name
