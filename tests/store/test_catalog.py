"""The catalog in force, shared by processes, and the jobs that refresh it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import event, func, select, update

from app import config
from app.catalog.listing import ListedModel
from app.catalog.matching import CanonicalModel
from app.catalog.sources import SOURCES
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue, periodic
from app.store import catalog, sources
from app.store.schema.catalog_tables import (
    CanonicalRow,
    CatalogRefreshRow,
    CatalogSourceRow,
    CatalogVersionRow,
    DecisionRow,
)
from app.sync.catalog.bootstrap import bootstrap
from app.vault import Keyring
from tests.conftest import both_databases
from tests.web.worker import no_redis, work_off

pytestmark = both_databases
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def decide(kind: str, subject: str, value: dict[str, object]) -> None:
    db.session.add(DecisionRow(kind=kind, subject=subject, value=value, decided_at=NOW))
    db.session.commit()


def test_another_process_sees_a_new_version_at_its_next_read(app: Flask) -> None:
    number, before = catalog.load_index()
    assert catalog.load_index()[1] is before
    db.session.add(CatalogVersionRow(version="another", source="test", model_count=0, loaded_at=NOW))
    db.session.commit()
    after_number, after = catalog.load_index()
    assert after_number == number + 1 and after is not before


def test_only_rows_that_differ_are_written(app: Flask) -> None:
    before = catalog.load_models()
    new = CanonicalModel(id="x/new", lab="x", name="New")
    changed = CanonicalModel(id="openai/gpt-4o", lab="openai", name="Changed")
    after = [*(model for model in before.values() if model.id not in ("openai/gpt-4o", "openai/o3")), new, changed]
    written: list[object] = []

    @event.listens_for(db.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, parameters: list[object], *_: object) -> None:
        if statement.startswith(("INSERT INTO canonical", "DELETE FROM canonical")):
            written.extend(parameters if isinstance(parameters, list) else [parameters])

    catalog.lock()
    catalog.activate("digest", "test", before, after, NOW)
    db.session.commit()
    event.remove(db.engine, "before_cursor_execute", note)
    assert len(written) == 3
    assert catalog.load_models() == {model.id: model for model in after}
    assert db.session.scalar(select(func.count()).select_from(CanonicalRow)) == len(after)


def test_decisions_are_loaded_and_invalid_ones_ignored(app: Flask) -> None:
    made = {"id": "me/mine", "lab": "me", "name": "Mine", "input_per_million": "1.5"}
    decide("canonical", "me/mine", made)
    decide("canonical", "me/other", made)
    decide("canonical", "me/broken", {"id": "me/broken"})
    decide("match", "groq/a/b", {"canonical_id": None})
    decide("field", "me/mine#tools", {"value": True})
    decide("setting", "whatever", {"value": 1})
    found = catalog.load_decisions()
    assert list(found.models) == ["me/mine"]
    assert found.matches == {("groq", "a/b"): None}
    assert found.fields == {("me/mine", "tools"): True}


def test_a_setting_does_not_change_the_catalog(app: Flask) -> None:
    before, digest = catalog.version_number(), catalog.decisions_digest()
    decide("setting", "whatever", {"value": 1})
    assert catalog.decisions_digest() == digest
    decide("match", "groq/a", {"canonical_id": None})
    assert catalog.decisions_digest() != digest
    bootstrap(NOW)
    assert catalog.version_number() == before + 1


def test_content_of_another_format_version_is_ignored_until_refetched(app: Flask) -> None:
    sources.save("litellm", "http://here", [], 0, NOW, etag='"x"')
    assert sources.load_known("litellm", "http://here").etag == '"x"'
    assert sources.load_known("litellm", "http://there").etag == ""
    db.session.execute(update(CatalogSourceRow).values(content=b"\xffwhatever"))
    assert sources.load_known("litellm", "http://here").etag == ""
    assert sources.load_claims("litellm") == ()


def test_an_overlong_etag_is_dropped(app: Flask) -> None:
    sources.save("litellm", "http://here", [], 0, NOW, etag="e" * 201, last_modified="m" * 101)
    assert sources.load_known("litellm", "http://here") == sources.KnownSource("", "", 0)


# ------------------------------------------------------------------ jobs


def outcomes() -> list[tuple[str, str, str]]:
    rows = db.session.execute(
        select(CatalogRefreshRow.source, CatalogRefreshRow.trigger, CatalogRefreshRow.outcome).order_by(
            CatalogRefreshRow.source
        )
    )
    return [tuple(row) for row in rows]  # type: ignore[misc]


def test_a_worker_refreshes_a_requested_source_once(app: Flask, vault: Keyring) -> None:
    assert enqueue.enqueue_refresh("modelsdev", "button") is None
    assert enqueue.enqueue_refresh("modelsdev", "button") is None
    assert work_off(app, vault) == 1
    assert outcomes() == [("modelsdev", "button", "updated")]
    assert [line.source for line in sources.list_refreshes(10)] == ["modelsdev"]


def test_the_schedule_refreshes_due_sources_once(app: Flask, vault: Keyring) -> None:
    periodic.refresh_catalog_if_due()
    periodic.refresh_catalog_if_due()
    assert work_off(app, vault) == len(SOURCES)
    assert outcomes() == [(name, "schedule", "updated") for name in sorted(SOURCES)]
    periodic.refresh_catalog_if_due()
    assert work_off(app, vault) == 0


def test_zero_hours_disable_refreshes(app: Flask, vault: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    object.__setattr__(config.current(), "catalog_refresh_hours", 0)
    periodic.refresh_catalog_if_due()
    assert work_off(app, vault) == 0


def test_a_worker_applies_a_decision(app: Flask, vault: Keyring) -> None:
    decide("match", "groq/mystery", {"canonical_id": "openai/gpt-4o"})
    assert enqueue.enqueue_rebuild() is None
    work_off(app, vault)
    assert catalog.load_index()[1].match("groq", ListedModel(id="mystery")).rule == "decided"


def test_the_schedule_applies_a_decision_whose_job_was_lost(app: Flask) -> None:
    decide("match", "groq/mystery", {"canonical_id": "openai/gpt-4o"})
    with no_redis(app):
        assert "What you decided is saved" in (enqueue.enqueue_rebuild() or "")
        assert "try again later" in (enqueue.enqueue_refresh("litellm", "button") or "")
        periodic.refresh_catalog_if_due()
    assert catalog.load_index()[1].match("groq", ListedModel(id="mystery")).rule == "decided"


def test_a_job_that_never_ran_is_due(app: Flask, simulator: Simulator) -> None:
    assert sources.due_sources(NOW, timedelta(hours=24), timedelta(hours=1)) == list(SOURCES)
