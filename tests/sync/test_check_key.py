"""A check of a newly saved key: what it leaves for the schedule."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask
from sqlalchemy import select

from app.demo.simulator import Simulator
from app.extensions import db
from app.store import credentials
from app.store.schema.tables import CredentialRow
from app.sync import run as sync
from app.sync.run import SyncContext
from app.vault import ApiKey, PublicKey
from tests.conftest import Person, both_databases

pytestmark = both_databases

DAY = timedelta(days=1)


def added(person: Person, provider: str, means: SyncContext) -> CredentialRow:
    row = credentials.add(
        person.id,
        credentials.providers_by_slug()[provider],
        "",
        ApiKey("sk-good-key-of-a-test-1234"),
        person.public_key,
        means.now(),
    )
    assert row is not None
    person.row.last_sign_in_at = means.now()
    db.session.commit()
    return row


def state(row: CredentialRow) -> CredentialRow:
    return db.session.scalars(
        select(CredentialRow).where(CredentialRow.id == row.id).execution_options(populate_existing=True)
    ).one()


def test_a_key_that_was_just_added_is_due_as_often_as_its_provider_changes(
    app: Flask, alice: Person, means: SyncContext
) -> None:
    for slug, period in (("openai", DAY), ("openrouter", timedelta(hours=1))):
        row = added(alice, slug, means)
        sync.check_key(row.id, means)
        due_at = state(row).due_at
        assert due_at is not None, slug
        assert period * 0.89 <= due_at - means.now() <= period * 1.1, slug


def test_a_key_that_was_just_replaced_follows_what_an_admin_set(
    app: Flask, alice: Person, means: SyncContext, public_key: PublicKey
) -> None:
    row = added(alice, "openai", means)
    sync.check_key(row.id, means)
    credentials.providers_by_slug()["openai"].admin_update_frequency = "realtime"
    credentials.replace(state(row), "openai", ApiKey("sk-another-good-key-5678"), public_key, means.now())
    db.session.commit()
    sync.check_key(row.id, means)
    due_at = state(row).due_at
    assert due_at is not None and due_at - means.now() <= timedelta(hours=1.1)


def test_a_provider_that_asks_a_check_to_wait_is_left_alone_until_then(
    app: Flask, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    row = added(alice, "openai", means)
    simulator.set_fault("openai", "rate_limited", seconds=5 * 24 * 3600)
    sync.check_key(row.id, means)
    until = state(row).put_off_until
    assert until is not None and until > means.now()
    assert state(row).due_at is not None and (state(row).due_at or until) >= until
    simulator.clear_fault("openai")
    credentials.replace(state(row), "openai", ApiKey("sk-another-good-key-5678"), alice.public_key, means.now())
    db.session.commit()
    sync.check_key(row.id, means)
    assert (state(row).put_off_until, state(row).outcome) == (None, "complete")
