"""Changes and numbers as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.catalog.changes import COMPARED, Change, Fact, FieldChange
from app.catalog.wording import THIN, field_sentence, money, number, plural, sentence, tokens


@pytest.mark.parametrize(
    ("field", "before", "after", "said"),
    [
        ("context_length", 128_000, 200_000, "context window 128k → 200k"),
        ("context_length", 131_072, 1_048_576, "context window 128k → 1M"),
        ("context_length", None, 8_192, "context window unknown → 8k"),
        ("context_length", 8_192, None, "context window 8k → unknown"),
        ("context_length", 128_000, 131_072, f"context window 128{THIN}000 → 131{THIN}072"),
        ("context_length", 1_000_000, 1_048_576, f"context window 1{THIN}000{THIN}000 → 1{THIN}048{THIN}576"),
        ("max_output_tokens", 4_096, 64_000, "longest answer 4k → 64k"),
        ("output_per_million", "10", "8", f"output price $10.00 → $8.00 (−20{THIN}%)"),
        ("input_per_million", "0.15", "0.3", f"input price $0.15 → $0.30 (+100{THIN}%)"),
        ("input_per_million", "0.1", "0.1001", "input price $0.10 → $0.1001"),
        ("input_per_million", "0", "0.3", "input price free → $0.30"),
        ("input_per_million", "0.3", "0", "input price $0.30 → free"),
        ("input_per_million", None, "0.3", "input price unknown → $0.30"),
        ("input_per_million", "0.3", None, "input price $0.30 → unknown"),
        ("cache_read_per_million", "0.0375", "0.075", f"cache read price $0.0375 → $0.075 (+100{THIN}%)"),
        ("input_per_million", "0.0000001", "0.0000002", f"input price 0.0000001 → 0.0000002 (+100{THIN}%)"),
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
    assert field_sentence(FieldChange(field, before, after)) == said


def test_a_changed_model_is_all_its_fields_in_one_sentence() -> None:
    fields = (FieldChange("context_length", 128_000, 200_000), FieldChange("output_per_million", "10", "8"))
    said = sentence(Change("changed", "m", "M", fields))
    assert said == f"context window 128k → 200k; output price $10.00 → $8.00 (−20{THIN}%)"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("new", "new for this key"),
        ("relisted", "listed again"),
        ("unlisted", "no longer listed for this key"),
    ],
)
def test_other_changes_are_a_clause(kind: str, said: str) -> None:
    assert sentence(Change(kind, "m", "M")) == said  # type: ignore[arg-type]


@pytest.mark.parametrize("field", COMPARED)
def test_every_compared_field_can_be_told(field: str) -> None:
    assert "_" not in field_sentence(FieldChange(field, None, None))


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, "unknown"),
        (1, "1"),
        (448, "448"),
        (999, "999"),
        (1_000, "1k"),
        (1_024, "1k"),
        (1_500, "1.5k"),
        (8_192, "8k"),
        (128_000, "128k"),
        (131_072, "128k"),
        (202_752, "198k"),
        (200_000, "200k"),
        (65_535, "65.53k"),
        (999_949, "999.9k"),
        (999_999, "1M"),
        (1_000_000, "1M"),
        (1_048_576, "1M"),
        (1_500_000, "1.5M"),
        (2_000_000, "2M"),
        (2_097_152, "2M"),
        (10_485_760, "10M"),
    ],
)
def test_tokens_are_short(count: int | None, said: str) -> None:
    assert tokens(count) == said


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
    assert money(amount) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (1_000, f"1{THIN}000"), (12_345_678, f"12{THIN}345{THIN}678")],
)
def test_digits_are_grouped_by_a_narrow_space(count: int, said: str) -> None:
    assert number(count) == said


@pytest.mark.parametrize(
    ("count", "many", "said"),
    [
        (0, None, "0 models"),
        (1, None, "1 model"),
        (3, None, "3 models"),
        (1, "modelle", "1 model"),
        (2, "modelle", "2 modelle"),
        (1_200, None, f"1{THIN}200 models"),
    ],
)
def test_one_is_singular(count: int, many: str | None, said: str) -> None:
    assert plural(count, "model", many) == said
