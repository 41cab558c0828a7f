"""A `flask work` that is stopped in the middle of a run: the run is finished or requeued, and never lost."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app import config
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue, periodic, queues
from app.store.queries import runs
from app.store.schema.tables import ChangeRow, ResultRow, RunRow
from tests.conftest import Person, both_databases
from tests.installation import Part, working
from tests.live import descendants

pytestmark = pytest.mark.slow

Until = Callable[..., Any]


def state(run_id: int) -> str | None:
    db.session.rollback()
    return db.session.scalar(select(RunRow.state).where(RunRow.id == run_id))


def begin(person: Person, simulator: Simulator, until: Until) -> int:
    """A run in progress: one provider has answered, the request to the other hangs."""
    person.add_key("openai")
    person.add_key("groq")
    simulator.set_fault("openai", "hang")
    result = enqueue.start_sync(person.id, "manual")
    assert result is not None and result.queue_problem is None

    def is_amid() -> bool:
        db.session.rollback()
        settled = db.session.scalar(select(func.count()).where(ResultRow.outcome.is_not(None)))
        return settled == 1 and bool(simulator.requests("openai"))

    until(is_amid, 30)
    assert state(result.run_id) == "running"
    return result.run_id


def is_right(run_id: int) -> bool:
    run = runs.load_run(run_id)
    assert run is not None
    told = db.session.scalar(select(func.sum(ResultRow.new)))
    assert told == db.session.scalar(select(func.count()).where(ChangeRow.kind == "new"))
    return run.state == "done" and {result.outcome for result in run.results} <= {"complete", "unchanged"}


@both_databases
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_worker_finishes_its_run_and_takes_no_other(
    app: Flask,
    alice: Person,
    bob: Person,
    settings: config.Settings,
    simulator: Simulator,
    tmp_path: Path,
    until: Until,
    number: signal.Signals,
) -> None:
    with working(settings, tmp_path / "work.log") as part:
        until(queues.count_live_workers, 30)
        run_id = begin(alice, simulator, until)
        bob.add_key("groq")
        part.process.send_signal(number)
        # The pool's worker got the signal as well, and waits for its job.
        until(lambda: queues.count_live_workers() == 1)
        waiting = enqueue.start_sync(bob.id, "manual")
        assert waiting is not None
        assert part.process.poll() is None and state(run_id) == "running"
        simulator.clear_fault("openai")
        assert part.process.wait(30) == 0
        assert is_right(run_id)
        assert state(waiting.run_id) == "queued"
        assert queues.count_live_workers() == 0
        assert "Traceback" not in part.told
    with working(settings, tmp_path / "next.log"):
        until(lambda: state(waiting.run_id) == "done", 30)
        assert is_right(waiting.run_id)


def test_a_worker_killed_early_leaves_a_run_that_ends_within_its_lease(
    app: Flask, alice: Person, settings: config.Settings, simulator: Simulator, tmp_path: Path, until: Until
) -> None:
    """Signalled repeatedly and then killed, as by an impatient supervisor."""
    with working(settings, tmp_path / "work.log") as part:
        until(queues.count_live_workers, 30)
        run_id = begin(alice, simulator, until)
        everyone = descendants(part.process.pid)
        for _ in range(2):
            for pid in everyone:
                _signal(pid, signal.SIGTERM)
        _end(part, everyone)
    simulator.clear_fault("openai")

    def is_over() -> bool:
        periodic.housekeeping()  # as the scheduler has it done every 15 s
        return state(run_id) != "running"

    until(is_over, 40)
    with working(settings, tmp_path / "next.log"):
        if state(run_id) == "lost":  # then a new one may start at once
            result = enqueue.start_sync(alice.id, "manual")
            assert result is not None and result.is_new
            run_id = result.run_id
        until(lambda: state(run_id) == "done", 40)
        assert is_right(run_id)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _end(part: Part, everyone: dict[int, str]) -> None:
    for pid in everyone:
        _signal(pid, signal.SIGKILL)
    part.process.kill()
    part.process.wait(10)
