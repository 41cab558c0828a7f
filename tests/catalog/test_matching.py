"""Which canonical model an id means: by a rule that is named, or "unknown"; never by a guess."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.listing import ListedModel
from app.catalog.matching import UNKNOWN, CanonicalModel, CatalogIndex, Match


def canonical(model_id: str, **facts: Any) -> CanonicalModel:
    return CanonicalModel(id=model_id, lab=model_id.partition("/")[0], name=model_id, **facts)


MODELS = [
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
    canonical("alibaba/qwen3-30b-a3b"),
    canonical("alibaba/qwen3-30b-a3b-instruct-2507"),
    canonical("alibaba/qwen3-30b-a3b-thinking-2507"),
    canonical("alibaba/qwen3-coder-480b-a35b-instruct"),
    canonical("alibaba/qwq-32b"),
    canonical("deepseek/deepseek-r1"),
    canonical("google/gemma-3-27b-it"),
    canonical("google/gemini-3-pro-preview"),
    canonical("meta/llama-3.1-8b-instruct"),
    canonical("meta/llama-3.1-70b-instruct"),
    canonical("mistral/mistral-7b-instruct-v0.2"),
    canonical("mistral/mistral-small-3.2-24b-instruct-2506"),
    canonical("moonshotai/kimi-k2-0905"),
    canonical("openai/gpt-5"),
    canonical("openai/gpt-5.4-mini"),
    canonical("openai/gpt-oss-120b"),
    canonical("xai/grok-4"),
    canonical("zhipuai/glm-4.6"),
]
INDEX = CatalogIndex(MODELS)


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
        ("gpt-42", "openai/gpt-4.1"),
        ("gpt-14", "openai/gpt-4.1"),
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


# --- a person's decision ----------------------------------------------------------------------------------


def test_a_persons_decision_comes_before_everything() -> None:
    index = CatalogIndex(MODELS, decided={("openai", "gpt-4o"): "openai/gpt-5"})
    assert index.match("openai", ListedModel(id="gpt-4o")) == Match("openai/gpt-5", "decided")
    assert index.match("groq", ListedModel(id="gpt-4o")).canonical_id == "openai/gpt-4o"


def test_what_a_person_left_unknown_stays_unknown() -> None:
    index = CatalogIndex(MODELS, decided={("openai", "gpt-4o"): None})
    assert index.match("openai", ListedModel(id="gpt-4o")) == UNKNOWN


def test_a_decision_for_a_model_that_is_gone_counts_no_more() -> None:
    index = CatalogIndex(MODELS, decided={("openai", "gpt-4o"): "openai/gone"})
    assert index.match("openai", ListedModel(id="gpt-4o")).rule == "exact"


# --- rules over tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "canonical_id", "rule"),
    [
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "anthropic/claude-3.7-sonnet", "snapshot"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "anthropic/claude-3.5-sonnet", "snapshot"),
        ("meta.llama3-1-8b-instruct-v1:0", "meta/llama-3.1-8b-instruct", "rule/tokens"),
        ("mistral.mistral-7b-instruct-v0:2", "mistral/mistral-7b-instruct-v0.2", "rule/tokens"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "meta/llama-3.1-8b-instruct", "rule/tokens"),
        ("publishers/google/models/gemini-2.5-pro", "google/gemini-2.5-pro", "rule/tokens"),
        ("@cf/meta/llama-3.1-8b-instruct-fp8", "meta/llama-3.1-8b-instruct", "variant"),
        ("hf:zai-org/GLM-4.6", "zhipuai/glm-4.6", "rule/tokens"),
        ("Pro/zai-org/GLM-4.6", "zhipuai/glm-4.6", "rule/tokens"),
        ("unsloth/Llama-3.1-8B-Instruct-GGUF", "meta/llama-3.1-8b-instruct", "variant"),
        ("zai-org-glm-4.6", "zhipuai/glm-4.6", "rule/tokens"),
        ("claude-sonnet-3.5", "anthropic/claude-3.5-sonnet", "rule/tokens"),
        ("gpt-4o-20240806", "openai/gpt-4o", "snapshot"),
        ("llama3.1:70b-instruct-q4_K_M", "meta/llama-3.1-70b-instruct", "variant"),
    ],
)
def test_regions_vendors_paths_and_spellings_do_not_count(model_id: str, canonical_id: str, rule: str) -> None:
    found = match("elsewhere", model_id)
    assert (found.canonical_id, found.rule, found.confidence) == (canonical_id, rule, "high")


@pytest.mark.parametrize(
    ("model_id", "canonical_id", "rule"),
    [
        ("qwen3-coder-480b-a35b", "alibaba/qwen3-coder-480b-a35b-instruct", "rule/tune"),
        ("gemma-3-27b", "google/gemma-3-27b-it", "rule/tune"),
        ("kimi-k2-instruct-0905", "moonshotai/kimi-k2-0905", "rule/tune"),
        ("llama-3.1-8b-instruct-turbo", "meta/llama-3.1-8b-instruct", "rule/serving"),
        ("claude-3-7-sonnet-thinking", "anthropic/claude-3.7-sonnet", "rule/serving"),
        ("gpt-5-high", "openai/gpt-5", "rule/serving"),
        ("openai-gpt-54-mini", "openai/gpt-5.4-mini", "rule/version"),
        ("mistral-small-2506", "mistral/mistral-small-3.2-24b-instruct-2506", "rule/date"),
        ("gemini-3-pro", "google/gemini-3-pro-preview", "rule/preview"),
        ("deepseek.r1-v1:0", "deepseek/deepseek-r1", "rule/lab"),
        ("qwen-qwq-32b", "alibaba/qwq-32b", "rule/lab"),
    ],
)
def test_a_hosts_habit_is_undone_with_less_confidence(model_id: str, canonical_id: str, rule: str) -> None:
    found = match("elsewhere", model_id)
    assert (found.canonical_id, found.rule, found.confidence) == (canonical_id, rule, "medium")


def test_a_hosts_own_name_and_mark_fall_away_at_the_host() -> None:
    assert match("databricks", "databricks-gpt-5-4-mini").canonical_id == "openai/gpt-5.4-mini"
    assert match("poe", "gpt-oss-120b-t") == Match("openai/gpt-oss-120b", "rule/tokens", "t")
    assert match("elsewhere", "gpt-oss-120b-t") == UNKNOWN
    assert match("elsewhere", "coding-r1") == UNKNOWN


@pytest.mark.parametrize(
    "model_id",
    [
        # size
        "llama-3.1-405b-instruct",
        "qwen3-30b-a22b",
        "gpt-5-nano",
        "gpt-oss-20b",
        "glm-4.6-air",
        # tier
        "claude-3-7-opus",
        "gemini-3-flash",
        "gpt-5-pro",
        "gemini-2.5-pro-lite",
        "mistral-medium-2506",
        # version
        "llama-3.2-8b-instruct",
        "glm-4.5",
        "mistral-7b-instruct-v0.3",
        "mistral-small-3.1-24b-instruct-2506",
        "kimi-k2-0711",
        "grok-4.1",
        # tune
        "llama-3.1-8b-base",
        "llama-3.1-8b-chat",
        "qwen3-coder-480b-a35b-base",
        "meta-llama/Llama-3.1-8B",
        "gpt-5-chat",
        "gpt-5-instruct",
        # specialisation
        "qwen3-vl-30b-a3b",
        "qwen3-coder-30b-a3b-instruct",
        "kimi-k2-thinking-0905",
        "glm-4.6v",
        "gpt-4o-mini-search",
        "gpt-4o-realtime",
        "gpt-4o-transcribe",
        "deepseek-r1-distill-qwen-32b",
        "llama-guard-3.1-8b",
        "grok-4-fast",
        "grok-4-reasoning",
        "gpt-4o-turbo",
        "gemini-2.5-flash-image",
        "gemini-2.5-pro-preview",
        "claude-3-7-sonnet-search",
        # somebody else's
        "somebody/llama-3.1-8b-instruct",
        "nvidia/llama-3.1-8b-instruct",
    ],
)
def test_another_size_tier_version_tune_or_speciality_is_another_model(model_id: str) -> None:
    assert match("elsewhere", model_id) == UNKNOWN


def test_an_instruct_is_not_added_where_two_editions_could_be_meant() -> None:
    assert match("elsewhere", "qwen3-30b-a3b-instruct") == UNKNOWN
    assert match("elsewhere", "qwen3-30b-a3b-2507").canonical_id == "alibaba/qwen3-30b-a3b-instruct-2507"


def test_the_serving_and_the_date_are_kept_with_an_exact_id_too() -> None:
    ids = ("one/model-8b:free", "one/model-8b-turbo", "one/model-8b-2026-01-31-fp8")
    index = CatalogIndex([canonical("one/model-8b", served={"host": ids}), canonical("one/model-turbo")])
    found = [index.match("host", ListedModel(id=one)) for one in ids]
    assert {(one.canonical_id, one.rule) for one in found} == {("one/model-8b", "exact")}
    assert [(one.variant, one.snapshot) for one in found] == [("free", ""), ("turbo", ""), ("fp8", "2026-01-31")]
    assert match("elsewhere", "one/model-turbo") == UNKNOWN
    assert index.match("elsewhere", ListedModel(id="one/model-turbo")) == Match("one/model-turbo", "alias")


def test_an_id_that_two_models_are_served_under_is_unknown() -> None:
    both = [canonical(f"{lab}/model", served={"host": ("small", "big")}) for lab in ("one", "two")]
    for models in (both, both[::-1]):
        assert CatalogIndex(models).match("host", ListedModel(id="big")) == UNKNOWN


def test_a_date_that_has_a_model_of_its_own_is_that_model() -> None:
    index = CatalogIndex([canonical("openai/gpt-4o"), canonical("openai/gpt-4o-2024-05-13")])
    for model_id in ("gpt-4o-2024-05-13", "azure/gpt-4o-20240513", "gpt-4o-0513"):
        assert index.match("elsewhere", ListedModel(id=model_id)).canonical_id == "openai/gpt-4o-2024-05-13"
    assert index.match("elsewhere", ListedModel(id="gpt-4o-2024-08-06")).canonical_id == "openai/gpt-4o"


def test_a_model_that_stands_twice_in_the_catalog_is_one() -> None:
    twice = [canonical("ai21/jamba-1.6-large"), canonical("ai21/jamba-large-1.6", served={"openrouter": ("jamba",)})]
    for models in (twice, twice[::-1]):
        match_result = CatalogIndex(models).match("elsewhere", ListedModel(id="AI21-Jamba-1-6-Large"))
        assert match_result.canonical_id == "ai21/jamba-large-1.6"


def test_a_moving_pointer_says_nothing_about_the_undated_name() -> None:
    index = CatalogIndex([canonical("google/gemini-pro-latest"), canonical("google/gemini-pro")])
    assert index.match("elsewhere", ListedModel(id="models/gemini-pro")).canonical_id == "google/gemini-pro"
    alone = CatalogIndex([canonical("google/gemini-pro-latest")])
    assert alone.match("elsewhere", ListedModel(id="gemini-pro")) == UNKNOWN


@pytest.mark.parametrize(
    ("model_id", "variant"),
    [
        ("GLM-5-FP8", "fp8"),
        ("glm-5-free", "free"),
        ("zai-org/glm-5:free", "free"),
        ("gpt-5-fast", "fast"),
        ("Llama-3.1-8B-Instruct-Turbo", "turbo"),
        ("unsloth/Llama-3.1-8B-Instruct-UD-Q4_K_XL", "ud-q4kxl"),
        ("Llama-3.1-8B-Instruct-quantized.w4a16", "quantized-w4a16"),
        ("claude-3-7-sonnet@eu", "eu"),
        ("claude-3-7-sonnet:us-east-1", "us-east-1"),
        ("claude-3-7-sonnet-thinking:1024", "thinking-1024"),
        ("gemini-2.5-pro-search", "search"),
        ("glm-5", ""),
    ],
)
def test_the_variant_is_what_the_models_own_id_lacks_whatever_rule_found_it(model_id: str, variant: str) -> None:
    with_alias = canonical("zhipuai/glm-5", aliases=("glm-5-fp8", "glm-5-free"))
    for models in ([*MODELS, with_alias], [*MODELS, canonical("zhipuai/glm-5")]):
        found = CatalogIndex(models).match("elsewhere", ListedModel(id=model_id))
        assert found.canonical_id and found.variant == variant


def test_a_speed_that_is_in_the_models_own_id_is_no_variant() -> None:
    index = CatalogIndex([canonical("xai/grok-4-fast"), canonical("alibaba/qwen-turbo")])
    assert index.match("elsewhere", ListedModel(id="grok-4-fast")) == Match("xai/grok-4-fast", "alias")
    assert index.match("elsewhere", ListedModel(id="qwen-turbo")) == Match("alibaba/qwen-turbo", "alias")


@pytest.mark.parametrize("model_id", ["gemini-2.0-flash-thinking", "deepseek-r1-thinking", "qwen3-32b-thinking"])
def test_thinking_is_a_switch_only_where_the_family_has_one(model_id: str) -> None:
    index = CatalogIndex([*MODELS, canonical("google/gemini-2.0-flash")])
    assert index.match("elsewhere", ListedModel(id=model_id)) == UNKNOWN


def test_what_a_moving_name_means_the_provider_says() -> None:
    served = {"mistral": ("mistral-small-latest", "mistral-small-2501")}
    index = CatalogIndex(
        [canonical("mistral/mistral-small-2501", served=served), canonical("mistral/mistral-small-2603")]
    )
    moved = index.match("mistral", ListedModel(id="mistral-small-latest", canonical_slug="mistral-small-2603"))
    assert moved == Match("mistral/mistral-small-2603", "link", "", "latest")
    dated = index.match("mistral", ListedModel(id="mistral-small-2501", canonical_slug="mistral-small-2603"))
    assert dated.canonical_id == "mistral/mistral-small-2501"
    pointer = ListedModel(id="~mistralai/mistral-small-latest", canonical_slug="mistralai/mistral-small-2603")
    assert index.match("openrouter", pointer).canonical_id == "mistral/mistral-small-2603"


def test_a_strangers_copy_does_not_claim_a_labs_bare_name() -> None:
    copy, lab = canonical("pearl-ai/gemma-3-27b-it"), canonical("google/gemma-3-27b-it")
    assert CatalogIndex([copy, lab]).match("elsewhere", ListedModel(id="gemma-3-27b-it")).canonical_id == lab.id
    other = canonical("google/gemma-3-4b-it")
    alone = CatalogIndex([copy, other])
    assert alone.match("elsewhere", ListedModel(id="gemma-3-27b-it")) == UNKNOWN
    assert alone.match("elsewhere", ListedModel(id="pearl-ai/gemma-3-27b-it")).canonical_id == copy.id
    tuned = CatalogIndex([canonical("nvidia/llama-3.3-nemotron-super-49b"), canonical("meta/llama-3.3-70b")])
    assert tuned.match("elsewhere", ListedModel(id="llama-3.3-nemotron-super-49b")).canonical_id


def test_a_numbered_edition_is_the_model_at_the_provider_that_numbers_them() -> None:
    assert match("azure", "Llama-3.1-8B-Instruct-9").canonical_id == "meta/llama-3.1-8b-instruct"
    assert match("elsewhere", "Llama-3.1-8B-Instruct-9") == UNKNOWN
    assert match("azure", "claude-haiku-5") == UNKNOWN


@pytest.mark.parametrize(
    ("model_id", "canonical_id"),
    [
        ("qwen3-coder-480b-instruct", "alibaba/qwen3-coder-480b-a35b-instruct"),
        ("qwen3-coder-480b-a22b-instruct", None),
    ],
)
def test_the_active_size_of_a_mixture_may_be_left_out_but_never_differ(model_id: str, canonical_id: str | None) -> None:
    assert match("elsewhere", model_id).canonical_id == canonical_id


IDS = [model.id for model in MODELS]
PIECES = [
    "-",
    "/",
    ":",
    "@",
    ".",
    "v1:0",
    "us.",
    "-2506",
    "-fp8",
    "-20250101",
    "instruct",
    "3",
    "70b",
    ":free",
    "\n",
    "ß",
]
odd_ids = st.one_of(
    st.text(), st.lists(st.sampled_from([*PIECES, *IDS, *["gpt", "claude", "qwen", "mini"]]), max_size=8).map("".join)
)


@given(st.text(), odd_ids, odd_ids)
def test_no_id_makes_it_fail_and_what_it_finds_is_in_the_catalog(provider: str, model_id: str, link: str) -> None:
    model = ListedModel(id=model_id, canonical_slug=link, hugging_face_id=model_id)
    match_result = INDEX.match(provider, model)
    assert match_result == UNKNOWN or match_result.canonical_id in INDEX.models
    assert len(match_result.rule) <= 20
    assert all(candidate.canonical_id in INDEX.models for candidate in INDEX.candidates(provider, model))


@given(st.permutations(MODELS), odd_ids)
def test_the_order_of_the_models_does_not_count(models: list[CanonicalModel], model_id: str) -> None:
    model = ListedModel(id=model_id)
    assert CatalogIndex(models).match("elsewhere", model) == INDEX.match("elsewhere", model)


# --- candidates -------------------------------------------------------------------------------------------


def test_an_unknown_id_has_its_nearest_models_for_candidates_with_the_difference_named() -> None:
    first, *others = INDEX.candidates("elsewhere", ListedModel(id="meta-llama/llama-3.1-405b-instruct"), limit=3)
    assert first.canonical_id in {"meta/llama-3.1-8b-instruct", "meta/llama-3.1-70b-instruct"}
    assert first.reason.startswith("the id adds 405b; the catalog adds ")
    assert 0 < len(others) <= 2
    assert all(0 < other.score <= first.score <= 1 for other in others)


def test_an_id_that_fits_two_models_has_both_for_candidates() -> None:
    candidates = INDEX.candidates("elsewhere", ListedModel(id="shared-name"))
    assert [candidate.canonical_id for candidate in candidates[:2]] == ["one/shared-name", "two/shared-name"]
    assert candidates[0].reason == "the same words, and more than one model has them"


def test_what_resembles_nothing_has_no_candidates() -> None:
    assert INDEX.candidates("elsewhere", ListedModel(id="zzz-unheard-of")) == []


@pytest.mark.parametrize("model_id", ["auto", "Auto", "free", "router", "auto:free", "free-router", "bodybuilder"])
def test_a_servers_own_router_is_not_another_aggregators(model_id: str) -> None:
    """Public reports of 2026: maximhq/bifrost#5016, NousResearch/hermes-agent#22216."""
    routers = ("openrouter/auto", "openrouter/free", "openrouter/bodybuilder", "switchpoint/router", "acme/auto")
    index = CatalogIndex([CanonicalModel(id=one, lab=one.partition("/")[0], name=one) for one in routers])
    assert index.match("openai-compatible", ListedModel(id=model_id)).canonical_id is None
    assert index.match("openai-compatible", ListedModel(id="openrouter/auto")).canonical_id == "openrouter/auto"


def test_a_router_is_matched_where_a_source_declares_that_it_is_served() -> None:
    served = {"openrouter": ("openrouter/auto",), "hub": ("auto",)}
    index = CatalogIndex([CanonicalModel(id="openrouter/auto", lab="openrouter", name="Auto", served=served)])
    assert index.match("hub", ListedModel(id="auto")).canonical_id == "openrouter/auto"
    assert index.match("other", ListedModel(id="auto")).canonical_id is None
