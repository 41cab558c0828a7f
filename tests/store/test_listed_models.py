"""The models page follows every change of its inputs: decisions, overrides, the catalog, keys."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app.catalog.listing import ListedModel, build_listing
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import periodic
from app.store import audit, catalog, credentials, decisions, listed_models, listings, models, overrides
from app.store.audit import Actor
from app.store.queries import model_detail, model_search, review
from app.store.queries.model_query import ModelFilter
from app.store.schema.tables import CredentialRow, ListedModelRow, ModelRow
from app.sync.catalog.rebuild import rebuild
from app.sync.run import SyncContext
from app.vault import Keyring
from tests import conftest as stage
from tests.conftest import Person, both_databases
from tests.sync.test_run import synced
from tests.web.admin.test_catalog import act
from tests.web.admin.test_catalog import house as house  # the fixture
from tests.web.worker import now, work_off

GPT_4O, ONLY = "openai/gpt-4o", "acme/only-here"
SOMEBODY = Actor(None, "command line")


def shown(model_id: str) -> ListedModelRow:
    db.session.rollback()
    db.session.expire_all()
    return db.session.scalars(select(ListedModelRow).where(ListedModelRow.provider_model_id == model_id)).one()


def shared(model_id: str) -> ModelRow:
    db.session.rollback()
    db.session.expire_all()
    return db.session.scalars(select(ModelRow).where(ModelRow.provider_model_id == model_id)).one()


def decide(model_id: str, canonical_id: str | None, provider: str = "chutes") -> int:
    entry = decisions.save_match(provider, model_id, canonical_id, SOMEBODY, now())
    assert entry is not None
    db.session.commit()
    return entry.id


def build() -> None:
    rebuild(now())
    db.session.commit()


@both_databases
def test_a_resolved_conflict_and_its_undo_reach_the_pages(app: Flask, house: Person, vault: Keyring) -> None:
    before = shown(GPT_4O).context_length
    line = review.list_conflicts(decisions.load("field", "setting"))[0][0]
    (conflict,) = [one for one in line.conflicts if one.field == "context_length"]
    said = f"{conflict.catalog_value}|{conflict.provider_value}"
    act(house, "/conflicts/settle", model=str(line.id), field=conflict.field, choice="catalog", said=said)
    work_off(app, vault)
    assert shown(GPT_4O).context_length == conflict.catalog_value != before
    entry = audit.list_entries()[0][0]
    act(house, "/audit/undo", entry=str(entry.id), page="log")
    work_off(app, vault)
    assert shown(GPT_4O).context_length == before


@both_databases
def test_a_disabled_key_is_up_to_date_when_it_is_enabled_again(
    alice: Person, simulator: Simulator, means: SyncContext
) -> None:
    simulator.set_models("chutes", [SimModel(ONLY)])
    key = alice.add_key("chutes")
    synced(alice, means)
    for is_active in (False, True):
        db.session.get_one(CredentialRow, key.id).is_active = is_active
        db.session.commit()
        if not is_active:
            decide(ONLY, GPT_4O)
            build()
    synced(alice, means)
    assert shown(ONLY).canonical_id == GPT_4O == shared(ONLY).canonical_id


@both_databases
def test_models_of_deleted_keys_are_no_longer_offers(alice: Person, simulator: Simulator, means: SyncContext) -> None:
    simulator.set_models("chutes", [SimModel(ONLY)])
    key = alice.add_key("chutes")
    synced(alice, means)
    decide(ONLY, GPT_4O)
    build()
    canonical = model_detail.load_canonical(GPT_4O)
    assert canonical is not None
    assert ONLY in [offer.provider_model_id for offer in model_detail.list_offers(canonical, alice.id)]
    credentials.remove(db.session.get_one(CredentialRow, key.id))
    db.session.commit()
    periodic.housekeeping()
    assert ONLY not in [offer.provider_model_id for offer in model_detail.list_offers(canonical, alice.id)]
    assert not shared(ONLY).is_active
    assert [one.provider_id for one in overrides.load_for_model(GPT_4O)] == []


@both_databases
def test_equal_ids_at_two_endpoints_stay_separate(alice: Person, app: Flask) -> None:
    provider = credentials.providers_by_slug()["openai-compatible"]
    for name, ids in (("one", ["llama3", "a"]), ("two", ["llama3", "b"])):
        place = f"http://{name}.example.com/v1"
        key = credentials.add(alice.id, provider, name, None, alice.public_key, now(), place)
        assert key is not None
        listing = build_listing(provider.slug, [ListedModel(id=model_id, private=True) for model_id in ids])
        row = listings.save(provider.id, listing, now())
        listed_models.materialise(row.id, provider.slug, provider.id, listing, catalog.load_index()[1])
        key.listing_id, key.listed_at = row.id, now()
        db.session.commit()
    lines = model_search.search(alice.id, ModelFilter(), now()).lines
    assert sorted((line.provider_model_id, *(key.label for key in line.keys)) for line in lines) == [
        ("a", "one"),
        ("b", "two"),
        ("llama3", "one"),
        ("llama3", "two"),
    ]


@pytest.mark.parametrize("database_url", [stage._STAGES[1]], indirect=True)  # SQLite has one writer at a time
def test_a_sync_that_waited_for_a_new_catalog_matches_with_it(
    alice: Person, app: Flask, simulator: Simulator, means: SyncContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.set_models("chutes", [SimModel(ONLY)])
    alice.add_key("chutes")
    hold, done = models.lock_provider, threading.Event()

    def another_catalog() -> None:
        with app.app_context():
            decide(ONLY, GPT_4O)
            build()
            db.session.remove()

    def late(provider_id: int) -> None:
        if not done.is_set():
            done.set()
            thread = threading.Thread(target=another_catalog)
            thread.start()
            thread.join(60)
        hold(provider_id)

    monkeypatch.setattr(models, "lock_provider", late)
    synced(alice, means)
    assert shown(ONLY).canonical_id == GPT_4O == shared(ONLY).canonical_id


@both_databases
def test_an_invalid_lab_is_rejected_and_does_not_break_the_catalog(house: Person) -> None:
    form = {"provider": "chutes", "model_id": ONLY, "id": "a" * 150 + "/only-here", "name": "x"}
    answer = house.post("/admin/catalog/new", htmx=True, **form)
    assert "The lab, before the slash, has at most 100 characters." in answer.text
    build()


@pytest.mark.parametrize(
    "forged", [["name", "\ud800", "x", 1], ["name", "a", "\ud800", 1], ["name", None, "a", 1], {}, 7]
)
def test_a_forged_cursor_is_ignored(alice: Person, means: SyncContext, forged: Any) -> None:
    alice.add_key("openai")
    synced(alice, means)
    cursor = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode()
    answer = alice.sign_in().client.get(f"/models?after={cursor}")
    assert answer.status_code == 200


@both_databases
def test_rows_copied_from_the_previous_list_equal_freshly_written_ones(
    app: Flask, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openrouter", None)
    synced(alice, means)
    simulator.add_new("openrouter", 2)
    first = simulator.models("openrouter")
    simulator.remove("openrouter", first[0].id)
    simulator.reprice("openrouter", first[1].id, "0.000007", "0.000009")
    synced(alice, means)
    in_force = db.session.scalars(select(CredentialRow.listing_id)).one()
    query = select(ListedModelRow.__table__).where(ListedModelRow.listing_id == in_force)
    query = query.order_by(ListedModelRow.provider_model_id)
    copied = [tuple(row) for row in db.session.execute(query)]
    assert len(copied) == len(first) - 1
    listed_models.rebuild(catalog.load_index()[1])
    assert [tuple(row) for row in db.session.execute(query)] == copied
