"""`/admin/model-sync`: the specification's examples, access, and plans made and applied."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app import config
from app.api import admin_sync
from app.api.sync_report import build_report
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue, monitoring
from app.providers import SYNCABLE
from app.store import audit, credentials
from app.store.queries.runs import ResultView
from app.store.schema.tables import ListingRow, ModelRow, ResultRow, RunRow
from app.vault import Keyring
from tests.api.client import create_client
from tests.conftest import Person, both_databases
from tests.sync.test_run import count, named
from tests.web.worker import no_redis, work_off, worker_present

KEY = "an-admin-key-of-more-than-32-characters"
BEARER = {"Authorization": f"Bearer {KEY}"}
PATH = "/admin/model-sync"
GETS = ("/providers", "/status", "/runs/1", "/plans/1")
POSTS = ("/provider/openai", "/all", "/plans/1/apply")

Ask = Callable[..., Any]


@pytest.fixture
def key(app: Flask) -> str:
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], admin_api_key=KEY)
    return KEY


@pytest.fixture
def ask(app: Flask, key: str) -> Ask:
    """Requests with the admin key."""

    def asked(path: str, method: str = "GET", **more: Any) -> Any:
        return app.test_client().open(PATH + path, method=method, headers=BEARER, **more)

    return asked


@pytest.fixture
def done(app: Flask, ask: Ask, vault: Keyring) -> Ask:
    """Start something, run it as a worker would, and read the result."""

    def did(path: str) -> Any:
        first = ask(path + ("&" if "?" in path else "?") + "wait=false", "POST")
        assert first.status_code == 202, first.text
        assert first.location == first.json["details"]["status_url"]
        assert ask(first.location.removeprefix(PATH)).status_code == 202
        work_off(app, vault)
        answer = ask(first.location.removeprefix(PATH))
        assert answer.status_code == 200, answer.text
        return answer.json

    return did


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-server-0a1b")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-of-the-server-2c3d")
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "text-embedding-3-small"))
    simulator.set_models("groq", named("llama-3.1-8b-instant"))


def line(provider: str, outcome: str = "complete", fetched: int = 0, skipped: int = 0, error: str = "") -> ResultView:
    """A result as the store returns it."""
    nothing = {one.name: None for one in dataclasses.fields(ResultView)}
    counts = dict.fromkeys(("id", "run_id", "chat", "new", "changed", "unlisted", "relisted", "uncatalogued"), 0)
    facts = {"provider": provider, "outcome": outcome, "fetched": fetched, "skipped": skipped}
    return ResultView(**{**nothing, **counts, **facts, "error_message": error or None})  # type: ignore[arg-type]


# ------------------------------------------------------------------ the specification's examples


def test_the_list_of_providers_is_as_documented(ask: Ask) -> None:
    data = ask("/providers").json
    assert data == {"providers": list(SYNCABLE), "count": len(SYNCABLE)}
    documented = "openrouter deepinfra featherless fireworks together huggingface cerebras google-vertex xai groq near"
    documented += " fal chutes aimo anannas aihubmix helicone vercel-ai-gateway nebius novita alibaba"
    assert set(documented.split()) <= set(data["providers"])


@pytest.mark.parametrize(
    ("fetched", "skipped", "message"),
    [
        (342, 0, "Synced 342 models from openrouter. Fetched: 342, Transformed: 342, Skipped: 0"),
        (150, 2, "Synced 148 models from openrouter. Fetched: 150, Transformed: 148, Skipped: 2"),
    ],
)
def test_the_examples_of_one_provider_match_exactly(fetched: int, skipped: int, message: str) -> None:
    report = build_report([line("openrouter", fetched=fetched, skipped=skipped)], "openrouter", {"openrouter": 1}, {})
    assert (report["success"], report["message"]) == (True, message)
    documented = {
        "provider": "openrouter",
        "provider_id": 1,
        "models_fetched": fetched,
        "models_transformed": fetched - skipped,
        "models_skipped": skipped,
        "models_synced": fetched - skipped,
    }
    assert documented.items() <= report["details"].items()


def test_the_example_of_all_providers_matches_exactly() -> None:
    lines = [line(f"p{number}", fetched=280) for number in range(18)]
    lines += [
        line("p18", fetched=410, skipped=18),
        line("provider1", "skipped", error="API key not configured"),
        line("provider2", "failed", fetched=0, error="Connection timeout"),
    ]
    report = build_report(lines, "", {}, {})
    assert report["success"] is True
    assert report["message"] == "Processed 21 providers. Success: 19, Errors: 2. Total synced: 5432 models"
    documented = {
        "providers_processed": 21,
        "total_models_fetched": 5450,
        "total_models_transformed": 5432,
        "total_models_skipped": 18,
        "total_models_synced": 5432,
        "errors": [
            {"provider": "provider1", "error": "API key not configured"},
            {"provider": "provider2", "error": "Connection timeout"},
        ],
    }
    assert documented.items() <= report["details"].items()


def test_the_status_has_the_documented_fields(ask: Ask, done: Ask) -> None:
    assert ask("/status").json["last_sync"] is None
    done("/provider/openai")
    data = ask("/status").json
    in_database = len(credentials.providers_by_slug())
    assert data["providers"] == {
        "in_database": in_database,
        "with_fetch_functions": len(SYNCABLE),
        "fetchable_in_db": len(SYNCABLE),
        "fetchable_not_in_db": 0,
        "stats": {"total": in_database, "active": in_database, "healthy": 1},
    }
    models = data["models"]["stats"]
    assert set(models) == {"total", "active", "by_modality"}
    assert models["total"] == models["active"] == sum(models["by_modality"].values()) == 3
    assert data["last_sync"]["providers_processed"] == 1
    assert ask(data["last_sync"]["status_url"].removeprefix(PATH)).status_code == 200


# ------------------------------------------------------------------ syncing


@both_databases
def test_one_provider_is_synced_and_answered_with_its_counts(app: Flask, done: Ask) -> None:
    report = done("/provider/openai")
    assert list(report) == ["success", "message", "details"]
    assert report["success"] is True
    assert report["message"] == "Synced 3 models from openai. Fetched: 3, Transformed: 3, Skipped: 0"
    details = report["details"]
    assert details["provider_id"] == credentials.providers_by_slug()["openai"].id
    assert (details["models_fetched"], details["models_synced"], details["errors"]) == (3, 3, [])
    assert count(ModelRow) == 3
    entries, _ = audit.list_entries()
    (entry,) = [one for one in entries if one.action == "sync"]
    assert (entry.actor, entry.subject, entry.after) == ("ADMIN_API_KEY", "openai", {"sync": str(details["run_id"])})


@both_databases
def test_a_provider_without_a_key_is_an_error_and_no_failure_of_the_rest(app: Flask, done: Ask) -> None:
    report = done("/all?providers=openai&providers=anthropic&providers=groq")
    assert report["success"] is True
    assert report["message"] == "Processed 3 providers. Success: 2, Errors: 1. Total synced: 4 models"
    sentence = "API key not configured: ANTHROPIC_API_KEY is not set."
    assert report["details"]["errors"] == [{"provider": "anthropic", "error": sentence}]
    alone = done("/provider/anthropic")
    assert alone["success"] is False
    assert alone["message"] == f"Nothing was synced from anthropic: {sentence}"
    assert alone["details"]["models_synced"] == 0


def test_all_means_all_that_are_enabled(app: Flask, done: Ask) -> None:
    credentials.providers_by_slug()["groq"].is_active = False
    db.session.commit()
    report = done("/all")
    assert report["details"]["providers_processed"] == len(SYNCABLE) - 1
    assert "groq" not in {error["provider"] for error in report["details"]["errors"]}


def test_an_answer_that_is_kept_aside_is_not_counted_as_synced(app: Flask, done: Ask, simulator: Simulator) -> None:
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "o3", "o4-mini"))
    done("/provider/openai")
    simulator.set_models("openai", named("gpt-4o"))
    report = done("/provider/openai")
    assert report["success"] is False
    assert (report["details"]["models_fetched"], report["details"]["models_synced"]) == (1, 0)
    assert "3 of 4 models are missing" in report["details"]["errors"][0]["error"]


@both_databases
@pytest.mark.parametrize("path", ["/provider/openai", "/provider/openai?dry_run=true"])
def test_what_is_done_in_time_is_answered_at_once(app: Flask, ask: Ask, vault: Keyring, until: Any, path: str) -> None:
    answers: list[Any] = []
    with worker_present(app):
        thread = threading.Thread(target=lambda: answers.append(ask(path, "POST")))
        thread.start()
        until(lambda: monitoring.inspect_queues().queued == 1)
        work_off(app, vault)
        thread.join(15)
    assert answers[0].status_code == 200
    assert answers[0].json["details"]["models_fetched"] == 3


def test_what_takes_longer_is_answered_with_the_runs_address(
    app: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_sync, "MAX_WAIT_S", 0.2)
    with worker_present(app):
        answer = ask("/all?providers=openai", "POST")
    assert answer.status_code == 202
    details = answer.json["details"]
    assert answer.location == details["status_url"] == f"{PATH}/runs/{details['run_id']}"
    assert (answer.json["success"], details["state"], details["notice"]) == (True, "queued", None)


def test_without_a_worker_nobody_waits(app: Flask, ask: Ask) -> None:
    for path in ("/provider/openai", "/all?dry_run=true"):
        answer = ask(path, "POST")
        assert answer.status_code == 202
        assert answer.json["details"]["notice"] == enqueue.NO_WORKER
    with no_redis(app):
        assert ask("/provider/openai", "POST").json["details"]["notice"] == enqueue.NO_REDIS


def test_a_sync_that_is_under_way_at_the_same_provider_is_answered_for(app: Flask, ask: Ask) -> None:
    first = ask("/all?providers=openai&providers=groq&wait=false", "POST").json["details"]["run_id"]
    second = ask("/provider/groq?wait=false", "POST")
    assert second.json["details"]["run_id"] == first
    assert second.location == f"{PATH}/runs/{first}?provider=groq"
    assert count(RunRow) == 1


@both_databases
def test_a_sync_of_other_providers_is_waited_for_and_then_refused(app: Flask, ask: Ask, vault: Keyring) -> None:
    first = ask("/provider/openai?wait=false", "POST").json["details"]["run_id"]
    busy = ask("/provider/groq?wait=false", "POST")
    assert busy.status_code == 409 and "under way" in busy.json["detail"]
    assert busy.location == f"{PATH}/runs/{first}"
    work_off(app, vault)
    assert ask("/provider/groq?wait=false", "POST").status_code == 202


def test_what_cannot_be_synced_is_refused_with_a_sentence(app: Flask, ask: Ask) -> None:
    for path in ("/provider/nobody", "/provider/ollama", "/all?providers=openai&providers=nobody"):
        answer = ask(path, "POST")
        assert answer.status_code == 404
        assert f"GET {PATH}/providers" in answer.json["detail"]
    credentials.providers_by_slug()["groq"].is_active = False
    db.session.commit()
    answer = ask("/all?providers=openai&providers=groq", "POST")
    assert answer.status_code == 409 and "Groq" in answer.json["detail"]
    for path in ("/all?dry_run=maybe", "/all?provider=openai", "/provider/openai?wait=&x=1"):
        assert ask(path, "POST").status_code == 400, path
    assert ask("/runs/999").status_code == ask("/plans/999").status_code == 404
    assert count(RunRow) == 0


def test_a_users_own_run_is_not_visible(app: Flask, ask: Ask, alice: Person) -> None:
    alice.add_key("openai")
    result = enqueue.start_sync(alice.id, "manual")
    assert result is not None
    assert ask(f"/runs/{result.run_id}").status_code == 404


# ------------------------------------------------------------------ plans


def rows() -> tuple[int, ...]:
    return tuple(count(row) for row in (ListingRow, ModelRow, RunRow, ResultRow))


@both_databases
def test_a_dry_run_changes_nothing_and_names_what_would_change(app: Flask, ask: Ask, done: Ask) -> None:
    before = rows()
    report = done("/provider/openai?dry_run=true")
    assert rows() == before
    assert report["success"] is True
    would = "Dry run: 3 models from openai would be synced. Fetched: 3, Transformed: 3, Skipped: 0"
    assert report["message"] == would
    details = report["details"]
    assert (details["provider"], details["models_fetched"], details["models_synced"]) == ("openai", 3, 0)
    assert details["plan_url"] == f"/admin/plans/{details['plan_id']}"
    assert details["state"] == "ready" and details["changes_left_out"] == 0
    entries, _ = audit.list_entries()
    assert [(one.action, one.actor) for one in entries] == [("plan", "ADMIN_API_KEY")]


@both_databases
def test_a_plan_is_applied_without_asking_anybody_and_only_once(
    app: Flask, ask: Ask, done: Ask, simulator: Simulator
) -> None:
    done("/provider/openai")
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "text-embedding-3-small", "gpt-99-nobody-knows"))
    plan = done("/all?providers=openai&providers=anthropic&dry_run=true")
    assert plan["message"].startswith("Dry run: Processed 2 providers. Success: 1, Errors: 1. ")
    assert plan["details"]["total_models_synced"] == 0
    (change,) = plan["details"]["changes"]
    assert (change["provider"], change["kind"], change["model_id"]) == ("openai", "new", "gpt-99-nobody-knows")
    simulator.set_models("openai", named("something-else"))
    request_count = len(simulator.requests("openai"))
    applied = done(plan["details"]["apply_url"].removeprefix(PATH))
    assert applied["message"] == "Processed 1 providers. Success: 1, Errors: 0. Total synced: 4 models"
    assert applied["details"]["total_models_new"] == 1
    assert len(simulator.requests("openai")) == request_count
    active = select(ModelRow.provider_model_id).where(ModelRow.is_active)
    assert "gpt-99-nobody-knows" in set(db.session.scalars(active))
    again = ask(plan["details"]["apply_url"].removeprefix(PATH), "POST")
    assert again.status_code == 409 and "applied already" in again.json["detail"]
    assert ask("/plans/999/apply", "POST").status_code == 404


def test_a_plan_whose_list_changed_since_is_refused(app: Flask, ask: Ask, done: Ask, simulator: Simulator) -> None:
    plan = done("/provider/openai?dry_run=true")["details"]
    done("/provider/openai")
    refused = ask(plan["apply_url"].removeprefix(PATH), "POST")
    assert refused.status_code == 409 and plan["objection"] is None
    assert refused.json["detail"].startswith("The list of OpenAI changed since this plan was made.")
    assert ask(f"/plans/{plan['plan_id']}").json["details"]["objection"] == refused.json["detail"]


# ------------------------------------------------------------------ access


def everything() -> list[tuple[str, str]]:
    return [("GET", path) for path in GETS] + [("POST", path) for path in POSTS]


def test_without_an_admin_key_the_endpoints_do_not_exist_for_strangers(app: Flask) -> None:
    for method, path in everything():
        for headers in ({}, BEARER, {"Authorization": "Bearer "}):
            answer = app.test_client().open(PATH + path, method=method, headers=headers)
            assert answer.status_code == 404, (method, path)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", KEY, f"Basic {KEY}", "Bearer é" + "\udc80", "Bearer null"],
)
def test_a_wrong_admin_key_opens_nothing(app: Flask, key: str, header: str) -> None:
    headers = {"Authorization": header} if header else {}
    for method, path in everything():
        answer = app.test_client().open(PATH + path, method=method, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.mimetype == "application/problem+json" and KEY not in answer.text
    assert count(RunRow) == 0


def test_a_person_who_is_no_admin_gets_403(app: Flask, key: str, alice: Person) -> None:
    alice.sign_in()
    mine = create_client(alice, "read", "sync")
    for method, path in everything():
        assert alice.client.open(PATH + path, method=method).status_code == 403
        assert mine.ask(PATH + path, method).status_code == 403


def test_an_admin_gets_in_by_session_with_a_csrf_token_and_by_personal_token_with_its_scope(
    app: Flask, carol: Person
) -> None:
    reader, syncer = create_client(carol, "read"), create_client(carol, "sync")
    assert reader.ask(f"{PATH}/providers").status_code == 200
    assert reader.ask(f"{PATH}/provider/openai?wait=false", "POST").status_code == 403
    assert syncer.ask(f"{PATH}/providers").status_code == 403
    assert syncer.ask(f"{PATH}/provider/openai?wait=false", "POST").status_code == 202
    carol.sign_in()
    assert carol.client.get(f"{PATH}/status").status_code == 200
    assert carol.client.post(f"{PATH}/provider/openai?wait=false").status_code == 400
    token = {"X-CSRFToken": carol.token("/profile")}
    assert carol.client.post(f"{PATH}/provider/openai?wait=false", headers=token).status_code == 202
    entries, _ = audit.list_entries()
    assert {entry.actor for entry in entries if entry.action == "sync"} == {"carol@example.com"}


@pytest.mark.parametrize("query", [f"api_key={KEY}", f"access_token={KEY}", f"admin_api_key={KEY}", f"key={KEY}"])
def test_a_key_in_the_address_is_refused(app: Flask, key: str, query: str) -> None:
    client = app.test_client()
    assert client.get(f"{PATH}/runs/1?{query}").status_code in (400, 401)
    answer = client.get(f"{PATH}/runs/1?{query}", headers=BEARER)
    assert answer.status_code == 400 and KEY not in answer.text
    assert client.post(f"{PATH}/all?{query}", headers=BEARER).status_code == 400
    assert count(RunRow) == 0


def test_too_many_requests_are_told_to_wait(app: Flask, ask: Ask) -> None:
    statuses = [ask("/provider/nobody", "POST").status_code for _ in range(61)]
    assert set(statuses[:60]) == {404} and statuses[60] == 429


def test_a_short_admin_key_stops_the_start_and_only_the_web_reads_one() -> None:
    with pytest.raises(config.ConfigError, match="ADMIN_API_KEY is too short"):
        config.load({"ADMIN_API_KEY": "short"})
    assert config.load({"ADMIN_API_KEY": KEY}).admin_api_key == KEY
    assert config.load({"ADMIN_API_KEY": KEY, "MODELSYNC_ROLE": "worker"}).admin_api_key == ""


def test_the_key_is_in_nothing_that_is_kept_or_told(app: Flask, ask: Ask, done: Ask, carol: Person) -> None:
    done("/provider/openai")
    done("/provider/openai?dry_run=true")
    carol.sign_in()
    for path in ("/admin/catalog/audit", "/admin/plans", "/admin/plans/1", "/admin/history"):
        answer = carol.client.get(path)
        assert answer.status_code == 200
        assert KEY not in answer.text and "sk-of-the-server" not in answer.text
