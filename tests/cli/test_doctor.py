"""`flask doctor`: content when all is well, and a remedy for each thing that is not."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text, update

from app import config
from app.extensions import db
from app.store import checks, runs
from app.store.tables import CredentialRow, RunRow
from app.vault import new_private_key
from tests.cli.test_commands import Run
from tests.cli.test_commands import run as run  # the fixture
from tests.conftest import Person, both_databases
from tests.web.working import no_redis, now, worker_present


def findings(run: Run, *, code: int) -> dict[str, Any]:
    """check → what is worst about it."""
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
    assert bad == {"scheduler"}  # there is none in a test
    assert "1 key, all open" in seen["API keys"]["says"]
    assert "up to date" in seen["database"]["says"]
    text = run("doctor").output
    assert "✓ database" in text and "Start `flask schedule`" in text


def test_a_key_that_does_not_open_is_named_and_nothing_is_lost(
    run: Run, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = alice.add_key("openai")
    db.session.execute(update(CredentialRow).values(sealed_key=b"\0" * 1_200))
    db.session.commit()
    found = findings(run, code=1)["API keys"]
    assert found["state"] == "bad" and f"numbers {row.id}" in found["says"] and "Nothing was deleted" in found["remedy"]
    monkeypatch.delenv("VAULT_PRIVATE_KEYS")
    assert findings(run, code=1)["API keys"]["state"] == "warn"  # a web machine is right to lack it
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", new_private_key())
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


def test_a_full_disk_and_clocks_apart_are_told(run: Run, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(config.current().instance)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    monkeypatch.setattr(checks, "database_now", lambda: now() + timedelta(minutes=2))
    seen = findings(run, code=1)
    assert seen["disk"]["state"] == "bad" and "120 s" in seen["clock"]["says"]
    assert seen["clock"]["state"] == "warn"
