"""`/api/models/sync` and its cron endpoint, exactly as specified."""

from __future__ import annotations

import dataclasses
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, select, update

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import queues, tasks
from app.store import credentials
from app.store.schema.tables import CredentialRow, ResultRow, RunRow, UserRow
from app.sync.run import SyncContext
from app.vault import Keyring
from tests.conftest import Person, both_databases
from tests.sync.test_run import named, synced
from tests.web.worker import no_redis, now, work_off

SECRET = "a-cron-secret-of-more-than-32-characters"
PATH, CRON = "/api/models/sync", "/api/models/sync/cron"


@pytest.fixture
def cron(app: Flask) -> dict[str, str]:
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], cron_secret=SECRET)
    return {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
def client(alice: Person) -> Any:
    alice.row.sync_on_sign_in = False
    db.session.commit()
    return alice.sign_in().client


def test_before_the_first_sync_the_last_one_is_null(client: Any) -> None:
    answer = client.get(PATH)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json == {"lastSync": None, "needsSync": True}


@both_databases
def test_the_last_sync_has_the_fields_of_the_owners_documents(
    client: Any, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    means = dataclasses.replace(means, now=now)
    alice.add_key("openai", label="work")
    alice.add_key("groq", "sk-this-key-was-revoked-1234")
    simulator.set_models("openai", named("gpt-4o", "gpt-99-nobody-knows", "text-embedding-3-small"))
    run = synced(alice, means)
    data = client.get(PATH).json
    assert set(data) == {"lastSync", "needsSync"} and data["needsSync"] is False
    last = data["lastSync"]
    assert set(last) == {"id", "synced_at", "total_new_models", "sync_results"}
    assert (last["id"], last["total_new_models"]) == (run.id, 1)
    assert datetime.fromisoformat(last["synced_at"]) == run.ended_at
    by_provider = {result.pop("provider"): result for result in last["sync_results"]}
    assert by_provider["openai"].pop("duration_s") >= 0
    assert by_provider["openai"] == {
        "label": "work",
        "outcome": "complete",
        "fetched": 3,
        "chat": 2,
        "new": 1,
        "changed": 0,
        "unlisted": 0,
        "uncatalogued": 1,
        "skipped": 0,
        "error": None,
    }
    failed = by_provider["groq"]
    assert (failed["outcome"], failed["fetched"]) == ("failed", 0)
    assert failed["error"]["code"] == "key_revoked"
    assert failed["error"]["message"].startswith("Groq says this key was revoked")
    assert set(failed["error"]) == {"code", "message"}


def test_a_sync_is_needed_again_after_thirty_days(client: Any, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, means)
    for age, needed in ((timedelta(days=30) - timedelta(minutes=5), False), (timedelta(days=30, minutes=5), True)):
        db.session.execute(update(RunRow).values(ended_at=now() - age))
        db.session.commit()
        data = client.get(PATH).json
        assert data["needsSync"] is needed and data["lastSync"] is not None


def test_a_sync_in_which_nothing_was_read_is_not_the_last_sync(
    client: Any, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    simulator.set_fault("openai", "error_500")
    synced(alice, means)
    assert client.get(PATH).json == {"lastSync": None, "needsSync": True}


def test_a_post_starts_a_sync_or_gives_the_live_one(client: Any, alice: Person, app: Flask, vault: Keyring) -> None:
    alice.add_key("openai")
    first = alice.post(PATH)
    again = alice.post(PATH)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["run_id"] == again.json["run_id"]
    assert (first.json["started"], again.json["started"]) == (True, False)
    assert first.headers["Location"] == f"/history/{first.json['run_id']}"
    work_off(app, vault)
    assert client.get(PATH).json["lastSync"]["id"] == first.json["run_id"]


@both_databases
def test_a_post_without_keys_says_so(client: Any, alice: Person) -> None:
    answer = alice.post(PATH)
    assert answer.status_code == 409
    assert answer.json == {"error": "There is no active API key to sync. Add one on the profile page."}


def test_strangers_and_forgeries_get_json(app: Flask, client: Any, alice: Person) -> None:
    alice.add_key("openai")
    stranger = app.test_client()
    answer = stranger.get(PATH)
    assert (answer.status_code, answer.json) == (401, {"error": "Sign in first."})
    assert "Location" not in answer.headers
    forged = client.post(PATH)
    assert forged.status_code == 400 and "CSRF" in forged.json["error"]
    assert db.session.scalar(select(func.count(RunRow.id))) == 0
    token = alice.token("/profile")
    assert client.post(PATH, headers={"X-CSRFToken": token}).status_code == 202
    assert client.delete(PATH).status_code == 405 and client.delete(PATH).json["error"]
    assert client.get(PATH + "/nothing").status_code == 404 and client.get(PATH + "/nothing").json["error"]


# ------------------------------------------------------------------ cron


def test_without_a_secret_the_cron_door_does_not_exist(app: Flask) -> None:
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}):
        for method in ("GET", "POST"):
            assert app.test_client().open(CRON, method=method, headers=headers).status_code == 404


def test_a_wrong_secret_is_refused(app: Flask, cron: dict[str, str], alice: Person) -> None:
    alice.add_key("openai")
    for given in ("", "Bearer", "Bearer ", SECRET, f"Bearer {SECRET}x", f"Bearer {SECRET[:-1]}", "Bearer é"):
        for method in ("GET", "POST"):
            answer = app.test_client().open(CRON, method=method, headers={"Authorization": given})
            assert answer.status_code == 401, given
            assert SECRET not in answer.text
    assert not any(queue.count for queue in queues.open_queues())


@both_databases
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_cron_syncs_everyone_with_an_active_key_once(
    app: Flask, cron: dict[str, str], alice: Person, bob: Person, carol: Person, vault: Keyring, method: str
) -> None:
    alice.add_key("openai")
    alice.add_key("groq")
    bob.add_key("openai").is_active = False
    carol.add_key("openrouter", None)
    db.session.commit()
    for _ in range(2):
        answer = app.test_client().open(CRON, method=method, headers=cron)
        assert answer.status_code == 200
        assert answer.json["queued"] == 2
    tasks.enqueue_all_users("cron")
    tasks.enqueue_all_users("cron")
    rows = db.session.execute(select(RunRow.user_id, RunRow.trigger, RunRow.state).order_by(RunRow.user_id)).all()
    assert [tuple(row) for row in rows] == [(carol.id, "cron", "queued"), (alice.id, "cron", "queued")]
    work_off(app, vault)
    db.session.rollback()
    done = db.session.execute(select(RunRow.user_id, RunRow.state)).all()
    assert [state for user_id, state in done if user_id in (alice.id, carol.id)] == ["done"] * len(done)
    assert db.session.scalar(select(func.count(ResultRow.id)).where(ResultRow.outcome.is_(None))) == 0


def test_the_cron_says_when_redis_is_away(app: Flask, cron: dict[str, str], alice: Person) -> None:
    alice.add_key("openai")
    with no_redis(app):
        answer = app.test_client().post(CRON, headers=cron)
    assert answer.status_code == 503
    assert "Redis" in answer.json["error"] and "queued" not in answer.json


@both_databases
def test_the_cron_answers_at_ten_thousand_users_as_at_one(app: Flask, cron: dict[str, str], alice: Person) -> None:
    alice.add_key("openai")
    queries: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
    browser = app.test_client()
    assert browser.post(CRON, headers=cron).json["queued"] == 1
    at_one = len(queries)
    provider = credentials.providers_by_slug()["openai"].id
    people = [
        {"email": f"u{number}@example.com", "password_hash": "x", "auth_stamp": "x", "created_at": now()}
        for number in range(10_000)
    ]
    connection = db.session.connection()
    connection.execute(UserRow.__table__.insert(), people)  # type: ignore[attr-defined]
    connection.execute(
        CredentialRow.__table__.insert().from_select(  # type: ignore[attr-defined]
            ["user_id", "provider_id", "label", "key_hint", "key_number", "created_at"],
            select(
                UserRow.id, func.coalesce(provider, 0), UserRow.email, UserRow.password_hash, 1, UserRow.created_at
            ).where(UserRow.id != alice.id, UserRow.password_hash == "x"),
        )
    )
    db.session.commit()
    queries.clear()
    start = time.monotonic()
    answer = browser.post(CRON, headers=cron)
    took = time.monotonic() - start
    assert answer.json["queued"] == 10_001
    assert len(queries) == at_one
    assert took < 1.0
