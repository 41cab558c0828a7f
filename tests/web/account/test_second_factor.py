"""Two-step sign-in: set up, asked for, used once, lost, required."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pyotp
import pytest
from flask import Flask
from sqlalchemy import func, select

from app import clock, create_app
from app.auth import secretbox
from app.extensions import db
from app.store import audit
from app.store.accounts import second_factors, tokens
from app.store.accounts.second_factors import RecoveryCodeRow, SecondFactorRow
from app.store.schema.tables import RunRow
from app.web.account import login
from tests.conftest import PASSWORD, Browser, Person, both_databases
from tests.web.text_browser import Plainly, words

_WRONG = "That code is not right, or it was used already."
SET_UP = "/settings/second-factor"


class Hand:
    """A phone with an authenticator app, and a clock that the server shares."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = clock.utc_now().replace(second=10, microsecond=0)
        monkeypatch.setattr(clock, "utc_now", lambda: self.moment)
        self.secret = ""

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)

    def code(self, steps: int = 0) -> str:
        return pyotp.TOTP(self.secret).at(int(self.moment.timestamp()) + 30 * steps)


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> Hand:
    return Hand(monkeypatch)


def turned_on(person: Person, phone: Hand) -> tuple[Plainly, list[str]]:
    """Set it up through the pages; the browser is signed in. The recovery codes."""
    page = Plainly(person.sign_in().client).open(SET_UP).submit(SET_UP, password=PASSWORD)
    phone.secret = "".join(re.search(r"Key ((?:[A-Z2-7]{4} ?){8})", page.words)[1].split())  # type: ignore[index]
    page.submit(f"{SET_UP}/confirm", code=phone.code())
    codes = re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", page.words)
    assert len(set(codes)) == second_factors.CODE_COUNT
    phone.forward(seconds=30)
    return page, codes


def half(app: Flask, person: Person) -> Plainly:
    """A new browser in which the password was right."""
    page = Plainly(app.test_client()).open("/login?next=/history")
    return page.submit("/login", email=person.row.email, password=PASSWORD)


def signed_in(client: Any) -> bool:
    return client.get("/profile").status_code == 200


# ------------------------------------------------------------------ set up


@both_databases
def test_it_is_set_up_with_the_password_and_one_code_and_asked_for_from_then_on(
    app: Flask, alice: Person, phone: Hand
) -> None:
    elsewhere = Plainly(app.test_client()).open("/login").submit("/login", email=alice.row.email, password=PASSWORD)
    page, _ = turned_on(alice, phone)
    assert "Two-step sign-in is on." in page.words
    assert not signed_in(elsewhere.client) and signed_in(alice.client)  # what was signed in without a code is over
    browser = half(app, alice)
    assert "Your code" in browser.words and not signed_in(browser.client)
    browser.submit("/login/code", code=phone.code())
    assert browser.answer.request.path == "/history" and signed_in(browser.client)


def test_the_picture_carries_the_key_and_the_page_keeps_its_policy(alice: Person) -> None:
    page = Plainly(alice.sign_in().client).open(SET_UP).submit(SET_UP, password=PASSWORD)
    assert '<img src="data:image/svg+xml' in page.html and "<style" not in page.html
    assert "unsafe" not in page.answer.headers["Content-Security-Policy"]
    assert page.answer.headers["Cache-Control"] == "no-store"
    assert "data:image" not in page.open(SET_UP).html  # only ever in the answer to the form with the password


@both_databases
def test_a_wrong_password_or_a_wrong_first_code_turns_nothing_on(alice: Person, phone: Hand) -> None:
    page = Plainly(alice.sign_in().client).open(SET_UP).submit(SET_UP, password="wrong wrong")
    assert "The password is not right" in page.words and "data:image" not in page.html
    page.submit(SET_UP, password=PASSWORD)
    for code in ("000000", "", "12345", "١٢٣٤٥٦", "x" * 500, "\x00"):
        page.submit(f"{SET_UP}/confirm", code=code)
        assert _WRONG in page.words
    db.session.refresh(alice.row)
    assert alice.row.second_factor_at is None
    phone.forward(minutes=16)
    assert "That took too long." in page.submit(f"{SET_UP}/confirm", code="000000").words


def test_a_key_that_was_never_confirmed_asks_nobody_for_a_code(app: Flask, alice: Person) -> None:
    Plainly(alice.sign_in().client).open(SET_UP).submit(SET_UP, password=PASSWORD)
    assert signed_in(half(app, alice).client)


@both_databases
def test_the_key_is_sealed_and_codes_are_hashed(alice: Person, phone: Hand, app: Flask) -> None:
    _, codes = turned_on(alice, phone)
    row = db.session.scalars(select(SecondFactorRow)).one()
    assert phone.secret.encode() not in row.sealed_secret
    purpose = f"second factor of {alice.id}"
    assert secretbox.decrypt(app.config["SECRET_KEY"], row.sealed_secret, purpose) == phone.secret.encode()
    with pytest.raises(secretbox.DecryptionError):
        secretbox.decrypt(app.config["SECRET_KEY"], row.sealed_secret, "second factor of another")
    digests = b"".join(one.digest for one in db.session.scalars(select(RecoveryCodeRow)))
    assert not any(code.encode() in digests or code.replace("-", "").encode() in digests for code in codes)


# ------------------------------------------------------------------ at sign-in


def test_a_half_open_session_leads_to_nothing_and_starts_nothing(app: Flask, alice: Person, phone: Hand) -> None:
    alice.row.sync_on_sign_in = False
    db.session.commit()
    turned_on(alice, phone)
    alice.row.sync_on_sign_in = True
    alice.add_key("openai")
    db.session.refresh(alice.row)
    before = alice.row.last_sign_in_at
    browser = half(app, alice)
    for path in ("/profile", "/settings", "/models", "/history", SET_UP, "/settings/export.json"):
        answer = browser.client.get(path)
        assert (answer.status_code, answer.location[:6]) == (303, "/login"), path
    assert browser.client.get("/api/v1/keys").status_code == 401
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.html)[1]  # type: ignore[index]
    for path in ("/sync", "/keys", f"{SET_UP}/off", f"{SET_UP}/codes", "/profile/password"):
        assert browser.client.post(path, data={"csrf_token": token}).location[:6] == "/login", path
    db.session.expire_all()
    assert db.session.scalar(select(func.count(RunRow.id))) == 0
    assert alice.row.last_sign_in_at == before
    browser.open("/login/code").submit("/login/code", code=phone.code())
    assert [run.trigger for run in db.session.scalars(select(RunRow))] == ["sign-in"]


def test_a_half_open_session_is_short_and_ends_with_the_password(app: Flask, alice: Person, phone: Hand) -> None:
    turned_on(alice, phone)
    late = half(app, alice)
    phone.forward(seconds=login.PENDING_LOGIN_S + 1)
    assert "Sign in" in late.submit("/login/code", code=phone.code()).words and not signed_in(late.client)
    over = half(app, alice)
    alice.row.auth_stamp = "another"
    db.session.commit()
    over.submit("/login/code", code=phone.code())
    assert not signed_in(over.client)


@both_databases
def test_a_code_counts_once_and_one_step_to_either_side(app: Flask, alice: Person, phone: Hand) -> None:
    turned_on(alice, phone)
    for steps, counts in ((-2, False), (2, False), (-1, False), (0, True), (0, False), (-1, False), (1, True)):
        browser = half(app, alice)
        browser.submit("/login/code", code=phone.code(steps))  # the step before was used for setting it up
        assert signed_in(browser.client) is counts, steps
        assert counts or _WRONG in browser.words
    phone.forward(minutes=2)
    browser = half(app, alice)
    browser.submit("/login/code", code=" ".join(phone.code(-1)))
    assert signed_in(browser.client)


@both_databases
def test_of_two_who_type_one_code_at_one_moment_one_gets_in(app: Flask, alice: Person, phone: Hand) -> None:
    _, codes = turned_on(alice, phone)
    alone = Plainly(app.test_client())
    for code in (phone.code(), codes[0]):
        browsers, start = [half(app, alice) for _ in range(4)], threading.Barrier(4)
        statuses: list[int] = []

        def send(browser: Plainly, code: str = code, start: Any = start, statuses: list[int] = statuses) -> None:
            token = re.search(r'name="csrf_token" value="([^"]+)"', browser.html)[1]  # type: ignore[index]
            start.wait()
            statuses.append(browser.client.post("/login/code", data={"csrf_token": token, "code": code}).status_code)

        threads = [threading.Thread(target=send, args=(browser,)) for browser in browsers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [303, 422, 422, 422]
    assert alone.client.get("/profile").status_code == 303


@both_databases
def test_a_recovery_code_signs_in_once(app: Flask, alice: Person, bob: Person, phone: Hand) -> None:
    _, codes = turned_on(alice, phone)
    browser = half(app, alice).submit("/login/code", code=codes[3].upper().replace("-", " "))
    assert "You used a recovery code; 9 are left." in browser.words and signed_in(browser.client)
    assert _WRONG in half(app, alice).submit("/login/code", code=codes[3]).words
    assert "9 recovery codes are left" in browser.open("/settings").words
    _, of_bob = turned_on(bob, phone)
    assert _WRONG in half(app, alice).submit("/login/code", code=of_bob[0]).words


def test_tries_are_bounded_per_account_from_wherever_they_come(
    app: Flask, alice: Person, bob: Person, phone: Hand
) -> None:
    turned_on(alice, phone)
    statuses = []
    for number in range(10):
        browser = half(app, alice)
        browser.client.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        token = re.search(r'name="csrf_token" value="([^"]+)"', browser.html)[1]  # type: ignore[index]
        answer = browser.client.post("/login/code", data={"csrf_token": token, "code": "000000"})
        statuses.append(answer.status_code)
    assert statuses == [422] * 9 + [429]  # the tenth in all: setting it up took one
    right = half(app, alice)
    token = re.search(r'name="csrf_token" value="([^"]+)"', right.html)[1]  # type: ignore[index]
    assert right.client.post("/login/code", data={"csrf_token": token, "code": phone.code()}).status_code == 429
    page, _ = turned_on(bob, phone)
    assert "Two-step sign-in is on." in page.words


def test_personal_tokens_go_on(app: Flask, alice: Person, phone: Hand) -> None:
    token = tokens.create(alice.id, "editor", ("read",), clock.utc_now())
    db.session.commit()
    assert token is not None
    turned_on(alice, phone)
    assert app.test_client().get("/api/v1/keys", headers={"Authorization": f"Bearer {token[1]}"}).status_code == 200


# ------------------------------------------------------------------ turned off, made anew, lost


@both_databases
def test_turning_it_off_takes_the_password_and_a_code(app: Flask, alice: Person, phone: Hand) -> None:
    page, codes = turned_on(alice, phone)
    off, renew = f"{SET_UP}/off", f"{SET_UP}/codes"

    def send(path: str, **typed: str) -> str:
        page.open("/settings")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.html)[1]  # type: ignore[index]
        return words(page.client.post(path, data={"csrf_token": token, **typed}, follow_redirects=True).text)

    assert "The password is not right" in send(off, password="wrong wrong", code=codes[0])
    assert _WRONG in send(off, password=PASSWORD, code="000000")
    said = send(renew, password=PASSWORD, code=phone.code())
    fresh = re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", said)
    assert len(fresh) == 10 and not set(fresh) & set(codes)
    assert _WRONG in half(app, alice).submit("/login/code", code=codes[1]).words
    assert "Two-step sign-in is off" in send(off, password=PASSWORD, code=fresh[0])
    assert signed_in(half(app, alice).client)
    assert db.session.scalar(select(func.count(RecoveryCodeRow.id))) == 0


@contextmanager
def another_house(app: Flask, **changes: Any) -> Iterator[Flask]:
    """The same installation with other settings."""
    made = create_app(dataclasses.replace(app.config["SETTINGS"], **changes))
    made.config["TESTING"] = True
    made.test_client_class = Browser
    yield made
    with made.app_context():
        db.engine.dispose()


def test_under_another_secret_key_only_a_recovery_code_signs_in_and_it_can_be_set_up_again(
    app: Flask, alice: Person, phone: Hand
) -> None:
    _, codes = turned_on(alice, phone)
    with another_house(app, secret_key="another secret of more than thirty-two characters") as house:
        browser = half(house, alice).submit("/login/code", code=phone.code())
        assert "this server's secret was changed" in browser.words and not signed_in(browser.client)
        browser.submit("/login/code", code=codes[0])
        assert signed_in(browser.client)
        browser.open("/settings")
        token = re.search(r'name="csrf_token" value="([^"]+)"', browser.html)[1]  # type: ignore[index]
        form = {"csrf_token": token, "password": PASSWORD, "code": codes[1]}
        assert browser.client.post(f"{SET_UP}/off", data=form).status_code == 303
        browser.open(SET_UP).submit(SET_UP, password=PASSWORD)
        assert "data:image" in browser.html


@both_databases
def test_an_admin_turns_it_off_for_who_lost_everything(app: Flask, alice: Person, carol: Person, phone: Hand) -> None:
    turned_on(alice, phone)
    page = Plainly(carol.sign_in().client).open(f"/admin/users/{alice.id}")
    assert "on since" in page.words
    page.submit(f"/admin/users/{alice.id}/reset-second-factor", password=PASSWORD)
    assert "signs in with the password alone" in page.words and "Turn off two-step sign-in" not in page.words
    assert not signed_in(alice.client)
    (entry, *_), _ = audit.list_entries()
    assert (entry.actor, entry.subject, entry.after) == (carol.row.email, alice.row.email, {"second factor": "off"})
    assert signed_in(half(app, alice).client)


def test_the_command_line_turns_it_off_too(app: Flask, alice: Person, phone: Hand) -> None:
    turned_on(alice, phone)
    result = app.test_cli_runner().invoke(args=["users", "reset-second-factor", alice.row.email])
    assert result.exit_code == 0 and "signs in with the password alone" in result.output
    db.session.expire_all()
    assert alice.row.second_factor_at is None
    assert audit.list_entries()[0][0].actor == "command line"


# ------------------------------------------------------------------ where it is required


@pytest.mark.parametrize(("required", "asked"), [("admins", {"carol"}), ("everyone", {"carol", "alice"})])
def test_a_required_second_factor_must_be_set_up_before_any_page(
    app: Flask, alice: Person, carol: Person, phone: Hand, required: Any, asked: set[str]
) -> None:
    new_token = tokens.create(carol.id, "editor", ("read",), clock.utc_now())
    db.session.commit()
    assert new_token is not None
    with another_house(app, require_second_factor=required) as house:
        for name, person in (("carol", carol), ("alice", alice)):
            page = half(house, person)
            if name not in asked:
                assert signed_in(page.client)
                continue
            assert "This server requires it of your account." in page.words
            for path in ("/profile", "/settings", "/admin/users", "/changes"):
                answer = page.client.get(path)
                assert (answer.status_code, answer.location) == (303, SET_UP), path
                partial = page.client.get(path, headers={"HX-Request": "true"})
                assert (partial.status_code, partial.headers["HX-Redirect"]) == (403, SET_UP)
            assert page.client.get("/api/v1/keys").status_code == 403
            page.submit(SET_UP, password=PASSWORD)
            phone.secret = "".join(re.search(r"Key ((?:[A-Z2-7]{4} ?){8})", page.words)[1].split())  # type: ignore[index]
            page.submit(f"{SET_UP}/confirm", code=phone.code())
            assert signed_in(page.client)
            assert "/off" not in page.open("/settings").html
            phone.forward(seconds=30)
            form = {"password": PASSWORD, "code": phone.code()}
            token = re.search(r'name="csrf_token" value="([^"]+)"', page.html)[1]  # type: ignore[index]
            page.client.post(f"{SET_UP}/off", data={"csrf_token": token, **form})
            db.session.refresh(person.row)
            assert isinstance(person.row.second_factor_at, datetime)
        bearer = {"Authorization": f"Bearer {new_token[1]}"}
        assert house.test_client().get("/api/v1/keys", headers=bearer).status_code == 200


# ------------------------------------------------------------------ cookies


def test_behind_tls_every_cookie_belongs_to_this_host_alone(app: Flask, alice: Person) -> None:
    with another_house(app, secure_cookies=True) as house:
        client = house.test_client()
        page = client.get("/login", base_url="https://localhost")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]  # type: ignore[index]
        form = {"csrf_token": token, "email": alice.row.email, "password": PASSWORD}
        headers = {"Referer": "https://localhost/login"}
        answer = client.post("/login", data=form, base_url="https://localhost", headers=headers)
        assert answer.status_code == 303
        cookies = page.headers.getlist("Set-Cookie") + answer.headers.getlist("Set-Cookie")
        assert {cookie.split("=")[0] for cookie in cookies} == {"__Host-session", "__Host-theme"}
        for cookie in cookies:
            parts = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert {"secure", "httponly", "path=/", "samesite=lax"} <= parts, cookie
            assert not any(part.startswith("domain") for part in parts), cookie
        assert client.get("/profile", base_url="https://localhost").status_code == 200
        remember = house.config
        assert remember["REMEMBER_COOKIE_NAME"] == "__Host-remember" and remember["REMEMBER_COOKIE_SECURE"]
