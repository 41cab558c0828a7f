"""A short chaos run, and that its verdict finds faults. The long one: `python -m tests.chaos`."""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app import clock
from app.extensions import db
from app.store import runs
from app.sync import run as sync
from app.sync.http.client import new_client
from app.sync.limits.store import LocalLimiterStore
from app.sync.run import SyncContext
from app.vault import Keyring, PublicKey
from tests.chaos import far_end, plan, verdict
from tests.chaos.__main__ import reign
from tests.chaos.people import Crowd
from tests.chaos.stage import PrivatePostgres
from tests.conftest import _STAGES

SEED = 4711


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.environ.get("MODELSYNC_TEST_EVERYTHING") != "1", reason="takes two minutes")
@pytest.mark.skipif(not PrivatePostgres.is_possible(), reason="needs PostgreSQL's own programs")
def test_a_minute_of_chaos_leaves_nothing_wrong() -> None:
    report = reign(minutes=1, users=40, keys=5, days=4, seed=random.randrange(10**6))  # no secret
    assert report.wrong == [], "\n".join(report.told)


# ------------------------------------------------------------------ the verdict itself


@dataclass
class Calm:
    """Three days of a few users without faults, all on PostgreSQL, like the chaos run."""

    crowd: Crowd
    served: list[far_end.Served]
    truth: verdict.Truth

    def wrong(self) -> list[str]:
        return verdict.Verdict(self.crowd, self.served, self.truth).find()


@dataclass
class _NothingAway:
    away_until: float = 0.0
    done: dict[str, int] = field(default_factory=dict)


@pytest.fixture
def calm(app: Flask, vault: Keyring, public_key: PublicKey, tmp_path: Path) -> Iterator[Calm]:
    notes = tmp_path / "served.jsonl"
    stage: Any = _NothingAway()
    crowd = Crowd(app, stage, public_key, random.Random(SEED))  # no secret
    crowd.move_in(3, 4)
    with far_end.Timely(SEED, notes) as timely, new_client() as client:
        means = SyncContext(vault, client, timely.base_urls, total_timeout_s=10.0, limiter_store=LocalLimiterStore())
        for day in (0, 4, 8):
            timely.show(day)
            run_ids = runs.start_many(crowd.user_ids, "cron", clock.utc_now())
            db.session.commit()
            assert sync.execute_many(run_ids, means) == set(run_ids)
    with verdict.simulator() as simulator:
        truth = verdict.Truth(SEED, simulator)
        yield Calm(crowd, far_end.read(notes), truth)
        truth.close()


TAMPERED = {
    "UPDATE runs SET state = 'running' WHERE id = (SELECT max(id) FROM runs)": "a run is not closed",
    "UPDATE results SET outcome = NULL WHERE id = (SELECT max(id) FROM results)": "is open",
    "UPDATE results SET outcome = 'failed' WHERE id = (SELECT max(id) FROM results)": "says nothing",
    "UPDATE results SET ended_at = ended_at + interval '1 hour' WHERE id = 1": "after its run had ended",
    "UPDATE results SET changed = changed + 1 WHERE id = (SELECT max(id) FROM results WHERE changed > 0)": "its counts",
    "UPDATE runs SET total_new_models = 99 WHERE id = (SELECT max(id) FROM runs)": "counts its news wrongly",
    "UPDATE changes SET kind = 'relisted' WHERE id = (SELECT max(id) FROM changes)": "its changes are not those",
    "DELETE FROM changes WHERE id = (SELECT max(id) FROM changes)": "its changes are not those",
    "UPDATE credentials SET listing_id = (SELECT listing_id FROM results WHERE id = 1) WHERE id = 1": "is in force,",
    "UPDATE results SET listing_id = before_listing_id"
    " WHERE id = (SELECT max(id) FROM results WHERE outcome = 'complete')": "was not served to it",
    "UPDATE results SET before_listing_id = NULL WHERE id = (SELECT max(id) FROM results)": "came after None",
    "UPDATE models SET is_active = false WHERE id = (SELECT min(id) FROM models WHERE is_active)": "but not active",
    "UPDATE models SET is_active = true": "on no list in force",
    "INSERT INTO runs (user_id, trigger, state, attempt, total_new_models, created_at, ended_at)"
    " SELECT user_id, trigger, state, attempt, 0, created_at, ended_at FROM runs LIMIT 1": "has no results",
}


@pytest.mark.parametrize("database_url", _STAGES[1:], indirect=True)
def test_the_verdict_finds_what_is_wrong_and_only_that(calm: Calm) -> None:
    assert calm.wrong() == []
    for statement, found in TAMPERED.items():
        db.session.execute(text(statement))
        db.session.expire_all()
        wrong = calm.wrong()
        assert any(found in sentence for sentence in wrong), (statement, wrong)
        db.session.rollback()
    assert calm.wrong() == []


def test_a_list_is_a_function_of_seed_provider_and_day() -> None:
    for slug in plan.SLUGS:
        days = [plan.models_on(SEED, slug, day) for day in range(20)]
        plan.models_on.cache_clear()
        assert days == [plan.models_on(SEED, slug, day) for day in range(20)]
        assert len(set(days)) > 10, "it changes with the days"
        most = max(len(models) for models in days)
        assert all(len(models) * 2 > most for models in days), "and never so much that it looks suspicious"


@pytest.mark.parametrize("disguise", [lambda said: said, lambda said: said.hex().encode(), base64.b64encode])
def test_a_leaked_key_is_found_in_any_disguise(disguise: Any) -> None:
    key = "sk-chaos-plain-t1-GHJKLMNPQRSTVWXZGHJKLMNP"
    for before in (b"", b"a", b"ab"):
        said = b"nothing " + disguise(before + key.encode()) + b" nothing"
        assert verdict.leaks([key], [("a log", said)])
    assert verdict.leaks([key], [("a log", disguise(b"sk-chaos-plain-t1-GHJKLMNPQRST"))]) == []
