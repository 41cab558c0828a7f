"""Read models of the admin's catalog pages: unknown models, conflicts, proposals."""

from __future__ import annotations

import itertools
from decimal import Decimal

import msgspec
import pytest
from flask import Flask
from sqlalchemy import func, insert, select, update

from app.catalog.effective import _FIRST_PARTY_ALIASES, find_conflicts
from app.catalog.listing import ListedModel
from app.catalog.matching import CanonicalModel
from app.catalog.overrides import build_override
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import catalog, credentials, decisions, overrides
from app.store.audit import Actor
from app.store.queries import review
from app.store.schema.catalog_tables import CanonicalRow
from app.store.schema.tables import CredentialRow, ModelRow
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.sync.test_run import synced
from tests.web.worker import now

pytestmark = both_databases

KNOWN = "openai/gpt-4o"
ROCKET = SimModel("acme/rocket-2", context=128_000, tools=True)


@pytest.fixture
def carol_acts(carol: Person) -> Actor:
    return Actor(carol.id, carol.row.email)


@pytest.fixture
def listed(carol: Person, simulator: Simulator, means: SyncContext) -> None:
    """OpenRouter and Chutes list an unknown model besides those of the catalog."""
    simulator.set_models("openrouter", [ROCKET, SimModel("openai/gpt-4o"), SimModel("zeta/strange-one")])
    simulator.set_models("chutes", [ROCKET, SimModel("acme/only-here")])
    for slug in ("openrouter", "chutes"):
        carol.add_key(slug)
    synced(carol, means)


def seen(page: review.UnknownPage) -> set[tuple[str, str]]:
    return {(line.provider, line.listed.id) for line in page.lines}


def unknown(**options: object) -> review.UnknownPage:
    _, known = catalog.load_index()
    return review.list_unknown(known, decisions.load(), **options)  # type: ignore[arg-type]


EVERY = {
    ("openrouter", "acme/rocket-2"),
    ("openrouter", "zeta/strange-one"),
    ("chutes", "acme/rocket-2"),
    ("chutes", "acme/only-here"),
}


def test_unknown_models_are_listed_with_candidates_and_counted_by_provider(listed: None) -> None:
    page = unknown()
    assert seen(page) == EVERY
    assert page.counts == {"chutes": 2, "openrouter": 2}
    assert page.following is None
    assert seen(unknown(provider="chutes")) == {one for one in EVERY if one[0] == "chutes"}
    assert unknown(provider="chutes").counts == page.counts
    assert all(line.candidates == review_candidates(line) for line in page.lines)


def review_candidates(line: review.UnknownModelView) -> list[object]:
    return list(catalog.load_index()[1].candidates(line.provider, line.listed))


def test_every_unknown_model_is_on_exactly_one_page(listed: None) -> None:
    found, before = [], None
    for _ in range(10):
        page = unknown(before=before, size=1)
        found += sorted(seen(page))
        before = page.following
        if before is None:
            break
    assert len(found) == len(EVERY) and set(found) == EVERY


def test_decided_models_disappear_at_once_and_left_ones_are_behind_the_switch(listed: None, carol_acts: Actor) -> None:
    decisions.save_match("openrouter", "acme/rocket-2", KNOWN, carol_acts, now())
    decisions.save_match("chutes", "acme/only-here", None, carol_acts, now())
    assert seen(unknown()) == {("openrouter", "zeta/strange-one"), ("chutes", "acme/rocket-2")}
    page = unknown(left_too=True)
    assert {line.listed.id for line in page.lines if line.is_left} == {"acme/only-here"}
    assert page.counts == {"chutes": 2, "openrouter": 1}


def test_a_decision_for_a_removed_canonical_model_does_not_count(listed: None, carol_acts: Actor) -> None:
    decisions.save("match", "chutes/acme/rocket-2", {"canonical_id": "gone/away"}, carol_acts, now())
    assert seen(unknown()) == EVERY
    assert not any(line.is_left for line in unknown().lines)


def test_models_served_by_a_new_canonical_model_are_no_longer_unknown(listed: None, carol_acts: Actor) -> None:
    made = CanonicalModel(id="acme/rocket-2", lab="acme", name="Rocket", served={"chutes": ("acme/rocket-2",)})
    decisions.save_canonical(made, carol_acts, now())
    assert seen(unknown()) == EVERY - {("chutes", "acme/rocket-2")}


# ------------------------------------------------------------------ proposals


def test_a_model_in_two_complete_listings_is_proposed_until_dismissed(listed: None, carol_acts: Actor) -> None:
    proposed, count = review.list_proposals(decisions.load())
    assert [one.model.id for one in proposed] == ["acme/rocket-2"]
    assert [one.provider for one in proposed[0].sightings] == ["chutes", "openrouter"]
    assert count == 4
    decisions.save_setting(decisions.dismissed_proposal_name("acme/rocket-2"), True, carol_acts, now())
    assert review.list_proposals(decisions.load()) == ([], 4)


def test_a_partial_listing_is_no_evidence(listed: None) -> None:
    provider = credentials.providers_by_slug()["chutes"].id
    db.session.execute(
        update(CredentialRow).where(CredentialRow.provider_id == provider).values(listing_is_whole=False)
    )
    assert review.list_proposals(decisions.load()) == ([], 4)


def test_private_models_are_neither_shown_nor_proposed(carol: Person, simulator: Simulator, means: SyncContext) -> None:
    simulator.set_models("openai", [SimModel("ft:gpt-4o:acme::secret"), SimModel("zeta-9-mystery")])
    carol.add_key("openai")
    synced(carol, means)
    assert seen(unknown()) == {("openai", "zeta-9-mystery")}


# ------------------------------------------------------------------ conflicts


@pytest.fixture
def disputed(carol: Person, simulator: Simulator, means: SyncContext) -> CanonicalModel:
    """The catalog as it is, and OpenRouter that lists a known model with a context no one else claims."""
    simulator.set_models("openrouter", [SimModel(KNOWN, context=999_000), SimModel("openai/gpt-5", context=4_000)])
    carol.add_key("openrouter")
    synced(carol, means)
    return msgspec.convert(
        db.session.scalars(select(CanonicalRow.facts).where(CanonicalRow.id == KNOWN)).one(), CanonicalModel
    )


def fields() -> dict[str, list[str]]:
    lines, _ = review.list_conflicts(decisions.load())
    return {line.model_id: [found.field for found in line.conflicts] for line in lines}


def one(field: str) -> tuple[review.ConflictView, object]:
    lines, _ = review.list_conflicts(decisions.load())
    line = next(line for line in lines if line.model_id == KNOWN)
    return line, next(found for found in line.conflicts if found.field == field)


def test_a_limit_above_the_catalogs_is_a_conflict_and_one_below_at_a_reseller_is_none(
    disputed: CanonicalModel,
) -> None:
    assert "context_length" in fields()[KNOWN]
    assert "context_length" not in fields().get("openai/gpt-5", [])
    line, found = one("context_length")
    assert (found.catalog_value, found.provider_value) == (disputed.context_length, 999_000)  # type: ignore[attr-defined]
    assert review.find_conflict(line.id, decisions.load()) == line
    assert review.find_conflict(line.id + 999, decisions.load()) is None


@pytest.mark.parametrize("choice", ["keep_catalog_value", "adopt_provider_value", "accept_conflict"])
def test_each_choice_resolves_only_its_field(disputed: CanonicalModel, carol_acts: Actor, choice: str) -> None:
    before = fields()[KNOWN]
    line, found = one("context_length")
    subject = line.model_id if choice == "accept_conflict" else KNOWN
    getattr(decisions, choice)("openrouter", subject, found, carol_acts, now())
    assert fields().get(KNOWN, []) == [field for field in before if field != "context_length"]
    assert review.count_conflicts(decisions.load()) == (len(fields()), False)


def test_keeping_the_catalogs_value_preserves_other_manual_facts(disputed: CanonicalModel, carol_acts: Actor) -> None:
    overrides.save(build_override("openrouter", KNOWN, 100, {"tools": False}, "their word"), carol_acts, now())
    _, found = one("context_length")
    decisions.keep_catalog_value("openrouter", KNOWN, found, carol_acts, now())  # type: ignore[arg-type]
    settled = overrides.load_manual()["openrouter", KNOWN]
    assert settled.facts == {"tools": False, "context_length": disputed.context_length}
    assert settled.reason == "their word"


def test_an_accepted_conflict_returns_when_a_value_changes(disputed: CanonicalModel, carol_acts: Actor) -> None:
    line, found = one("context_length")
    decisions.accept_conflict("openrouter", line.model_id, found, carol_acts, now())  # type: ignore[arg-type]
    assert "context_length" not in fields().get(KNOWN, [])
    row = db.session.get_one(ModelRow, line.id)
    row.context_length = 1_999_000
    row.provider_facts = row.provider_facts | {"context_length": 1_999_000}
    db.session.flush()
    db.session.expire_all()
    assert "context_length" in fields()[KNOWN]


def test_sql_preselects_every_conflict(app: Flask) -> None:
    """Every pair of a fact in the catalog and one in a listing, at the lab's own provider and at a reseller."""
    values = {
        "tools": (None, True, False),
        "context_length": (None, 1_000, 1_040, 2_000, 500),
        "kind": ("chat", "image"),
    }
    values["input_per_million"] = (None, Decimal(0), Decimal("2.5"), Decimal("0.000000001"))
    slugs = {
        slug: row.id
        for slug, row in credentials.providers_by_slug().items()
        if slug in ("google-vertex", "groq", "zhipu")
    }
    labs = ("google", "zhipuai", "meta")
    canonical, listed_rows, expected = [], [], set()
    for number, (field, pair) in enumerate(
        (field, pair) for field, said in values.items() for pair in itertools.product(said, said)
    ):
        for lab, slug in itertools.product(labs, slugs):
            mine = CanonicalModel(id=f"{lab}/{slug}-{number}", lab=lab, name="x", **{field: pair[0]})
            theirs = ListedModel(id=f"{lab}-{number}", **{field: pair[1]})
            canonical.append(mine)
            listed_rows.append(row_of(slugs[slug], theirs, mine.id))
            if find_conflicts(slug, mine, theirs):
                expected.add((slug, theirs.id))
    db.session.execute(insert(CanonicalRow), [catalog._row_values(model) for model in canonical])
    db.session.execute(insert(ModelRow), listed_rows)
    lines, _ = review.list_conflicts(decisions.load(), size=10_000)
    assert {(line.provider, line.model_id) for line in lines} == expected
    assert review.count_conflicts(decisions.load())[0] == len(expected)


def row_of(provider_id: int, model: ListedModel, canonical_id: str | None) -> dict[str, object]:
    return {
        "provider_id": provider_id,
        "provider_model_id": model.id,
        "model_name": model.id,
        "kind": model.kind,
        "canonical_id": canonical_id,
        "match_rule": "exact",
        "variant": "",
        "snapshot": "",
        "context_length": model.context_length,
        "supports_function_calling": model.tools,
        "input_per_million": model.input_per_million,
        "provider_facts": msgspec.to_builtins(model, builtin_types=()),
        "facts_hash": b"",
        **dict.fromkeys(("first_seen_at", "last_seen_at", "created_at", "updated_at"), now()),
    }


def test_first_party_aliases_share_a_prefix(app: Flask) -> None:
    """An assumption of the SQL preselection."""
    assert all(lab.startswith(slug) or slug.startswith(lab) for lab, slug in _FIRST_PARTY_ALIASES)


def test_pages_of_conflicts_show_each_once_and_cost_no_more_queries_when_there_are_many(app: Flask) -> None:
    groq = credentials.providers_by_slug()["groq"].id
    model = CanonicalModel(id="meta/big", lab="meta", name="Big", context_length=1_000)
    db.session.execute(insert(CanonicalRow), [catalog._row_values(model)])
    rows = [row_of(groq, ListedModel(id=f"big-{number}", context_length=9_000), model.id) for number in range(700)]
    db.session.execute(insert(ModelRow), rows)
    results: list[str] = []
    before, pages = None, 0
    while pages == 0 or before is not None:
        with counted() as sent:
            lines, before = review.list_conflicts(decisions.load(), before)
        assert len(sent) <= 2
        results += [line.model_id for line in lines]
        pages += 1
    assert pages == 28
    assert len(results) == 700 == len(set(results))
    assert db.session.scalar(select(func.count()).select_from(ModelRow)) == 700


def test_ids_are_suggested_the_shortest_first(app: Flask) -> None:
    assert review.suggest_ids("GPT-4o")[0] == KNOWN
    assert review.suggest_ids("") == review.suggest_ids("%") == []
    assert len(review.suggest_ids("a")) == 20


def test_the_page_of_the_unknown_costs_two_queries_and_the_proposals_one(listed: None) -> None:
    _, known = catalog.load_index()
    decided = decisions.load()
    with counted() as sent:
        review.list_unknown(known, decided)
    assert len(sent) == 2
    with counted() as sent:
        review.list_proposals(decided)
    assert len(sent) == 1
