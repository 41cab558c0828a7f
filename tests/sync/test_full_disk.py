"""A disk that is full in the middle of a run: no half result, and the usual rows once there is room again."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from app.demo.simulator import Simulator
from app.extensions import db
from app.store import runs
from app.store.queries import runs as run_queries
from app.store.schema.tables import ChangeRow, ComparisonRow, CredentialRow, ListingRow, ResultRow
from app.sync import run as sync
from app.sync.run import SyncContext
from tests.conftest import Clock, Person
from tests.sync.test_run import count, only, snapshot, synced
from tests.web.app.test_database_errors import full_disk


def test_a_full_disk_mid_run_leaves_no_half_result_and_with_room_again_all_is_right(
    app: Flask, alice: Person, means: SyncContext, clock: Clock, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    key = alice.add_key("openrouter", None)
    synced(alice, means)
    before, listing = snapshot(), db.session.get_one(CredentialRow, key.id).listing_id
    simulator.add_new("openrouter", 40)
    started = runs.start(alice.id, "manual", means.now())
    db.session.commit()
    assert started
    run_id = started.run.id
    with full_disk():
        try:
            sync.execute(run_id, means)
        except OperationalError as error:
            assert "full" in str(error.orig)
        db.session.rollback()
        assert snapshot() == before
        assert db.session.get_one(CredentialRow, key.id).listing_id == listing
        assert count(ListingRow) == 1
        run = run_queries.load_run(run_id)
        assert run is not None
        assert only(run).outcome in (None, "failed")  # never one that claims a list that is not there
    clock.forward(seconds=sync.LEASE.total_seconds() + 1)
    runs.close_lost(clock())
    db.session.commit()
    run = run_queries.load_run(run_id)
    assert run is not None and not run.is_live  # it does not stay stuck
    result = only(synced(alice, means))
    assert (result.outcome, result.unlisted) == ("complete", 0)
    assert result.new == 40
    assert (count(ListingRow), count(ComparisonRow)) == (2, 2)
    told = db.session.scalar(select(func.sum(ResultRow.new)))
    assert told == db.session.scalar(select(func.count()).where(ChangeRow.kind == "new"))
    # The error's text, which goes to the log, holds no parameter: no key, and nothing that a person typed.
    assert all("sealed" not in record.getMessage() for record in caplog.records)
