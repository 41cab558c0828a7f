"""The canonical catalog out of seed, sources and decisions: who is believed about what."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog.claim_matching import SourceData
from app.catalog.differences import diff_catalogs
from app.catalog.listing import PriceTier
from app.catalog.matching import CanonicalModel
from app.catalog.merge import ManualDecisions, merge, sources_by_field
from app.catalog.sources.claims import Claim
from app.providers import PROVIDERS

GPT = CanonicalModel(
    id="openai/gpt-9",
    lab="openai",
    name="GPT-9",
    served={"openai": ("gpt-9",)},
    context_length=100_000,
    tools=True,
    input_per_million=Decimal(10),
    output_per_million=Decimal(30),
    cache_read_per_million=Decimal(1),
    source="m",
    field_sources={"tools": "l"},
)
LLAMA = CanonicalModel(id="meta/llama-9-8b", lab="meta", name="Llama 9 8B", context_length=128_000, source="l")
SEED = (LLAMA, GPT)  # in the order of their ids


def own(**facts: Any) -> Claim:
    return Claim(provider="openai", model_id="gpt-9", lab="openai", **facts)


def merged(*told: SourceData, decisions: ManualDecisions | None = None) -> dict[str, CanonicalModel]:
    return {model.id: model for model in merge(SEED, told, decisions or ManualDecisions(), PROVIDERS)}


def gpt(*told: SourceData, decisions: ManualDecisions | None = None) -> CanonicalModel:
    return merged(*told, decisions=decisions)["openai/gpt-9"]


def models_dev(*claims: Claim, is_fresh: bool = True) -> SourceData:
    return SourceData("modelsdev", claims, is_fresh)


def lite_llm(*claims: Claim) -> SourceData:
    return SourceData("litellm", claims)


def test_without_news_the_seed_is_the_catalog() -> None:
    assert merge(SEED, [], ManualDecisions(), PROVIDERS) == SEED


def test_a_live_source_replaces_the_seeds_older_facts_and_is_named_for_them() -> None:
    model = gpt(models_dev(own(context_length=200_000)))
    assert model.context_length == 200_000
    assert sources_by_field(model) | {"name": "", "kind": ""} == {
        "name": "",
        "kind": "",
        "context_length": "modelsdev",
        "tools": "l",
        "input_per_million": "m",
        "output_per_million": "m",
        "cache_read_per_million": "m",
    }


def test_a_source_that_is_older_than_the_seed_fills_gaps_only() -> None:
    model = gpt(models_dev(own(context_length=200_000, max_output_tokens=50), is_fresh=False))
    assert (model.context_length, model.max_output_tokens) == (100_000, 50)


def test_models_dev_is_believed_before_litellm() -> None:
    model = gpt(lite_llm(own(context_length=1, tools=False)), models_dev(own(context_length=200_000)))
    assert (model.context_length, model.tools) == (200_000, False)


def test_litellm_does_not_outdo_what_the_seed_has_from_models_dev() -> None:
    model = gpt(lite_llm(own(context_length=90_000, tools=False)))
    assert (model.context_length, model.tools) == (100_000, False)


def test_a_hosts_smaller_context_does_not_replace_the_models() -> None:
    at_groq = Claim(provider="groq", model_id="llama-9-8b", context_length=8_000, reasoning=True)
    llama = merged(models_dev(at_groq))["meta/llama-9-8b"]
    assert (llama.context_length, llama.reasoning) == (128_000, True)


def test_a_price_is_the_labs_and_comes_whole_from_one_place() -> None:
    reseller = Claim(provider="azure", model_id="gpt-9", input_per_million=Decimal(1), output_per_million=Decimal(1))
    assert gpt(models_dev(reseller)).input_per_million == Decimal(10)
    cheaper = own(input_per_million=Decimal(5), output_per_million=Decimal(15))
    model = gpt(models_dev(reseller, cheaper))
    assert (model.input_per_million, model.output_per_million, model.cache_read_per_million) == (5, 15, None)


def test_a_cache_price_of_the_same_list_price_is_kept() -> None:
    same = own(input_per_million=Decimal(10), output_per_million=Decimal(30))
    model = gpt(models_dev(same))
    assert model.cache_read_per_million == 1
    assert sources_by_field(model)["input_per_million"] == "modelsdev"
    assert sources_by_field(model)["cache_read_per_million"] == "m"


LONG, LONGER = (PriceTier(200_000, Decimal(20), Decimal(45)),), (PriceTier(272_000, Decimal(20), Decimal(45)),)
TIERED = msgspec.structs.replace(GPT, price_tiers=LONG, field_sources={"tools": "l", "price_tiers": "l"})
SAME_PRICE = {"input_per_million": Decimal(10), "output_per_million": Decimal(30)}
LOWER_PRICE = {"input_per_million": Decimal(5), "output_per_million": Decimal(15)}


def tiered(*told: SourceData, decisions: ManualDecisions | None = None) -> tuple[tuple[PriceTier, ...], str | None]:
    (model,) = merge([TIERED], told, decisions or ManualDecisions(), PROVIDERS)
    return model.price_tiers, sources_by_field(model).get("price_tiers")


def test_prices_for_long_input_come_with_the_main_prices_they_belong_to() -> None:
    assert gpt(models_dev(own(price_tiers=LONGER))).price_tiers == ()
    assert tiered(models_dev(own(**SAME_PRICE, price_tiers=LONGER))) == (LONGER, "modelsdev")
    assert tiered(models_dev(own(**LOWER_PRICE))) == ((), None)
    assert tiered(models_dev(own(**LOWER_PRICE)), lite_llm(own(**SAME_PRICE, price_tiers=LONG))) == ((), None)
    assert tiered(models_dev(own(**SAME_PRICE)), lite_llm(own(**SAME_PRICE, price_tiers=LONGER))) == (LONGER, "litellm")


def test_a_reseller_names_no_price_for_long_input() -> None:
    at_azure = Claim(provider="azure", model_id="gpt-9", **SAME_PRICE, price_tiers=LONGER)
    assert tiered(models_dev(at_azure)) == (LONG, "l")


def test_prices_for_long_input_end_when_their_own_source_has_them_no_more() -> None:
    assert tiered(models_dev(own(**SAME_PRICE))) == (LONG, "l")
    assert tiered(lite_llm(own(**SAME_PRICE))) == ((), None)
    assert tiered(SourceData("litellm", (own(**SAME_PRICE),), is_fresh=False)) == (LONG, "l")


def test_prices_for_long_input_go_when_a_person_names_another_price_and_stay_when_they_name_them() -> None:
    other = {("openai/gpt-9", "input_per_million"): "8"}
    both = {**other, ("openai/gpt-9", "price_tiers"): [{"above_tokens": 272_000, "input_per_million": "20"}]}
    made = msgspec.structs.replace(GPT, input_per_million=Decimal(8), field_sources={})
    assert tiered(decisions=ManualDecisions(fields=other)) == ((), None)
    assert tiered(decisions=ManualDecisions(fields=both)) == ((PriceTier(272_000, Decimal(20)),), "person")
    assert tiered(decisions=ManualDecisions(models={GPT.id: made})) == ((), None)
    assert tiered(decisions=ManualDecisions(fields={("openai/gpt-9", "tools"): False})) == (LONG, "l")


def test_a_free_or_half_a_price_is_no_list_price() -> None:
    free = own(input_per_million=Decimal(0), output_per_million=Decimal(0))
    half = own(input_per_million=Decimal(1))
    assert gpt(models_dev(free)).input_per_million == gpt(models_dev(half)).input_per_million == Decimal(10)


def test_a_resellers_no_is_not_believed() -> None:
    model = gpt(models_dev(Claim(provider="azure", model_id="gpt-9", vision=False, reasoning=True)))
    assert (model.vision, model.reasoning) == (None, True)


def test_a_gateway_fills_what_nobody_else_knows_and_names_no_price() -> None:
    listed = Claim(
        provider="openrouter",
        model_id="openai/gpt-9",
        lab="openai",
        context_length=5,
        max_output_tokens=4,
        input_per_million=Decimal(1),
        output_per_million=Decimal(1),
    )
    model = gpt(SourceData("openrouter", (listed,)))
    assert (model.context_length, model.max_output_tokens, model.input_per_million) == (100_000, 4, Decimal(10))


def test_a_model_that_vanished_from_its_source_stays_with_the_seeds_facts() -> None:
    model = gpt(models_dev(own(context_length=7, max_output_tokens=3, vanished_on="2026-11-01")))
    assert (model.context_length, model.max_output_tokens) == (100_000, 3)


# ------------------------------------------------------------------ models that only live sources know


def test_an_unknown_id_of_a_lab_becomes_a_model_with_all_who_serve_it() -> None:
    told = models_dev(
        Claim(provider="anthropic", model_id="claude-zebra-7-20270101", lab="anthropic", context_length=10),
        Claim(provider="anthropic", model_id="claude-zebra-7", lab="anthropic", name="Claude Zebra 7 (latest)"),
        Claim(provider="nobody", model_id="claude-zebra-7"),
    )
    gateway = SourceData(
        "openrouter", (Claim(provider="openrouter", model_id="anthropic/claude-zebra-7", lab="anthropic"),)
    )
    model = merged(told, gateway)["anthropic/claude-zebra-7"]
    assert (model.name, model.kind, model.context_length) == ("Claude Zebra 7", "chat", 10)
    assert model.served == {
        "anthropic": ("claude-zebra-7", "claude-zebra-7-20270101"),
        "openrouter": ("anthropic/claude-zebra-7",),
    }
    assert set(sources_by_field(model).values()) == {"modelsdev"}


def test_an_unknown_id_without_a_lab_becomes_nothing() -> None:
    assert merged(models_dev(Claim(provider="groq", model_id="mystery-1"))).keys() == {model.id for model in SEED}


def test_a_vanished_model_that_only_its_source_knew_stays() -> None:
    gone = Claim(provider="openai", model_id="gpt-zebra", lab="openai", context_length=9, vanished_on="2026-11-01")
    assert merged(models_dev(gone))["openai/gpt-zebra"].context_length == 9


# ------------------------------------------------------------------ people


def test_a_persons_decision_outlives_every_source() -> None:
    decided = ManualDecisions(
        fields={
            ("openai/gpt-9", "context_length"): 123,
            ("openai/gpt-9", "input_per_million"): "2.5",
            ("openai/gpt-9", "tools"): None,
            ("openai/gpt-9", "context_window"): "no such field",
            ("openai/nobody", "tools"): True,
        }
    )
    told = own(context_length=5, input_per_million=Decimal(1), output_per_million=Decimal(1), tools=False)
    model = gpt(models_dev(told), decisions=decided)
    assert (model.context_length, model.input_per_million, model.tools) == (123, Decimal("2.5"), None)
    assert sources_by_field(model)["context_length"] == sources_by_field(model)["input_per_million"] == "person"


@pytest.mark.parametrize(("field", "value"), [("context_length", "many"), ("kind", "nonsense"), ("name", "")])
def test_a_decision_that_fits_no_more_is_passed_over(field: str, value: Any) -> None:
    assert gpt(decisions=ManualDecisions(fields={("openai/gpt-9", field): value})) == GPT


def test_a_persons_model_is_in_the_catalog_and_takes_what_sources_add() -> None:
    made = CanonicalModel(id="me/mine-1", lab="me", name="Mine", context_length=5, served={"groq": ("mine-1",)})
    told = models_dev(Claim(provider="groq", model_id="mine-1", context_length=6, max_output_tokens=2))
    model = merged(told, decisions=ManualDecisions(models={"me/mine-1": made}))["me/mine-1"]
    assert (model.context_length, model.max_output_tokens) == (5, 2)
    assert (
        sources_by_field(model)["context_length"] == "person"
        and sources_by_field(model)["max_output_tokens"] == "modelsdev"
    )


def test_a_persons_model_goes_before_a_seed_that_learnt_of_it_later() -> None:
    made = CanonicalModel(id="openai/gpt-9", lab="openai", name="Mine", context_length=5, served={"groq": ("g9",)})
    model = gpt(decisions=ManualDecisions(models={made.id: made}))
    assert (model.name, model.context_length, model.tools) == ("Mine", 5, True)
    assert model.served == {"groq": ("g9",), "openai": ("gpt-9",)}


def test_a_persons_match_leads_a_claim_to_its_model_or_to_none() -> None:
    claim = Claim(provider="groq", model_id="strange", lab="openai", max_output_tokens=9)
    to_gpt = ManualDecisions(matches={("groq", "strange"): "openai/gpt-9"})
    assert gpt(models_dev(claim), decisions=to_gpt).max_output_tokens == 9
    to_none = ManualDecisions(matches={("groq", "strange"): None})
    assert merged(models_dev(claim), decisions=to_none).keys() == {model.id for model in SEED}


# ------------------------------------------------------------------ order


MODEL_IDS = ["gpt-9", "gpt-9-2026-01-01", "llama-9-8b", "claude-zebra-7", "claude-zebra-7:free", "openai/gpt-zebra"]
CLAIMS = st.builds(
    Claim,
    provider=st.sampled_from(["openai", "groq", "azure", "openrouter", "anthropic"]),
    model_id=st.sampled_from(MODEL_IDS),
    lab=st.sampled_from(["", "openai", "anthropic"]),
    context_length=st.sampled_from([None, 1_000, 2_000]),
    max_output_tokens=st.sampled_from([None, 500, 5_000]),
    tools=st.sampled_from([None, True, False]),
    input_per_million=st.sampled_from([None, Decimal(1), Decimal(2)]),
    output_per_million=st.sampled_from([None, Decimal(3)]),
    price_tiers=st.sampled_from([(), (PriceTier(200_000, Decimal(4)),), (PriceTier(272_000, Decimal(4)),)]),
    vanished_on=st.sampled_from(["", "2026-10-01"]),
)


def by_id(claims: list[Claim]) -> list[Claim]:
    return list({(claim.provider, claim.model_id): claim for claim in claims}.values())


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["modelsdev", "litellm", "openrouter", "aihubmix"]), st.lists(CLAIMS, max_size=8).map(by_id)
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_nothing_counts(told: dict[str, list[Claim]], chance: random.Random) -> None:
    as_given = [SourceData(name, tuple(claims)) for name, claims in told.items()]
    shuffled = [SourceData(name, tuple(chance.sample(claims, len(claims)))) for name, claims in told.items()]
    chance.shuffle(shuffled)
    seed = chance.sample(SEED, len(SEED))
    first = merge(SEED, as_given, ManualDecisions(), PROVIDERS)
    assert first == merge(seed, shuffled, ManualDecisions(), PROVIDERS)
    for model in first:
        assert (model.max_output_tokens or 0) <= (model.context_length or 10**9)


# ------------------------------------------------------------------ differences


def test_differences_are_facts_and_not_who_says_them() -> None:
    before = {model.id: model for model in SEED}
    after = merged(
        models_dev(own(context_length=200_000), Claim(provider="openai", model_id="gpt-zebra", lab="openai"))
    )
    assert diff_catalogs(before, after) == [
        ("changed", "openai/gpt-9", [("context_length", 100_000, 200_000)]),
        ("added", "openai/gpt-zebra", []),
    ]
    assert diff_catalogs(after, before)[1] == ("removed", "openai/gpt-zebra", [])
    assert diff_catalogs(before, merged(models_dev(own(context_length=100_000)))) == []
    dearer = merged(models_dev(own(**SAME_PRICE, price_tiers=LONG)))
    assert diff_catalogs(before, dearer) == [("changed", "openai/gpt-9", [("price_tiers", (), LONG)])]
