"""`flask doctor`: no complaint when all is well, a remedy for each problem."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from app import config
from app.extensions import db
from app.jobs import monitoring
from app.store import runs
from app.store.engine import diagnostics
from app.store.schema.tables import CredentialRow, RunRow
from app.vault import Keyring, generate_private_key
from tests.cli.shell import Run
from tests.cli.shell import run as run  # the fixture
from tests.conftest import Person, both_databases
from tests.web.app.test_database_errors import pragma, standby
from tests.web.worker import no_redis, now, worker_present


def findings(run: Run, *, code: int) -> dict[str, Any]:
    """check → its worst finding."""
    result = run("doctor", "--json")
    assert result.exit_code == code, result.output
    worst: dict[str, Any] = {}
    for line in map(json.loads, result.output.splitlines()):
        known = worst.get(line["check"])
        if known is None or line["state"] == "bad" or known["state"] == "good":
            worst[line["check"]] = line
    return worst


@both_databases
def test_it_is_content_with_an_installation_that_runs(run: Run, app: Flask, alice: Person) -> None:
    alice.add_key("openai")
    with worker_present(app):
        seen = findings(run, code=1)
    bad = {check for check, found in seen.items() if found["state"] != "good"}
    assert bad == {"scheduler"}  # none runs in tests
    assert "1 key, all open" in seen["API keys"]["says"]
    assert "up to date" in seen["database"]["says"]
    text = run("doctor").output
    assert "✓ database" in text and "Start `flask schedule`" in text


def test_a_worker_s_machine_is_right_to_lack_the_web_s_secrets(
    run: Run, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = dataclasses.replace(app.config["SETTINGS"], production=True, secret_key="")
    monkeypatch.setitem(app.config, "SETTINGS", bare)
    assert findings(run, code=1)["configuration"]["state"] == "bad"
    monkeypatch.setenv("MODELSYNC_ROLE", "worker")
    assert findings(run, code=1)["configuration"]["state"] == "good"


def test_a_key_that_does_not_open_is_named_and_nothing_is_lost(
    run: Run, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = alice.add_key("openai")
    db.session.execute(update(CredentialRow).values(sealed_key=b"\0" * 1_200))
    db.session.commit()
    found = findings(run, code=1)["API keys"]
    assert found["state"] == "bad" and f"numbers {row.id}" in found["says"] and "Nothing was deleted" in found["remedy"]
    monkeypatch.delenv("VAULT_PRIVATE_KEYS")
    assert findings(run, code=1)["API keys"]["state"] == "warn"  # expected on a web machine
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", generate_private_key())
    assert findings(run, code=1)["API keys"]["state"] == "bad"


def test_no_redis_no_worker_and_an_old_database_each_have_their_remedy(run: Run, app: Flask) -> None:
    assert "flask work" in findings(run, code=1)["workers"]["remedy"]
    with no_redis(app):
        assert "Start" in findings(run, code=1)["queue"]["remedy"]
    db.session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    db.session.commit()
    found = findings(run, code=1)["database"]
    assert "revision 0001" in found["says"] and "flask setup" in found["remedy"]


@both_databases
def test_stuck_runs_are_counted(run: Run, alice: Person) -> None:
    alice.add_key("openai")
    started = runs.start(alice.id, "manual", now() - timedelta(hours=1))
    assert started
    db.session.commit()
    assert "1 waiting" in findings(run, code=1)["runs"]["says"]
    db.session.execute(update(RunRow).values(state="running", lease_until=now() - timedelta(minutes=1)))
    db.session.commit()
    assert "1 run without a worker" in findings(run, code=1)["runs"]["says"]


def test_an_old_queue_server_is_named_with_its_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    state = monitoring.inspect_queues()
    assert f"{state.server} {state.version}" in run("doctor").output
    for server, version, is_old in (("Redis", "7.4.9", True), ("Valkey", "8.0.1", False), ("Redis", "10.0", False)):
        other = dataclasses.replace(state, server=server, version=version)
        monkeypatch.setattr(monitoring, "inspect_queues", lambda other=other: other)
        found = findings(run, code=1)["queue"]
        assert f"{server} {version}" in found["says"] and (found["state"] == "warn") == is_old


def test_a_full_disk_and_clocks_apart_are_told(run: Run, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(config.current().instance)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    monkeypatch.setattr(diagnostics, "database_clock", lambda: now() + timedelta(minutes=2))
    seen = findings(run, code=1)
    assert seen["disk"]["state"] == "bad" and "120 s" in seen["clock"]["says"]
    assert seen["clock"]["state"] == "warn"


@both_databases
def test_a_database_that_can_be_read_but_not_written_is_told(run: Run, database_url: str) -> None:
    with pragma("query_only=ON") if database_url.startswith("sqlite") else standby():
        result = run("doctor")
    (line,) = [line for line in result.output.splitlines() if line.startswith("✗ database")]
    assert "it is read-only" in line and "DATABASE_URL" in result.output


def test_a_full_disk_under_the_database_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def refuse() -> None:
        raise OperationalError("UPDATE", {}, full)

    monkeypatch.setattr(diagnostics, "check_writable", refuse)
    found = findings(run, code=1)["database"]
    assert found["state"] == "bad" and "its disk is full" in found["says"] and "Make room" in found["remedy"]


def test_trying_to_write_changes_nothing_and_is_seen_by_no_other(run: Run, database_url: str) -> None:
    before = db.session.scalar(text("SELECT version_num FROM alembic_version"))
    diagnostics.check_writable()
    with contextlib.closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")  # the check left no lock
    assert db.session.scalar(text("SELECT version_num FROM alembic_version")) == before


@both_databases
def test_a_postgres_that_is_nearly_full_of_connections_is_told(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = findings(run, code=1).get("connections")
    if database_url.startswith("sqlite"):
        assert seen is None
        return
    assert seen and seen["state"] == "good"
    used, most = diagnostics.connection_usage() or (0, 0)
    assert 0 < used < most
    monkeypatch.setattr(diagnostics, "connection_usage", lambda: (most - 3, most))
    crowded = findings(run, code=1)["connections"]
    assert crowded["state"] == "warn" and "DATABASE_POOL_SIZE" in crowded["remedy"]


def test_a_pair_of_vault_keys_that_do_not_belong_together_is_told(
    run: Run, app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.add_key("openai")
    assert findings(run, code=1)["API keys"]["state"] == "good"
    other = dataclasses.replace(config.current(), vault_public_key=Keyring(generate_private_key()).public)
    monkeypatch.setitem(app.config, "SETTINGS", other)
    found = findings(run, code=1)["API keys"]
    assert found["state"] == "bad" and "VAULT_PUBLIC_KEY" in found["says"] and "flask vault new" in found["remedy"]


def test_the_disk_of_the_database_counts_also_where_it_is_elsewhere(
    run: Run, app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10 if folder == tmp_path else 10**12))
    other = dataclasses.replace(config.current(), instance=tmp_path / "instance-on-another-disk")
    (tmp_path / "instance-on-another-disk").mkdir()
    monkeypatch.setitem(app.config, "SETTINGS", other)
    found = findings(run, code=1)["disk"]
    assert found["state"] == "bad" and str(tmp_path) in found["says"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (redis.AuthenticationError("WRONGPASS for user boss-of-redis"), "refuses the password"),
        (redis.exceptions.NoPermissionError("User boss-of-redis has no permissions"), "not to what Modelsync needs"),
        (redis.ResponseError("DB index is out of range"), "not to what Modelsync needs"),
        (redis.ConnectionError("Error 111 connecting to boss-of-redis"), "cannot be reached"),
        (redis.TimeoutError("Timeout reading from boss-of-redis"), "cannot be reached"),
    ],
)
def test_what_keeps_redis_from_us_is_told_without_naming_its_user(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: redis.RedisError, says: str
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(monitoring, "inspect_queues", refuse)
    found = findings(run, code=1)["queue"]
    assert found["state"] == "bad" and says in found["says"] and found["remedy"]
    assert "boss-of-redis" not in found["says"] + found["remedy"]
