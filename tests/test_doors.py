"""Every door of the house: who may pass, who may not, and what they are told. A route without a row here fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask, abort
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.extensions import db, limiter
from app.sync.run import Means
from tests.conftest import Person, both_databases
from tests.sync.test_run import synced
from tests.web.plainly import words

HTMX = {"HX-Request": "true"}


@dataclass(frozen=True)
class Door:
    endpoint: str
    method: str
    path: str
    """With {key}, {run} and {result} for Alice's."""
    stranger: int = 303
    """What a stranger with a good CSRF token gets."""
    bob: int | None = None
    """What Bob gets where the door leads to something of Alice's."""
    token: bool = True
    """Whether a POST needs a CSRF token."""


DOORS = (
    Door("pages.front", "GET", "/", 200),
    Door("health.health", "GET", "/health", 200),
    Door("static", "GET", "/static/app.js", 200),
    Door("accounts.signup", "GET", "/signup", 200),
    Door("accounts.signup", "POST", "/signup", 422),
    Door("accounts.login", "GET", "/login", 200),
    Door("accounts.login", "POST", "/login", 422),
    Door("accounts.logout", "POST", "/logout"),
    Door("accounts.change_password", "POST", "/profile/password"),
    Door("accounts.change_settings", "POST", "/profile/settings"),
    Door("keys.profile", "GET", "/profile"),
    Door("keys.add", "POST", "/keys"),
    Door("keys.row", "GET", "/keys/{key}", bob=404),
    Door("keys.replace", "POST", "/keys/{key}/replace", bob=404),
    Door("keys.set_active", "POST", "/keys/{key}/active", bob=404),
    Door("keys.delete", "POST", "/keys/{key}/delete", bob=404),
    Door("keys.accept", "POST", "/keys/{key}/accept", bob=404),
    Door("sync.start", "POST", "/sync"),
    Door("sync.status", "GET", "/sync/status"),
    Door("sync.stream", "GET", "/sync/stream"),
    Door("history.index", "GET", "/history"),
    Door("history.run", "GET", "/history/{run}", bob=404),
    Door("history.result", "GET", "/history/{run}/results/{result}", bob=404),
    Door("changes.index", "GET", "/changes"),
    Door("models.index", "GET", "/models"),
    Door("models.one", "GET", "/models/openai/gpt-4o"),
    Door("admin.history", "GET", "/admin/history", bob=403),
    Door("catalog.overview", "GET", "/admin/catalog", bob=403),
    Door("catalog.refresh", "POST", "/admin/catalog/refresh", bob=403),
    Door("catalog.unknown", "GET", "/admin/catalog/unknown", bob=403),
    Door("catalog.match", "POST", "/admin/catalog/unknown/match", bob=403),
    Door("catalog.leave", "POST", "/admin/catalog/unknown/leave", bob=403),
    Door("catalog.ids", "GET", "/admin/catalog/ids", bob=403),
    Door("catalog.new", "GET", "/admin/catalog/new", bob=403),
    Door("catalog.create", "POST", "/admin/catalog/new", bob=403),
    Door("catalog.accept", "POST", "/admin/catalog/proposals/accept", bob=403),
    Door("catalog.dismiss", "POST", "/admin/catalog/proposals/dismiss", bob=403),
    Door("catalog.set_adopting", "POST", "/admin/catalog/proposals/adopting", bob=403),
    Door("catalog.conflicts", "GET", "/admin/catalog/conflicts", bob=403),
    Door("catalog.settle", "POST", "/admin/catalog/conflicts/settle", bob=403),
    Door("catalog.log", "GET", "/admin/catalog/audit", bob=403),
    Door("catalog.undo", "POST", "/admin/catalog/audit/undo", bob=403),
    Door("models_sync.last_sync", "GET", "/api/models/sync", 401),
    Door("models_sync.start", "POST", "/api/models/sync", 401),
    Door("models_sync.cron", "GET", "/api/models/sync/cron", 404),
    Door("models_sync.cron", "POST", "/api/models/sync/cron", 404, token=False),
)
POSTS = [door for door in DOORS if door.method == "POST"]
named = pytest.mark.parametrize("door", DOORS, ids=lambda door: f"{door.method} {door.path}")


@pytest.fixture
def house(app: Flask, alice: Person, bob: Person, means: Means) -> dict[str, int]:
    """What Alice has: a key, a run, a result. Nobody is signed in."""
    key = alice.add_key("openai")
    run = synced(alice, means)
    for person in (alice, bob):
        person.row.sync_on_sign_in = False
    db.session.commit()
    return {"key": key.id, "run": run.id, "result": run.results[0].id}


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that a visitor could change."""
    db.session.rollback()
    tables = ("users", "credentials", "runs", "results", "decisions", "overrides", "audit_log")
    return {
        table: [tuple(row) for row in db.session.execute(text(f"SELECT * FROM {table} ORDER BY id"))]  # noqa: S608
        for table in tables
    }


def ask(client: Any, door: Door, house: dict[str, int], token: str = "", **headers: str) -> Any:
    data = {"csrf_token": token} if token else {}
    return client.open(door.path.format(**house), method=door.method, data=data, headers=headers or None)


def fits_secure_headers(answer: Any) -> None:
    headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Permissions-Policy" in headers
    assert "Traceback" not in answer.text and ".py" not in answer.text


def test_every_route_has_its_row(app: Flask) -> None:
    routes = {
        (rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == {(door.endpoint, door.method) for door in DOORS}


@both_databases
def test_a_stranger_passes_only_open_doors(app: Flask, house: dict[str, int]) -> None:
    before = everything()
    for door in DOORS:
        client = app.test_client()
        token = Person.token(_someone(client)) if door.method == "POST" else ""
        answer = ask(client, door, house, token)
        answer.close()
        assert answer.status_code == door.stranger, door
        if door.stranger == 303:
            assert answer.location.startswith("/login"), door
            partial = ask(client, door, house, token, **HTMX)
            assert (partial.status_code, partial.headers["HX-Redirect"][:6]) == (401, "/login"), door
    assert everything() == before


def _someone(client: Any) -> Any:
    class Somebody:
        pass

    somebody = Somebody()
    somebody.client = client  # type: ignore[attr-defined]
    return somebody


@both_databases
def test_bob_never_sees_or_touches_anything_of_alices(app: Flask, house: dict[str, int], bob: Person) -> None:
    bob.sign_in()
    before = everything()
    closed = [door for door in DOORS if door.bob]
    assert {name for door in DOORS for name in ("key", "run", "result") if f"{{{name}}}" in door.path} == {
        "key",
        "run",
        "result",
    }
    assert all(door.bob == 404 for door in DOORS if "{" in door.path)
    for door in closed:
        for headers in ({}, HTMX):
            answer = ask(bob.client, door, house, bob.token("/profile"), **headers)
            assert answer.status_code == door.bob, door
            assert "alice" not in answer.text.lower()
    for path in ("/profile", "/history", "/changes", "/models", "/sync/status", "/api/models/sync"):
        seen = bob.client.get(path, headers=HTMX).text
        assert f"/history/{house['run']}" not in seen and f"/keys/{house['key']}" not in seen and "gpt-" not in seen, (
            path
        )
    assert everything() == before


def test_the_admin_sees_runs_of_others_but_not_their_keys(house: dict[str, int], carol: Person) -> None:
    carol.sign_in()
    for path in ("/admin/history", "/history/{run}", "/history/{run}/results/{result}"):
        assert carol.client.get(path.format(**house)).status_code == 200
    assert "alice@example.com" in carol.client.get("/admin/history").text
    assert carol.client.get("/keys/{key}".format(**house)).status_code == 404
    assert carol.post("/keys/{key}/delete".format(**house)).status_code == 404


@both_databases
def test_a_post_without_a_csrf_token_changes_nothing(app: Flask, house: dict[str, int], alice: Person) -> None:
    alice.sign_in()
    before = everything()
    other = Person.token(_someone(app.test_client()))
    for door in POSTS:
        for token in ("", "forged", other):
            answer = ask(alice.client, door, house, token)
            if not door.token:
                assert answer.status_code == 404
                continue
            assert answer.status_code == (400 if "/api/" in door.path else 419), door
            fits_secure_headers(answer)
    assert everything() == before


def test_a_method_that_a_door_does_not_have_is_refused(app: Flask, house: dict[str, int], alice: Person) -> None:
    alice.sign_in()
    token = alice.token("/profile")
    by_path: dict[str, set[str]] = {}
    for door in DOORS:
        by_path.setdefault(door.path, set()).add(door.method)
    before = everything()
    for path, methods in by_path.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            answer = alice.client.open(path.format(**house), method=method, headers={"X-CSRFToken": token})
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["Allow"].replace(" ", "").split(",")) >= methods
            fits_secure_headers(answer)
    assert everything() == before


def test_every_answer_has_its_security_headers_and_only_files_are_cached(
    house: dict[str, int], alice: Person, app: Flask
) -> None:
    alice.sign_in()
    for client in (alice.client, app.test_client()):
        for door in DOORS:
            if door.method == "GET":
                answer = ask(client, door, house)
                if door.endpoint != "static":
                    fits_secure_headers(answer)
                    assert answer.headers["Cache-Control"] == "no-store", door
                    assert {"cookie", "hx-request"} <= {name.lower() for name in answer.vary}, door
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                answer.close()


# ------------------------------------------------------------------ what an error looks like


def breaking(app: Flask, error: Callable[[], Any]) -> None:
    """The front page and one address of the API fail so."""
    for endpoint in ("pages.front", "models_sync.last_sync"):
        app.view_functions[endpoint] = error


def _database_gone() -> None:
    raise OperationalError("SELECT secret", {"typed": "by a person"}, Exception("gone"))


def _unknown() -> None:
    raise RuntimeError("a secret detail")


def _too_often() -> None:
    abort(429)


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (403, lambda: abort(403), "That is not yours to see"),
        (404, lambda: abort(404), "There is nothing here"),
        (413, lambda: abort(413), "That was too large"),
        (429, _too_often, "Too many attempts"),
        (500, _unknown, "Something went wrong on our side"),
        (503, _database_gone, "The database cannot be reached"),
        (418, lambda: abort(418), "That request was not understood"),
    ],
)
def test_an_error_is_a_sentence_as_page_as_partial_and_as_json(
    app: Flask, status: int, error: Callable[[], Any], sentence: str
) -> None:
    breaking(app, error)
    client = app.test_client()
    page, partial, json = client.get("/"), client.get("/", headers=HTMX), client.get("/api/models/sync")
    for answer in (page, partial, json):
        assert answer.status_code == status
        fits_secure_headers(answer)
        assert "secret" not in answer.text and "by a person" not in answer.text
    assert "<html" in page.text and sentence in words(page.text)
    assert "<html" not in partial.text and 'role="alert"' in partial.text and sentence in words(partial.text)
    assert set(json.json) == {"error"} and json.json["error"].startswith(sentence)


def test_a_lost_csrf_token_says_so_in_each_way(alice: Person) -> None:
    alice.sign_in()
    assert "The page was open too long" in words(alice.client.post("/sync").text)
    partial = alice.client.post("/sync", headers=HTMX)
    assert partial.status_code == 419 and "<html" not in partial.text
    assert "CSRF token" in alice.client.post("/api/models/sync").json["error"]


def test_what_is_too_large_is_refused(alice: Person, app: Flask) -> None:
    alice.sign_in()
    answer = alice.client.post("/keys", data={"csrf_token": alice.token("/profile"), "key": "x" * 2_000_000})
    assert answer.status_code == 413
    assert "That was too large" in words(answer.text)


def test_too_many_requests_get_the_sentence_and_when_to_come_back(alice: Person) -> None:
    alice.sign_in()
    token = alice.token("/profile")
    answers = [alice.client.post("/sync", data={"csrf_token": token}, headers=HTMX) for _ in range(61)]
    assert {answer.status_code for answer in answers[:60]} == {200}
    assert answers[60].status_code == 429
    assert int(answers[60].headers["Retry-After"]) > 0
    assert limiter.enabled


@both_databases
def test_odd_addresses_are_answered_calmly(house: dict[str, int], carol: Person) -> None:
    carol.sign_in()
    paths = {
        "/history/99999999999999999999999": 404,
        "/history/9223372036854775807": 404,
        "/keys/99999999999999999999999": 404,
        f"/history/{house['run']}/results/99999999999999999999": 404,
        "/history/-1": 404,
        "/history?before=99999999999999999999999": 200,
        "/history?before=x": 200,
        "/changes?before=²": 200,
        "/admin/history?until=9999-12-31&since=0001-01-01": 200,
        "/admin/history?until=tomorrow&outcome=nothing&trigger=%27": 200,
        "/admin/history?user=%25&provider=nobody": 200,
        "/models?provider=nobody&all=yes": 200,
        "/sync/status?revision=%00": 303,
    }
    for path, status in paths.items():
        assert carol.client.get(path).status_code == status, path
    for path in ("/admin/history?user=%00", "/admin/history?provider=%00", "/models?provider=%00"):
        assert carol.client.get(path).status_code in (200, 400), path
