"""The demo's accounts and history: created once, by real runs, with something to see for everyone."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.auth import passwords
from app.demo import seed
from app.demo.simulator import Simulator, provider_urls
from app.extensions import db
from app.store import runs
from app.store.accounts import users
from app.store.queries import nav
from app.store.schema.tables import TRIGGERS, ChangeRow, ResultRow, RunRow
from app.vault import Keyring, PublicKey


@pytest.fixture
def database_url(demo_template: Path, tmp_path: Path) -> str:
    shutil.copy(demo_template, tmp_path)
    return f"sqlite:///{tmp_path / demo_template.name}"


@pytest.fixture
def seeded(app: Flask) -> Flask:
    return app


def test_there_are_three_accounts(seeded: Flask) -> None:
    people = {email: users.find_by_email(email) for email in seed.KEYS}
    assert {email: user.is_admin for email, user in people.items()} == {
        seed.ALICE: False,
        seed.BOB: False,
        seed.CAROL: True,
    }
    assert passwords.verify(people[seed.ALICE].password_hash, seed.PASSWORD)


def test_five_weeks_show_every_outcome_and_trigger(seeded: Flask) -> None:
    outcomes = set(db.session.scalars(select(ResultRow.outcome)))
    assert outcomes == {"complete", "unchanged", "partial", "suspect", "failed"}
    assert set(db.session.scalars(select(RunRow.trigger))) == set(TRIGGERS)
    assert set(db.session.scalars(select(ChangeRow.kind))) == {"new", "changed", "unlisted", "relisted"}
    failures = set(db.session.scalars(select(ResultRow.error_code).where(ResultRow.outcome == "failed")))
    assert failures >= {"unavailable", "rate_limited", "key_revoked", "maintenance", "unreadable_answer"}
    assert set(db.session.scalars(select(RunRow.state))) == {"done"}
    first, last = db.session.execute(select(func.min(RunRow.created_at), func.max(RunRow.ended_at))).one()
    assert (last - first).days >= 34
    assert last < datetime.now(UTC)


def test_alice_has_new_models_before_her_and_bob_is_told_to_sync_again(seeded: Flask) -> None:
    alice, bob, carol = (users.find_by_email(email) for email in (seed.ALICE, seed.BOB, seed.CAROL))
    assert nav.load_nav(alice.id).unseen_new > 0
    assert nav.load_nav(carol.id).unseen_new == 0
    assert not bob.sync_on_sign_in
    assert runs.needs_sync(runs.last_finished(bob.id), datetime.now(UTC))


def test_the_second_start_adds_nothing(seeded: Flask, vault: Keyring, public_key: PublicKey) -> None:
    before = db.session.scalar(select(func.count(RunRow.id)))
    assert not seed.seed(vault, public_key)
    assert db.session.scalar(select(func.count(RunRow.id))) == before


def test_the_environment_leads_to_the_simulator() -> None:
    with Simulator() as simulator:
        port = int(simulator.url.rpartition(":")[2])
        assert provider_urls(port) == simulator.base_urls
        assert seed.base_urls(port)["OPENROUTER_BASE_URL"] == simulator.base_urls["openrouter"]
        assert seed.base_urls(port)["CATALOG_LITELLM_URL"] == simulator.catalog_urls["litellm"]
