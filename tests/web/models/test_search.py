"""The pages of models: what the address asks for is what they show, and every address can be shared."""

from __future__ import annotations

from decimal import Decimal

import pytest
from flask import Flask

from app.catalog import humanize
from app.catalog.listing import PriceTier
from app.catalog.overrides import build_override
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import catalog, credentials, listed_models, overrides
from app.store.audit import Actor
from app.store.schema.catalog_tables import CanonicalRow
from app.sync.run import SyncContext
from app.web.app import filters_facts
from tests.conftest import Person, both_databases
from tests.sync.test_run import named, synced
from tests.web.text_browser import unsigned, words

MODELS = [
    SimModel("openai/gpt-4o", prompt=Decimal("2.50"), completion=Decimal("10"), context=128_000, tools=True),
    SimModel("openai/gpt-4o:free", prompt=Decimal(0), completion=Decimal(0), context=128_000),
    SimModel("nobody/knows-this", prompt=Decimal(1), completion=Decimal(2), context=8_192),
]


@pytest.fixture
def reader(app: Flask, alice: Person, simulator: Simulator, means: SyncContext) -> Person:
    simulator.set_models("openrouter", MODELS)
    simulator.set_models("openai", named("gpt-4o", "text-embedding-3-small"))
    alice.add_key("openrouter", None)
    alice.add_key("openai")
    synced(alice, means)
    return alice.sign_in()


def page(person: Person, path: str, *, htmx: bool = False) -> str:
    answer = person.client.get(path, headers={"HX-Request": "true"} if htmx else {})
    assert answer.status_code == 200, answer.text
    return answer.text


@both_databases
def test_the_address_holds_search_filters_and_order(reader: Person) -> None:
    everything = page(reader, "/models")
    assert "4 models" in everything and "nobody/knows-this" in everything and "unknown to the catalog" in everything
    text = page(
        reader, "/models?q=gpt&provider=openrouter&capability=tools&min_context=100k&max_price=%243&sort=-price"
    )
    assert "1 model<" in text and "openai/gpt-4o</code>" in text and "$2.50" in text
    assert 'value="gpt"' in text and 'value="100k"' in text  # and the form shows what was asked
    assert "No model of your keys fits" in page(reader, "/models?q=nothing-like-it")


def test_what_was_filtered_out_comes_with_its_reason(reader: Person) -> None:
    assert "text-embedding-3-small" not in page(reader, "/models")
    text = page(reader, "/models?all=yes")
    assert "text-embedding-3-small" in text and "“embedding” in its id" in text
    of_a_kind = page(reader, "/models?kind=embedding")
    assert "1 model<" in of_a_kind and "text-embedding-3-small" in of_a_kind
    assert "text-embedding-3-small" not in page(reader, "/models?kind=nonsense")


def test_a_filter_that_cannot_be_read_is_told_kept_and_does_not_filter(reader: Person) -> None:
    text = page(reader, "/models?max_price=cheap&min_context=long&sort=random&provider=nobody&after=%00%00")
    assert "Write the price in USD per million tokens, such as 2.50." in text
    assert "Write the context as a number of tokens" in text
    assert 'value="cheap"' in text and 'value="long"' in text and "4 models" in text


def test_htmx_gets_the_list_alone_and_the_rest_is_the_same(reader: Person) -> None:
    part = page(reader, "/models?q=gpt", htmx=True)
    assert part.lstrip().startswith('<section id="models-list"') and "<html" not in part
    assert unsigned(part).strip() in unsigned(page(reader, "/models?q=gpt"))


def test_one_model_says_who_serves_it_what_it_costs_and_where_its_facts_come_from(reader: Person) -> None:
    text = page(reader, "/models/openai/gpt-4o")
    assert "Who serves it" in text and text.count(">yours<") == 3
    assert "Context window" in text and "128k tokens" in text
    assert "models.dev" in text or "LiteLLM" in text
    costs = page(reader, "/models/openai/gpt-4o?input=10M&output=1M", htmx=True)
    assert "<html" not in costs and costs.count("$35.00") == 2 and "free" in costs
    assert costs.index("free") < costs.index("$35.00")  # the cheapest first
    assert "Write the input tokens as a number" in page(reader, "/models/openai/gpt-4o?input=many")


@both_databases
def test_one_model_says_what_long_input_costs_and_who_says_so(reader: Person) -> None:
    text = page(reader, "/models/google/gemini-2.5-pro")
    row = text[text.index("Above 200k input tokens") :].partition("</tr>")[0]
    assert "$2.50 input, $15.00 output, $0.25 cache read per million tokens" in row
    assert "LiteLLM, 20" in row


def test_prices_for_long_input_are_one_line_for_each_length() -> None:
    tiers = (PriceTier(32_000, Decimal(6), Decimal("22.5")), PriceTier(200_000, None, Decimal(0)))
    (fact,) = [catalog.SourcedFact("price_tiers", tiers, "LiteLLM", "2026-11-20")]
    assert [(line.title, line.value, line.source) for line in filters_facts.fact_lines([fact])] == [
        (
            "Above 32k input tokens",
            "$6.00 input, $22.50 output per million tokens",
            "LiteLLM, 2026-11-20",
        ),
        ("Above 200k input tokens", "free output per million tokens", "LiteLLM, 2026-11-20"),
    ]


def test_one_model_shows_what_my_syncs_told_of_it(reader: Person, simulator: Simulator, means: SyncContext) -> None:
    simulator.set_models(
        "openrouter", [SimModel("openai/gpt-4o", prompt=Decimal(2), completion=Decimal(10)), *MODELS[2:]]
    )
    synced(reader, means, "openrouter")
    text = page(reader, "/models/openai/gpt-4o")
    assert "input price $2.50 → $2.00" in text and "no longer listed for this key" in text


def test_a_model_that_nobody_knows_is_not_found(reader: Person) -> None:
    for path in ("/models/nobody/knows-this", "/models/x", "/models/../etc/passwd", "/models/%00"):
        assert reader.client.get(path).status_code == 404


@both_databases
def test_a_persons_price_stands_above_the_providers_on_both_pages(reader: Person, means: SyncContext) -> None:
    decided = build_override("openrouter", "openai/gpt-4o", 100, {"input_per_million": Decimal("1.11")}, "negotiated")
    overrides.save(decided, Actor(None, "command line"), means.now())
    listed_models.rebuild(catalog.load_index()[1], {credentials.providers_by_slug()["openrouter"].id})
    db.session.commit()
    assert "$1.11" in page(reader, "/models?q=gpt&provider=openrouter")
    assert "$1.11" in page(reader, "/models/openai/gpt-4o")


@both_databases
def test_who_serves_it_names_others_offers_but_never_their_private_models(
    reader: Person, bob: Person, simulator: Simulator, means: SyncContext
) -> None:
    simulator.set_models("groq", named("gpt-4o"))
    bob.add_key("groq")
    synced(bob, means)
    text = page(reader, "/models/openai/gpt-4o")
    assert "Groq" in text and text.count(">yours<") == 3
    stranger = page(bob.sign_in(), "/models/openai/gpt-4o")
    assert stranger.count(">yours<") == 1 and "OpenRouter" in stranger


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("128k", 128_000),
        ("1.5M", 1_500_000),
        ("200,000", 200_000),
        (" 8192 ", 8192),
        ("", None),
        ("-1", None),
        ("1e9", None),
    ],
)
def test_numbers_of_tokens_are_read_as_people_write_them(text: str, count: int | None) -> None:
    assert humanize.parse_token_count(text) == count


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"retires_on": "2026-11-30"}, "retirement date 30 Nov 2026 passed, still listed"),
        ({"retires_on": "2026-12-31"}, "retires on 31 Dec 2026"),
        ({"deprecated_on": "2026-10-01"}, "deprecated since 1 Oct 2026"),
        ({"retires_on": "next spring"}, "retires on next spring"),
        ({}, ""),
    ],
)
def test_a_model_that_is_still_listed_is_not_called_ended(app: Flask, facts: dict[str, str], said: str) -> None:
    model = {"retires_on": "", "deprecated_on": "", "successor": "", **facts}
    html = app.jinja_env.get_template("models/_ending.html").render(model=model, today="2026-12-01")
    assert words(html) == said


def test_the_page_of_a_model_names_the_source_of_a_passed_date(reader: Person) -> None:
    row = db.session.get(CanonicalRow, "openai/gpt-4o")
    assert row is not None
    row.facts = row.facts | {"retires_on": "2026-01-31"}
    db.session.commit()
    text = words(page(reader, "/models/openai/gpt-4o"))
    assert "retirement date 31 Jan 2026 passed (source: " in text and "), still listed." in text
    assert "ended" not in text
