"""Access control of every route: who may use it, and what everyone else gets. A route without a row here fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask, abort
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from app.extensions import db, limiter
from app.store.accounts import sessions, tokens, user_actions, users
from app.store.audit import Actor
from app.store.queries import models_of_keys
from app.sync.run import SyncContext
from tests.conftest import Person, both_databases
from tests.sync.test_run import synced
from tests.web.text_browser import words

HTMX = {"HX-Request": "true"}


@dataclass(frozen=True)
class Door:
    endpoint: str
    method: str
    path: str
    """With {key}, {run}, {result}, {token}, {session} and {model} for Alice's."""
    stranger: int = 303
    """What a stranger with a good CSRF token gets."""
    bob: int | None = None
    """What Bob gets where the door leads to something of Alice's."""
    admin: int | None = None
    """What the admin gets, if not Bob's 404 for what is Alice's, and a page where Bob is turned away."""
    wrong: int | None = None
    """What a wrong token gets once the installation has this door's secret; else it gets what a stranger gets."""
    token: bool = True
    """Whether a POST needs a CSRF token."""
    cache: str = "no-store"
    """What its good answers say of caches."""


DOORS = (
    Door("pages.front", "GET", "/", 200),
    Door("pages.news", "GET", "/news"),
    Door("health.health", "GET", "/health", 200),
    Door("health.ready", "GET", "/health/ready", 503),
    Door("metrics.metrics", "GET", "/metrics", 404, wrong=401),
    Door("stats.models", "GET", "/models/stats", 404, wrong=401, bob=403),
    Door("stats.providers", "GET", "/providers/stats", 404, wrong=401, bob=403),
    Door("static", "GET", "/static/app.js", 200),
    Door("help.index", "GET", "/help", 200),
    Door("help.page", "GET", "/help/models", 200),
    Door("reports.csp", "POST", "/csp-reports", 415, token=False),
    Door("accounts.signup", "GET", "/signup", 200),
    Door("accounts.signup", "POST", "/signup", 422),
    Door("accounts.login", "GET", "/login", 200),
    Door("accounts.login", "POST", "/login", 422),
    Door("second_factor.ask", "GET", "/login/code"),
    Door("second_factor.check", "POST", "/login/code"),
    Door("second_factor.set_up", "GET", "/settings/second-factor"),
    Door("second_factor.begin", "POST", "/settings/second-factor"),
    Door("second_factor.confirm", "POST", "/settings/second-factor/confirm"),
    Door("second_factor.renew", "POST", "/settings/second-factor/codes"),
    Door("second_factor.turn_off", "POST", "/settings/second-factor/off"),
    Door("oidc.start", "GET", "/oidc/start", 404),
    Door("oidc.callback", "GET", "/oidc/callback", 404),
    Door("oidc.link", "POST", "/settings/oidc/link"),
    Door("oidc.unlink", "POST", "/settings/oidc/unlink"),
    Door("password_reset.ask", "GET", "/reset", 404),
    Door("password_reset.send", "POST", "/reset", 404),
    Door("password_reset.choose", "GET", "/reset/nobody-has-this-token", 404),
    Door("password_reset.change", "POST", "/reset/nobody-has-this-token", 404),
    Door("notifications.choose", "POST", "/settings/notifications"),
    Door("notifications.ask", "GET", "/unsubscribe/1-nobody-signed-this", 404),
    Door("notifications.stop", "POST", "/unsubscribe/1-nobody-signed-this", 404, token=False),
    Door("accounts.logout", "POST", "/logout"),
    Door("accounts.change_password", "POST", "/profile/password"),
    Door("accounts.change_settings", "POST", "/profile/settings"),
    Door("keys.profile", "GET", "/profile"),
    Door("keys.add", "POST", "/keys"),
    Door("keys.try_without", "POST", "/keys/try"),
    Door("keys.sync_one", "POST", "/keys/{key}/sync", bob=404),
    Door("keys.rename", "POST", "/keys/{key}/label", bob=404),
    Door("key_import.preview", "POST", "/keys/preview"),
    Door("key_import.save", "POST", "/keys/paste"),
    Door("keys.replace", "POST", "/keys/{key}/replace", bob=404),
    Door("keys.change_address", "POST", "/keys/{key}/address", bob=404),
    Door("keys.set_active", "POST", "/keys/{key}/active", bob=404),
    Door("keys.delete", "POST", "/keys/{key}/delete", bob=404),
    Door("keys.accept", "POST", "/keys/{key}/accept", bob=404),
    Door("keys.keep", "POST", "/keys/{key}/keep", bob=404),
    Door("sync.start", "POST", "/sync"),
    Door("sync.cancel", "POST", "/sync/cancel"),
    Door("sync.status", "GET", "/sync/status"),
    Door("sync.stream", "GET", "/sync/stream"),
    Door("history.index", "GET", "/history"),
    Door("history.run", "GET", "/history/{run}", bob=404, admin=200),
    Door("history.result", "GET", "/history/{run}/results/{result}", bob=404, admin=200),
    Door("history.key", "GET", "/history/keys/{key}", bob=404),
    Door("history.compare_lists", "GET", "/history/compare"),
    Door("history.compare_lists", "GET", "/history/compare?key={key}", bob=404),
    Door("changes.index", "GET", "/changes"),
    Door("changes.read", "POST", "/changes/read"),
    Door("feeds.create", "POST", "/changes/feed"),
    Door("feeds.revoke", "POST", "/changes/feed/revoke"),
    Door("feeds.atom", "GET", "/feeds/nobody-has-this-secret.atom", 404),
    Door("models.index", "GET", "/models"),
    Door("models.one", "GET", "/models/openai/gpt-4o"),
    Door("models.compare", "GET", "/models/compare"),
    Door("models.use", "GET", "/models/use?m={model}", bob=404),
    Door("models.mark", "POST", "/marks", bob=400),
    Door("models.choose_columns", "POST", "/settings/model-columns"),
    Door("admin.overview", "GET", "/admin", bob=403),
    Door("admin.history", "GET", "/admin/history", bob=403),
    Door("admin.export", "GET", "/admin/history.csv", bob=403),
    Door("admin.export", "GET", "/admin/history.json", bob=403),
    Door("admin_providers.redirect_old_path", "GET", "/providers", bob=403, admin=303),
    Door("admin_providers.index", "GET", "/admin/providers", bob=403),
    Door("admin_providers.change", "POST", "/admin/providers/openai", bob=403),
    Door("admin_providers.test", "POST", "/admin/providers/openai/test", bob=403),
    Door("admin_providers.test_result", "GET", "/admin/providers/openai/test", bob=403, admin=303),
    Door("admin_sync.start", "POST", "/admin/providers/openai/sync", bob=403),
    Door("admin_sync.progress", "GET", "/admin/providers/openai/sync", bob=403, admin=303),
    Door("admin_sync.index", "GET", "/admin/plans", bob=403),
    Door("admin_sync.plan", "GET", "/admin/plans/1", bob=403, admin=404),
    Door("admin_sync.apply", "POST", "/admin/plans/1/apply", bob=403),
    Door("model_sync.providers", "GET", "/admin/model-sync/providers", 404, wrong=401, bob=403),
    Door("model_sync.status", "GET", "/admin/model-sync/status", 404, wrong=401, bob=403),
    Door("model_sync.run", "GET", "/admin/model-sync/runs/1", 404, wrong=401, bob=403, admin=404),
    Door("model_sync.plan", "GET", "/admin/model-sync/plans/1", 404, wrong=401, bob=403, admin=404),
    Door("model_sync.sync_one", "POST", "/admin/model-sync/provider/openai", 404, wrong=401, bob=403),
    Door("model_sync.sync_all", "POST", "/admin/model-sync/all", 404, wrong=401, bob=403),
    Door("model_sync.apply", "POST", "/admin/model-sync/plans/1/apply", 404, wrong=401, bob=403),
    Door("admin_users.index", "GET", "/admin/users", bob=403),
    Door("admin_users.invite", "POST", "/admin/users/invite", bob=403),
    Door("admin_users.one", "GET", "/admin/users/1", bob=403),
    Door("admin_users.change", "POST", "/admin/users/1/disable", bob=403),
    Door("admin_users.delete", "POST", "/admin/users/1/delete", bob=403),
    Door("admin_workers.index", "GET", "/admin/workers", bob=403),
    Door("admin_workers.requeue", "POST", "/admin/workers/failed/requeue", bob=403),
    Door("admin_workers.delete", "POST", "/admin/workers/failed/delete", bob=403),
    Door("catalog.overview", "GET", "/admin/catalog", bob=403),
    Door("catalog.refresh", "POST", "/admin/catalog/refresh", bob=403),
    Door("catalog.unknown", "GET", "/admin/catalog/unknown", bob=403),
    Door("catalog.match", "POST", "/admin/catalog/unknown/match", bob=403),
    Door("catalog.leave", "POST", "/admin/catalog/unknown/leave", bob=403),
    Door("catalog.ids", "GET", "/admin/catalog/ids", bob=403),
    Door("catalog.new", "GET", "/admin/catalog/new", bob=403, admin=404),
    Door("catalog.create", "POST", "/admin/catalog/new", bob=403),
    Door("catalog.accept", "POST", "/admin/catalog/proposals/accept", bob=403),
    Door("catalog.dismiss", "POST", "/admin/catalog/proposals/dismiss", bob=403),
    Door("catalog.set_adopting", "POST", "/admin/catalog/proposals/adopting", bob=403),
    Door("catalog.conflicts", "GET", "/admin/catalog/conflicts", bob=403),
    Door("catalog.settle", "POST", "/admin/catalog/conflicts/settle", bob=403),
    Door("catalog.log", "GET", "/admin/catalog/audit", bob=403),
    Door("catalog.undo", "POST", "/admin/catalog/audit/undo", bob=403),
    Door("settings.index", "GET", "/settings"),
    Door("settings.change_theme", "POST", "/settings/theme"),
    Door("settings.change_time_zone", "POST", "/settings/time-zone"),
    Door("settings.end_session", "POST", "/settings/sessions/{session}/end", bob=404),
    Door("settings.end_others", "POST", "/settings/sessions/end-others"),
    Door("settings.export", "GET", "/settings/export.json"),
    Door("settings.delete", "POST", "/settings/delete"),
    Door("tokens.index", "GET", "/settings/tokens"),
    Door("tokens.add", "POST", "/settings/tokens"),
    Door("tokens.revoke_all", "POST", "/settings/tokens/revoke-all"),
    Door("tokens.revoke", "POST", "/settings/tokens/{token}/revoke", bob=404),
    Door("openapi.page", "GET", "/api/docs", 200),
    Door("openapi.document", "GET", "/api/openapi.json", 200, cache="private, no-cache"),
    Door("api_v1.providers", "GET", "/api/v1/providers", 401, cache="private, no-cache"),
    Door("api_v1.keys", "GET", "/api/v1/keys", 401, cache="private, no-cache"),
    Door("api_v1.key", "GET", "/api/v1/keys/{key}", 401, bob=404, cache="private, no-cache"),
    Door("api_v1.change_address", "PATCH", "/api/v1/keys/{key}", 401, bob=404),
    Door("api_v1.accept", "POST", "/api/v1/keys/{key}/accept", 401, bob=404),
    Door("api_v1.keep", "POST", "/api/v1/keys/{key}/keep", 401, bob=404),
    Door("api_v1.models", "GET", "/api/v1/models", 401, cache="private, no-cache"),
    Door("api_v1.gone", "GET", "/api/v1/models/gone", 401, cache="private, no-cache"),
    Door("api_v1.changes", "GET", "/api/v1/changes", 401, cache="private, no-cache"),
    Door("api_v1.runs", "GET", "/api/v1/runs", 401, cache="private, no-cache"),
    Door("api_v1.start", "POST", "/api/v1/runs", 401),
    Door("api_v1.run", "GET", "/api/v1/runs/{run}", 401, bob=404, cache="private, no-cache"),
    Door("api_v1.results", "GET", "/api/v1/runs/{run}/results", 401, bob=404, cache="private, no-cache"),
    Door("elsewhere.openai_models", "GET", "/v1/models", 401, cache="private, no-cache"),
    Door("elsewhere.openai_model", "GET", "/v1/models/{model}", 401, bob=404, cache="private, no-cache"),
    Door("elsewhere.models_dev", "GET", "/api.json", 401, cache="private, no-cache"),
    Door("models_sync.last_sync", "GET", "/api/models/sync", 401),
    Door("models_sync.start", "POST", "/api/models/sync", 401),
    Door("models_sync.cron", "GET", "/api/models/sync/cron", 404, wrong=401),
    Door("models_sync.cron", "POST", "/api/models/sync/cron", 404, wrong=401, token=False),
)
LISTS = [door.path for door in DOORS if door.endpoint.startswith(("api_v1", "elsewhere")) and "{" not in door.path]
POSTS = [door for door in DOORS if door.method == "POST"]
named = pytest.mark.parametrize("door", DOORS, ids=lambda door: f"{door.method} {door.path}")


@pytest.fixture
def house(app: Flask, alice: Person, bob: Person, means: SyncContext) -> dict[str, Any]:
    """Alice's data: a key, a run, a result, a personal token, a session, a model. No one is signed in."""
    key = alice.add_key("openai")
    run = synced(alice, means)
    for person in (alice, bob):
        person.row.sync_on_sign_in = False
    db.session.commit()
    token = tokens.create(alice.id, "editor", ("read", "sync"), means.now())
    assert token is not None
    db.session.commit()
    sessions.create(alice.id, "her phone", "192.0.2.7", datetime.now(UTC))
    db.session.commit()
    (session,) = sessions.list_for_user(alice.id, datetime.now(UTC))
    model = f"openai/{models_of_keys.list_usable(alice.id)[0].listed.id}"
    ids = {"key": key.id, "run": run.id, "result": run.results[0].id, "token": token[0].id, "session": session.id}
    return {**ids, "model": model}


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that a visitor could change."""
    db.session.rollback()
    tables = (
        "users",
        "providers",
        "credentials",
        "runs",
        "results",
        "decisions",
        "overrides",
        "audit_log",
        "tokens",
        "sessions",
        "second_factors",
        "recovery_codes",
        "identities",
        "password_resets",
        "marks",
        "feeds",
        "subscriptions",
    )
    return {
        table: [tuple(row) for row in db.session.execute(text(f"SELECT * FROM {table} ORDER BY id"))]
        for table in tables
    }


def ask(client: Any, door: Door, house: dict[str, Any], token: str = "", **headers: str) -> Any:
    data = {"csrf_token": token} if token else {}
    path = door.path.format(**house)
    return client.open(path, method=door.method, data=data, headers=headers or None, buffered=True)


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
def test_a_stranger_passes_only_open_doors(app: Flask, house: dict[str, Any]) -> None:
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


def unused_for_long(alice: Person) -> None:
    """Nobody ends it: it is over by itself."""
    past = datetime.now(UTC) - sessions.IDLE_TIMEOUT - timedelta(minutes=1)
    db.session.execute(update(sessions.SessionRow).where(sessions.SessionRow.user_id == alice.id).values(seen_at=past))


def ended_elsewhere(alice: Person) -> None:
    sessions.end_all(alice.id)


def after_another_password(alice: Person) -> None:
    users.end_sessions(alice.row)


def of_a_disabled_account(alice: Person) -> None:
    user_actions.disable(alice.row, BY_HAND, datetime.now(UTC))


@pytest.mark.parametrize("end", [unused_for_long, ended_elsewhere, after_another_password, of_a_disabled_account])
def test_a_session_that_is_over_opens_what_a_stranger_opens(
    house: dict[str, Any], alice: Person, end: Callable[[Person], None]
) -> None:
    alice.sign_in()
    token = alice.token("/profile")
    assert alice.client.get("/profile").status_code == 200
    end(alice)
    db.session.commit()
    before = everything()
    for door in DOORS:
        # A page that was open all the while has the CSRF token of then.
        answer = ask(alice.client, door, house, token)
        assert answer.status_code == door.stranger, door
        answer.close()
        assert "alice@" not in answer.text, door
    assert everything() == before


BY_HAND = Actor(None, "a test")
SECRETS = {name: f"the-{name}-of-this-installation" for name in ("cron_secret", "admin_api_key", "metrics_token")}


@pytest.fixture
def wrong_tokens(app: Flask, house: dict[str, Any], alice: Person, bob: Person) -> list[str]:
    """Tokens that are good for nothing, in an installation that has every secret."""
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], metrics=True, **SECRETS)
    now = datetime.now(UTC)
    dead = []
    for name, made_at in (("revoked", now), ("expired", now - timedelta(days=400)), ("disabled", now)):
        token = tokens.create((bob if name == "disabled" else alice).id, name, ("read", "sync"), made_at, days=90)
        assert token is not None
        if name == "revoked":
            tokens.revoke(alice.id, token[0].id, now)
        dead.append(token[1])
    user_actions.disable(bob.row, BY_HAND, now)
    db.session.commit()
    almost = [secret[:-1] for secret in SECRETS.values()] + [secret.upper() for secret in SECRETS.values()]
    return [*dead, f"{tokens.PREFIX}{'x' * 43}", "x", "", "\x80", *almost]


def test_a_wrong_token_opens_no_door(app: Flask, house: dict[str, Any], wrong_tokens: list[str]) -> None:
    client = app.test_client()
    token = Person.token(_someone(client))
    before = everything()
    for door in DOORS:
        answers = door.wrong or (401 if door.stranger == 401 else 0)
        headers = [f"Bearer {given}" for given in wrong_tokens]
        headers += [f"{scheme}{wrong_tokens[0]}" for scheme in ("bearer ", "Basic ", "")]
        # A page never looks at the header: one shows it.
        for given in headers if answers else headers[:1]:
            limiter.reset()  # otherwise the rate limit would reject this many attempts
            answer = ask(client, door, house, token, Authorization=given)
            answer.close()
            assert answer.status_code == (answers or door.stranger), (door, given)
    assert everything() == before


def test_each_secret_opens_its_own_doors_and_no_other(
    app: Flask, house: dict[str, Any], wrong_tokens: list[str]
) -> None:
    opened: dict[str, set[str]] = {name: set() for name in SECRETS}
    for name, secret in SECRETS.items():
        for door in DOORS:
            answer = ask(app.test_client(), door, house, Authorization=f"Bearer {secret}")
            answer.close()
            if door.wrong and answer.status_code != door.wrong:
                opened[name].add(door.endpoint)
            elif not door.wrong and door.method == "GET":
                assert answer.status_code == door.stranger, (door, name)
    assert opened["cron_secret"] == {"models_sync.cron"}
    assert opened["metrics_token"] == {"metrics.metrics"}
    assert opened["admin_api_key"] == {
        door.endpoint for door in DOORS if door.endpoint.startswith(("model_sync.", "stats."))
    }


@both_databases
def test_an_admin_enters_the_admins_doors_and_nobody_elses(app: Flask, house: dict[str, Any], carol: Person) -> None:
    carol.sign_in()
    token = carol.token("/profile")
    before = everything()
    for door in DOORS:
        if door.bob and (door.method == "GET" or door.bob == 404):
            answer = ask(carol.client, door, house, token)
            answer.close()
            assert answer.status_code == (door.admin or (200 if door.bob == 403 else door.bob)), door
    assert everything() == before


def _someone(client: Any) -> Any:
    class Somebody:
        pass

    somebody = Somebody()
    somebody.client = client  # type: ignore[attr-defined]
    return somebody


@both_databases
def test_bob_never_sees_or_touches_anything_of_alices(app: Flask, house: dict[str, Any], bob: Person) -> None:
    bob.sign_in()
    before = everything()
    closed = [door for door in DOORS if door.bob]
    assert {name for door in DOORS for name in house if f"{{{name}}}" in door.path} == house.keys()
    assert all(door.bob == 404 for door in DOORS if "{" in door.path)
    for door in closed:
        for headers in ({}, HTMX):
            answer = ask(bob.client, door, house, bob.token("/profile"), **headers)
            assert answer.status_code == door.bob, door
            assert "alice" not in answer.text.lower()
    for path in ("/profile", "/history", "/changes", "/models", "/sync/status", "/api/models/sync", *LISTS):
        page_text = bob.client.get(path, headers=HTMX).text
        assert (
            f"/history/{house['run']}" not in page_text
            and f"/keys/{house['key']}" not in page_text
            and "gpt-" not in page_text
        ), path
    assert everything() == before


def test_the_admin_sees_runs_of_others_but_not_their_keys(house: dict[str, Any], carol: Person) -> None:
    carol.sign_in()
    for path in ("/admin/history", "/history/{run}", "/history/{run}/results/{result}"):
        assert carol.client.get(path.format(**house)).status_code == 200
    assert "alice@example.com" in carol.client.get("/admin/history").text
    assert carol.client.get("/keys/{key}".format(**house)).status_code == 404
    assert carol.post("/keys/{key}/delete".format(**house)).status_code == 404


@both_databases
def test_a_post_without_a_csrf_token_changes_nothing(app: Flask, house: dict[str, Any], alice: Person) -> None:
    alice.sign_in()
    before = everything()
    other = Person.token(_someone(app.test_client()))
    for door in POSTS:
        for token in ("", "forged", other):
            answer = ask(alice.client, door, house, token)
            if not door.token:
                assert answer.status_code == (415 if door.endpoint == "reports.csp" else 404), door
                continue
            closed = 403 if door.endpoint.startswith("model_sync.") else None  # an admin's is in test_admin_sync
            assert answer.status_code == (closed or (400 if "/api/" in door.path else 419)), door
            fits_secure_headers(answer)
    assert everything() == before


def test_a_method_that_a_door_does_not_have_is_refused(app: Flask, house: dict[str, Any], alice: Person) -> None:
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
    house: dict[str, Any], alice: Person, app: Flask
) -> None:
    alice.sign_in()
    for client in (alice.client, app.test_client()):
        for door in DOORS:
            if door.method == "GET":
                answer = ask(client, door, house)
                if door.endpoint != "static":
                    fits_secure_headers(answer)
                    good = answer.status_code == 200
                    assert answer.headers["Cache-Control"] == (door.cache if good else "no-store"), door
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
def test_odd_addresses_are_answered_calmly(house: dict[str, Any], carol: Person) -> None:
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
        "/admin/history?state=nothing": 200,
        "/admin/history.xml": 404,
        "/admin/users?q=%00%25&before=99999999999999999999999": 200,
        "/admin/users/99999999999999999999999": 404,
        "/admin/users/9223372036854775807": 404,
        "/models?provider=nobody&all=yes": 200,
        "/sync/status?revision=%00": 303,
    }
    for path, status in paths.items():
        assert carol.client.get(path).status_code == status, path
    for path in ("/admin/history?user=%00", "/admin/history?provider=%00", "/models?provider=%00"):
        assert carol.client.get(path).status_code in (200, 400), path
