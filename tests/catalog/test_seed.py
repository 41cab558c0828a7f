"""The shipped catalog: whole, sorted, sourced, and of one mind about who serves what."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest

from app.catalog import seed
from app.catalog.listing import ListedModel, PriceTier
from app.catalog.matching import CatalogIndex

FILES = {
    name: files("app.catalog.seed").joinpath(name).read_text(encoding="utf-8").splitlines()
    for name in ("canonical.jsonl", "supplement.jsonl")
}
ROWS: dict[str, list[dict[str, Any]]] = {
    name: [json.loads(line, parse_float=lambda text: f"float {text}") for line in lines[1:]]
    for name, lines in FILES.items()
}
every_file = pytest.mark.parametrize("name", list(FILES))


def header(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(FILES[name][0])
    return data


def test_the_seed_loads_every_line() -> None:
    ids = {row["id"] for rows in ROWS.values() for row in rows}
    assert [model.id for model in seed.load().models] == sorted(ids)
    assert len(ids) > 500


@every_file
def test_ids_are_distinct_and_sorted_in_the_file(name: str) -> None:
    ids = [row["id"] for row in ROWS[name]]
    assert ids == sorted(set(ids))


def test_an_id_is_its_lab_and_a_name_in_lower_case() -> None:
    for model in seed.load().models:
        assert model.id.startswith(model.lab + "/")
        assert model.id == model.id.lower()
        assert model.name


@every_file
def test_the_header_names_each_source_with_its_date_and_licence(name: str) -> None:
    assert header(name)["format"] == seed.FORMAT
    assert header(name)["sources"]
    for source in header(name)["sources"].values():
        assert source["name"] and source["licence"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", source["date"])


def test_a_letter_stands_for_one_source() -> None:
    letters = [letter for name in FILES for letter in header(name)["sources"]]
    assert sorted(letters) == sorted(seed.load().header.sources)


@every_file
def test_every_fact_has_a_source_of_the_header(name: str) -> None:
    for row in ROWS[name]:
        assert {row["source"], *row.get("field_sources", {}).values()} <= set(header(name)["sources"])
        assert set(row.get("field_sources", {})) <= set(row)


@every_file
def test_no_price_is_a_float(name: str) -> None:
    for row in ROWS[name]:
        priced = [row, *row.get("price_tiers", [])]
        for field, value in (pair for one in priced for pair in one.items()):
            assert not str(value).startswith("float "), row["id"]
            if field.endswith("_per_million"):
                assert isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value), row["id"]


def test_prices_for_long_input_are_sorted_and_go_with_the_two_main_ones() -> None:
    tiered = [model for model in seed.load().models if model.price_tiers]
    assert len(tiered) > 50
    for model in tiered:
        bounds = [tier.above_tokens for tier in model.price_tiers]
        assert bounds == sorted(set(bounds)) and bounds[0] > 0, model.id
        assert None not in (model.input_per_million, model.output_per_million), model.id


def test_prices_for_long_input_begin_where_their_source_says() -> None:
    tiers = {model.id: model.price_tiers for model in seed.load().models}
    assert tiers["google/gemini-2.5-pro"] == (PriceTier(200_000, Decimal("2.5"), Decimal(15), Decimal("0.25")),)
    assert tiers["openai/gpt-5.5"] == (PriceTier(272_000, Decimal(10), Decimal(45), Decimal(1)),)
    assert tiers["anthropic/claude-sonnet-4-5"] == ()  # the newest wheel of LiteLLM has them no more


def test_an_id_at_a_provider_is_served_by_one_model_only() -> None:
    served = Counter(
        (provider, one) for model in seed.load().models for provider, ids in model.served.items() for one in ids
    )
    assert [pair for pair, count in served.items() if count > 1] == []


def test_the_version_is_a_hash_of_the_files() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", seed.load().version)


@pytest.fixture(scope="module")
def index() -> CatalogIndex:
    return CatalogIndex(seed.load().models)


@pytest.mark.parametrize(
    ("provider", "model_id", "canonical_id"),
    [
        ("openai", "gpt-4o", "openai/gpt-4o"),
        ("openai", "gpt-4o-mini", "openai/gpt-4o-mini"),
        ("openai", "o3", "openai/o3"),
        ("openai", "o4-mini-2025-04-16", "openai/o4-mini"),
        ("google", "gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("google", "gemini-2.5-flash-lite", "google/gemini-2.5-flash-lite"),
        ("groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("openrouter", "openai/gpt-4o-mini", "openai/gpt-4o-mini"),
    ],
)
def test_well_known_ids_are_known(index: CatalogIndex, provider: str, model_id: str, canonical_id: str) -> None:
    assert index.match(provider, ListedModel(id=model_id)).canonical_id == canonical_id


@pytest.mark.parametrize("provider", ["openai", "google", "groq", "openrouter"])
def test_the_same_family_in_two_sizes_is_two_models(index: CatalogIndex, provider: str) -> None:
    pairs = {
        "openai": ("gpt-4o", "gpt-4o-mini"),
        "google": ("gemini-2.5-flash", "gemini-2.5-pro"),
        "groq": ("openai/gpt-oss-20b", "openai/gpt-oss-120b"),
        "openrouter": ("qwen/qwen3-8b", "qwen/qwen3-32b"),
    }
    one, other = (index.match(provider, ListedModel(id=model_id)).canonical_id for model_id in pairs[provider])
    assert one and other and one != other


def test_what_the_seed_says_is_served_is_matched_exactly(index: CatalogIndex) -> None:
    for model in seed.load().models:
        for provider, ids in model.served.items():
            for one in ids:
                match = index.match(provider, ListedModel(id=one))
                assert (match.canonical_id, match.rule) == (model.id, "exact")


def test_an_invented_id_is_unknown(index: CatalogIndex) -> None:
    assert index.match("openai", ListedModel(id="gpt-99-nobody-knows")).rule == "unknown"
