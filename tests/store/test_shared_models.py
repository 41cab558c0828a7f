"""The view `models`, as the owner's documents query it: effective facts, and times that follow the syncs."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import func, select, text

from app.catalog.overrides import build_override
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import credentials, overrides
from app.store.audit import COMMAND_LINE
from app.store.models import to_listed_model
from app.store.schema.tables import ModelRow, ProviderRow
from app.sync.catalog.rebuild import rebuild
from app.sync.run import SyncContext
from tests.conftest import Clock, Person, both_databases
from tests.sync.test_run import synced
from tests.test_migrations import DIRECTORY


def query(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    db.session.rollback()
    return [tuple(row) for row in db.session.execute(text(statement), values)]


def model(model_id: str, columns: str) -> tuple[Any, ...]:
    (row,) = query(f"SELECT {columns} FROM models WHERE provider_model_id = :id", id=model_id)
    return row


@pytest.fixture
def openai(alice: Person, means: SyncContext) -> None:
    """OpenAI's list has ids and dates only: all other facts come from the catalog."""
    alice.add_key("openai")
    synced(alice, means)


@both_databases
def test_models_by_capability_finds_openais_vision_models(openai: None) -> None:
    """model-catalog-sync.md, "Get models by capability"."""
    rows = query("SELECT model_name, provider_model_id AS api_name FROM models WHERE supports_vision AND is_active")
    assert {"gpt-4o", "gpt-5", "o3"} <= {model_id for _, model_id in rows}
    assert "gpt-3.5-turbo" not in {model_id for _, model_id in rows}


@both_databases
def test_facts_that_the_provider_does_not_state_come_from_the_catalog(openai: None) -> None:
    """model-catalog-sync.md, "Key Fields"."""
    assert model("gpt-4-turbo", "context_length, modality") == (128_000, "text+image->text")
    columns = "supports_streaming, supports_function_calling, is_active"
    assert all(model("gpt-4-turbo", columns))
    prices = [float(price) for price in model("gpt-4-turbo", "pricing_prompt, pricing_completion")]
    assert prices == pytest.approx([0.00001, 0.00003])
    assert model("o1-pro", "supports_streaming") in [(False,), (0,)]
    row = db.session.scalars(select(ModelRow).where(ModelRow.provider_model_id == "gpt-4-turbo")).one()
    stated = to_listed_model(row)
    assert (stated.id, stated.context_length, stated.vision, stated.input_per_million) == ("gpt-4-turbo", *[None] * 3)


@both_databases
def test_every_chat_model_has_a_modality_in_one_order(alice: Person, means: SyncContext) -> None:
    for slug in ("openai", "anthropic", "google", "groq", "openrouter"):
        alice.add_key(slug)
    synced(alice, means)
    words = {row[0] for row in query("SELECT DISTINCT modality FROM models WHERE kind = 'chat'")}
    assert "" not in words
    orders = [side.split("+") for word in words for side in word.split("->")]
    assert all(side == sorted(side, key=["text", "image", "audio", "video", "file", "pdf"].index) for side in orders)


@both_databases
def test_a_persons_override_reaches_the_table_and_writes_that_row_only(openai: None, means: SyncContext) -> None:
    before = dict(query("SELECT provider_model_id, facts_hash FROM models"))
    decided = build_override("openai", "openai/gpt-4-turbo", 100, {"context_length": 64_000, "vision": False}, "ours")
    overrides.save(decided, COMMAND_LINE, means.now())
    rebuild(means.now())
    db.session.commit()
    columns = "context_length, supports_vision, modality"
    assert model("gpt-4-turbo", columns) in [(64_000, False, "text->text"), (64_000, 0, "text->text")]
    after = dict(query("SELECT provider_model_id, facts_hash FROM models"))
    changed = {model_id for model_id in before if before[model_id] != after[model_id]}
    canonical = query("SELECT provider_model_id FROM models WHERE canonical_id = 'openai/gpt-4-turbo'")
    assert changed == {model_id for (model_id,) in canonical}


@both_databases
def test_a_sync_without_changes_writes_no_model_yet_none_is_stale(
    openai: None, alice: Person, means: SyncContext, clock: Clock
) -> None:
    """provider-and-model-sync-quick-start.md, "Recent syncs" and "Check for stale models (> 12 hours old)"."""
    written_at = db.session.scalar(select(func.max(ModelRow.updated_at)))
    stale = (
        "SELECT p.name, COUNT(m.id) FROM models m JOIN providers p ON m.provider_id = p.id "
        "WHERE m.updated_at < :limit GROUP BY p.name"
    )
    clock.forward(hours=13)
    limit = str((clock() - timedelta(hours=12)).replace(tzinfo=None))
    assert [name for name, _ in query(stale, limit=limit)] == ["OpenAI"]
    synced(alice, means)
    assert query(stale, limit=limit) == []
    assert db.session.scalar(select(func.max(ModelRow.updated_at))) == written_at
    ((last_sync,),) = query("SELECT MAX(updated_at) AS last_sync FROM models GROUP BY provider_id")
    assert str(last_sync) >= limit


@both_databases
def test_models_are_activated_by_the_documents_statement(openai: None) -> None:
    """model-catalog-sync.md, "Activate models if needed"."""
    ((provider_id,),) = query("SELECT DISTINCT provider_id FROM models")
    for is_active in (False, True):
        db.session.execute(
            text("UPDATE models SET is_active = :is_active WHERE provider_id = :id"),
            {"is_active": is_active, "id": provider_id},
        )
        assert db.session.scalar(select(func.count()).where(ModelRow.is_active.is_not(is_active))) == 0


@both_databases
def test_a_provider_tells_what_reads_its_list_and_when_it_last_did(openai: None, clock: Clock) -> None:
    """provider-model-synchronization-guide.md, "Schema"; model-catalog-synchronization-system.md, "1."."""
    rows = credentials.providers_by_slug()
    api = rows["openai"].models_api
    assert (api["enabled"], api["endpoints"][0]["transformer"]) == (True, "openai")
    assert str(api["last_synced"]).startswith("2026-11-01T12:00:") and str(api["last_synced"]).endswith("Z")
    assert rows["cerebras"].models_api["endpoints"][0]["transformer"] == "openai-compatible"
    assert rows["cerebras"].models_api["last_synced"] is None
    assert (rows["openai"].priority, rows["chutes"].priority) == ("fast", "slow")
    assert rows["openai"].capabilities["vision"] is rows["openai"].capabilities["streaming"] is True


def test_a_sync_logs_what_the_documents_search_for(
    alice: Person, means: SyncContext, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """provider-and-model-sync-quick-start.md, "Check Logs"."""
    alice.add_key("openai")
    alice.add_key("groq")
    simulator.set_fault("groq", "error_500")
    with caplog.at_level(logging.INFO, logger="app.sync.run"):
        synced(alice, means)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "app.sync.run"]
    (failure,) = [text for level, text in lines if level == "ERROR"]
    assert "sync failed" in failure and "groq" in failure
    (complete,) = [text for level, text in lines if level == "INFO"]
    assert complete.startswith("Model sync complete") and complete.endswith("2 providers, 1 failed")


@both_databases
def test_an_update_keeps_what_providers_said(app: Flask, openai: None) -> None:
    """Before the table had effective facts, its columns held the provider's own."""
    where = ModelRow.provider_model_id == "gpt-4-turbo"
    row = db.session.scalars(select(ModelRow).where(where)).one()
    listed = to_listed_model(row)
    row.context_length, row.modality, row.supports_vision, row.released_at = (
        1_000,
        "text->text",
        None,
        listed.created_at,
    )
    db.session.commit()
    db.session.remove()
    flask_migrate.downgrade(DIRECTORY, revision="0016")
    flask_migrate.upgrade(DIRECTORY)
    kept = to_listed_model(db.session.scalars(select(ModelRow).where(where)).one())
    assert (kept.id, kept.created_at, kept.context_length) == (listed.id, listed.created_at, 1_000)
    assert (kept.input_modalities, kept.vision) == (("text",), None)
    assert db.session.scalar(select(func.count()).select_from(ProviderRow)) == len(credentials.providers_by_slug())
