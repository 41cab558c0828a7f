"""Starred and hidden models: per user, and preserved by syncs and rematching."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import update

from app.demo.simulator import Simulator
from app.extensions import db
from app.store.accounts import favorites
from app.store.accounts.favorites import Mark
from app.store.queries import model_query, model_search
from app.store.queries.model_query import ModelFilter
from app.store.queries.model_search import ModelSearchPage
from app.store.schema.tables import ListedModelRow
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.sync.test_run import named, synced

GPT, MINI = "openai/gpt-4o", "openai/gpt-4o-mini"


@pytest.fixture
def listed(app: Flask, alice: Person, simulator: Simulator, means: SyncContext) -> None:
    """Alice has gpt-4o and gpt-4o-mini from two providers."""
    simulator.set_models("openai", named("gpt-4o", "gpt-4o-mini"))
    simulator.set_models("openrouter", named(GPT, MINI))
    alice.add_key("openai")
    alice.add_key("openrouter", None)
    synced(alice, means)


def page(
    person: Person, means: SyncContext, wanted: model_query.MarkFilter = "shown", **more: object
) -> ModelSearchPage:
    return model_search.search(person.id, ModelFilter(marks=wanted, **more), means.now())  # type: ignore[arg-type]


def ids(person: Person, means: SyncContext, wanted: model_query.MarkFilter = "shown") -> set[str]:
    return {line.provider_model_id for line in page(person, means, wanted).lines}


def put(person: Person, provider: str, model_id: str, mark: Mark, canonical_id: str | None, means: SyncContext) -> None:
    assert favorites.set_mark(person.id, provider, model_id, mark, canonical_id, means.now())
    db.session.commit()


@both_databases
def test_a_hidden_model_is_left_out_and_counted(listed: None, alice: Person, means: SyncContext) -> None:
    put(alice, "openai", "gpt-4o", "hidden", GPT, means)
    text = page(alice, means)
    assert (text.total, text.hidden, len(text.lines)) == (3, 1, 3)
    assert ids(alice, means, "hidden") == {"gpt-4o"} and ids(alice, means, "starred") == set()
    assert (page(alice, means, "any").total, page(alice, means, search="mini").hidden) == (4, 0)
    put(alice, "openai", "gpt-4o", "plain", GPT, means)
    assert (page(alice, means).total, page(alice, means).hidden) == (4, 0)


@both_databases
def test_a_canonical_mark_applies_to_all_offers_and_the_more_specific_one_wins(
    listed: None, alice: Person, means: SyncContext
) -> None:
    put(alice, "", GPT, "starred", None, means)
    assert ids(alice, means, "starred") == {"gpt-4o", GPT}
    put(alice, "openai", "gpt-4o", "plain", GPT, means)
    assert ids(alice, means, "starred") == {GPT}
    marked = {line.provider_model_id: line.mark for line in page(alice, means).lines}
    assert (marked["gpt-4o"], marked[GPT], marked[MINI]) == ("plain", "starred", "plain")
    put(alice, "openai", "gpt-4o", "starred", GPT, means)
    assert ids(alice, means, "starred") == {"gpt-4o", GPT}
    assert favorites.find_mark(alice.id, "openai", "gpt-4o") == "plain"  # the canonical mark applies


@both_databases
def test_marks_survive_syncs_and_rematching(
    listed: None, alice: Person, simulator: Simulator, means: SyncContext
) -> None:
    put(alice, "openai", "gpt-4o", "starred", GPT, means)
    simulator.set_models("openai", named("gpt-4o-mini"))
    synced(alice, means)
    assert ids(alice, means, "starred") == set()
    simulator.set_models("openai", named("gpt-4o", "gpt-4o-mini", "o3"))
    synced(alice, means)
    assert ids(alice, means, "starred") == {"gpt-4o"}
    db.session.execute(update(ListedModelRow).values(canonical_id="somebody/else"))
    assert ids(alice, means, "starred") == {"gpt-4o"}


@both_databases
def test_marks_belong_to_one_user(
    listed: None, alice: Person, bob: Person, simulator: Simulator, means: SyncContext
) -> None:
    bob.add_key("openai")
    synced(bob, means)
    put(bob, "openai", "gpt-4o", "hidden", GPT, means)
    assert page(alice, means).hidden == 0 and page(bob, means).hidden == 1
    assert favorites.find_mark(alice.id, "openai", "gpt-4o") == "plain"


@both_databases
def test_pages_without_hidden_models_have_no_gaps_or_duplicates(
    listed: None, alice: Person, means: SyncContext
) -> None:
    put(alice, "openrouter", MINI, "hidden", MINI, means)
    walked: list[tuple[str, str]] = []
    cursor: str | None = None
    for _ in range(3):
        found = model_search.search(alice.id, ModelFilter(marks="shown"), means.now(), cursor, size=1)
        walked += [(line.provider, line.provider_model_id) for line in found.lines]
        cursor = found.following
    assert cursor is None
    assert walked == [(line.provider, line.provider_model_id) for line in page(alice, means).lines]


def test_the_number_of_marks_is_limited(alice: Person, means: SyncContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(favorites, "MAX_MARKS", 1)
    assert favorites.set_mark(alice.id, "openai", "a", "starred", None, means.now())
    assert not favorites.set_mark(alice.id, "openai", "b", "starred", None, means.now())
    assert favorites.set_mark(alice.id, "openai", "a", "hidden", None, means.now())  # an existing mark can change
