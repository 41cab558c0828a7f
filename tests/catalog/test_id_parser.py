"""What an id says: whose it is, its words, its date, and how it is served."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog import id_parser
from app.catalog.id_parser import identity_key


@pytest.mark.parametrize(
    ("model_id", "words"),
    [
        ("claude-3-5-sonnet", "claude 3.5 sonnet"),
        ("qwen2.5-coder-32b-instruct", "qwen 2.5 coder 32b instruct"),
        ("llama-v3p1-8b-instruct", "llama 3.1 8b instruct"),
        ("llama-3-8b", "llama 3 8b"),
        ("mixtral-8x7b-instruct-v0.1", "mixtral 8x7b instruct 0.1"),
        ("qwen3-235b-a22b", "qwen 3 235b a22b"),
        ("kimi-k2-5", "kimi k2.5"),
        ("glm-4-5v", "glm 4.5v"),
        ("gemini-2.0-flash", "gemini 2 flash"),
        ("gpt4o-mini", "gpt 4o mini"),
        ("grok-4-fast-non-reasoning", "grok 4 fast nonreasoning"),
        ("gpt-4-32k", "gpt 4 32k"),
    ],
)
def test_the_words_of_a_name(model_id: str, words: str) -> None:
    assert " ".join(id_parser.parse(model_id).words) == words


@pytest.mark.parametrize(
    ("model_id", "snapshot", "days"),
    [
        ("gpt-4o-2024-08-06", "2024-08-06", ()),
        ("gpt-4o-20240806", "20240806", ()),
        ("claude-sonnet-4@20250514", "20250514", ()),
        ("doubao-seed-1-6-250615", "250615", ()),
        ("claude-3-7-sonnet-latest", "latest", ()),
        ("kimi-k2-0905", "", ("0905",)),
        ("gemini-2.5-pro-preview-05-06", "", ("0506",)),
        ("command-r-08-2024", "", ("2408",)),
        ("mistral-large-2411", "", ("2411",)),
        ("qwen3-30b-a3b", "", ()),
        ("gpt-4o-2024", "", ()),
        ("model-20241399", "", ()),
    ],
)
def test_a_whole_date_is_a_snapshot_and_a_part_of_one_can_be_the_version(
    model_id: str, snapshot: str, days: tuple[str, ...]
) -> None:
    name = id_parser.parse(model_id)
    assert (name.snapshot, name.days) == (snapshot, days)


@pytest.mark.parametrize(
    ("model_id", "org"),
    [
        ("gpt-4o", ""),
        ("openai/gpt-4o", "openai"),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", "anthropic"),
        ("accounts/fireworks/models/glm-4p6", ""),
        ("workers-ai/@cf/meta/llama-3.1-8b", "meta"),
        ("qwen/qwenLM/models/Qwen3-8B", "qwen"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-4", "anthropic"),
        ("openai-gpt-5", "openai"),
        ("minimax-m2", ""),
        ("mistral-small", ""),
        ("somebody/model-7b", "somebody"),
    ],
)
def test_the_organisation_is_who_made_it_and_not_who_serves_it(model_id: str, org: str) -> None:
    assert id_parser.parse(model_id).org == org


@pytest.mark.parametrize(
    "word", ["fp8", "nvfp4", "mxfp4", "int4", "awq", "gguf", "4bit", "q4km", "w8a8", "bf16", "tee", "maas", "free"]
)
def test_quantisations_and_contracts_say_how_it_is_served(word: str) -> None:
    assert id_parser.is_serving(word)


@pytest.mark.parametrize(
    "word", ["flash", "mini", "8b", "turbo", "vl", "coder", "instruct", "fp", "o3", "k2", "search"]
)
def test_sizes_tiers_and_specialities_do_not(word: str) -> None:
    assert not id_parser.is_serving(word)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anthropic/claude-3.5-sonnet", "us.anthropic.claude-3-5-sonnet-20241022-v1:0"),
        ("claude-sonnet-4.5", "anthropic/claude-4-5-sonnet:free"),
        ("Qwen/Qwen3-8B", "qwen3-8b-fp8"),
        ("accounts/fireworks/models/glm-4p6", "zai-org/GLM-4.6"),
        ("gemini-2.5-pro", "models/Gemini-2.5-Pro"),
    ],
)
def test_ids_of_two_providers_with_one_key_are_one_model(one: str, other: str) -> None:
    assert identity_key(one) == identity_key(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("new-8b", "new-70b"),
        ("new-mini", "new-nano"),
        ("new-3.5", "new-3.6"),
        ("new-8b-instruct", "new-8b-base"),
        ("new-vl", "new"),
        ("new-0905", "new-0711"),
        ("one/new-8b", "two/new-8b"),
        ("new-2-and-3", "new-3-and-2"),
        ("new-fast", "new"),
    ],
)
def test_ids_with_two_keys_are_not_taken_for_one_model(one: str, other: str) -> None:
    assert identity_key(one) != identity_key(other)


def test_what_names_no_model_has_no_key() -> None:
    assert [identity_key(text) for text in ("", "/", ":free", "-", " ", "fp8")] == [""] * 6


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    name = id_parser.parse(text)
    assert "" not in (*name.words, *name.tags)
    assert isinstance(identity_key(text), str)
