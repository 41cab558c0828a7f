"""Settings: how the app looks to a person, where they are signed in, what they take along and what they take away."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient
from sqlalchemy import event, select, text, update

from app import clock, config, create_app
from app.auth import secretbox, totp
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import audit, credentials, plans
from app.store.accounts import identities, second_factors, sessions, tokens, user_actions
from app.store.accounts.sessions import SessionRow
from app.store.audit import Actor
from app.store.plans import PlanRow
from app.store.schema.catalog_tables import AuditRow
from app.store.schema.tables import CredentialRow, MarkRow, UserRow
from app.sync.run import SyncContext
from app.web.app import filters, user_agents
from tests.conftest import PASSWORD, Browser, Person, both_databases
from tests.signed import sign_in
from tests.store.queries.test_runs import counted, many_runs
from tests.sync.test_run import named, synced
from tests.web.text_browser import Plainly, words
from tests.web.worker import now

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)


def another_browser(app: Flask, person: Person, agent: str = IPHONE, address: str = "198.51.100.7") -> FlaskClient:
    """The same person signed in elsewhere."""
    client = app.test_client()
    client.environ_base.update({"HTTP_USER_AGENT": agent, "REMOTE_ADDR": address})
    form = {"email": person.row.email, "password": PASSWORD, "csrf_token": _token(client, "/login")}
    assert client.post("/login", data=form).status_code == 303
    return client


def _token(client: FlaskClient, path: str = "/settings") -> str:
    return client.get(path).text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]


def signed_in(client: FlaskClient) -> bool:
    return client.get("/settings").status_code == 200


def quiet(*people: Person) -> None:
    for person in people:
        person.row.sync_on_sign_in = False
    db.session.commit()


def reread(person: Person) -> UserRow | None:
    user_id = person.id
    db.session.expire_all()
    return db.session.get(UserRow, user_id)


# ------------------------------------------------------------------ theme


def test_a_theme_is_kept_with_the_account_and_for_the_pages_before_signing_in(app: Flask, alice: Person) -> None:
    page = Plainly(alice.sign_in().client).open("/settings")
    assert "data-theme" not in page.html and '<meta name="color-scheme" content="light dark">' in page.html
    page.submit("/settings/theme", theme="dark")
    assert '<html lang="en" data-theme="dark">' in page.html and 'name="color-scheme" content="dark"' in page.html
    alice.post("/logout")
    assert 'data-theme="dark"' in alice.client.get("/login").text
    elsewhere = another_browser(app, alice)
    assert 'data-theme="dark"' in elsewhere.get("/profile").text
    elsewhere.post("/settings/theme", data={"theme": "system", "csrf_token": _token(elsewhere)})
    assert "data-theme" not in elsewhere.get("/profile").text


def test_a_theme_that_does_not_exist_is_neither_kept_nor_shown(app: Flask, alice: Person) -> None:
    alice.sign_in()
    assert alice.post("/settings/theme", theme="'><script>").status_code == 400
    assert alice.post("/settings/theme").status_code == 400
    row = reread(alice)
    assert row is not None and row.theme == "system"
    stranger = app.test_client()
    stranger.set_cookie("theme", "x' onload='1")
    assert "data-theme" not in stranger.get("/login").text


def test_the_themes_cookie_is_kept_from_scripts_and_other_sites(alice: Person) -> None:
    alice.sign_in()
    cookies = alice.post("/settings/theme", theme="light").headers.getlist("Set-Cookie")
    (cookie,) = [cookie for cookie in cookies if cookie.startswith("theme=")]
    assert cookie.startswith("theme=light;") and "HttpOnly" in cookie and "SameSite=Lax" in cookie


def test_every_colour_of_the_style_sheet_has_both_themes_and_follows_the_choice() -> None:
    sheets = [Path(config.ROOT) / "static" / name for name in ("css/base.css", "css/components.css", "style.css")]
    assert not any("prefers-color-scheme" in sheet.read_text(encoding="utf-8") for sheet in sheets)
    style = sheets[0].read_text(encoding="utf-8")
    assert '[data-theme="dark"] { color-scheme: dark; }' in style
    assert '[data-theme="light"] { color-scheme: light; }' in style
    colours = re.findall(r"--([\w-]+): (light-dark\()?#", style.split("@layer layout {", 1)[0])
    assert len(colours) > 15
    assert {name for name, both in colours if not both} == {"on-fill"}


# ------------------------------------------------------------------ time zone


@pytest.mark.parametrize(
    ("zone", "moment", "said"),
    [
        ("UTC", datetime(2026, 11, 1, 12, tzinfo=UTC), "2026-11-01 12:00:00 UTC"),
        ("Europe/Berlin", datetime(2026, 11, 1, 12, tzinfo=UTC), "2026-11-01 13:00:00 Europe/Berlin (+01:00)"),
        ("Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25 02:30:00 Europe/Berlin (+02:00)"),
        ("Europe/Berlin", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25 02:30:00 Europe/Berlin (+01:00)"),
        ("Asia/Kathmandu", datetime(2026, 12, 31, 20, tzinfo=UTC), "2027-01-01 01:45:00 Asia/Kathmandu (+05:45)"),
        ("Mars/Olympus", datetime(2026, 11, 1, 12, tzinfo=UTC), "2026-11-01 12:00:00 UTC"),
        ("../../etc/passwd", datetime(2026, 11, 1, 12, tzinfo=UTC), "2026-11-01 12:00:00 UTC"),
    ],
)
def test_exact_times_are_in_the_viewers_time_zone(app: Flask, zone: str, moment: datetime, said: str) -> None:
    with app.test_request_context():
        g.time_zone = zone
        assert filters.format_datetime(moment) == said
        assert said.startswith(filters.format_date(moment).rpartition(" ")[2])
        assert clock.format_time(moment, filters.current_zone()) in said.replace(":00 ", " ", 1)
        assert clock.isoformat(moment) == moment.isoformat()


def test_outside_of_a_request_exact_times_are_in_utc() -> None:
    assert filters.format_datetime(datetime(2026, 11, 1, 12, tzinfo=UTC)) == "2026-11-01 12:00:00 UTC"
    assert filters.format_datetime(None) == ""


@both_databases
def test_the_history_is_in_the_persons_zone_and_what_programs_read_in_utc(
    alice: Person, bob: Person, means: SyncContext
) -> None:
    quiet(alice, bob)
    alice.add_key("openai")
    run = synced(alice, means)
    local = run.created_at.astimezone(filters.find_zone("Asia/Kathmandu"))
    page = Plainly(alice.sign_in().client).open("/settings")
    page.submit("/settings/time-zone", time_zone="Asia/Kathmandu")
    assert "Saved." in page.words and "Asia/Kathmandu (+05:45)" in page.words
    for path in ("/history", f"/history/{run.id}"):
        html = page.open(path).html
        assert f"{local:%Y-%m-%d %H:%M:%S} Asia/Kathmandu (+05:45)" in html
        stamp = run.created_at.isoformat(timespec="milliseconds")
        assert f'datetime="{stamp}"' in html
    assert "ago" in page.open("/history").words
    read = alice.client.get("/api/v1/runs").json
    assert read["data"][0]["created_at"].startswith(f"{run.created_at:%Y-%m-%dT%H:%M:%S}")
    assert "Kathmandu" not in bob.sign_in().client.get("/settings").text.split("<datalist", 1)[0]


@both_databases
def test_a_zone_that_does_not_exist_is_refused_beside_its_field(alice: Person) -> None:
    alice.sign_in()
    for typed in ("Mars/Olympus", "", "../../etc/passwd", "posixrules", "europe/berlin", "\0", "x" * 5_000):
        answer = alice.post("/settings/time-zone", time_zone=typed)
        assert answer.status_code == 422, typed
        assert "There is no time zone of that name." in words(answer.text)
        assert 'aria-describedby="zone-error"' in answer.text
    row = reread(alice)
    assert row is not None and row.time_zone == "UTC"


def test_the_zones_to_choose_from_are_places() -> None:
    zones = list(filters.time_zones())
    assert zones[0] == "UTC" and len(zones) > 300
    assert {"Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "Pacific/Auckland"} <= set(zones)
    assert not [zone for zone in zones if zone.startswith(("posix", "Etc", "US/"))]


# ------------------------------------------------------------------ sessions


@both_databases
def test_sessions_are_listed_in_words_and_an_ended_one_is_signed_out_at_once(app: Flask, alice: Person) -> None:
    alice.client.environ_base["HTTP_USER_AGENT"] = FIREFOX
    alice.sign_in()
    phone = another_browser(app, alice)
    page = Plainly(alice.client).open("/settings")
    assert "Firefox on Linux this one 127.0.0.…" in page.words
    assert "Safari on iPhone 198.51.100.…" in page.words and "198.51.100.7" not in page.html
    assert signed_in(phone)
    (theirs,) = [row.id for row in sessions.list_for_user(alice.id, now()) if "iPhone" in row.agent]
    page.submit(f"/settings/sessions/{theirs}/end")
    assert "That session is ended." in page.words and "Safari on iPhone" not in page.words
    assert not signed_in(phone)
    assert phone.get("/profile").location.startswith("/login")
    assert phone.get("/api/v1/runs").status_code == 401
    assert signed_in(alice.client)


@both_databases
def test_all_other_sessions_are_ended_at_once_and_nobody_elses(app: Flask, alice: Person, bob: Person) -> None:
    alice.sign_in()
    others = [another_browser(app, alice) for _ in range(3)]
    bob.sign_in()
    partial = alice.post("/settings/sessions/end-others", htmx=True)
    assert "<html" not in partial.text and partial.text.count("<tr>") == 2
    assert [signed_in(other) for other in others] == [False] * 3
    assert signed_in(alice.client) and signed_in(bob.client)


@both_databases
def test_a_session_of_bobs_cannot_end_alices(alice: Person, bob: Person) -> None:
    alice.sign_in()
    bob.sign_in()
    (hers,) = sessions.list_for_user(alice.id, now())
    for htmx in (False, True):
        assert bob.post(f"/settings/sessions/{hers.id}/end", htmx=htmx).status_code == 404
    assert bob.post("/settings/sessions/end-others").status_code == 303
    assert signed_in(alice.client)


@both_databases
def test_ending_this_session_signs_out(alice: Person) -> None:
    alice.sign_in()
    (here,) = sessions.list_for_user(alice.id, now())
    answer = alice.post(f"/settings/sessions/{here.id}/end")
    assert (answer.status_code, answer.location) == (303, "/login")
    assert not signed_in(alice.client)


@both_databases
def test_signing_out_ends_the_session_for_a_copied_cookie_too(app: Flask, alice: Person) -> None:
    alice.sign_in()
    copied = alice.client.get_cookie("session")
    assert copied is not None
    thief = app.test_client()
    thief.set_cookie("session", copied.value)
    assert signed_in(thief)
    alice.post("/logout")
    assert not signed_in(thief)
    assert list(db.session.scalars(select(SessionRow))) == []


def test_every_sign_in_and_another_password_give_another_token(app: Flask, alice: Person) -> None:
    seen = set()
    for _ in range(2):
        alice.sign_in()
        with alice.client.session_transaction() as session:
            seen.add(session["session_token"])
        alice.post("/logout")
    alice.sign_in()
    alice.post("/profile/password", current_password=PASSWORD, password="another fine password")
    with alice.client.session_transaction() as session:
        seen.add(session["session_token"])
    assert len(seen) == 3
    assert signed_in(alice.client)
    assert len(sessions.list_for_user(alice.id, now())) == 1


def test_a_session_from_before_the_update_is_asked_to_sign_in_again(app: Flask, alice: Person) -> None:
    client = app.test_client()
    with client.session_transaction() as session:
        session["_user_id"] = alice.row.get_id()  # all that such a cookie holds
    answer = client.get("/profile")
    assert (answer.status_code, answer.location) == (303, "/login?next=/profile")
    for token in (None, 7, ["x"], "x" * 9_999):
        with client.session_transaction() as session:
            session["session_token"] = token
        assert client.get("/profile").status_code == 303


@both_databases
def test_the_last_time_a_session_was_seen_moves_on(alice: Person) -> None:
    alice.sign_in()
    early = now() - timedelta(hours=2)
    db.session.execute(update(SessionRow).values(seen_at=early))
    db.session.commit()
    alice.client.get("/profile")
    db.session.rollback()
    (row,) = sessions.list_for_user(alice.id, now())
    assert row.seen_at > early + timedelta(hours=1)


def test_hostile_words_of_a_browser_are_only_text(app: Flask, alice: Person) -> None:
    alice.sign_in()
    another_browser(app, alice, agent='"><script>alert(1)</script>')
    html = alice.client.get("/settings").text
    assert "<script>alert" not in html and "&#34;&gt;&lt;script&gt;" in html
    assert "An unknown browser" in words(html)


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64) … Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) … Chrome/140.0 Safari/537.36", "Chrome on macOS"),
        ("Mozilla/5.0 (Linux; Android 15) … SamsungBrowser/28.0 Chrome/130.0", "Samsung Internet on Android"),
        ("curl/8.9", "curl"),
        ("X11; Linux", "An unknown browser on Linux"),
        ("", "An unknown browser"),
    ],
)
def test_browsers_are_described_in_words(agent: str, said: str) -> None:
    assert user_agents.describe_user_agent(agent) == said


@both_databases
def test_the_page_takes_as_many_queries_with_forty_sessions_as_with_one(app: Flask, alice: Person) -> None:
    alice.sign_in()
    queries = []
    for more in (0, 39):
        for _ in range(more):
            sessions.create(alice.id, FIREFOX, "192.0.2.1", now())
        db.session.commit()
        with counted() as sent:
            assert alice.client.get("/settings").text.count('class="act"') == 1 + more
        queries.append(len(sent))
    assert queries[0] == queries[1] <= 5


# ------------------------------------------------------------------ export


@both_databases
def test_the_export_holds_everything_of_the_person_and_nothing_of_another(
    alice: Person, bob: Person, means: SyncContext
) -> None:
    quiet(alice, bob)
    alice.add_key("openai", "sk-canary-of-alice-5678", label="mine")
    bob.add_key("anthropic", "sk-ant-canary-of-bob-9012", label="bobs own")
    synced(alice, means)
    many_runs(alice, 450)
    synced(bob, means)
    new_token = tokens.create(alice.id, "editor", ("read",), now())
    assert new_token is not None
    for person, model in ((alice, "gpt-4o"), (bob, "claude-sonnet-4")):
        marked = {"provider": "openai", "model_id": model, "mark": "starred", "marked_at": now()}
        db.session.add(MarkRow(user_id=person.id, **marked))
    db.session.commit()
    alice.sign_in()
    answer = alice.client.get("/settings/export.json", buffered=True)
    assert answer.mimetype == "application/json"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=modelsync-")
    data: dict[str, Any] = json.loads(answer.text)
    assert data["account"]["email"] == "alice@example.com" and data["account"]["time_zone"] == "UTC"
    assert [(key["provider"], key["label"], key["key_hint"][-4:]) for key in data["keys"]] == [
        ("openai", "mine", "5678")
    ]
    (listing,) = data["lists"]
    assert listing["key"] == data["keys"][0]["id"] and "gpt-4o" in {model["id"] for model in listing["models"]}
    assert len(data["runs"]) == len({run["id"] for run in data["runs"]}) == 451
    assert all(len(run["results"]) == 1 for run in data["runs"])
    first = data["runs"][-1]["results"][0]
    assert len(data["changes"]) == sum(run["results"][0]["new"] > 0 for run in data["runs"]) * first["new"]
    assert [(mark["model_id"], mark["mark"]) for mark in data["marks"]] == [("gpt-4o", "starred")]
    assert [(token["name"], token["scopes"]) for token in data["tokens"]] == [("editor", ["read"])]
    assert [session["address"] for session in data["sessions"]] == ["127.0.0.…"]
    assert data["account"]["created_at"].endswith("Z")
    for secret in ("canary", new_token[1], "sealed", "digest", "password_hash", "auth_stamp", alice.row.password_hash):
        assert secret not in answer.text, secret
    assert "bob" not in answer.text.lower() and "claude" not in answer.text


@both_databases
def test_the_export_holds_earlier_lists_and_those_kept_aside(
    alice: Person, bob: Person, means: SyncContext, simulator: Simulator
) -> None:
    quiet(alice, bob)
    full = named("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o3")
    key, bobs = alice.add_key("openai", label="mine"), bob.add_key("openai")
    simulator.set_models("openai", named("gpt-of-bob", "gpt-4o"))
    synced(bob, means)
    for models in (full[:3], full, full, full[:1]):  # the last is kept aside
        simulator.set_models("openai", models)
        synced(alice, means)
    data = json.loads(alice.sign_in().client.get("/settings/export.json", buffered=True).text)

    def ids(entry: dict[str, Any]) -> list[str]:
        return sorted(model["id"] for model in entry["models"])

    assert [ids(one) for one in data["lists"]] == [["gpt-4.1", "gpt-4o", "gpt-4o-mini", "o3"]]
    assert [(one["key"], one["provider"], ids(one)) for one in data["kept_aside"]] == [(key.id, "openai", ["gpt-4o"])]
    (earlier,) = data["earlier_lists"]
    assert ids(earlier) == ["gpt-4.1", "gpt-4o", "gpt-4o-mini"]
    assert (earlier["key"], earlier["provider"], earlier["label"]) == (key.id, "openai", "mine")
    assert earlier["in_force"] is True and earlier["first_at"] == earlier["last_at"] < data["runs"][0]["ended_at"]
    assert "gpt-of-bob" not in json.dumps(data) and bobs.id not in {one["key"] for one in data["lists"]}
    credentials.reject_quarantined(credentials.find_own(alice.id, key.id)[0])  # type: ignore[index]
    db.session.commit()
    data = json.loads(alice.client.get("/settings/export.json", buffered=True).text)
    assert data["kept_aside"] == []
    assert [(ids(one), one["in_force"]) for one in data["earlier_lists"]] == [
        (["gpt-4.1", "gpt-4o", "gpt-4o-mini"], True),
        (["gpt-4o"], False),
    ]
    alice.post(f"/keys/{key.id}/delete")
    data = json.loads(alice.client.get("/settings/export.json", buffered=True).text)
    assert data["lists"] == [] and [one["key"] for one in data["earlier_lists"]] == [None] * 3


def test_the_export_lists_sign_in_methods_without_secrets(alice: Person, bob: Person) -> None:
    secret = totp.new_secret()
    second_factors.save_pending(
        alice.row, secretbox.encrypt(alice.app.config["SECRET_KEY"], secret.encode(), "x"), now()
    )
    codes = second_factors.enable(alice.row, now())
    for person in (alice, bob):
        assert identities.link(person.id, "https://id.example", f"subject-{person.id}", person.row.email, now())
    db.session.commit()
    sign_in(alice.client, alice.row)
    answer = alice.client.get("/settings/export.json", buffered=True)
    data = json.loads(answer.text)
    assert data["account"]["second_factor_at"].endswith("Z")
    assert [(one["issuer"], one["subject"]) for one in data["identities"]] == [
        ("https://id.example", f"subject-{alice.id}")
    ]
    assert not [one for one in (secret, *codes) if one in answer.text] and "bob" not in answer.text
    sign_in(bob.client, bob.row)
    assert (
        json.loads(bob.client.get("/settings/export.json", buffered=True).text)["account"]["second_factor_at"] is None
    )


def test_the_export_of_an_empty_account_is_complete(alice: Person) -> None:
    data = json.loads(alice.sign_in().client.get("/settings/export.json", buffered=True).text)
    assert {
        name: data[name] for name in ("keys", "lists", "kept_aside", "earlier_lists", "runs", "changes", "tokens")
    } == {
        "kept_aside": [],
        "earlier_lists": [],
        "keys": [],
        "lists": [],
        "runs": [],
        "changes": [],
        "tokens": [],
    }


# ------------------------------------------------------------------ deletion


def everything_of(user_id: int) -> dict[str, int]:
    """How many rows refer to the account, by table: every table that has a user_id, whatever is added later."""
    db.session.rollback()
    results = {}
    for table in db.metadata.tables.values():
        if "user_id" in table.columns:
            number = text(f"SELECT count(*) FROM {table.name} WHERE user_id = :user")
            results[table.name] = int(db.session.scalar(number, {"user": user_id}) or 0)
    return results


@both_databases
def test_a_deleted_account_leaves_nothing_and_the_log_does_not_name_it(
    app: Flask, alice: Person, bob: Person, carol: Person, means: SyncContext
) -> None:
    quiet(alice, bob)
    for person in (alice, bob):
        person.add_key("openai")
        synced(person, means)
    assert tokens.create(alice.id, "editor", ("read",), now()) is not None
    hers = Actor(alice.id, alice.row.email)
    user_actions.promote(alice.row, Actor(carol.id, carol.row.email), now())
    audit.record(hers, "setting", "something", None, {"value": 1}, "", now())
    plans.create(hers, ["openai"], now())
    db.session.commit()
    alice.sign_in()
    elsewhere = another_browser(app, alice)
    bob_before = everything_of(bob.id)
    assert all(everything_of(alice.id)[table] for table in ("credentials", "runs", "results", "tokens", "sessions"))
    alice_id = alice.id
    page = Plainly(alice.client).open("/settings").submit("/settings/delete#delete", **_typed(alice))
    assert "Your account is deleted, with all keys and all history." in page.words and "Sign in" in page.words
    assert not signed_in(alice.client) and not signed_in(elsewhere)
    assert not any(everything_of(alice_id).values())
    assert everything_of(bob.id) == bob_before
    db.session.expire_all()
    assert db.session.get(UserRow, alice_id) is None
    log = [
        (row.actor, row.action, row.subject, row.after)
        for row in db.session.scalars(select(AuditRow).order_by(AuditRow.id))
    ]
    assert "alice" not in repr(log)
    assert log[-1] == ("its owner", "user", "a deleted account", None)
    assert [plan.made_by for plan in db.session.scalars(select(PlanRow))] == ["a deleted account"]


def _typed(person: Person) -> dict[str, str]:
    return {"email": person.row.email, "password": PASSWORD}


@both_databases
def test_nothing_is_deleted_without_the_password_and_the_address(alice: Person, bob: Person) -> None:
    alice.sign_in()
    for typed, wrong, sentence in (
        ({"email": "bob@example.com", "password": PASSWORD}, "email", "Type the address of your account exactly"),
        ({"email": alice.row.email, "password": "wrong wrong"}, "password", "The password is not right"),
        ({"email": alice.row.email}, "password", "The password is not right"),
        ({}, "email", "Type the address of your account exactly"),
    ):
        answer = alice.post("/settings/delete", **typed)
        assert answer.status_code == 422 and sentence in words(answer.text)
        (field,) = re.findall(
            r'<input name="email"[^>]*aria-invalid|<input type="password"[^>]*aria-invalid', answer.text
        )
        assert wrong in field
        assert PASSWORD not in answer.text
    assert reread(alice) is not None and reread(bob) is not None
    assert signed_in(alice.client)


@both_databases
def test_the_last_admin_cannot_delete_their_account(alice: Person, carol: Person) -> None:
    carol.sign_in()
    answer = carol.post("/settings/delete", **_typed(carol))
    assert answer.status_code == 422
    assert "This is the last admin who can sign in." in words(answer.text)
    assert reread(carol) is not None and signed_in(carol.client)
    user_actions.promote(alice.row, audit.COMMAND_LINE, now())
    db.session.commit()
    assert carol.post("/settings/delete", **_typed(carol)).status_code == 303
    assert reread(carol) is None


def test_a_guesser_of_passwords_is_stopped_here_too(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    alice.sign_in()
    monkeypatch.setattr("app.auth.passwords.verify", lambda *_: False)
    typed = {"email": alice.row.email, "password": "wrong wrong", "csrf_token": _token(alice.client)}
    codes = [alice.client.post("/settings/delete", data=typed).status_code for _ in range(11)]
    assert codes == [422] * 10 + [429]


def test_a_deleted_key_is_overwritten_in_the_file_of_the_database(app: Flask, alice: Person) -> None:
    @event.listens_for(db.engine, "connect")
    def _as_most_builds_of_sqlite_have_it(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA secure_delete=OFF")

    db.session.rollback()
    db.session.remove()
    db.engine.dispose()
    key = alice.add_key("openai")
    sealed = db.session.scalar(select(CredentialRow.sealed_key).where(CredentialRow.id == key.id))
    assert sealed is not None
    file = Path(str(db.engine.url.database))
    db.session.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    db.session.commit()
    pieces = [sealed[start : start + 32] for start in range(0, len(sealed) - 31, 32)]
    assert len(pieces) > 30 and all(piece in file.read_bytes() for piece in pieces)
    alice.sign_in()
    assert alice.post("/settings/delete", **_typed(alice)).status_code == 303
    db.session.rollback()
    db.session.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    db.session.commit()
    assert not any(piece in file.read_bytes() for piece in pieces)


# ------------------------------------------------------------------ the way there


def test_settings_are_reached_from_the_profile_and_from_every_page(alice: Person) -> None:
    page = Plainly(alice.sign_in().client).open("/history").follow("/settings")
    assert page.answer.request.path == "/settings"
    assert '<a href="/settings" aria-current="page">Settings</a>' in page.html
    assert page.open("/profile").html.partition("<main")[2].partition("</main>")[0].count('href="/settings"') == 1
    assert "Personal tokens" in page.follow("/settings").follow("/settings/tokens").words


def test_how_long_sessions_last_is_the_operators_to_say(
    app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OWASP ASVS 3.3.2 asks for it at level 2: twelve hours in all, half an hour unused."""
    strict = dataclasses.replace(app.config["SETTINGS"], session_hours=12, session_idle_minutes=30)
    house = create_app(strict)
    house.config["TESTING"] = True
    house.test_client_class = Browser
    began = clock.utc_now()

    def status(client: FlaskClient, **later: float) -> int:
        monkeypatch.setattr(clock, "utc_now", lambda: began + timedelta(**later))
        return client.get("/settings").status_code

    def signed_in() -> FlaskClient:
        monkeypatch.setattr(clock, "utc_now", lambda: began)
        alice.client = house.test_client()
        return alice.sign_in().client

    busy, idle = signed_in(), signed_in()
    assert "not used for 30 minutes, and 12 hours after you signed in" in words(busy.get("/settings").text)
    assert (status(idle, minutes=29), status(idle, minutes=60)) == (200, 303)
    assert {status(busy, minutes=minute) for minute in range(0, 720, 20)} == {200}
    assert status(busy, minutes=721) == 303
    with house.app_context():
        db.engine.dispose()
