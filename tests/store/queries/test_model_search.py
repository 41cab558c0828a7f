"""The models page: search, filters, order and paging in SQL, own models only."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, func, insert, literal, select, text

from app.catalog.listing import ListedModel, Listing, build_listing
from app.catalog.matching import CatalogIndex
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import catalog, credentials, listed_models, listings
from app.store.accounts import users
from app.store.queries import model_cursor, model_search
from app.store.queries.model_query import SORTS, ModelFilter
from app.store.schema.tables import CredentialRow, ListedModelRow, ListingRow
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.sync.test_run import named, synced

PRICED = [
    SimModel("acme/cheap", prompt=Decimal("0.10"), completion=Decimal("0.40"), context=32_000),
    SimModel("acme/dear", prompt=Decimal("15"), completion=Decimal("75"), context=200_000, tools=True, vision=True),
    SimModel("acme/free", prompt=Decimal("0"), completion=Decimal("0"), context=8_192, tools=True),
    SimModel("acme/varies", context=1_000_000, reasoning=True),
]

Ids = Callable[..., list[str]]


@pytest.fixture
def ids(alice: Person, means: SyncContext) -> Ids:
    def found(cursor: str | None = None, size: int = 50, **wanted: object) -> list[str]:
        page = model_search.search(alice.id, ModelFilter(**wanted), means.now(), cursor, size)  # type: ignore[arg-type]
        return [line.provider_model_id for line in page.lines]

    return found


@pytest.fixture
def priced(app: Flask, alice: Person, simulator: Simulator, means: SyncContext) -> None:
    simulator.set_models("openrouter", PRICED)
    alice.add_key("openrouter", None)
    synced(alice, means)


@both_databases
def test_filters_match_and_unknown_facts_fail_limits(priced: None, ids: Ids) -> None:
    assert ids() == ["acme/cheap", "acme/dear", "acme/free", "acme/varies"]
    assert ids(search="ACME de") == ["acme/dear"]
    assert ids(search="100%") == []
    assert ids(provider="openrouter", capabilities=frozenset({"tools", "vision"})) == ["acme/dear"]
    assert ids(most_input_price=Decimal("0.10")) == ["acme/cheap", "acme/free"]
    assert ids(most_input_price=Decimal("0")) == ["acme/free"]
    assert ids(least_context=200_000) == ["acme/dear", "acme/varies"]
    assert ids(provider="openai") == []


@both_databases
def test_search_is_case_insensitive_and_finds_canonical_names(
    alice: Person, simulator: Simulator, means: SyncContext, ids: Ids
) -> None:
    simulator.set_models("openrouter", [SimModel("openai/gpt-4o", name="ÜBER_Großes 4o"), SimModel("acme/other")])
    alice.add_key("openrouter", None)
    synced(alice, means)
    assert ids(search="ÜBER_GROẞES") == ["openai/gpt-4o"]
    assert ids(search="Über openai/GPT-4o") == ["openai/gpt-4o"]
    assert ids(search="r_g") == ["openai/gpt-4o"] and ids(search="rxg") == []
    (row,) = db.session.scalars(select(ListedModelRow).where(ListedModelRow.provider_model_id == "openai/gpt-4o"))
    assert row.canonical_id and row.canonical_id in row.search


@both_databases
def test_names_longer_than_an_index_row_are_listed_searched_and_paged(
    alice: Person, simulator: Simulator, means: SyncContext, ids: Ids
) -> None:
    chance = random.Random(7)  # random: compressible text would fit into the index
    names = ["".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(2_000)) for _ in range(3)]
    wide = [f"acme/{number}" + "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(290)) for number in "abc"]
    simulator.set_models("openrouter", [SimModel(*pair) for pair in zip(wide, ("chat",) * 3, names, strict=True)])
    alice.add_key("openrouter", None)
    assert [result.outcome for result in synced(alice, means).results] == ["complete"]
    seen, cursor = [], None
    for _ in wide:
        page = model_search.search(alice.id, ModelFilter(), means.now(), cursor, 1)
        seen += [line.provider_model_id for line in page.lines]
        assert len(page.lines[0].name) > 1_900
        cursor = page.following
        assert cursor is None or len(cursor) < 4_000  # must fit into a request line
    assert cursor is None and sorted(seen) == sorted(wide)
    assert ids(search=wide[1][:40]) == [wide[1]]


@both_databases
def test_each_sort_order_is_paged_without_gaps_or_duplicates(
    priced: None, alice: Person, means: SyncContext, ids: Ids
) -> None:
    assert ids(sort="price") == ["acme/free", "acme/cheap", "acme/dear", "acme/varies"]
    assert ids(sort="-price") == ["acme/dear", "acme/cheap", "acme/free", "acme/varies"]
    assert ids(sort="-context") == ["acme/varies", "acme/dear", "acme/cheap", "acme/free"]
    for sort in SORTS:
        wanted = ModelFilter(sort=sort)  # type: ignore[arg-type]
        walked: list[str] = []
        cursor: str | None = None
        for _ in range(len(PRICED)):
            page = model_search.search(alice.id, wanted, means.now(), cursor, size=1)
            walked += [line.provider_model_id for line in page.lines]
            cursor = page.following
        assert (walked, cursor) == (ids(sort=sort), None)


@both_databases
def test_filtered_kinds_are_behind_a_switch_with_the_reason(
    alice: Person, simulator: Simulator, means: SyncContext
) -> None:
    simulator.set_models("openai", named("gpt-4o", "text-embedding-3-small"))
    alice.add_key("openai")
    synced(alice, means)
    (line,) = model_search.search(alice.id, ModelFilter(), means.now()).lines
    assert line.provider_model_id == "gpt-4o" and line.canonical_id == "openai/gpt-4o"
    assert line.capabilities and line.input_per_million  # from the catalog, where the list has no facts
    page = model_search.search(alice.id, ModelFilter(kind=""), means.now())
    assert [(line.kind, line.kind_reason != "") for line in page.lines][1:] == [("embedding", True)]


@both_databases
def test_a_model_of_two_keys_appears_once_with_both_labels(
    alice: Person, simulator: Simulator, means: SyncContext
) -> None:
    both, one = SimModel("gpt-4o"), SimModel("gpt-4o-mini")
    simulator.set_models("openai", [both, one, replace(one, id="ft:gpt-4o:alice", key_substring="work")])
    alice.add_key("openai", "sk-the-key-for-work-1234", "work")
    alice.add_key("openai", "sk-the-key-for-home-1234", "home")
    synced(alice, means)
    lines = model_search.search(alice.id, ModelFilter(), means.now()).lines
    assert [line.provider_model_id for line in lines].count("gpt-4o") == 1
    labels = {line.provider_model_id: {key.label for key in line.keys} for line in lines}
    assert labels == {"gpt-4o": {"work", "home"}, "gpt-4o-mini": {"work", "home"}, "ft:gpt-4o:alice": {"work"}}


@both_databases
def test_a_model_is_new_until_seen_and_a_month_old(alice: Person, simulator: Simulator, means: SyncContext) -> None:
    simulator.set_models("openai", named("gpt-4o"))
    alice.add_key("openai")
    synced(alice, means)
    simulator.set_models("openai", named("gpt-4o", "gpt-4.1"))
    synced(alice, means)

    def new(after: timedelta = timedelta()) -> list[str]:
        page = model_search.search(alice.id, ModelFilter(only_new=True), means.now() + after)
        assert all(line.is_new for line in page.lines)
        return [line.provider_model_id for line in page.lines]

    month = timedelta(days=31)
    assert new() == ["gpt-4.1"] == new(month)
    users.mark_changes_seen(alice.id, means.now())
    assert new() == ["gpt-4.1"]
    assert new(month) == []


@both_databases
def test_an_unlisted_model_has_its_time_and_missed_syncs(
    alice: Person, simulator: Simulator, means: SyncContext
) -> None:
    simulator.set_models("openai", named("gpt-4o", "gpt-4.1", "o3"))
    alice.add_key("openai")
    synced(alice, means)
    simulator.set_models("openai", named("gpt-4o", "gpt-4.1"))
    synced(alice, means)
    simulator.set_fault("openai", "html")
    synced(alice, means)  # a failed sync does not count
    simulator.clear_fault()
    synced(alice, means)
    (line,) = model_search.unlisted(alice.id)
    assert (line.provider_model_id, line.missed) == ("o3", 2)
    simulator.set_models("openai", named("gpt-4o", "gpt-4.1", "o3"))
    synced(alice, means)
    assert model_search.unlisted(alice.id) == []


@both_databases
def test_users_see_only_models_of_their_own_keys(
    alice: Person, bob: Person, simulator: Simulator, means: SyncContext
) -> None:
    simulator.set_models("openai", [SimModel("gpt-4o"), SimModel("ft:gpt-4o:alice", key_substring="alice")])
    alice.add_key("openai", "sk-of-alice-herself-12345")
    bob.add_key("openai", "sk-of-bob-himself-1234567")
    synced(alice, means)
    synced(bob, means)
    mine = model_search.search(bob.id, ModelFilter(kind=""), means.now())
    assert [line.provider_model_id for line in mine.lines] == ["gpt-4o"]


@both_databases
def test_rows_exist_exactly_for_listings_in_force(
    alice: Person, bob: Person, simulator: Simulator, means: SyncContext
) -> None:
    for person in (alice, bob):
        person.add_key("openai")
    simulator.set_models("openai", named("gpt-4o", "gpt-4.1"))
    synced(alice, means)
    synced(bob, means)
    assert shown() == {2: 1}  # one shared listing of two models
    simulator.set_models("openai", named("gpt-4o"))
    synced(alice, means)
    assert not listed_models.delete_unused()  # Bob still has the first
    synced(bob, means)
    assert len(listed_models.delete_unused()) == 1
    db.session.commit()
    assert shown() == {1: 1}
    assert db.session.scalar(select(func.count()).select_from(ListingRow).where(ListingRow.is_shown)) == 1
    for person in (alice, bob):
        for row, _ in credentials.list_for_user(person.id):
            credentials.remove(row)
    assert len(listed_models.delete_unused()) == 1
    assert shown() == {}


def shown() -> dict[int, int]:
    """Number of models → how many listings with rows have that many."""
    sizes = list(
        db.session.scalars(select(func.count()).select_from(ListedModelRow).group_by(ListedModelRow.listing_id))
    )
    return {size: sizes.count(size) for size in sizes}


@both_databases
def test_rows_are_backfilled_at_start_after_an_update(alice: Person, simulator: Simulator, means: SyncContext) -> None:
    simulator.set_models("openai", named("gpt-4o"))
    alice.add_key("openai")
    synced(alice, means)
    db.session.execute(text("DELETE FROM listed_models"))
    db.session.execute(text("UPDATE listings SET is_shown = false"))
    listed_models.backfill()
    assert shown() == {1: 1}


@both_databases
def test_a_known_listing_is_not_matched_again(
    alice: Person, bob: Person, simulator: Simulator, means: SyncContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in (alice, bob):
        person.add_key("openai")
    simulator.set_models("openai", named("gpt-4o", "gpt-99-nobody-knows"))
    synced(alice, means)
    matched: list[str] = []
    match = CatalogIndex.match

    def counted(self: CatalogIndex, provider: str, model: ListedModel) -> object:
        matched.append(model.id)
        return match(self, provider, model)

    monkeypatch.setattr(CatalogIndex, "match", counted)
    assert synced(alice, means).results[0].uncatalogued == 1
    assert matched == []
    assert synced(bob, means).results[0].uncatalogued == 1
    assert len(matched) <= 2  # for what is new to Bob's first list, not for the shared rows


BIG = 20_000


@pytest.fixture
def many(app: Flask, alice: Person, means: SyncContext) -> Iterator[None]:
    """Twenty thousand models in ten listings, made without a provider."""
    _, index = catalog.load_index()
    providers = list(credentials.providers_by_slug().values())[:10]
    for provider in providers:
        row = alice.add_key(provider.slug)
        listing = _big(provider.slug, BIG // len(providers))
        row.listing_id = listings.save(provider.id, listing, means.now()).id
        row.listed_at = means.now()
        listed_models.materialise(row.listing_id, provider.slug, provider.id, listing, index)
        _copy_for_others(row.listing_id, provider.id, means)
    db.session.commit()
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text("ANALYZE listed_models"))
        db.session.commit()
    yield


def _copy_for_others(listing_id: int, provider_id: int, means: SyncContext) -> None:
    """The same rows for four listings of other people: a table is larger than what one person sees of it."""
    columns = [column.name for column in ListedModelRow.__table__.columns if column.name != "listing_id"]
    for copy in range(4):
        values = {"fingerprint": bytes([provider_id, copy]) * 16, "provider_id": provider_id, "content": b""}
        facts = {"model_count": 0, "chat_count": 0, "created_at": means.now(), "is_shown": True}
        other = db.session.scalar(insert(ListingRow).values(**values, **facts).returning(ListingRow.id))
        mine = select(literal(other), *(getattr(ListedModelRow, name) for name in columns))
        mine = mine.where(ListedModelRow.listing_id == listing_id)
        db.session.execute(insert(ListedModelRow).from_select(["listing_id", *columns], mine))


def _big(slug: str, count: int) -> Listing:
    models = [
        ListedModel(id=f"lab/{slug}-{number}", context_length=1_000 * number, input_per_million=Decimal(number))
        for number in range(count)
    ]
    return build_listing(slug, models)


@pytest.mark.slow
@both_databases
def test_at_twenty_thousand_models_every_filter_uses_an_index(many: None, alice: Person, means: SyncContext) -> None:
    keys = model_search.active_keys(alice.id)
    assert len(keys) == 10
    for wanted in (
        ModelFilter(provider=keys[0].provider),
        ModelFilter(most_input_price=Decimal(3)),
        ModelFilter(least_context=1_900_000),
        ModelFilter(sort="-price", most_input_price=Decimal(10), capabilities=frozenset({"tools"})),
        ModelFilter(only_new=True),
        ModelFilter(search="lab 7"),
        ModelFilter(search="groq-777", sort="-price"),
    ):
        plans = plans_of(lambda wanted=wanted: model_search.search(alice.id, wanted, means.now()))  # type: ignore[misc]
        assert 1 <= len(plans) <= 2  # the count and, if not zero, the page
        for plan in plans:
            assert not scans_whole(plan), plan
        if wanted.search:  # counting is an index-only scan
            index = "COVERING INDEX" if db.engine.dialect.name == "sqlite" else "Index Only Scan using"
            assert f"{index} ix_listed_models_search" in plans[0]


def plans_of(act: Callable[[], object]) -> list[str]:
    """Query plans of the statements on listed models, with their actual parameters."""
    sent: list[tuple[str, Any]] = []

    def note(*args: Any) -> None:
        if "FROM listed_models" in args[2]:
            sent.append((args[2], args[3]))

    db.session.commit()
    if db.engine.dialect.name == "postgresql":  # as autovacuum does
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE listed_models")
    event.listen(db.engine, "before_cursor_execute", note)
    act()
    event.remove(db.engine, "before_cursor_execute", note)
    verb = "EXPLAIN QUERY PLAN" if db.engine.dialect.name == "sqlite" else "EXPLAIN"
    found = [db.session.connection().exec_driver_sql(f"{verb} {statement}", values) for statement, values in sent]
    return ["\n".join(" ".join(map(str, row)) for row in rows) for rows in found]


def scans_whole(plan: str) -> bool:
    lines = [line for line in plan.splitlines() if "listed_models" in line]
    return any("Seq Scan" in line or ("SCAN" in line and "USING" not in line) for line in lines)


@given(st.text(max_size=40))
def test_an_invalid_cursor_is_ignored(cursor: str) -> None:
    for sort in SORTS:
        decoded = model_cursor.decode(cursor, sort)  # type: ignore[arg-type]
        assert decoded is None or len(decoded) == 3


def test_a_credential_without_a_list_has_no_models(alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    assert model_search.search(alice.id, ModelFilter(), means.now()).keys == []
    assert db.session.scalar(select(func.count()).select_from(CredentialRow)) == 1
