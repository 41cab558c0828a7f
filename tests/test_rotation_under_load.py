"""Fifty syncs in processes of their own, while another moves all API keys to one new vault key after the other."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence

import pytest
from flask import Flask
from sqlalchemy import func, select

from app import clock, config, create_app
from app.extensions import db
from app.store import credentials, rotation, runs
from app.store.accounts import users
from app.store.schema.tables import CredentialRow, ResultRow, RunRow
from app.sync import key_rotation
from app.sync import run as sync
from app.sync.http.client import new_client
from app.sync.http.retry import RetryPolicy
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring, PublicKey, generate_private_key
from tests.conftest import _CHEAP_HASH, both_databases

pytestmark = [
    both_databases,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # the simulator's
]
USERS, WORKERS, ROTATIONS = 50, 4, 6
SLUGS = ("openai", "groq")


def working(settings: config.Settings, written: str, run_ids: Sequence[int]) -> None:
    """A worker that has all vault keys, and does one run after the other."""
    with create_app(settings).app_context(), new_client() as client:
        patience = RetryPolicy(max_attempts=1)
        means = SyncContext(
            Keyring(written), client, settings.base_urls, now=clock.utc_now, total_timeout_s=30.0, retry_policy=patience
        )
        for run_id in run_ids:
            assert sync.execute(run_id, means)


def rotating(settings: config.Settings, privates: Sequence[str]) -> None:
    """`flask keys rotate`, each time with one more vault key."""
    with create_app(settings).app_context():
        for newest in range(2, len(privates) + 1):
            done = key_rotation.rotate(Keyring(",".join(privates[:newest])), clock.utc_now)
            assert done.is_whole and done.resealed == USERS * len(SLUGS), done


def test_rotations_while_fifty_syncs_run_lose_nothing(
    app: Flask, settings: config.Settings, public_key: PublicKey
) -> None:
    kept: dict[int, str] = {}
    providers = credentials.providers_by_slug()
    for number in range(USERS):
        user = users.create(f"user{number}@example.com", _CHEAP_HASH, clock.utc_now())
        assert user is not None
        for slug in SLUGS:
            key = f"sk-good-{number:04d}-of-{slug}"
            row = credentials.add(user.id, providers[slug], "", ApiKey(key), public_key, clock.utc_now())
            assert row is not None
            kept[row.id] = key
    run_ids = runs.start_many([user.id for user in users.list_all()], "cron", clock.utc_now())
    db.session.commit()
    assert len(run_ids) == USERS
    privates = [os.environ["VAULT_PRIVATE_KEYS"], *(generate_private_key(2 + number) for number in range(ROTATIONS))]
    db.session.remove()
    db.engine.dispose()  # no connection crosses the fork
    fork = multiprocessing.get_context("fork")
    written = ",".join(privates)
    processes = [
        fork.Process(target=working, args=(settings, written, run_ids[number::WORKERS])) for number in range(WORKERS)
    ]
    processes.append(fork.Process(target=rotating, args=(settings, privates)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0] * len(processes)

    vault = Keyring(privates[-1])  # the newest alone opens every key
    opened = {
        key.credential_id: vault.open(key.sealed, key.version, key.owner).reveal()
        for batch in rotation.iter_batches()
        for key in batch
    }
    assert opened == kept
    db.session.rollback()
    assert set(db.session.scalars(select(RunRow.state))) == {"done"}
    outcomes = Counter(db.session.scalars(select(ResultRow.outcome)))
    assert outcomes == {"complete": len(kept)}, "each key opened while it was moved, and none was taken for replaced"
    assert db.session.scalar(select(func.count()).where(CredentialRow.key_number != 1)) == 0
