"""Signing up, in and out; passwords, invitations, throttles and settings."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner
from sqlalchemy import func, select, update

from app import clock as app_clock
from app import config, create_app
from app.auth.invitations import sign_invitation
from app.extensions import db, limiter
from app.store import runs
from app.store.accounts import feeds, sessions, users
from app.store.accounts.sessions import SessionRow
from app.store.schema.tables import RunRow, UserRow
from tests.api.client import create_client
from tests.conftest import PASSWORD, Browser, Clock, Person, both_databases
from tests.web.text_browser import Plainly, words

NEW = "dora@example.com"
_WRONG = "That e-mail address and password do not go together. Check both and try again."


def fresh(app: Flask) -> Plainly:
    return Plainly(app.test_client())


def sent(app: Flask, path: str, client: Any = None, **form: str) -> Any:
    """Post a form with a good token from a new browser."""
    client = client or app.test_client()
    page = client.get("/login", follow_redirects=True).text
    token = page.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    return client.post(path, data={"csrf_token": token, **form})


def signed_in(client: Any) -> bool:
    return client.get("/profile").status_code == 200


def accounts() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count(UserRow.id))) or 0


# ------------------------------------------------------------------ signing up


@both_databases
def test_the_first_account_is_the_admin_and_the_second_is_not(app: Flask) -> None:
    first, second = fresh(app), fresh(app)
    assert "Profile" in first.open("/signup").submit("/signup", email="First@Example.com", password=PASSWORD).words
    second.open("/signup").submit("/signup", email="second@example.com", password=PASSWORD)
    assert [(user.email, user.is_admin) for user in users.list_all()] == [
        ("first@example.com", True),
        ("second@example.com", False),
    ]
    assert first.open("/admin/history").answer.status_code == 200
    assert second.client.get("/admin/history").status_code == 403


@pytest.mark.parametrize(
    ("email", "password", "sentence"),
    [
        ("no address", PASSWORD, "That is not an e-mail address. Type it as name@example.com."),
        ("", PASSWORD, "That is not an e-mail address."),
        (NEW, "short", "Choose a password of at least 12 characters."),
        (NEW, "", "Choose a password of at least 12 characters."),
        (NEW, "x" * 257, "Choose a password of at most 256 characters."),
        ("ALICE@example.com ", PASSWORD, "There is an account with this e-mail address. Sign in instead."),
    ],
)
def test_a_refused_sign_up_says_why_keeps_the_address_and_makes_nothing(
    app: Flask, alice: Person, email: str, password: str, sentence: str
) -> None:
    client = app.test_client()
    before = accounts()
    answer = sent(app, "/signup", client, email=email, password=password)
    assert answer.status_code == 422
    assert sentence in words(answer.text)
    if email:
        assert f'value="{email.strip()}"' in answer.text
    assert not password or password not in answer.text
    assert accounts() == before
    assert not signed_in(client)


def test_a_signed_in_person_is_led_past_sign_up_and_sign_in(alice: Person) -> None:
    alice.sign_in()
    for path in ("/signup", "/login", "/"):
        answer = alice.client.get(path)
        assert (answer.status_code, answer.location) == (303, "/profile")


# ------------------------------------------------------------------ closed and by invitation


@pytest.fixture
def house(app: Flask, request: pytest.FixtureRequest) -> Iterator[Flask]:
    """The same installation with another SIGNUP."""
    made = create_app(dataclasses.replace(app.config["SETTINGS"], signup=request.param))
    made.config["TESTING"] = True
    made.test_client_class = Browser
    yield made
    with made.app_context():
        db.engine.dispose()


def invitation(house: Flask, email: str) -> str:
    with house.test_request_context():
        return sign_invitation(users.normalize_email(email), house.config["SECRET_KEY"])


@pytest.mark.parametrize("house", ["closed"], indirect=True)
def test_a_closed_house_takes_nobody_not_even_with_an_invitation(house: Flask, alice: Person) -> None:
    page = house.test_client().get("/signup")
    assert page.status_code == 403
    assert "Sign-up is closed on this server. Ask the operator for an account." in words(page.text)
    answer = sent(house, "/signup", email=NEW, password=PASSWORD, invite=invitation(house, NEW))
    assert answer.status_code == 403
    assert users.find_by_email(NEW) is None
    assert "/signup" not in house.test_client().get("/").text


@pytest.mark.parametrize("house", ["invite"], indirect=True)
def test_an_invitation_opens_the_house_for_its_address_only(house: Flask, alice: Person) -> None:
    assert "Sign-up is by invitation only." in words(house.test_client().get("/signup").text)
    assert sent(house, "/signup", email=NEW, password=PASSWORD).status_code == 403
    token = invitation(house, "Dora@Example.com")
    other = sent(house, "/signup", email="else@example.com", password=PASSWORD, invite=token)
    assert other.status_code == 422
    assert "This invitation is for another e-mail address." in words(other.text)
    assert users.find_by_email("else@example.com") is None
    invited = Plainly(house.test_client()).open(f"/signup?invite={token}")
    assert f'value="{NEW}"' in invited.html
    invited.submit("/signup", password=PASSWORD)
    assert users.find_by_email(NEW) is not None
    assert signed_in(invited.client)


@pytest.mark.parametrize("house", ["invite"], indirect=True)
def test_an_old_or_forged_invitation_is_refused(house: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    good = invitation(house, NEW)
    with monkeypatch.context() as long_ago:
        long_ago.setattr(TimestampSigner, "get_timestamp", lambda _: int(time.time()) - 8 * 86_400)
        old = invitation(house, NEW)
    for token in (old, good[:-3] + "aaa", "x", good.split(".", 1)[1], "é"):
        assert house.test_client().get("/signup", query_string={"invite": token}).status_code == 403
        assert sent(house, "/signup", email=NEW, password=PASSWORD, invite=token).status_code == 403
    assert users.find_by_email(NEW) is None
    assert house.test_client().get("/signup", query_string={"invite": good}).status_code == 200


# ------------------------------------------------------------------ signing in


def test_a_wrong_password_and_an_unknown_address_get_the_same_sentence(app: Flask, alice: Person) -> None:
    answers = [sent(app, "/login", email=email, password="wrong wrong") for email in (alice.row.email, NEW)]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert all(_WRONG in words(answer.text) for answer in answers)
    assert alice.row.email in answers[0].text and NEW in answers[1].text
    client = app.test_client()
    assert sent(app, "/login", client, email=" ALICE@Example.COM ", password=PASSWORD).status_code == 303
    assert signed_in(client)


@both_databases
def test_odd_bytes_in_an_address_are_a_wrong_address_and_no_failure(app: Flask, alice: Person) -> None:
    for email in (
        "al\x00ice@example.com",
        "x" * 5_000,
        "' OR 1=1 --",
        "\ud83d\ude00@example.com".encode("utf-16", "surrogatepass").decode("utf-16"),
    ):
        answer = sent(app, "/login", email=email, password="wrong wrong")
        assert answer.status_code == 422, email[:30]
        assert _WRONG in words(answer.text)


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("/history?before=12", "/history?before=12"),
        ("//evil.example", "/profile"),
        ("https://evil.example", "/profile"),
        ("\\\\evil.example", "/profile"),
        ("/\\evil.example", "/profile"),
        ("/\t/evil.example", "/profile"),
        ("/history\r\nSet-Cookie: planted=yes", "/profile"),
        ("javascript:alert(1)", "/profile"),
        ("history", "/profile"),
        ("", "/profile"),
    ],
)
def test_after_signing_in_only_a_path_of_ours_comes_next(app: Flask, alice: Person, target: str, where: str) -> None:
    answer = sent(app, "/login", email=alice.row.email, password=PASSWORD, next=target)
    assert (answer.status_code, answer.location) == (303, where)


def test_who_is_sent_to_sign_in_comes_back_to_where_they_were(app: Flask, alice: Person) -> None:
    person = fresh(app).open("/history?before=7")
    assert "Sign in" in person.words
    answer = person.submit("/login", email=alice.row.email, password=PASSWORD).answer
    assert answer.request.full_path == "/history?before=7"


def test_signing_in_leaves_nothing_of_the_session_before(app: Flask, alice: Person) -> None:
    client = app.test_client()
    client.get("/login")
    with client.session_transaction() as session:
        session["planted"] = "by an attacker"
        before = dict(session)
    assert sent(app, "/login", client, email=alice.row.email, password=PASSWORD).status_code == 303
    with client.session_transaction() as session:
        assert "planted" not in session
        assert session["_user_id"].startswith(f"{alice.id}.")
        assert session.get("csrf_token") != before["csrf_token"]


def test_a_forged_session_identity_is_a_stranger(app: Flask, alice: Person) -> None:
    for identity in (str(alice.id), f"{alice.id}.", f"{alice.id}.{'x' * 43}", "x.y", "9" * 40 + ".z", "²."):
        client = app.test_client()
        with client.session_transaction() as session:
            session["_user_id"] = identity
        assert client.get("/profile").status_code == 303, identity


def test_signing_out_takes_a_post(alice: Person) -> None:
    alice.sign_in()
    assert alice.client.get("/logout").status_code == 405
    assert signed_in(alice.client)
    answer = alice.post("/logout")
    assert (answer.status_code, answer.location) == (303, "/login")
    assert not signed_in(alice.client)


def test_a_session_cookie_is_kept_from_scripts_and_other_sites(app: Flask, alice: Person) -> None:
    cookie = sent(app, "/login", email=alice.row.email, password=PASSWORD).headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    production = dataclasses.replace(app.config["SETTINGS"], secure_cookies=True)
    set_to = config.flask_config(production)
    assert set_to["SESSION_COOKIE_SECURE"] is True
    assert str(set_to["SESSION_COOKIE_NAME"]).startswith("__Host-")


# ------------------------------------------------------------------ throttles


IN_A_ROW = 20
"""So many times may one network try one account in a quarter of an hour."""


def from_network(app: Flask, address: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every password is wrong, and nobody waits for its hash."""
    monkeypatch.setattr("app.auth.passwords.verify", lambda *_: False)


def test_one_account_is_throttled_after_twenty_attempts_and_others_are_not(
    app: Flask, alice: Person, bob: Person
) -> None:
    for _ in range(IN_A_ROW):
        assert sent(app, "/login", email=alice.row.email, password="wrong wrong").status_code == 422
    answer = sent(app, "/login", email=alice.row.email.upper(), password=PASSWORD)
    assert answer.status_code == 429
    assert "Too many attempts" in words(answer.text) and "Traceback" not in answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert sent(app, "/login", email=bob.row.email, password=PASSWORD).status_code == 303


def test_however_an_address_is_written_it_is_one_account_to_the_throttle(app: Flask, alice: Person) -> None:
    spellings = [
        "alice@example.com",
        " ALICE@example.com\t",
        "al\0ice@example.com",
        "\0\0alice@example.com\0",
        "\0 alice@example.com",
        "alice@example.com" + " " * 383 + "x",  # of which no more than 400 characters are read
    ]
    for spelling in spellings:
        client = app.test_client()
        assert sent(app, "/login", client, email=spelling, password=PASSWORD).status_code == 303, spelling
        assert signed_in(client)
    for number in range(IN_A_ROW - len(spellings)):
        spelling = spellings[number % len(spellings)]
        assert sent(app, "/login", email=spelling, password="wrong wrong").status_code == 422
    for spelling in spellings:
        assert sent(app, "/login", email=spelling, password="wrong wrong").status_code == 429, spelling


@both_databases
def test_a_burst_of_attempts_gets_no_more_through_than_a_row_of_them(app: Flask, alice: Person) -> None:
    together = threading.Barrier(IN_A_ROW * 2)
    codes: list[int] = []

    def try_one() -> None:
        client = app.test_client()
        token = client.get("/login").text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
        data = {"csrf_token": token, "email": alice.row.email, "password": "wrong wrong"}
        together.wait(30)
        codes.append(client.post("/login", data=data).status_code)

    threads = [threading.Thread(target=try_one) for _ in range(IN_A_ROW * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(codes) == [422] * IN_A_ROW + [429] * IN_A_ROW


def test_signing_in_rightly_is_not_throttled(app: Flask, alice: Person) -> None:
    for _ in range(10):
        assert sent(app, "/login", email=alice.row.email, password=PASSWORD).status_code == 303


@pytest.mark.usefixtures("quick")
def test_one_network_is_throttled_over_all_accounts(app: Flask, alice: Person) -> None:
    for number in range(100):
        assert sent(app, "/login", email=f"u{number}@example.com", password="wrong wrong").status_code == 422
    assert sent(app, "/login", email="another@example.com", password=PASSWORD).status_code == 429
    elsewhere = from_network(app, "192.0.2.7")
    assert sent(app, "/login", elsewhere, email="another@example.com", password=PASSWORD).status_code == 422


def test_nobody_locks_an_account_out_for_another_network(
    app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as wrong:
        wrong.setattr("app.auth.passwords.verify", lambda *_: False)
        codes = [
            sent(app, "/login", from_network(app, "192.0.2.66"), email=alice.row.email, password="x").status_code
            for _ in range(130)
        ]
    assert codes == [422] * IN_A_ROW + [429] * 110
    assert sent(app, "/login", email=alice.row.email, password=PASSWORD).status_code == 303


@pytest.mark.usefixtures("quick")
def test_one_account_is_throttled_over_all_networks(app: Flask, alice: Person) -> None:
    for number in range(100):
        client = from_network(app, f"192.0.2.{number}")
        assert sent(app, "/login", client, email=alice.row.email, password="wrong wrong").status_code == 422
    client = from_network(app, "192.0.2.200")
    assert sent(app, "/login", client, email=alice.row.email, password="wrong wrong").status_code == 429


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("address", "other"),
    [
        ("2001:db8:7:1::{}", "2001:db8:7:2::1"),
        ("2001:db8:7:1:{}:5:6:7", "2001:db8:8:1::1"),
        ("::ffff:192.0.2.66", "::ffff:192.0.2.67"),
    ],
)
def test_a_household_of_ipv6_addresses_is_one_network(app: Flask, alice: Person, address: str, other: str) -> None:
    for number in range(IN_A_ROW):
        client = from_network(app, address.format(number))
        assert sent(app, "/login", client, email=alice.row.email, password="wrong wrong").status_code == 422
    client = from_network(app, address.format("ffff"))
    assert sent(app, "/login", client, email=alice.row.email, password="wrong wrong").status_code == 429
    client = from_network(app, other)
    assert sent(app, "/login", client, email=alice.row.email, password="wrong wrong").status_code == 422


@pytest.mark.usefixtures("quick")
def test_the_throttle_holds_while_redis_is_down(
    app: Flask, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "_storage_dead", limiter._storage_dead)  # put back after the test
    away = create_app(dataclasses.replace(app.config["SETTINGS"], redis_url="redis://127.0.0.1:1/0"))
    away.test_client_class = Browser
    codes = [sent(away, "/login", email=alice.row.email, password="wrong wrong").status_code for _ in range(24)]
    assert codes[:IN_A_ROW] == [422] * IN_A_ROW
    assert codes[-1] == 429
    assert sent(away, "/login", email=bob.row.email, password="wrong wrong").status_code == 422
    with away.app_context():
        db.engine.dispose()


# ------------------------------------------------------------------ the session's cookie


def test_the_cookie_is_given_anew_only_where_the_session_is_seen_again(app: Flask, alice: Person) -> None:
    alice.sign_in()
    alice.client.get("/profile")  # the flash of signing in is read, if there is one
    feed = feeds.create_secret(alice.id, "localhost", datetime.now(UTC))
    db.session.commit()
    for path in ("/profile", "/static/app.js", "/health", f"/feeds/{feed}.atom", "/settings"):
        answer = alice.client.get(path)
        answer.close()
        assert answer.status_code == 200 and "Set-Cookie" not in answer.headers, path
    db.session.execute(update(SessionRow).values(seen_at=datetime.now(UTC) - sessions.TOUCH_EVERY * 2))
    db.session.commit()
    for path in ("/static/app.js", f"/feeds/{feed}.atom"):
        answer = alice.client.get(path)
        answer.close()
        assert "Set-Cookie" not in answer.headers, path
    answer = alice.client.get("/profile")
    assert answer.headers["Set-Cookie"].startswith("session=") and "Expires=" in answer.headers["Set-Cookie"]
    assert "Set-Cookie" not in alice.client.get("/profile").headers


# ------------------------------------------------------------------ the account's own settings


@both_databases
def test_another_password_signs_out_every_other_session_but_not_this_one(app: Flask, alice: Person) -> None:
    here, there = alice.sign_in().client, app.test_client()
    assert sent(app, "/login", there, email=alice.row.email, password=PASSWORD).status_code == 303
    answer = alice.post("/profile/password", current_password=PASSWORD, password="another fine password")
    assert answer.status_code == 303
    assert "Your password is changed. All other sessions are signed out." in words(here.get("/settings").text)
    assert signed_in(here)
    assert not signed_in(there)
    assert sent(app, "/login", email=alice.row.email, password=PASSWORD).status_code == 422
    assert sent(app, "/login", email=alice.row.email, password="another fine password").status_code == 303


@both_databases
def test_after_another_password_one_is_told_what_still_lets_programs_in_and_can_end_it(
    app: Flask, alice: Person, bob: Person
) -> None:
    editor, script, bobs = create_client(alice), create_client(alice, "sync"), create_client(bob)
    secret = feeds.create_secret(alice.id, "localhost", datetime.now(UTC))
    db.session.commit()
    page = Plainly(alice.sign_in().client).open("/settings")
    page.submit("/profile/password", current_password=PASSWORD, password="another fine password")
    assert "Programs go on with 2 personal tokens and the feed's address. Revoke them below" in page.words
    assert editor.ask("/api/v1/keys").status_code == 200
    page.submit("/settings/tokens/revoke-all")
    assert "Revoked: 2 personal tokens and the feed's address." in page.words
    assert "/settings/tokens/revoke-all" not in page.html
    assert [one.ask("/api/v1/keys").status_code for one in (editor, script, bobs)] == [401, 401, 200]
    assert app.test_client().get(f"/feeds/{secret}.atom").status_code == 404
    page.submit("/profile/password", current_password="another fine password", password="a third fine password")
    assert "Programs go on" not in page.words


def test_a_refused_password_change_says_why_and_changes_nothing(app: Flask, alice: Person) -> None:
    alice.sign_in()
    for current, new, sentence in (
        ("wrong wrong", "another fine password", "The current password is not right."),
        (PASSWORD, "short", "Choose a password of at least 12 characters."),
    ):
        alice.post("/profile/password", current_password=current, password=new)
        assert sentence in words(alice.client.get("/settings").text)
    assert sent(app, "/login", email=alice.row.email, password=PASSWORD).status_code == 303


def test_settings_are_kept(alice: Person) -> None:
    page = Plainly(alice.sign_in().client).open("/settings")
    assert 'name="sync_on_sign_in" value="yes" checked' in page.html
    alice.post("/profile/settings")
    db.session.refresh(alice.row)
    assert alice.row.sync_on_sign_in is False
    assert 'name="sync_on_sign_in" value="yes" >' in Plainly(alice.client).open("/settings").html
    alice.post("/profile/settings", sync_on_sign_in="yes")
    db.session.refresh(alice.row)
    assert alice.row.sync_on_sign_in is True


def test_signing_in_starts_a_sync_that_is_due_if_the_person_allows_it(alice: Person, bob: Person) -> None:
    bob.row.sync_on_sign_in = False
    for person in (alice, bob):
        person.add_key("openai")
        person.sign_in()
    rows = db.session.execute(select(RunRow.user_id, RunRow.trigger, RunRow.state)).all()
    assert [tuple(row) for row in rows] == [(alice.id, "sign-in", "queued")]


def test_signing_in_after_a_fresh_sync_starts_none(alice: Person, clock: Clock) -> None:

    alice.add_key("openai")
    started = runs.start(alice.id, "manual", app_clock.utc_now())
    assert started
    started.run.state, started.run.ended_at = "done", app_clock.utc_now()
    for result in pages_results(started.run.id):
        result.outcome = "complete"
    db.session.commit()
    alice.sign_in()
    assert db.session.scalar(select(func.count(RunRow.id))) == 1


def pages_results(run_id: int) -> list[Any]:
    from app.store.schema.tables import ResultRow

    return list(db.session.scalars(select(ResultRow).where(ResultRow.run_id == run_id)))
