"""A refresh of the catalog from fetch to force, against simulated sources, on both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from sqlalchemy import func, select, text

from app.catalog.listing import ListedModel
from app.catalog.matching import CanonicalModel
from app.catalog.sources import SOURCES
from app.demo import catalogs
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import catalog, runs, sources
from app.store.schema.catalog_tables import (
    CanonicalRow,
    CatalogRefreshRow,
    CatalogSourceRow,
    CatalogVersionRow,
    DecisionRow,
)
from app.store.schema.tables import ModelRow
from app.sync import run as sync
from app.sync.catalog import rebuild as rebuilding
from app.sync.catalog import refresh as refreshing
from app.sync.catalog.bootstrap import bootstrap
from app.sync.catalog.rebuild import rebuild
from app.sync.catalog.refresh import RefreshResult
from app.sync.http.client import new_client
from app.sync.http.request import MAX_BYTES
from app.sync.run import SyncContext
from tests.conftest import Clock, Person, both_databases

pytestmark = both_databases

Ask = Callable[..., RefreshResult]
DEMO = "anthropic/claude-demo-1"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with new_client() as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 21, 12, tzinfo=UTC))  # the seed's sources are older


@pytest.fixture
def ask(app: Flask, simulator: Simulator, clock: Clock, client: httpx.Client) -> Ask:
    """Refresh a source at the simulator, or at `url`."""

    def refresh(name: str, *, trigger: str = "cli", url: str = "", accept_shrunk: bool = False) -> RefreshResult:
        return refreshing.refresh(
            name,
            trigger,
            client=client,
            now=clock,
            url=url or simulator.catalog_urls[name],
            accept_shrunk=accept_shrunk,
        )

    return refresh


def models() -> dict[str, CanonicalModel]:
    found = catalog.load_models()
    db.session.rollback()
    return found


def state() -> dict[str, Any]:
    """Everything that a failure must leave alone."""
    kept = select(CatalogSourceRow.name, CatalogSourceRow.content_hash, CatalogSourceRow.fetched_at)
    rows = {
        "models": models(),
        "version": catalog.version_number(),
        "sources": sorted(map(tuple, db.session.execute(kept.where(CatalogSourceRow.content_hash.is_not(None))))),
    }
    db.session.rollback()
    return rows


def last() -> CatalogRefreshRow:
    return db.session.scalars(select(CatalogRefreshRow).order_by(CatalogRefreshRow.id.desc()).limit(1)).one()


def line(name: str) -> sources.SourceView:
    return next(line for line in sources.list_sources() if line.name == name)


def put(simulator: Simulator, name: str, document: Any) -> None:
    simulator.catalogs.bodies[name] = document if isinstance(document, bytes) else json.dumps(document).encode()


def with_models(**models: Any) -> dict[str, Any]:
    """models.dev's document with other models at Anthropic."""
    document = catalogs.load_document("modelsdev")
    return {**document, "anthropic": {"models": {**document["anthropic"]["models"], **models}}}


# ------------------------------------------------------------------ what it does


def test_a_refresh_brings_new_models_into_force_and_tells_the_difference(ask: Ask) -> None:
    before = catalog.version_number()
    done = ask("modelsdev", trigger="button")
    assert (done.outcome, done.message, done.model_count, done.counts["added"]) == ("updated", "", 4, 1)
    model = models()[DEMO]
    assert (model.context_length, model.released_on, model.served) == (
        500_000,
        "2026-11-01",
        {"anthropic": ("claude-demo-1",)},
    )
    assert catalog.version_number() == before + 1
    row = last()
    assert (row.source, row.trigger, row.outcome, row.model_count, row.added) == (
        "modelsdev",
        "button",
        "updated",
        4,
        1,
    )
    assert ["added", DEMO, []] in row.changes
    assert ["changed", "openai/gpt-4o", [["released_on", "", "2024-05-13"]]] in row.changes
    assert row.started_at < row.ended_at


def test_every_fact_has_its_source_with_its_date(ask: Ask) -> None:
    ask("modelsdev")
    facts = {fact.field: fact for fact in catalog.sourced_facts(models()["openai/gpt-4o"])}
    assert (facts["context_length"].source, facts["context_length"].date) == ("models.dev", "2026-11-21")
    assert facts["name"].date < "2026-11-21"


def test_the_four_sources_agree_on_one_model(ask: Ask) -> None:
    for name in SOURCES:
        assert ask(name).outcome == "updated"
    model = models()[DEMO]
    assert model.served == {
        "aihubmix": ("claude-demo-1",),
        "anthropic": ("claude-demo-1",),
        "openrouter": ("anthropic/claude-demo-1",),
    }
    assert (model.structured_output, model.input_per_million) == (True, 2)
    index = catalog.load_index()[1]
    assert index.match("aihubmix", ListedModel(id="claude-demo-1")).canonical_id == DEMO


def test_an_unchanged_document_is_not_sent_again(ask: Ask, simulator: Simulator, clock: Clock) -> None:
    ask("modelsdev")
    before, first = state(), line("modelsdev").fetched_at
    clock.forward(days=1)
    done = ask("modelsdev")
    assert (done.outcome, done.counts["changed"]) == ("unchanged", 0)
    assert simulator.catalogs.conditional == ["modelsdev"]
    assert {**state(), "sources": ()} == {**before, "sources": ()}
    assert line("modelsdev").fetched_at and line("modelsdev").fetched_at > first  # type: ignore[operator]
    assert last().outcome == "unchanged"


def test_the_same_facts_in_another_order_are_unchanged(ask: Ask, simulator: Simulator) -> None:
    ask("modelsdev")
    before = catalog.version_number()
    put(simulator, "modelsdev", dict(reversed(catalogs.load_document("modelsdev").items())))
    assert ask("modelsdev").outcome == "unchanged"
    assert catalog.version_number() == before


def test_another_address_is_asked_for_the_whole(ask: Ask, simulator: Simulator) -> None:
    ask("modelsdev")
    ask("modelsdev", url=simulator.catalog_urls["modelsdev"] + "?mirror")
    assert simulator.catalogs.conditional == []


def test_a_file_serves_as_well(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(json.dumps(catalogs.load_document("modelsdev")))
    assert ask("modelsdev", url=str(path)).outcome == "updated"
    assert DEMO in models()
    path.unlink()
    done = ask("modelsdev", url=str(path))
    assert (done.outcome, str(path) in done.message) == ("failed", True)
    assert DEMO in models()


# ------------------------------------------------------------------ what it does not believe


def many(count: int, **facts: Any) -> dict[str, Any]:
    return {"openai": {"models": {f"gpt-demo-{number}": facts for number in range(count)}}}


POISON: dict[str, tuple[str, Any, str]] = {
    "HTML": ("modelsdev", b"<!doctype html><h1>502</h1>", "web page"),
    "no JSON": ("modelsdev", b'{"openai": {"mod', "not valid JSON"),
    "an array": ("litellm", b"[]", "not an object"),
    "nothing": ("litellm", b"", "empty"),
    "no models": ("modelsdev", {}, "no models"),
    "wrong types": ("modelsdev", many(100, limit={"context": "a lot"}), "100 wrong entries among 100"),
    "prices of 1e6": ("modelsdev", many(100, cost={"input": 1e6, "output": 1e6}), "beyond all bounds"),
    "prices below zero": (
        "litellm",
        {"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": -1}},
        "below zero",
    ),
    "half of it missing": (
        "modelsdev",
        {"openai": catalogs.load_document("modelsdev")["openai"]},
        "shrank from 4 to 2",
    ),
    "wrong types in a gateway": ("openrouter", {"data": [{"id": "a/b", "context_length": "long"}]}, "Expected `int"),
    "no list": ("openrouter", {"error": "no"}, "list"),
    "too dear a gateway": ("aihubmix", {"data": [{"model_id": "x", "pricing": {"input": 5000}}]}, "5,000 USD"),
}


@pytest.mark.parametrize("poison", POISON)
def test_a_poisoned_source_changes_nothing_and_says_why(ask: Ask, simulator: Simulator, poison: str) -> None:
    name, document, reason = POISON[poison]
    ask(name)
    before = state()
    put(simulator, name, document)
    done = ask(name)
    assert done.outcome == "refused"
    assert done.message.startswith(SOURCES[name].title) and reason in done.message
    assert state() == before
    assert line(name).error_message == done.message == last().message
    assert last().outcome == "refused"
    # Its ETag was not stored: the good document is fetched and accepted again.
    simulator.catalogs.reset()
    assert ask(name).outcome == "unchanged"
    assert line(name).error_message is None


def test_a_few_wrong_entries_are_left_out_and_named(ask: Ask, simulator: Simulator) -> None:
    document = many(150, name="GPT Demo")
    document["openai"]["models"]["gpt-demo-bad"] = {"limit": {"context": "a lot"}}
    put(simulator, "modelsdev", document)
    done = ask("modelsdev")
    assert (done.outcome, done.model_count) == ("updated", 150)
    assert done.message.startswith("1 wrong entry was left out: openai/gpt-demo-bad (Expected `int")


def test_an_operator_may_know_that_a_source_did_shrink(ask: Ask, simulator: Simulator) -> None:
    ask("modelsdev")
    put(simulator, "modelsdev", {"openai": catalogs.load_document("modelsdev")["openai"]})
    assert "--accept-shrunk" in ask("modelsdev").message
    assert ask("modelsdev", accept_shrunk=True).outcome == "updated"
    assert DEMO in models()  # its source dropped it, and it stays


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "has no model list at this address (404)"),
        (429, "Rate-limited by LiteLLM (429)"),
        (500, "is having problems"),
        (503, "(503)"),
    ],
)
def test_a_failure_is_a_sentence_about_the_source_and_the_last_good_stays(
    ask: Ask, simulator: Simulator, status: int, reason: str
) -> None:
    ask("litellm")
    before = state()
    simulator.catalogs.statuses["litellm"] = status
    done = ask("litellm")
    assert done.outcome == "failed"
    assert "LiteLLM" in done.message and reason in done.message and "stays in force" in done.message
    assert state() == before


def test_a_document_that_unfolds_beyond_the_cap_is_not_read(ask: Ask, simulator: Simulator) -> None:
    simulator.catalogs.bodies["modelsdev"] = b" " * (MAX_BYTES + 1)
    done = ask("modelsdev")
    assert (done.outcome, "32 MB" in done.message) == ("failed", True)


def test_nobody_there_is_a_failure(ask: Ask) -> None:
    done = ask("modelsdev", url="http://127.0.0.1:1/api.json")
    assert (done.outcome, line("modelsdev").error_code) == ("failed", "connection_refused")
    assert line("modelsdev").fetched_at is None


def test_a_failure_nobody_foresaw_is_stored_and_raised(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rebuilding, "rematch", broken)  # after everything was written, before the commit
    with pytest.raises(ZeroDivisionError):
        ask("modelsdev")
    monkeypatch.undo()
    assert state() == before
    assert (last().outcome, line("modelsdev").error_code) == ("failed", "internal_error")
    assert ask("modelsdev").outcome == "updated"


def test_no_transaction_is_open_while_the_source_answers(ask: Ask, simulator: Simulator) -> None:
    open_then: list[bool] = []
    simulator.catalogs.on_request = lambda _: open_then.append(db.session.in_transaction())
    session = db.session()
    simulator.catalogs.on_request = lambda _: open_then.append(session.in_transaction())
    ask("modelsdev")
    assert open_then == [False]


# ------------------------------------------------------------------ people, and what follows


def decide(kind: str, subject: str, value: dict[str, Any], clock: Clock) -> None:
    db.session.add(DecisionRow(kind=kind, subject=subject, value=value, decided_at=clock()))
    db.session.commit()


def test_a_persons_decision_survives_a_refresh(ask: Ask, clock: Clock, simulator: Simulator) -> None:
    decide("field", "openai/gpt-4o#context_length", {"value": 99_000}, clock)
    rebuild(clock())
    db.session.commit()
    assert models()["openai/gpt-4o"].context_length == 99_000
    ask("modelsdev")
    model = models()["openai/gpt-4o"]
    assert (model.context_length, model.released_on) == (99_000, "2024-05-13")
    fact = next(fact for fact in catalog.sourced_facts(model) if fact.field == "context_length")
    assert (fact.source, fact.date) == ("a person's decision", "2026-11-21")


def test_a_decided_match_makes_a_new_version_and_is_taken_back_with_it(app: Flask, clock: Clock) -> None:
    listed = ListedModel(id="mystery")
    first = catalog.version_number()
    decide("match", "groq/mystery", {"canonical_id": "openai/gpt-4o"}, clock)
    rebuild(clock())
    db.session.commit()
    version, index = catalog.load_index()
    assert (version, index.match("groq", listed).canonical_id) == (first + 1, "openai/gpt-4o")
    db.session.execute(text("DELETE FROM decisions"))
    rebuild(clock())
    db.session.commit()
    version, index = catalog.load_index()
    assert (version, index.match("groq", listed).canonical_id) == (first + 2, None)


def test_a_new_model_is_known_to_listings_that_have_it_already(
    ask: Ask, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("anthropic")
    simulator.set_models("anthropic", [SimModel("claude-demo-1")])
    started = runs.start(alice.id, "manual", means.now())
    db.session.commit()
    assert started and sync.execute(started.run.id, means)
    row = db.session.scalars(select(ModelRow).where(ModelRow.provider_model_id == "claude-demo-1")).one()
    row.description = "prose that no listing keeps"
    db.session.commit()
    assert row.canonical_id is None
    ask("modelsdev")
    db.session.expire_all()
    assert (row.canonical_id, row.description) == (DEMO, "prose that no listing keeps")


# ------------------------------------------------------------------ starts, and two at once


def test_a_start_that_changes_nothing_writes_no_version(app: Flask, ask: Ask, clock: Clock) -> None:
    ask("modelsdev")
    before = state()
    bootstrap(clock())
    bootstrap(clock())
    assert state() == before


def test_a_rebuild_writes_only_the_models_that_differ(
    ask: Ask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("modelsdev")
    before = models()
    put(simulator, "modelsdev", with_models(**{"claude-demo-2": {"name": "Claude Demo 2"}}))
    done = ask("modelsdev")
    assert [(kind, model_id) for kind, model_id, _ in done.changes] == [("added", "anthropic/claude-demo-2")]
    assert {model_id for model_id, model in models().items() if before.get(model_id) != model} == {
        "anthropic/claude-demo-2"
    }


def test_two_refreshes_and_a_rebuild_at_once_make_one_whole_catalog(
    app: Flask, simulator: Simulator, clock: Clock, client: httpx.Client
) -> None:
    decide("field", "openai/gpt-4o#context_length", {"value": 99_000}, clock)
    db.session.remove()
    failures: list[BaseException] = []

    def at_once(work: Callable[[], object]) -> None:
        with app.app_context():
            try:
                work()
            except BaseException as error:
                failures.append(error)
            finally:
                db.session.remove()

    def one(name: str) -> Callable[[], object]:
        url = simulator.catalog_urls[name]
        return lambda: refreshing.refresh(name, "cli", client=client, now=clock, url=url)

    def build() -> None:
        rebuild(clock())
        db.session.commit()

    for _ in range(3):
        work = [one("modelsdev"), one("openrouter"), one("litellm"), build, build]
        threads = [threading.Thread(target=at_once, args=(each,)) for each in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert failures == []
    found = models()
    assert (found["openai/gpt-4o"].context_length, found[DEMO].context_length) == (99_000, 500_000)
    assert db.session.scalar(select(func.count()).select_from(CanonicalRow)) == len(found)
    digests = db.session.scalars(select(CatalogVersionRow.version)).all()
    assert len(digests) == len(set(digests))
    assert rebuild(clock()) == []
    assert db.session.scalar(select(func.count()).select_from(CatalogRefreshRow)) == 9


# ------------------------------------------------------------------ when


def test_what_is_due_was_not_asked_for_a_day_or_failed_an_hour_ago(
    ask: Ask, simulator: Simulator, clock: Clock
) -> None:
    def due() -> list[str]:
        return sources.due_sources(clock(), timedelta(hours=24), timedelta(hours=1))

    assert due() == list(SOURCES)
    for name in SOURCES:
        ask(name)
    assert due() == []
    simulator.catalogs.statuses["litellm"] = 500
    ask("litellm")
    clock.forward(minutes=61)
    assert due() == ["litellm"]
    clock.forward(hours=24)
    assert due() == list(SOURCES)
