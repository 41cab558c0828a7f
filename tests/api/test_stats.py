"""Statistics of models and providers: access and content."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.store import credentials
from app.store.queries import stats
from app.store.schema.tables import ModelRow, ProviderRow, ResultRow, RunRow
from app.sync.run import SyncContext
from tests.api.client import create_client
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.sync.test_run import synced

KEY = "an admin key of more than thirty-two characters"
PATHS = ["/models/stats", "/providers/stats"]
every_path = pytest.mark.parametrize("path", PATHS)


@pytest.fixture
def keyed(app: Flask) -> Flask:
    """The installation with an ADMIN_API_KEY."""
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], admin_api_key=KEY)
    return app


def ask(app: Flask, path: str, bearer: str = "") -> Any:
    return app.test_client().get(path, headers={"Authorization": f"Bearer {bearer}"} if bearer else None)


# ------------------------------------------------------------------ access


@every_path
def test_a_stranger_finds_nothing_where_there_is_no_admin_key(app: Flask, path: str) -> None:
    for bearer in ("", "anything", KEY):
        answer = ask(app, path, bearer)
        assert (answer.status_code, answer.json["status"]) == (404, 404)


@every_path
def test_the_admin_key_opens_and_any_other_does_not(keyed: Flask, path: str) -> None:
    assert ask(keyed, path, KEY).status_code == 200
    for bearer in ("", KEY[:-1], KEY + "x", KEY.upper(), "ü" * 40):
        answer = ask(keyed, path, bearer)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert KEY not in answer.text
    assert keyed.test_client().get(path, headers={"Authorization": KEY}).status_code == 401
    assert keyed.test_client().get(f"{path}?api_key={KEY}").status_code == 400


@every_path
def test_an_admin_passes_by_session_and_by_token_and_nobody_else_does(
    keyed: Flask, path: str, alice: Person, carol: Person
) -> None:
    assert ask(keyed, path, create_client(carol, "read").text).status_code == 200
    assert ask(keyed, path, create_client(alice, "read").text).status_code == 403
    assert ask(keyed, path, "msk_" + "x" * 40).status_code == 401
    assert carol.sign_in().client.get(path).status_code == 200
    assert alice.sign_in().client.get(path).status_code == 403


def test_a_token_without_the_scope_is_refused(app: Flask, carol: Person) -> None:
    answer = ask(app, PATHS[0], create_client(carol, "sync").text)
    assert answer.status_code == 403 and "insufficient_scope" in answer.headers["WWW-Authenticate"]


# ------------------------------------------------------------------ content


@both_databases
def test_models_are_counted_by_modality_provider_and_kind(keyed: Flask, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    alice.add_key("groq")
    synced(alice, means)
    gone = db.session.query(ModelRow).join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
    gone = gone.filter(ProviderRow.slug == "groq").first()
    gone.is_active = False
    db.session.commit()
    rows = db.session.query(ModelRow).all()
    data = ask(keyed, "/models/stats", KEY).json
    assert set(data) == {"total", "active", "by_modality", "by_provider", "by_kind"}
    assert (data["total"], data["active"]) == (len(rows), len(rows) - 1)
    assert set(data["by_provider"]) == {"openai", "groq"}
    for name in ("by_modality", "by_provider", "by_kind"):
        assert sum(data[name].values()) == data["total"], name
    assert data["by_kind"]["chat"] == sum(row.kind == "chat" for row in rows)


@both_databases
def test_providers_have_their_models_and_last_sync(keyed: Flask, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    run = synced(alice, means)
    count = db.session.query(ModelRow).count()
    assert stats.provider_stats(means.now()).healthy == 1
    data = ask(keyed, "/providers/stats", KEY).json
    assert (data["total"], data["active"]) == (len(data["providers"]),) * 2
    one = data["providers"]["openai"]
    assert set(one) == {"name", "active", "healthy", "total_models", "active_models", "last_synced"}
    assert (one["name"], one["total_models"], one["active_models"]) == ("OpenAI", count, count)
    assert datetime.fromisoformat(one["last_synced"]) <= (run.ended_at or means.now())
    never = data["providers"]["groq"]
    assert (never["healthy"], never["total_models"], never["last_synced"]) == (False, 0, None)


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def add_results(person: Person, *outcomes: str | None, hours_ago: float) -> None:
    """Add results of openai, one run each, in chronological order."""
    provider_id = credentials.providers_by_slug()["openai"].id
    for number, outcome in enumerate(outcomes):
        ended_at = NOW - timedelta(hours=hours_ago, seconds=len(outcomes) - number)
        run = RunRow(user_id=person.id, trigger="manual", state="done", created_at=ended_at, ended_at=ended_at)
        db.session.add(run)
        db.session.flush()
        moment = ended_at if outcome else None
        row = ResultRow(run_id=run.id, user_id=person.id, provider_id=provider_id, outcome=outcome, ended_at=moment)
        db.session.add(row)
    db.session.commit()


def is_healthy() -> bool:
    return next(one.is_healthy for one in stats.provider_stats(NOW).providers if one.slug == "openai")


@both_databases
@pytest.mark.parametrize(
    ("outcomes", "healthy"),
    [
        (("complete", "unchanged", "failed"), True),
        (("complete", "failed"), False),
        (("failed", "failed", "unchanged"), False),
        (("partial",), True),
        (("suspect", "suspect", "complete"), False),
        (("skipped", "skipped", "complete"), True),
        (("skipped",), False),
        ((None, None, "complete"), True),
        ((), False),
    ],
)
@pytest.mark.parametrize("hours_ago", [1.0, 60.0])
def test_healthy_is_who_answered_most(
    app: Flask, alice: Person, outcomes: tuple[str | None, ...], healthy: bool, hours_ago: float
) -> None:
    add_results(alice, *outcomes, hours_ago=hours_ago)
    assert is_healthy() is healthy


@both_databases
def test_today_counts_alone_and_else_the_last_twenty(app: Flask, alice: Person) -> None:
    add_results(alice, *["failed"] * 30, *["complete"] * 11, *["failed"] * 9, hours_ago=48)
    assert is_healthy()
    add_results(alice, "failed", hours_ago=2)
    assert not is_healthy()
    add_results(alice, "complete", "complete", hours_ago=1)
    assert is_healthy()
    credentials.providers_by_slug()["openai"].is_active = False
    db.session.commit()
    assert not is_healthy()


@both_databases
def test_the_number_of_queries_does_not_grow(app: Flask, alice: Person, means: SyncContext) -> None:
    alice.add_key("openai")
    synced(alice, means)
    with counted() as sent:
        stats.model_stats()
        assert len(sent) == 1
        stats.provider_stats(NOW)
        assert len(sent) == 1 + 4
