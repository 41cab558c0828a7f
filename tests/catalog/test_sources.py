"""The readers of the public catalogs, on documents written by hand in their shapes, whole and poisoned."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.listing import ListedModel, PriceTier
from app.catalog.sources import SOURCES, aihubmix, litellm, modelsdev, openrouter
from app.catalog.sources.claims import (
    Claim,
    ParsedSource,
    SourceFault,
    SourceRejected,
    SourceShrunk,
    build_parsed_source,
    check,
    deserialize,
    first_party_lab,
    lab_from_path,
    retain_claims,
    serialize,
)
from app.demo import catalogs
from app.providers import PROVIDERS


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def parse_modelsdev(document: Any) -> ParsedSource:
    return modelsdev.parse(encoded(document), PROVIDERS)


def parse_litellm(document: Any) -> ParsedSource:
    return litellm.parse(encoded(document), PROVIDERS)


def claim_of(reading: ParsedSource, provider: str, model_id: str) -> Claim:
    return next(claim for claim in reading.claims if (claim.provider, claim.model_id) == (provider, model_id))


# ------------------------------------------------------------------ what they read


def test_models_dev_tells_facts_and_prices_per_million() -> None:
    reading = parse_modelsdev(catalogs.load_document("modelsdev"))
    claim = claim_of(reading, "anthropic", "claude-haiku-4-5")
    assert (claim.lab, claim.context_length, claim.max_output_tokens) == ("anthropic", 200_000, 64_000)
    assert (claim.input_per_million, claim.cache_write_per_million) == (Decimal(1), Decimal("1.25"))
    assert (claim.tools, claim.vision, claim.reasoning, claim.structured_output) == (True, True, True, None)
    assert (claim.released_on, claim.knowledge_cutoff, claim.open_weights) == ("2025-10-15", "2025-02-28", False)
    assert reading.entries == 4 and not reading.faults


def test_models_dev_takes_the_worlds_prices_before_chinas_and_unknown_limits_as_unknown() -> None:
    model = {"cost": {"input": 9, "output": 9}, "limit": {"context": 0, "output": 0}, "modalities": {"input": []}}
    world = {"cost": {"input": 0.6, "output": 2.5}, "limit": {"context": 262_144, "output": 0}}
    document = {
        "moonshotai-cn": {"models": {"kimi-k2": model, "kimi-k1": model}},
        "moonshotai": {"models": {"kimi-k2": world}},
    }
    reading = parse_modelsdev(document)
    assert claim_of(reading, "moonshot", "kimi-k2").input_per_million == Decimal("0.6")
    only_china = claim_of(reading, "moonshot", "kimi-k1")
    assert (only_china.input_per_million, only_china.context_length, only_china.vision) == (None, None, None)


def test_models_dev_counts_providers_that_do_not_concern_us_but_claims_nothing_of_them() -> None:
    reading = parse_modelsdev({"some-gateway": {"models": {"gpt-4o": {"name": "GPT"}}}})
    assert (reading.claims, reading.entries) == ((), 1)


def test_litellm_prices_are_per_token_and_its_routing_prefix_is_no_part_of_the_id() -> None:
    reading = parse_litellm(catalogs.load_document("litellm"))
    assert reading.entries == 2  # without the sample
    claim = claim_of(reading, "groq", "llama-3.3-70b-versatile")
    assert (claim.input_per_million, claim.output_per_million) == (Decimal("0.59"), Decimal("0.79"))
    assert (claim.tools, claim.vision, claim.lab) == (True, None, "")


def priced(cost: Any) -> tuple[PriceTier, ...]:
    reading = parse_modelsdev({"openai": {"models": {"gpt-99": {"cost": cost}}}})
    return claim_of(reading, "openai", "gpt-99").price_tiers


def context(size: Any, **prices: Any) -> dict[str, Any]:
    return {**prices, "tier": {"type": "context", "size": size}}


DEAR = {"input": 10, "output": 45.5}


def test_models_dev_prices_long_input_in_tiers_of_any_length() -> None:
    cost = {"input": 5, "output": 30, "tiers": [context(512_000, **DEAR), context(272_000, input=6, cache_read=0.5)]}
    assert priced(cost) == (
        PriceTier(272_000, Decimal(6), None, Decimal("0.5")),
        PriceTier(512_000, Decimal(10), Decimal("45.5")),
    )


def test_models_devs_old_price_above_200k_counts_only_where_there_are_no_tiers() -> None:
    assert priced({"context_over_200k": DEAR}) == (PriceTier(200_000, Decimal(10), Decimal("45.5")),)
    assert [tier.above_tokens for tier in priced({"tiers": [context(272_000, **DEAR)], "context_over_200k": DEAR})] == [
        272_000
    ]
    assert priced({"tiers": [], "context_over_200k": DEAR}) == ()


@pytest.mark.parametrize(
    "tier",
    [{**DEAR, "tier": {"type": "requests", "size": 9}}, {**DEAR, "tier": {}}, DEAR, context(9), context(9, input=0)],
    ids=["another kind", "no bound", "no tier", "no price", "free"],
)
def test_a_tier_that_says_nothing_of_long_input_is_passed_over(tier: Any) -> None:
    assert priced({"tiers": [tier, context(100, input=1)]}) == (PriceTier(100, Decimal(1)),)


def test_litellm_prices_long_input_by_the_names_of_its_fields() -> None:
    entry = {
        "litellm_provider": "gemini",
        "input_cost_per_token_above_200k_tokens": 2.5e-06,
        "output_cost_per_token_above_200k_tokens": 1.5e-05,
        "cache_read_input_token_cost_above_200k_tokens": 2.5e-07,
        "cache_creation_input_token_cost_above_200k_tokens": None,
        "input_cost_per_token_above_128k_tokens": 2e-06,
        "input_cost_per_token_above_200k_tokens_priority": 4.5e-06,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1e-05,
    }
    claim = claim_of(parse_litellm({"gemini/gemini-9": entry}), "google", "gemini-9")
    assert claim.price_tiers == (
        PriceTier(128_000, Decimal(2)),
        PriceTier(200_000, Decimal("2.5"), Decimal(15), Decimal("0.25")),
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input_cost_per_token_above_200k_tokens": "dear"}, "Invalid decimal"),
        ({"input_cost_per_token_above_200k_tokens": []}, "Expected `decimal"),
        ({"input_cost_per_token_above_200k_tokens": -1e-06}, "below zero"),
        ({"input_cost_per_token_above_200k_tokens": 6}, "beyond all bounds"),
        ({"input_cost_per_token_above_200000k_tokens": 1e-06}, "no such length"),
        ({f"input_cost_per_token_above_{number}k_tokens": 1e-06 for number in range(1, 12)}, "more than 10"),
    ],
)
def test_a_price_for_long_input_that_cannot_be_true_makes_a_fault_of_its_entry(fields: Any, reason: str) -> None:
    reading = parse_litellm({"gpt-99": {"litellm_provider": "openai", "mode": "chat", **fields}})
    assert reading.claims == ()
    (fault,) = reading.faults
    assert "gpt-99" in fault.entry and reason in fault.reason


@pytest.mark.parametrize(
    ("key", "origin"),
    [
        ("ft:gpt-4o", "openai"),
        ("1024-x-1024/dall-e-2", "openai"),
        ("azure/eu/gpt-4o", "azure"),
        ("bedrock/us-east-1/anthropic.claude-v1", "bedrock"),
    ],
)
def test_litellm_entries_that_only_price_a_variation_claim_nothing(key: str, origin: str) -> None:
    assert parse_litellm({key: {"litellm_provider": origin, "mode": "chat"}}).claims == ()


def test_a_gateway_names_the_lab_in_its_ids_and_never_the_dates() -> None:
    model = ListedModel(id="anthropic/claude-demo-1", name="Anthropic: Claude Demo 1", context_length=500_000)
    reading = openrouter.parse(encoded(catalogs.load_document("openrouter")), [model], [])
    (claim,) = reading.claims
    assert (claim.lab, claim.context_length, claim.released_on) == ("anthropic", 500_000, "")
    assert reading.entries == 2


def test_a_wrong_type_in_a_gateways_list_is_a_fault_although_its_reader_passes_over_it() -> None:
    document = {"data": [{"model_id": "gpt-4o", "context_length": "much"}, {"model_id": "gpt-4o-mini"}]}
    models = [ListedModel(id="gpt-4o"), ListedModel(id="gpt-4o-mini")]
    reading = aihubmix.parse(encoded(document), models, [])
    assert [claim.model_id for claim in reading.claims] == ["gpt-4o-mini"]
    assert [fault.entry for fault in reading.faults] == ["gpt-4o"]


@pytest.mark.parametrize(
    ("model_id", "lab"),
    [
        ("anthropic/claude-9", "anthropic"),
        ("qwen/qwen9", "alibaba"),
        ("openrouter/auto", ""),
        ("~anthropic/claude-latest", ""),
        ("a-hobbyist/gpt-99", ""),
        ("gpt-99", ""),
    ],
)
def test_a_path_names_a_lab_only_if_we_know_it(model_id: str, lab: str) -> None:
    assert lab_from_path(model_id) == lab


@pytest.mark.parametrize(
    ("provider", "model_id", "lab"),
    [
        ("openai", "gpt-99", "openai"),
        ("alibaba", "qwen9-max", "alibaba"),
        ("alibaba", "deepseek-v9", ""),
        ("groq", "llama-9-8b", ""),
        ("together", "meta-llama/Llama-9", ""),
    ],
)
def test_a_lab_speaks_for_itself_at_its_own_provider_only(provider: str, model_id: str, lab: str) -> None:
    assert first_party_lab(provider, model_id) == lab


# ------------------------------------------------------------------ what they refuse


@pytest.mark.parametrize("read", [modelsdev.parse, litellm.parse])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"<!doctype html><title>Sorry</title>", "web page"),
        (b"[]", "not an object"),
        (b'"text"', "not an object"),
        (b'{"openai": {"models"', "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b'{"a":' * 50_000, "not valid JSON"),
        (b'{"openai": {"models": {"gpt-4o": {"name": "\x80"}}}}', "not valid JSON"),
    ],
)
def test_what_is_no_catalog_is_refused_with_the_reason(read: Any, body: bytes, reason: str) -> None:
    with pytest.raises(SourceRejected, match=reason):
        read(body, PROVIDERS)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"limit": {"context": "lots"}}, "Expected `int"),
        ({"cost": {"input": "free"}}, "Invalid decimal"),
        ({"tool_call": "yes"}, "Expected `bool"),
        ([], "Expected `object`"),
        ({"cost": {"input": 1_000_000, "output": 1}}, "beyond all bounds"),
        ({"cost": {"input": 2_500, "output": 1}}, "2,500 USD"),
        ({"cost": {"input": -1, "output": 1}}, "below zero"),
        ({"cost": {"input": "NaN", "output": 1}}, ""),
        ({"cost": {"tiers": {}}}, "Expected `array"),
        ({"cost": {"tiers": [context("long")]}}, "Expected `int"),
        ({"cost": {"tiers": [context(0, **DEAR)]}}, "no such length"),
        ({"cost": {"tiers": [context(9, **DEAR), context(9, **DEAR)]}}, "two prices"),
        ({"cost": {"tiers": [context(9, input=2_500)]}}, "2,500 USD"),
        ({"cost": {"context_over_200k": {"input": "NaN"}}}, "beyond all bounds"),
        ({"limit": {"context": 10**9}}, "100 million"),
        ({"limit": {"context": 10**400}}, ""),
    ],
)
def test_an_entry_that_cannot_be_true_is_left_out(model: Any, reason: str) -> None:
    reading = parse_modelsdev({"openai": {"models": {"gpt-99": model}}})
    assert reading.claims == ()
    (fault,) = reading.faults
    assert "gpt-99" in fault.entry and reason in fault.reason


def test_a_provider_without_models_is_a_fault() -> None:
    assert len(parse_modelsdev({"openai": 1, "anthropic": {"models": {}}}).faults) == 1


def test_a_dear_price_of_what_is_no_chat_model_is_believed() -> None:
    entry = {"litellm_provider": "openai", "mode": "video_generation", "input_cost_per_token": 0.005}
    assert parse_litellm({"sora-9": entry}).claims[0].input_per_million == Decimal(5_000)


def claims(count: int) -> list[Claim]:
    return [Claim(provider="openai", model_id=f"gpt-{number}") for number in range(count)]


def faults(count: int) -> list[SourceFault]:
    return [SourceFault(f"openai/bad-{number}", "no reason") for number in range(count)]


def test_up_to_one_wrong_entry_in_a_hundred_is_left_out_and_named() -> None:
    told = check(build_parsed_source(claims(99), faults(1), 100), 99)
    assert told == "1 wrong entry was left out: openai/bad-0 (no reason)."
    with pytest.raises(SourceRejected, match="2 wrong entries among 100"):
        check(build_parsed_source(claims(98), faults(2), 100), 99)


def test_a_catalog_that_lost_more_than_a_fifth_is_refused_unless_an_operator_knows_better() -> None:
    assert check(build_parsed_source(claims(80), [], 80), 100) == ""
    with pytest.raises(SourceShrunk, match="from 100 to 79"):
        check(build_parsed_source(claims(79), [], 79), 100)
    assert check(build_parsed_source(claims(79), [], 79), 100, accept_shrunk=True) == ""


def test_a_catalog_without_models_is_refused_even_then() -> None:
    with pytest.raises(SourceRejected, match="no models"):
        check(build_parsed_source([], [], 0), 0, accept_shrunk=True)


# ------------------------------------------------------------------ what is kept


def test_claims_survive_being_kept_and_the_order_does_not_count() -> None:
    found = parse_modelsdev(catalogs.load_document("modelsdev")).claims
    again = parse_modelsdev(dict(reversed(catalogs.load_document("modelsdev").items()))).claims
    assert deserialize(serialize(found)) == found
    assert serialize(found) == serialize(again)


def test_a_model_that_its_source_dropped_is_kept_for_a_year() -> None:
    before = [Claim(provider="openai", model_id="gpt-99", lab="openai"), Claim(provider="groq", model_id="llama-9")]
    (gone,) = retain_claims([], before, "2026-11-21")
    assert (gone.model_id, gone.vanished_on) == ("gpt-99", "2026-11-21")
    assert retain_claims([], [gone], "2027-11-20") == (gone,)
    assert retain_claims([], [gone], "2027-11-22") == ()
    back = Claim(provider="openai", model_id="gpt-99", lab="openai", context_length=1)
    assert retain_claims([back], [gone], "2026-12-01") == (back,)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
KEYS = [
    "input_cost_per_token_above_200k_tokens",
    "name",
    "limit",
    "cost",
    "modalities",
    "input_cost_per_token",
    "max_input_tokens",
    "tool_call",
    "release_date",
]


@given(st.dictionaries(st.sampled_from(["gpt-1", "openai/x", "…"]), st.dictionaries(st.sampled_from(KEYS), JSON)))
def test_whatever_comes_is_read_or_refused(entries: dict[str, Any]) -> None:
    with_provider = {key: {**entry, "litellm_provider": "openai"} for key, entry in entries.items()}
    documents: Iterable[Any] = ({"openai": {"models": entries}}, with_provider, {"data": list(entries.values())})
    for source in SOURCES.values():
        for document in documents:
            try:
                body = encoded(document)
                reading = source.read(body, PROVIDERS) if source.read else source.read_listed(body, [], [])  # type: ignore[misc]
            except SourceRejected:
                continue
            assert deserialize(serialize(reading.claims)) == reading.claims
