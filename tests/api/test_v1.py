"""`/api/v1`: bodies, filters, pages and errors of every endpoint."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.store.schema.tables import CredentialRow, RunRow
from app.sync.run import SyncContext
from app.vault import Keyring
from tests.api.client import ApiClient, create_client
from tests.conftest import Person, both_databases
from tests.sync.test_run import named, synced
from tests.web.worker import work_off, worker_present

KEY = "sk-good-key-of-a-test-1234"
MODELS = [
    SimModel("openai/gpt-4o", prompt=Decimal("2.50"), completion=Decimal(10), context=128_000, tools=True),
    SimModel("openai/gpt-4o:free", prompt=Decimal(0), completion=Decimal(0), context=128_000),
    SimModel("nobody/knows-this", prompt=Decimal(1), completion=Decimal(2), context=8_192),
]


@pytest.fixture
def reader(app: Flask, alice: Person, bob: Person, simulator: Simulator, means: SyncContext) -> ApiClient:
    """Alice's client after two syncs; Bob has a key and models too."""
    simulator.set_models("openrouter", MODELS)
    simulator.set_models("openai", named("gpt-4o", "gpt-4o-mini", "text-embedding-3-small"))
    simulator.set_models("groq", named("bobs-own-model"))
    alice.add_key("openrouter", None)
    alice.add_key("openai", label="work")
    bob.add_key("groq")
    for person in (alice, bob):
        synced(person, means)
    simulator.set_models("openai", named("gpt-4o", "gpt-4.1", "text-embedding-3-small"))
    simulator.set_models("openrouter", MODELS[:2])
    synced(alice, means)
    return create_client(alice, "read", "sync")


def ids(page: dict[str, Any]) -> list[str]:
    return [model["provider_model_id"] for model in page["data"]]


@both_databases
def test_providers_are_mine_or_all(reader: ApiClient) -> None:
    found = reader.read("/api/v1/providers")
    assert [(one["slug"], one["keys"], one["active_keys"]) for one in found["data"]] == [
        ("openai", 1, 1),
        ("openrouter", 1, 1),
    ]
    assert found["next"] is None and datetime.fromisoformat(found["data"][0]["listed_at"]).tzinfo
    everyone = reader.read("/api/v1/providers?all=yes&limit=200")["data"]
    assert len(everyone) > 40 and {"groq": 0}.items() <= {one["slug"]: one["keys"] for one in everyone}.items()


@both_databases
def test_keys_tell_what_is_known_of_them_and_never_more_than_the_hint(reader: ApiClient) -> None:
    page = reader.read("/api/v1/keys")
    by_provider = {key["provider"]: key for key in page["data"]}
    one = by_provider["openai"]
    assert {name: one[name] for name in ("label", "hint", "is_active", "outcome", "model_count", "trouble")} == {
        "label": "work",
        "hint": "•••• 1234",
        "is_active": True,
        "outcome": "complete",
        "model_count": 3,
        "trouble": None,
    }
    assert KEY not in repr(page) and "sealed" not in repr(page)
    assert reader.read(f"/api/v1/keys/{one['id']}") == one
    assert reader.read("/api/v1/keys?provider=openrouter")["data"] == [by_provider["openrouter"]]
    assert reader.read("/api/v1/keys?provider=nobody")["data"] == []


@both_databases
def test_models_have_every_filter_of_the_page(reader: ApiClient) -> None:
    page = reader.read("/api/v1/models")
    assert page["total"] == 4 and sorted(ids(page)) == ["gpt-4.1", "gpt-4o", "openai/gpt-4o", "openai/gpt-4o:free"]
    by_id = {model["provider_model_id"]: model for model in page["data"]}
    one = by_id["openai/gpt-4o"]
    assert (one["provider"], one["canonical_id"], one["kind"]) == ("openrouter", "openai/gpt-4o", "chat")
    assert one["pricing"]["input_per_million"] == 2.5 and one["context_length"] == 128_000
    assert "tools" in one["capabilities"] and len(one["key_ids"]) == 1
    expected = {
        "q=free": ["openai/gpt-4o:free"],
        "provider=openai&sort=name": ["gpt-4.1", "gpt-4o"],
        "provider=nobody": [],
        "capability=tools&provider=openrouter": ["openai/gpt-4o"],
        "capability=tools&capability=vision&provider=openrouter": [],
        "max_price=0": ["openai/gpt-4o:free"],
        "max_price=%242.50&provider=openrouter&sort=price": ["openai/gpt-4o:free", "openai/gpt-4o"],
        "provider=openrouter&sort=-price": ["openai/gpt-4o", "openai/gpt-4o:free"],
        "min_context=200k&provider=openrouter": [],
        "kind=embedding": ["text-embedding-3-small"],
        "new=yes": ["gpt-4.1"],
    }
    assert {query: ids(reader.read(f"/api/v1/models?{query}")) for query in expected} == expected
    assert reader.read("/api/v1/models?all=yes")["total"] == 5
    assert ids(reader.read("/api/v1/models/gone")) == ["gpt-4o-mini", "nobody/knows-this"]
    assert ids(reader.read("/api/v1/models/gone?provider=openai")) == ["gpt-4o-mini"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=nonsense", "kind"),
        ("sort=random", "sort"),
        ("capability=flying", "capability"),
        ("max_price=cheap", "max_price"),
        ("min_context=long", "min_context"),
        ("all=true", "all"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("q=a&q=b", "q"),
        ("q=%00", "q"),
        ("serach=gpt", "serach"),
        ("after=nonsense", "after"),
    ],
)
def test_a_filter_that_cannot_be_read_is_named(reader: ApiClient, query: str, field: str) -> None:
    answer = reader.ask(f"/api/v1/models?{query}")
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    (error,) = answer.json["errors"]
    assert error["field"] == field and error["message"].endswith(".")


@both_databases
def test_changes_are_listed_individually(reader: ApiClient) -> None:
    page = reader.read("/api/v1/changes")
    told = {(change["kind"], change["provider_model_id"]) for change in page["data"]}
    assert {("new", "gpt-4.1"), ("unlisted", "gpt-4o-mini"), ("unlisted", "nobody/knows-this")} <= told
    newest = reader.read("/api/v1/changes?kind=new&provider=openai")["data"][0]
    assert newest["provider_model_id"] == "gpt-4.1" and newest["sentence"] == "new for this key"
    assert newest["label"] == "work" and newest["fields"] == []
    assert reader.read("/api/v1/changes?provider=groq")["data"] == []
    assert reader.ask("/api/v1/changes?kind=odd").status_code == 400


@both_databases
def test_runs_and_the_results_of_one(reader: ApiClient) -> None:
    latest, first = reader.read("/api/v1/runs")["data"]
    assert (latest["state"], latest["trigger"], latest["results"], latest["settled"]) == ("done", "manual", 2, 2)
    assert latest["total_new_models"] == 1 and latest["id"] > first["id"]
    assert reader.read(f"/api/v1/runs/{latest['id']}") == latest
    results = reader.read(f"/api/v1/runs/{latest['id']}/results")["data"]
    by_provider = {result["provider"]: result for result in results}
    assert by_provider["openai"]["outcome"] == "complete" and by_provider["openai"]["unlisted"] == 1
    assert by_provider["openai"]["duration_s"] >= 0 and by_provider["openai"]["trouble"] is None


@both_databases
def test_others_things_are_not_found(reader: ApiClient, bob: Person) -> None:
    stranger = create_client(bob, "read", "sync")
    run = reader.read("/api/v1/runs")["data"][0]["id"]
    key = reader.read("/api/v1/keys")["data"][0]["id"]
    for path in (f"/api/v1/runs/{run}", f"/api/v1/runs/{run}/results", f"/api/v1/keys/{key}", "/api/v1/runs/999999"):
        assert stranger.ask(path).status_code == 404
    for path in (f"/api/v1/keys/{key}/accept", f"/api/v1/keys/{key}/keep"):
        assert stranger.ask(path, "POST").status_code == 404
    assert stranger.ask("/api/v1/runs", "POST", json={"key_id": key}).status_code == 404
    assert stranger.ask("/api/v1/nothing").mimetype == "application/problem+json"
    assert stranger.ask("/api/v1/runs", "DELETE").headers["Allow"]


LISTS = {
    "/api/v1/providers?all=yes": lambda one: one["slug"],
    "/api/v1/keys": lambda one: one["id"],
    "/api/v1/models?all=yes": lambda one: (one["provider"], one["provider_model_id"]),
    "/api/v1/models?sort=-price": lambda one: (one["provider"], one["provider_model_id"]),
    "/api/v1/models?sort=price": lambda one: (one["provider"], one["provider_model_id"]),
    "/api/v1/models?sort=-context": lambda one: (one["provider"], one["provider_model_id"]),
    "/api/v1/models/gone": lambda one: (one["provider"], one["provider_model_id"]),
    "/api/v1/changes": lambda one: one["id"],
    "/api/v1/runs": lambda one: one["id"],
    "/api/v1/runs/{run}/results": lambda one: one["id"],
}


@both_databases
def test_pages_walk_everything_exactly_once(reader: ApiClient) -> None:
    run = reader.read("/api/v1/runs")["data"][0]["id"]
    for path, name in LISTS.items():
        path = path.format(run=run)
        whole = next(reader.walk(path, 200))
        assert len(whole) > 1, path
        for size in (1, 2, 3):
            walked = [name(one) for page in reader.walk(path, size) for one in page]
            assert walked == [name(one) for one in whole], (path, size)
            assert len(set(walked)) == len(walked)


@both_databases
def test_what_comes_between_two_pages_neither_doubles_nor_hides_a_line(
    reader: ApiClient, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    before = [change["id"] for change in next(reader.walk("/api/v1/changes", 200))]
    first = reader.read("/api/v1/changes?limit=2")
    simulator.set_models("openai", named("gpt-4o", "gpt-4.1", "gpt-5", "text-embedding-3-small"))
    synced(alice, means)
    rest = reader.read(f"/api/v1/changes?limit=200&after={first['next']}")
    assert [change["id"] for change in (*first["data"], *rest["data"])] == before


def test_a_cursor_of_one_list_is_none_of_another(reader: ApiClient) -> None:
    cursor = reader.read("/api/v1/runs?limit=1")["next"]
    for path in ("/api/v1/keys", "/api/v1/changes", "/api/v1/models", "/api/v1/models/gone"):
        assert reader.ask(f"{path}?after={cursor}").status_code == 400
    for cursor in (
        "x",
        "W10",
        "eyJhIjogMX0",
        "WyJydW5zIiwgOTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ",
        "WyJydW5zIiwgdHJ1ZV0",
        "%FF",
    ):
        assert reader.ask(f"/api/v1/runs?after={cursor}").status_code == 400, cursor


@pytest.mark.parametrize(
    "path", ["/api/v1/models", "/api/v1/keys", "/api/v1/runs", "/api/openapi.json", "/v1/models", "/api.json"]
)
def test_what_did_not_change_is_not_sent_again(
    reader: ApiClient, path: str, alice: Person, means: SyncContext, simulator: Simulator
) -> None:
    answer = reader.ask(path)
    tag = answer.headers["ETag"]
    again = reader.ask(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.get_data(), again.headers["ETag"]) == (304, b"", tag)
    assert reader.ask(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-cache" and "Authorization" in answer.headers["Vary"]
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    synced(alice, means)
    changed = reader.ask(path, headers={"If-None-Match": tag})
    assert changed.status_code == (304 if path == "/api/openapi.json" else 200)


@both_databases
def test_a_sync_is_started_followed_and_read(reader: ApiClient, app: Flask, vault: Keyring, alice: Person) -> None:
    with worker_present(app):
        answer = reader.ask("/api/v1/runs", "POST", json={"provider": "openai"})
    assert answer.status_code == 202 and answer.json["is_new"] is True and answer.json["notice"] is None
    where = answer.headers["Location"]
    assert where == f"/api/v1/runs/{answer.json['run_id']}"
    assert reader.read(where)["state"] == "queued" and reader.read(where)["trigger"] == "api"
    again = reader.ask("/api/v1/runs", "POST")
    assert (again.json["run_id"], again.json["is_new"]) == (answer.json["run_id"], False)
    assert work_off(app, vault) >= 1
    assert reader.read(where)["state"] == "done"
    assert [result["provider"] for result in reader.read(f"{where}/results")["data"]] == [
        "openai",
        "openrouter",  # still queued, so the second call was added to it
    ]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"json": {"provider": "nobody"}}, 400),
        ({"json": {"provder": "openai"}}, 400),
        ({"json": {"key_id": "1"}}, 400),
        ({"json": {"key_id": 10**6}}, 404),
        ({"json": []}, 400),
        ({"data": "{", "content_type": "application/json"}, 400),
        ({"data": b"\xff", "content_type": "application/json"}, 400),
        ({"data": {"provider": "openai"}}, 415),
        ({"json": {"provider": "groq"}}, 409),
        ({"query_string": {"provider": "openai"}}, 400),
    ],
)
def test_an_order_that_cannot_be_followed_starts_nothing(reader: ApiClient, more: dict[str, Any], status: int) -> None:
    before = db.session.scalar(select(func.count(RunRow.id)))
    answer = reader.ask("/api/v1/runs", "POST", **more)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text
    assert db.session.scalar(select(func.count(RunRow.id))) == before


@pytest.fixture
def suspect(alice: Person, simulator: Simulator, means: SyncContext) -> CredentialRow:
    """A key with a quarantined answer."""
    simulator.set_models("openai", named("gpt-4o", "gpt-4o-mini", "gpt-4.1"))
    key = alice.add_key("openai")
    synced(alice, means)
    simulator.set_models("openai", named("gpt-4o"))
    synced(alice, means)
    db.session.refresh(key)
    assert key.suspect_listing_id is not None
    return key


@both_databases
def test_an_answer_kept_aside_is_accepted(suspect: CredentialRow, alice: Person, app: Flask, vault: Keyring) -> None:
    caller = create_client(alice, "read", "sync")
    assert caller.read(f"/api/v1/keys/{suspect.id}")["can_accept"] is True
    assert caller.read("/api/v1/models")["total"] == 3
    answer = caller.ask(f"/api/v1/keys/{suspect.id}/accept", "POST")
    assert answer.status_code == 202, answer.text
    work_off(app, vault)
    assert caller.read("/api/v1/models")["total"] == 1
    assert caller.ask(f"/api/v1/keys/{suspect.id}/accept", "POST").status_code == 409


@both_databases
def test_a_list_is_kept_and_the_answer_beside_it_dropped(suspect: CredentialRow, alice: Person) -> None:
    caller = create_client(alice, "read", "sync")
    kept = caller.ask(f"/api/v1/keys/{suspect.id}/keep", "POST")
    assert kept.status_code == 200 and (kept.json["can_accept"], kept.json["trouble"]) == (False, None)
    assert (kept.json["outcome"], kept.json["model_count"]) == ("unchanged", 3)
    db.session.refresh(suspect)
    assert (suspect.suspect_listing_id, suspect.suspect_accepted, suspect.suspect_count) == (None, False, 0)
    assert caller.read("/api/v1/models")["total"] == 3
    for what in ("keep", "accept"):
        assert caller.ask(f"/api/v1/keys/{suspect.id}/{what}", "POST").status_code == 409


@pytest.mark.parametrize("body", ["[" * 100_000, '{"provider":' + "[" * 100_000, '{"unknown":' + "[" * 100_000])
def test_a_body_nested_without_end_is_refused_in_a_sentence(alice: Person, body: str) -> None:
    answer = create_client(alice, "read", "sync").ask(
        "/api/v1/runs", "POST", data=body, content_type="application/json"
    )
    assert answer.status_code == 400, answer.text
