"""Which canonical model an id means: by a rule that is named, or "unknown"; never by a guess."""

from __future__ import annotations

from typing import Any

import pytest

from app.catalog.identity import UNKNOWN, CanonicalModel, CatalogIndex, Match
from app.catalog.listing import ListedModel


def canonical(model_id: str, **facts: Any) -> CanonicalModel:
    return CanonicalModel(id=model_id, lab=model_id.partition("/")[0], name=model_id, **facts)


INDEX = CatalogIndex(
    [
        canonical("openai/gpt-4o", aliases=("chatgpt-4o",), served={"openai": ("gpt-4o", "gpt-4o-2024-08-06")}),
        canonical("openai/gpt-4o-mini", served={"openai": ("gpt-4o-mini",)}),
        canonical("openai/gpt-4.1"),
        canonical("anthropic/claude-3.5-sonnet", served={"anthropic": ("claude-3-5-sonnet-20241022",)}),
        canonical("anthropic/claude-3.7-sonnet"),
        canonical("anthropic/claude-haiku-4.5", aliases=("anthropic/claude-4.5-haiku-20251001",)),
        canonical("google/gemini-2.5-pro"),
        canonical("google/gemini-2.5-flash"),
        canonical("google/gemini-2.5-flash-lite"),
        canonical("qwen/qwen3-8b"),
        canonical("qwen/qwen3-32b"),
        canonical("meta/llama-3.3-70b", aliases=("meta-llama/Llama-3.3-70B-Instruct",)),
        canonical("one/shared-name"),
        canonical("two/shared-name"),
        canonical("three/first", aliases=("claimed",)),
        canonical("four/second", aliases=("claimed",)),
    ]
)


def match(provider: str, model_id: str, **facts: Any) -> Match:
    return INDEX.match(provider, ListedModel(id=model_id, **facts))


def test_the_exact_id_at_a_provider_comes_first() -> None:
    assert match("openai", "gpt-4o") == Match("openai/gpt-4o", "exact")
    assert match("openai", "gpt-4o-2024-08-06") == Match("openai/gpt-4o", "exact", "", "2024-08-06")
    assert match("openai", "gpt-4o", canonical_slug="openai/gpt-4o-mini").canonical_id == "openai/gpt-4o"


def test_an_exact_id_counts_at_its_own_provider_only() -> None:
    assert match("anthropic", "claude-3-5-sonnet-20241022").rule == "exact"
    assert match("openrouter", "claude-3-5-sonnet-20241022").rule == "snapshot"


def test_the_providers_own_link_comes_second() -> None:
    linked = match("openrouter", "anything:free", canonical_slug="anthropic/claude-4.5-haiku-20251001")
    assert linked == Match("anthropic/claude-haiku-4.5", "link", "free")
    hugging_face = match("groq", "anything-else", hugging_face_id="meta-llama/Llama-3.3-70B-Instruct")
    assert hugging_face == Match("meta/llama-3.3-70b", "link")


def test_a_link_to_nowhere_leaves_it_to_the_id() -> None:
    assert match("openrouter", "openai/gpt-4o", canonical_slug="nobody/nothing").rule == "alias"


@pytest.mark.parametrize(
    ("model_id", "canonical_id"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("gpt-4o", "openai/gpt-4o"),
        ("GPT-4o", "openai/gpt-4o"),
        ("chatgpt-4o", "openai/gpt-4o"),
        ("models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("gemini-2-5-pro", "google/gemini-2.5-pro"),
        ("gpt-4-1", "openai/gpt-4.1"),
        ("anthropic/claude-3-7-sonnet", "anthropic/claude-3.7-sonnet"),
    ],
)
def test_an_alias_is_another_spelling_of_the_same_name(model_id: str, canonical_id: str) -> None:
    assert match("elsewhere", model_id) == Match(canonical_id, "alias")


@pytest.mark.parametrize(
    ("model_id", "canonical_id", "snapshot"),
    [
        ("gpt-4o-2024-11-20", "openai/gpt-4o", "2024-11-20"),
        ("claude-3-7-sonnet-20250219", "anthropic/claude-3.7-sonnet", "20250219"),
        ("claude-3-7-sonnet@20250219", "anthropic/claude-3.7-sonnet", "20250219"),
        ("claude-3-7-sonnet-latest", "anthropic/claude-3.7-sonnet", "latest"),
    ],
)
def test_a_snapshot_is_the_model_of_a_date(model_id: str, canonical_id: str, snapshot: str) -> None:
    assert match("elsewhere", model_id) == Match(canonical_id, "snapshot", "", snapshot)


@pytest.mark.parametrize(
    ("model_id", "variant", "snapshot"),
    [
        ("openai/gpt-4o:free", "free", ""),
        ("openai/gpt-4o:nitro", "nitro", ""),
        ("openai/gpt-4o-2024-11-20:extended", "extended", "2024-11-20"),
    ],
)
def test_a_variant_is_the_model_served_in_another_way(model_id: str, variant: str, snapshot: str) -> None:
    assert match("openrouter", model_id) == Match("openai/gpt-4o", "variant", variant, snapshot)


@pytest.mark.parametrize("model_id", ["shared-name", "claimed", "claimed:free", "shared-name-2026-01-01"])
def test_an_id_that_fits_two_models_is_unknown(model_id: str) -> None:
    assert match("elsewhere", model_id) == UNKNOWN


def test_an_ambiguous_id_with_its_lab_is_known() -> None:
    assert match("elsewhere", "two/shared-name") == Match("two/shared-name", "alias")


@pytest.mark.parametrize(
    ("model_id", "never"),
    [
        ("gpt-4o-mini", "openai/gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "openai/gpt-4o"),
        ("gpt-4o", "openai/gpt-4o-mini"),
        ("gpt-4", "openai/gpt-4.1"),
        ("gpt-41", "openai/gpt-4.1"),
        ("claude-3-5-sonnet", "anthropic/claude-3.7-sonnet"),
        ("claude-3-7-sonnet-20250219", "anthropic/claude-3.5-sonnet"),
        ("qwen3-8b", "qwen/qwen3-32b"),
        ("qwen3-32b:free", "qwen/qwen3-8b"),
        ("gemini-2.5-flash-lite", "google/gemini-2.5-flash"),
        ("gemini-2.5-flash-latest", "google/gemini-2.5-flash-lite"),
    ],
)
def test_a_size_a_tier_and_a_version_are_never_crossed(model_id: str, never: str) -> None:
    assert match("elsewhere", model_id).canonical_id != never


@pytest.mark.parametrize(
    "model_id",
    [
        "gpt-4o-audio",
        "gpt-4o-2024",
        "gpt-4o-99991399",
        "gpt-4o-1120",
        "gpt-4o:unheard-of",
        "gpt-4",
        "gpt-41",
        "qwen3-14b",
        "claude-3-9-sonnet",
        "gemini-2.5-flash-preview",
        "other/gpt-4o",
        "~anthropic/claude-haiku-latest",
        "ft:gpt-4o:example-org::abc",
        "",
        ":free",
        "-latest",
    ],
)
def test_what_no_rule_covers_is_unknown(model_id: str) -> None:
    assert match("elsewhere", model_id) == UNKNOWN
