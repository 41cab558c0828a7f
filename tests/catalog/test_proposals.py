"""What providers agree on is proposed; what they contradict each other about, or do not name, never is."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex
from app.catalog.proposals import Proposal, Sighting, canonical_id_problem, describe_evidence, propose, suggest_model

FREE = frozenset[str]()


def seen(provider: str, model_id: str, **facts: Any) -> Sighting:
    return Sighting(provider, ListedModel(id=model_id, **facts))


def proposed(*sightings: Sighting) -> Proposal | None:
    found = propose(sightings, FREE)
    assert len(found) <= 1
    return found[0] if found else None


def test_two_providers_that_agree_propose_a_model_with_their_facts() -> None:
    found = proposed(
        seen("chutes", "acme/Rocket-2-Instruct", context_length=128_000, tools=True),
        seen("openrouter", "acme/rocket-2-instruct", name="Acme: Rocket 2", context_length=128_000, vision=False),
    )
    assert found is not None
    assert (found.model.id, found.model.lab, found.model.name) == ("acme/rocket-2-instruct", "acme", "Rocket 2")
    assert (found.model.context_length, found.model.tools, found.model.vision) == (128_000, True, False)
    assert found.model.served == {"chutes": ("acme/Rocket-2-Instruct",), "openrouter": ("acme/rocket-2-instruct",)}
    assert found.agreed == ("context_length",)
    assert describe_evidence(found) == (
        "Listed alike by chutes (acme/Rocket-2-Instruct), openrouter (acme/rocket-2-instruct)."
    )


def test_one_provider_is_not_enough_however_often_it_lists_it() -> None:
    assert proposed(seen("groq", "acme/rocket-2"), seen("groq", "acme/rocket-2:free")) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"context_length": 128_000}, {"context_length": 131_072}),
        ({"max_output_tokens": 1}, {"max_output_tokens": 2}),
        ({"tools": True}, {"tools": False}),
        ({"reasoning": False}, {"reasoning": True}),
    ],
)
def test_a_contradiction_is_left_to_a_person(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert proposed(seen("groq", "acme/rocket-2", **one), seen("chutes", "acme/rocket-2", **other)) is None
    assert proposed(seen("groq", "acme/rocket-2", **one), seen("chutes", "acme/rocket-2")) is not None


def test_prices_need_not_agree_and_are_the_labs_own_or_none() -> None:
    dear, cheap = {"input_per_million": Decimal(9)}, {"input_per_million": Decimal(1)}
    reseller = proposed(seen("groq", "openai/gpt-9", **dear), seen("chutes", "openai/gpt-9", **cheap))
    assert reseller is not None and reseller.model.input_per_million is None
    made = datetime(2026, 11, 1, tzinfo=UTC)
    own = proposed(seen("groq", "openai/gpt-9", **dear), seen("openai", "gpt-9", created_at=made, **cheap))
    assert own is not None
    assert (own.model.input_per_million, own.model.released_on) == (Decimal(1), "2026-11-01")


def test_what_is_served_in_another_way_is_no_contradiction_and_no_name() -> None:
    found = proposed(
        seen("groq", "acme/rocket-2-fp8", context_length=128_000),
        seen("chutes", "acme/rocket-2", context_length=128_000),
        seen("chutes", "acme/rocket-2:free", context_length=8_000),
    )
    assert found is not None
    assert found.model.id == "acme/rocket-2"
    assert found.model.served == {"chutes": ("acme/rocket-2",), "groq": ("acme/rocket-2-fp8",)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acme/rocket-2", "acme/rocket-3"),
        ("acme/rocket-2-7b", "acme/rocket-2-70b"),
        ("acme/rocket-2", "acme/rocket-2-mini"),
        ("acme/rocket-2", "zeta/rocket-2"),
        ("rocket-2", "rocket-2"),
    ],
)
def test_other_sizes_versions_tiers_and_labs_are_not_one_model(one: str, other: str) -> None:
    assert proposed(seen("groq", one), seen("chutes", other)) is None


def test_what_the_catalog_has_is_not_proposed() -> None:
    sightings = [seen("groq", "acme/rocket-2"), seen("chutes", "acme/rocket-2")]
    assert propose(sightings, {"acme/rocket-2"}) == []


@given(st.permutations(["acme/rocket-2", "acme/Rocket-2", "acme/rocket-2-fp8", "acme/rocket-2:free"]))
def test_the_order_of_what_was_seen_does_not_matter(ids: list[str]) -> None:
    sightings = [seen(provider, model_id) for provider, model_id in zip(("a", "b", "c", "d"), sorted(ids), strict=True)]
    shuffled = sorted(sightings, key=lambda one: ids.index(one.model.id))
    assert propose(shuffled, FREE) == propose(sightings, FREE)


def test_an_adopted_model_is_matched_by_the_very_ids_that_proposed_it() -> None:
    sightings = [seen("groq", "acme/rocket-2-fp8"), seen("chutes", "acme/rocket-2")]
    found = proposed(*sightings)
    assert found is not None
    index = CatalogIndex([found.model])
    for sighting in sightings:
        match = index.match(sighting.provider, sighting.model)
        assert (match.canonical_id, match.rule) == (found.model.id, "exact")


# ------------------------------------------------------------------ made by hand


def test_a_form_starts_from_the_listing_and_leaves_open_whose_model_it_is_where_no_id_says_so() -> None:
    listed = ListedModel(id="acme/Rocket-2:free", context_length=8_000, input_per_million=Decimal(3))
    model = suggest_model("openrouter", listed)
    assert (model.id, model.lab, model.context_length) == ("acme/rocket-2", "acme", 8_000)
    assert model.input_per_million is None
    assert model.served == {"openrouter": ("acme/Rocket-2:free",)}
    nameless = suggest_model("groq", ListedModel(id="rocket-2"))
    assert (nameless.id, nameless.lab, nameless.name) == ("", "", "rocket-2")


@pytest.mark.parametrize("good", ["meta/llama-3.1-8b-instruct", "a/b", "google/gemini-2.5-pro@default"])
def test_ids_of_canonical_models(good: str) -> None:
    assert canonical_id_problem(good) is None


@pytest.mark.parametrize(
    "bad", ["", "llama", "Meta/Llama", "a/b/c", "a/ b", "a/b\n", "/b", "a/", "é/b", "a/" + "b" * 300]
)
def test_what_is_no_id_is_told_in_a_sentence(bad: str) -> None:
    complaint = canonical_id_problem(bad)
    assert complaint is not None and complaint.endswith(".")
