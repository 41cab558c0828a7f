"""`kill -9` of the worker in each phase of a run: the run is closed, and a rerun duplicates nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app import config, create_app
from app.demo.simulator import Simulator
from app.extensions import Row, db
from app.store import catalog, credentials, listings, models, runs
from app.store.queries import runs as run_queries
from app.store.schema.tables import ChangeRow, ComparisonRow, ListingRow, ModelRow, ResultRow, RunRow
from app.sync import dispatch
from app.sync import run as sync
from app.sync.http.client import new_client
from app.sync.run import SyncContext
from app.vault import Keyring
from tests.conftest import Person, both_databases

pytestmark = [both_databases, pytest.mark.slow]

# Where the worker dies: just before, or just after, this function did its work.
PHASES: list[tuple[object, str, str]] = [
    (runs, "claim", "before"),
    (runs, "claim", "after"),
    (runs, "load_items", "after"),
    (dispatch, "fetch_one", "before"),
    (dispatch, "fetch_one", "after"),
    (listings, "save", "after"),
    (listings, "save_comparison", "after"),
    (models, "save", "before"),
    (models, "save", "after"),
    (runs, "settle", "after"),
    (credentials, "settle", "after"),
    (catalog, "mark_synced", "after"),
    (runs, "close", "before"),
    (runs, "close", "after"),
]


def _names(phase: tuple[object, str, str]) -> str:
    return f"{phase[2]}-{getattr(phase[0], '__name__', '').rpartition('.')[2]}.{phase[1]}"


def die_in(phase: tuple[object, str, str]) -> None:
    """Replace a function of this process by one that ends with kill -9."""
    module, name, when = phase
    real: Callable[..., Any] = getattr(module, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, name, deadly)


def worker(settings: config.Settings, private: str, run_id: int, phase: tuple[object, str, str] | None) -> None:
    """In a separate worker process: perform the run, and die in the phase."""
    if phase:
        die_in(phase)
    with create_app(settings).app_context(), new_client() as client:
        sync.execute(
            run_id,
            SyncContext(vault=Keyring(private), client=client, base_urls=settings.base_urls, total_timeout_s=10.0),
        )


def in_a_process(settings: config.Settings, run_id: int, phase: tuple[object, str, str] | None) -> int | None:
    db.session.remove()
    db.engine.dispose()  # no connection crosses the fork
    process = multiprocessing.get_context("fork").Process(
        target=worker, args=(settings, os.environ["VAULT_PRIVATE_KEYS"], run_id, phase)
    )
    process.start()
    process.join(30)
    return process.exitcode


def begin(person: Person) -> int:
    started = runs.start(person.id, "manual", datetime.now(UTC))
    db.session.commit()
    assert started and started.is_new
    return started.run.id


def count(row: type[Row]) -> int:
    return db.session.scalar(select(func.count()).select_from(row)) or 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # the simulator's threads
@pytest.mark.parametrize("phase", PHASES, ids=_names)
def test_a_worker_killed_in_any_phase_leaves_nothing_half_and_nothing_doubled(
    app: Flask, alice: Person, settings: config.Settings, simulator: Simulator, phase: tuple[object, str, str]
) -> None:
    alice.add_key("openai")
    first = begin(alice)
    assert in_a_process(settings, first, phase) == -signal.SIGKILL

    # The first reader after the lease expires closes the run; until then it is live and no second one can start.
    later = datetime.now(UTC) + sync.LEASE + timedelta(seconds=1)
    was_queued = db.session.get_one(RunRow, first).state == "queued"
    runs.close_lost(later)
    db.session.commit()
    run = run_queries.load_run(first)
    assert run is not None
    if was_queued:
        run_again = first  # it died before it had the run: the same run is simply done
    else:
        assert run.state == "lost"
        assert all(result.outcome for result in run.results)
        run_again = begin(alice)
    assert in_a_process(settings, run_again, None) == 0

    run = run_queries.load_run(run_again)
    assert run is not None
    (result,) = run.results
    assert (run.state, result.outcome) in {("done", "complete"), ("done", "unchanged")}
    models_listed = db.session.scalar(select(ListingRow.model_count))
    assert (count(ListingRow), count(ModelRow)) == (1, models_listed)
    assert count(ComparisonRow) <= 1
    assert count(ResultRow) == (1 if was_queued else 2)
    new_told = db.session.scalar(select(func.count()).select_from(ChangeRow).where(ChangeRow.kind == "new"))
    told = db.session.scalar(select(func.sum(ResultRow.new)))
    assert told == new_told, "each new model is told once, by whichever run came to tell it"
