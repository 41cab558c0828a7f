"""Overrides: the documents' JSON to the letter, prices to the digit, and the merge person → provider → catalog."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.effective import (
    EffectiveFacts,
    FactConflict,
    effective_facts,
    find_conflicts,
    is_first_party,
)
from app.catalog.listing import CAPABILITIES, ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex
from app.catalog.override_files import format_file, format_line, parse_file
from app.catalog.overrides import (
    FACT_FIELDS,
    HIGHEST_PRIORITY,
    Override,
    OverrideError,
    build_override,
    decode_override,
    derive_override,
    merge,
    parse_override,
    resolve_canonical_id,
    to_json,
)

# The three examples of the owner's "Provider Model Synchronization Guide", to the letter.
EMPTY = """\
{
  "provider_id": "groq",
  "model_id": "llama-3.1-8b",
  "priority": 0
}"""
DIFFERENT = """\
{
  "provider_id": "provider-x",
  "model_id": "gpt-4",
  "priority": 0,
  "pricing": {
    "input": { "per_million_tokens": 5.0, "currency": "USD" },
    "output": { "per_million_tokens": 15.0, "currency": "USD" }
  },
  "limits": {
    "context_window": 32000
  }
}"""
MANUAL = """\
{
  "provider_id": "custom-provider",
  "model_id": "special-model",
  "priority": 100,
  "reason": "Custom pricing negotiated with provider",
  "pricing": {
    "input": { "per_million_tokens": 1.0, "currency": "USD" },
    "output": { "per_million_tokens": 2.0, "currency": "USD" }
  }
}"""
DOCUMENTED = (EMPTY, DIFFERENT, MANUAL)

GPT = CanonicalModel(
    id="openai/gpt",
    lab="openai",
    name="GPT",
    input_modalities=("text", "image"),
    context_length=128_000,
    max_output_tokens=16_384,
    tools=True,
    vision=True,
    reasoning=False,
    input_per_million=Decimal("2.5"),
    output_per_million=Decimal(10),
    deprecated_on="2026-01-01",
    retires_on="2026-12-31",
    successor="openai/gpt-next",
)
LISTED = ListedModel(id="gpt")


def only(text: str) -> Override:
    (entry,) = parse_file(text, "overrides.json")
    return entry.override


def override(priority: int = 100, **facts: Any) -> Override:
    return build_override("openai", "openai/gpt", priority, facts, "because")


# ------------------------------------------------------------------ the documents' form


@pytest.mark.parametrize("text", DOCUMENTED)
def test_the_examples_of_the_documents_are_read_and_written_to_the_letter(text: str) -> None:
    assert json.loads(format_file([only(text)])) == [json.loads(text)]
    assert json.loads(format_line(only(text))) == json.loads(text)
    assert only(f"[{text}]") == only(text)


def test_the_examples_say_what_the_documents_say() -> None:
    assert only(EMPTY) == Override(provider_id="groq", model_id="llama-3.1-8b", priority=0)
    assert only(EMPTY).facts == {} and not only(EMPTY).is_manual
    assert only(DIFFERENT).facts == {
        "input_per_million": Decimal("5.0"),
        "output_per_million": Decimal("15.0"),
        "context_length": 32_000,
    }
    assert only(MANUAL).is_manual and only(MANUAL).reason == "Custom pricing negotiated with provider"


@pytest.mark.parametrize("written", ["0.1", "1e-7", "1.10", "5.0", "3", "0.000000001", "100000", "0"])
def test_a_price_keeps_every_digit(written: str) -> None:
    text = MANUAL.replace("1.0,", f"{written},")
    assert only(text).facts["input_per_million"] == Decimal(written)
    assert str(only(format_line(only(text))).facts["input_per_million"]) == str(Decimal(written))
    assert parse_override(to_json(only(text))) == decode_override(to_json(only(text))) == only(text)
    assert to_json(only(text))["pricing"]["input"]["per_million_tokens"] == str(Decimal(written))


def test_capabilities_may_be_spelled_as_in_the_documents() -> None:
    said = {
        "function_calling": True,
        "REASONING": False,
        "Structured-Outputs": True,
        "streaming": True,
        "vision": False,
    }
    read = parse_override({"provider_id": "a", "model_id": "b", "priority": 100, "capabilities": said})
    assert read.capabilities == {
        "tools": True,
        "reasoning": False,
        "structured_output": True,
        "streaming": True,
        "vision": False,
    }


def test_parts_that_say_nothing_are_left_out() -> None:
    nothing: dict[str, Any] = {"pricing": {}, "limits": {"context_window": None}, "capabilities": {}}
    assert parse_override({"provider_id": "a", "model_id": "b", "priority": 1, **nothing}) == Override(
        provider_id="a", model_id="b", priority=1
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"priority": "high"}, "priority has to be a whole number, not text."),
        ({"priority": True}, "priority has to be a whole number, not true or false."),
        ({"priority": -1}, "priority has to be between 0 and 1000000, not -1."),
        ({"priority": HIGHEST_PRIORITY + 1}, "priority has to be between 0 and 1000000, not 1000001."),
        ({"provider_id": ""}, "provider_id has to be 1 to 300 printable characters."),
        ({"model_id": "x" * 301}, "model_id has to be 1 to 300 printable characters."),
        ({"model_id": "a\x1b[2J"}, "model_id has to be 1 to 300 printable characters."),
        ({"model_id": None}, "model_id has to be text, not null."),
        ({"reason": "\x00"}, "reason has to be at most 2000 printable characters."),
        ({"reason": "\ud800"}, "reason has to be at most 2000 printable characters."),
        ({"price": 1}, '"price" is no field of an override.'),
        ({"limits": {"context": 1}}, '"limits.context" is no field of an override.'),
        (
            {"limits": {"context_window": 0}},
            "limits.context_window has to be between 1 and 9007199254740991 tokens, not 0.",
        ),
        (
            {"limits": {"context_window": Decimal("32.5")}},
            "limits.context_window has to be a whole number, not a number with decimals.",
        ),
        ({"limits": {"max_output_tokens": "4k"}}, "limits.max_output_tokens has to be a whole number, not text."),
        ({"limits": []}, "limits has to be an object, not a list."),
        ({"capabilities": {"cooking": True}}, 'capabilities: "cooking" is none of streaming, tools, vision, reasoning'),
        ({"capabilities": {"tools": "yes"}}, "capabilities.tools has to be true or false."),
        ({"capabilities": {"tools": True, "function_calling": False}}, "capabilities: tools is both true and false."),
        ({"pricing": {"input": 5}}, "pricing.input has to be an object, not a whole number."),
        ({"pricing": {"input": {}}}, "pricing.input.per_million_tokens is missing."),
        (
            {"pricing": {"input": {"per_million_tokens": "cheap"}}},
            "pricing.input.per_million_tokens has to be a number.",
        ),
        (
            {"pricing": {"input": {"per_million_tokens": 5, "currency": "EUR"}}},
            'pricing.input.currency has to be USD, not "EUR": prices are kept in US dollars only.',
        ),
        (
            {"pricing": {"output": {"per_million_tokens": -1}}},
            "pricing.output.per_million_tokens has to be between 0 and 100000 USD, not -1.",
        ),
        (
            {"pricing": {"cache_read": {"per_million_tokens": 1_000_000}}},
            "pricing.cache_read.per_million_tokens has to be between 0 and 100000 USD, not 1000000.",
        ),
        (
            {"pricing": {"cache_write": {"per_million_tokens": float("nan")}}},
            "pricing.cache_write.per_million_tokens has to be between 0 and 100000 USD, not NaN.",
        ),
        (
            {"pricing": {"input": {"per_million_tokens": Decimal("1e-10")}}},
            "pricing.input.per_million_tokens has more than 9 decimals: 1E-10.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_field(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OverrideError) as caught:
        parse_override({"provider_id": "groq", "model_id": "b", "priority": 100, **change})
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "o.json, line 1: this is not valid JSON (expecting value)."),
        ("<html>", "o.json, line 1: this is not valid JSON (expecting value)."),
        (f"[\n{EMPTY},\n", "o.json, line 7: this is not valid JSON (expecting value)."),
        (f"[\n{EMPTY}\n{EMPTY}]", "o.json, line 7: this is not valid JSON (expecting ',' or ']')."),
        (f"{EMPTY}\n{EMPTY}", "o.json, line 6: this is not valid JSON (extra data)."),
        (f"[\n{EMPTY},\n]", "o.json, line 7: this is not valid JSON (expecting value)."),
        ("[,]", "o.json, line 1: this is not valid JSON (expecting value)."),
        ("]", "o.json, line 1: this is not valid JSON (expecting value)."),
        ("[] []", "o.json, line 1: this is not valid JSON (extra data)."),
        ('[\n\n{"priority": 1}]', "o.json, entry 1 (line 3): provider_id is missing."),
        (
            f"[\n{EMPTY},\n{EMPTY},\n  7]",
            "o.json, entry 3 (line 12): An override has to be an object, not a whole number.",
        ),
        (EMPTY.replace("}", ', "priority": 5}'), 'o.json, entry 1 (line 1): "priority" is there twice.'),
        (
            DIFFERENT.replace("32000", '1, "context_window": 2'),
            'o.json, entry 1 (line 1): "context_window" is there twice.',
        ),
        (
            DIFFERENT.replace("32000", "9" * 5000),
            "o.json, entry 1 (line 1): limits.context_window has to be between 1 and 9007199254740991 tokens",
        ),
        (
            DIFFERENT.replace(": 5.0", ": NaN"),
            "o.json, entry 1 (line 1): pricing.input.per_million_tokens has to be between",
        ),
        (
            DIFFERENT.replace(": 5.0", ": 1e" + "9" * 20),
            "o.json, entry 1 (line 1): pricing.input.per_million_tokens has",
        ),
        (DIFFERENT.replace(": 5.0", ": 0." + "1" * 9999), "o.json, entry 1 (line 1): pricing.input.per_million_tokens"),
        (DIFFERENT.replace(": 5.0", ": -1" + "1" * 9999), "o.json, entry 1 (line 1): pricing.input.per_million_tokens"),
        ("[" * 100_000, "o.json, line 1: this is not valid JSON (nested too deeply)."),
    ],
)
def test_a_bad_file_is_refused_naming_entry_and_line(text: str, sentence: str) -> None:
    with pytest.raises(OverrideError) as caught:
        parse_file(text, "o.json")
    assert str(caught.value).startswith(sentence)
    assert len(str(caught.value)) < 300


def test_an_empty_array_and_a_byte_order_mark_are_fine() -> None:
    assert parse_file("[]", "o.json") == [] and parse_file(" [ ]\n", "o.json") == []
    assert only("\ufeff" + EMPTY) == only(EMPTY)


_prices = st.decimals(min_value=0, max_value=100_000, places=9).map(lambda price: price.copy_abs())
_overrides = st.builds(
    lambda provider, model, priority, reason, facts: build_override(provider, model, priority, facts, reason),
    st.sampled_from(["openai", "groq", "x"]),
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=300),
    st.integers(0, HIGHEST_PRIORITY),
    st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" \n\t"), max_size=200),
    st.fixed_dictionaries(
        {},
        optional={
            "context_length": st.integers(1, 2**53 - 1),
            "max_output_tokens": st.integers(1, 2**53 - 1),
            **{name: st.booleans() for name in CAPABILITIES},
            "input_per_million": _prices,
            "output_per_million": _prices,
            "cache_read_per_million": _prices,
            "cache_write_per_million": _prices,
        },
    ),
)


@given(st.lists(_overrides, max_size=6))
def test_what_is_exported_can_be_imported_again(found: list[Override]) -> None:
    text = format_file(found)
    again = [entry.override for entry in parse_file(text, "o.json")]
    assert sorted(map(format_line, again)) == sorted(map(format_line, found))
    assert format_file(again) == text
    for one in found:
        assert parse_override(to_json(one)) == one
        assert build_override(one.provider_id, one.model_id, one.priority, one.facts, one.reason) == one


# ------------------------------------------------------------------ who is meant


def test_a_plain_name_of_a_model_means_it_and_a_variant_or_a_snapshot_does_not() -> None:
    index = CatalogIndex([CanonicalModel(id="openai/gpt-4", lab="openai", name="GPT-4", aliases=("gpt-four",))])
    assert resolve_canonical_id(index, "groq", "openai/gpt-4") == "openai/gpt-4"
    assert resolve_canonical_id(index, "groq", "gpt-4") == "openai/gpt-4"
    assert resolve_canonical_id(index, "groq", "gpt-four") == "openai/gpt-4"
    for said in ("openai/gpt-4:free", "gpt-4-2024-08-06", "gpt-4o", "special-model"):
        assert resolve_canonical_id(index, "groq", said) is None


def test_a_labs_own_provider_is_known() -> None:
    assert is_first_party("openai", GPT) and not is_first_party("openrouter", GPT) and not is_first_party("azure", GPT)
    gemini = CanonicalModel(id="google/g", lab="google", name="G")
    assert (
        is_first_party("google", gemini)
        and is_first_party("google-vertex", gemini)
        and not is_first_party("google-vertex", GPT)
    )


# ------------------------------------------------------------------ made by sync


def test_an_identical_model_makes_an_empty_override() -> None:
    same = ListedModel(id="gpt", context_length=128_000, tools=True, input_per_million=Decimal("2.50"))
    for listed in (LISTED, same):
        assert derive_override("openrouter", GPT, listed) == Override(
            provider_id="openrouter", model_id="openai/gpt", priority=0
        )


def test_only_differences_are_recorded_and_the_unsaid_is_none() -> None:
    listed = ListedModel(
        id="gpt",
        context_length=32_000,
        max_output_tokens=16_384,
        tools=False,
        structured_output=True,
        input_per_million=Decimal(5),
        output_per_million=Decimal(0),
    )
    made = derive_override("provider-x", GPT, listed)
    assert json.loads(format_line(made)) == {
        "provider_id": "provider-x",
        "model_id": "openai/gpt",
        "priority": 0,
        "pricing": {
            "input": {"per_million_tokens": 5, "currency": "USD"},
            "output": {"per_million_tokens": 0, "currency": "USD"},
        },
        "limits": {"context_window": 32000},
        "capabilities": {"tools": False, "structured_output": True},
    }


_facts = st.fixed_dictionaries(
    {},
    optional={
        "context_length": st.sampled_from([1, 2, 3]),
        "tools": st.booleans(),
        "vision": st.booleans(),
        "input_per_million": st.sampled_from([Decimal(0), Decimal("1.0"), Decimal("1")]),
    },
)


@given(_facts, _facts)
def test_the_catalog_with_the_override_over_it_is_all_that_is_known(base: dict[str, Any], own: dict[str, Any]) -> None:
    canonical = CanonicalModel(id="lab/m", lab="lab", name="M", **base)
    assert base | derive_override("host", canonical, ListedModel(id="m", **own)).facts == base | own


# ------------------------------------------------------------------ the merge


def test_the_person_comes_before_the_provider_and_the_provider_before_the_catalog() -> None:
    listed = ListedModel(id="gpt", context_length=64_000, tools=False, vision=False, output_per_million=Decimal(9))
    decided = override(context_length=32_000, tools=True, input_per_million=Decimal(1))
    facts = effective_facts("openai", GPT, listed, decided)
    assert (facts.context_length, facts.tools, facts.input_per_million) == (32_000, True, 1)
    assert (facts.vision, facts.output_per_million) == (False, 9)
    assert (facts.max_output_tokens, facts.reasoning, facts.input_modalities) == (16_384, False, ("text", "image"))
    assert facts.structured_output is None and facts.cache_read_per_million is None


def test_a_resellers_unsaid_price_is_unknown_and_the_labs_own_is_the_list_price() -> None:
    assert effective_facts("openai", GPT, LISTED).input_per_million == Decimal("2.5")
    assert effective_facts("openrouter", GPT, LISTED).input_per_million is None
    assert effective_facts("openai", GPT, LISTED, variant="batch").input_per_million is None
    assert effective_facts("openrouter", GPT, LISTED).context_length == 128_000


def test_a_persons_price_does_not_make_a_free_variant_cost() -> None:
    free = ListedModel(id="gpt:free", input_per_million=Decimal(0))
    decided = override(input_per_million=Decimal(3), tools=False)
    assert effective_facts("openrouter", GPT, free, decided, "free").input_per_million == 0
    assert effective_facts("openrouter", GPT, free, decided, "free").tools is False
    assert effective_facts("openrouter", GPT, free, decided, "turbo").input_per_million == 3


def test_nothing_is_invented_for_an_unknown_model() -> None:
    facts = effective_facts("groq", None, ListedModel(id="m", kind="image", tools=False))
    assert (facts.name, facts.kind, facts.tools, facts.vision) == ("m", "image", False, None)
    assert (facts.deprecated_on, facts.successor) == ("", "")


def test_the_kind_stays_the_listings() -> None:
    assert effective_facts("openai", GPT, ListedModel(id="gpt", kind="image")).kind == "image"


def test_days_come_from_the_provider_or_to_the_lab_s_own_one_from_the_catalog() -> None:
    own = ListedModel(id="gpt", retires_at=datetime(2027, 3, 1, 23, tzinfo=UTC))
    facts = effective_facts("openai", GPT, own)
    assert (facts.deprecated_on, facts.retires_on, facts.successor) == ("2026-01-01", "2027-03-01", "openai/gpt-next")
    for is_open in (True, False):
        model = CanonicalModel(id="meta/l", lab="meta", name="L", open_weights=is_open, retires_on="2026-12-31")
        assert effective_facts("groq", model, LISTED).retires_on == "", "a reseller stops on a day of its own"
        assert effective_facts("meta", model, LISTED).retires_on == "2026-12-31"
        assert effective_facts("groq", model, own).retires_on == "2027-03-01"


@given(_facts, _facts, st.one_of(st.none(), _facts), st.sampled_from(["lab", "host"]))
def test_every_field_has_the_value_of_a_source(
    base: dict[str, Any], own: dict[str, Any], decided: dict[str, Any] | None, provider: str
) -> None:
    canonical = CanonicalModel(id="lab/m", lab="lab", name="M", **base)
    listed = ListedModel(id="m", **own)
    manual = build_override(provider, "lab/m", 100, decided) if decided is not None else None
    facts = effective_facts(provider, canonical, listed, manual)
    for field in FACT_FIELDS:
        value = getattr(facts, field)
        sources = [source for source in (decided or {}, own, base) if source.get(field) is not None]
        assert value is None or value == sources[0][field]


def test_of_several_overrides_the_highest_priority_wins_field_by_field() -> None:
    low, high = override(100, tools=True, context_length=1), override(200, context_length=2)
    assert merge([high, low]) == merge([low, high]) == override(200, tools=True, context_length=2)
    assert merge([low]) is low
    with pytest.raises(ValueError, match="no override"):
        merge([])


def test_twelve_thousand_models_take_no_time() -> None:
    listed = [ListedModel(id=f"gpt-{number}", context_length=number) for number in range(1, 12_001)]
    decided = override(tools=False)
    started = time.process_time()
    for model in listed:
        facts = effective_facts("openai", GPT, model, decided if model.context_length == 1 else None)
        assert isinstance(facts, EffectiveFacts)
    assert time.process_time() - started < 0.25


# ------------------------------------------------------------------ conflicts


def fields(provider: str, listed: ListedModel, manual: Override | None = None, variant: str = "") -> list[str]:
    return [conflict.field for conflict in find_conflicts(provider, GPT, listed, manual, variant)]


def test_agreement_and_silence_are_no_conflict() -> None:
    assert fields("openai", LISTED) == []
    assert find_conflicts("openai", None, ListedModel(id="m", tools=False)) == []


def test_what_cannot_both_be_true_is_a_conflict() -> None:
    listed = ListedModel(id="gpt", kind="image", context_length=256_000, vision=False, reasoning=True)
    assert find_conflicts("openrouter", GPT, listed) == [
        FactConflict("kind", "chat", "image"),
        FactConflict("context_length", 128_000, 256_000),
        FactConflict("vision", True, False),
        FactConflict("reasoning", False, True),
    ]


def test_a_hosts_own_limits_and_prices_are_no_conflict_but_the_labs_are() -> None:
    listed = ListedModel(id="gpt", context_length=32_000, tools=False, input_per_million=Decimal(5))
    assert fields("openrouter", listed) == []
    assert fields("openai", listed) == ["context_length", "tools", "input_per_million"]
    assert fields("openai", listed, variant="batch") == []


def test_two_spellings_of_a_limit_and_a_finer_kind_are_no_conflict() -> None:
    assert fields("openai", ListedModel(id="gpt", context_length=131_072)) == []
    assert fields("openai", ListedModel(id="gpt", kind="other")) == []
    whisper = CanonicalModel(id="openai/w", lab="openai", name="W", kind="audio")
    assert find_conflicts("openai", whisper, ListedModel(id="w", kind="transcription")) == []


def test_a_field_that_a_person_settled_is_no_conflict() -> None:
    listed = ListedModel(id="gpt", vision=False, reasoning=True)
    assert fields("openrouter", listed, override(vision=False)) == ["reasoning"]
