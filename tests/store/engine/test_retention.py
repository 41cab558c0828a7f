"""History is pruned by age; what is in force is never pruned."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from app import config
from app.demo.simulator import Simulator
from app.extensions import Row, db
from app.jobs import periodic
from app.store.engine import retention
from app.store.engine.retention import PruneResult
from app.store.queries import models_of_keys
from app.store.schema.tables import ChangeRow, ComparisonRow, ListingRow, ResultRow, RunRow
from app.sync.run import SyncContext
from tests.cli.shell import Run
from tests.cli.shell import run as run  # the fixture
from tests.conftest import Person, both_databases
from tests.sync.test_run import named, synced
from tests.web.worker import now

LONG_AGO = timedelta(days=800)


def number(row: type[Row]) -> int:
    return db.session.scalar(select(func.count()).select_from(row)) or 0


@pytest.fixture
def past(alice: Person, simulator: Simulator, means: SyncContext) -> None:
    """Three syncs of one key that gave three lists; the first two are long ago."""
    alice.add_key("openai")
    for ids in (("gpt-4o",), ("gpt-4o", "gpt-4.1"), ("gpt-4o", "gpt-4.1", "o3")):
        simulator.set_models("openai", named(*ids))
        synced(alice, means)
    first, second, third = db.session.scalars(select(RunRow.id).order_by(RunRow.id))
    old = now() - LONG_AGO
    db.session.execute(update(RunRow).where(RunRow.id.in_((first, second))).values(created_at=old))
    db.session.execute(update(RunRow).where(RunRow.id == third).values(created_at=now()))
    db.session.execute(update(ListingRow).values(created_at=old))
    db.session.execute(update(ComparisonRow).values(created_at=old))
    db.session.commit()


def prune_all() -> PruneResult:
    first = batch = retention.prune(now() - timedelta(days=730))
    while not batch.is_empty:
        batch = retention.prune(now() - timedelta(days=730))
    db.session.commit()
    return first


@both_databases
def test_old_history_is_pruned_and_the_list_in_force_remains(past: None, alice: Person) -> None:
    assert retention.count_prunable(now() - timedelta(days=730)).runs == 2
    prune_all()
    assert (number(RunRow), number(ResultRow)) == (1, 1)
    assert number(ListingRow) == 2  # the one in force, and the one that the kept result was compared with
    assert number(ComparisonRow) == 1 and number(ChangeRow) == 1
    (key,) = models_of_keys.load_key_models(alice.id)
    assert len(key.models) == 3
    assert prune_all().is_empty


@both_databases
def test_the_latest_run_and_the_list_in_force_are_kept_however_old(past: None, alice: Person) -> None:
    db.session.execute(update(RunRow).values(created_at=now() - LONG_AGO))
    db.session.commit()
    prune_all()
    assert number(RunRow) == 1
    (key,) = models_of_keys.load_key_models(alice.id)
    assert len(key.models) == 3


@both_databases
def test_a_list_that_was_pruned_is_simply_stored_again(
    past: None, alice: Person, simulator: Simulator, means: SyncContext
) -> None:
    prune_all()
    simulator.set_models("openai", named("gpt-4o"))
    (result,) = synced(alice, means).results
    assert result.outcome == "suspect"  # from three to one: quarantined
    assert number(ListingRow) == 3


def test_the_command_previews_and_then_prunes(run: Run, past: None) -> None:
    told = run("history", "prune", "--dry-run").output
    assert told.startswith("Would take away what is older than") and "2 runs" in told
    assert number(RunRow) == 3
    assert "2 runs" in run("history", "prune").output
    assert "0 runs, 0 sets of changes, 0 lists, 0 catalog refreshes" in run("history", "prune").output
    assert number(RunRow) == 1


def test_zero_days_keep_everything(app: Flask, run: Run, past: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "current", lambda: _Forever(app))
    refused = run("history", "prune")
    assert refused.exit_code == 1 and "HISTORY_KEEP_DAYS is 0" in refused.output
    periodic.prune_history()
    assert number(RunRow) == 3


class _Forever:
    """Settings with this retention."""

    history_keep_days = 0

    def __init__(self, app: Flask) -> None:
        self._settings = app.config["SETTINGS"]

    def __getattr__(self, name: str) -> object:
        return getattr(self._settings, name)


def test_the_job_prunes_by_the_setting(past: None) -> None:
    periodic.prune_history()
    assert number(RunRow) == 1
