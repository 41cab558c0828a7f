"""Another password by mail, with a real mail server on this machine."""

from __future__ import annotations

import dataclasses
import email
import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from statistics import median
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from flask import Flask
from sqlalchemy import select

from app import clock, create_app, mail
from app.auth.settings import MailServer
from app.config import ConfigError
from app.extensions import db, limiter
from app.jobs import periodic, tasks
from app.store.accounts import password_resets, users
from app.store.accounts.password_resets import PasswordResetRow
from app.vault import Keyring, generate_private_key
from app.web.account import password_reset
from tests.conftest import PASSWORD, Browser, Person, both_databases
from tests.web.text_browser import Plainly, words
from tests.web.worker import work_off

# The test server stands on this machine, which is the only place a password goes without TLS.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
NEW = "a quite new password"
NO_VAULT = Keyring(generate_private_key())
"""A letter opens no API key."""
_ASKED = "If there is an account with the address"
_OVER = "This link does not work any more"


class Letters:
    """What the mail server took."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.refuses = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.refuses:
            return "451 try again later"
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 OK"

    def link(self) -> str:
        """The path of the last letter's link."""
        text = self.taken[-1][2].get_payload()
        return str(re.search(r"https://models\.example(/reset/\S+)", text)[1])  # type: ignore[index]


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def post(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    """A mail server that wants a password."""

    def check(_server: Any, _session: Any, _envelope: Any, _how: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        return AuthResult(success=(given.login, given.password) == (b"us@models.example", b"p@ss:word"))

    port = a_free_port()
    controller = Controller(
        letters, hostname="127.0.0.1", port=port, authenticator=check, auth_required=True, auth_require_tls=False
    )
    controller.start()
    monkeypatch.setenv("SMTP_URL", f"smtp://us%40models.example:p%40ss%3Aword@127.0.0.1:{port}")
    yield controller
    controller.stop()


@pytest.fixture
def house(app: Flask, post: Controller) -> Iterator[Flask]:
    """The same installation, which can send letters."""
    given = {"public_url": "https://models.example", "mail_from": "Modelsync <us@models.example>"}
    made = create_app(dataclasses.replace(app.config["SETTINGS"], **given))  # type: ignore[arg-type]
    made.config["TESTING"] = True
    made.test_client_class = Browser
    yield made
    with made.app_context():
        db.engine.dispose()
        if "redis" in made.extensions:
            made.extensions["redis"].close()


def request_reset(house: Flask, address: str, **headers: str) -> Any:
    page = Plainly(house.test_client()).open("/reset")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.html)[1]  # type: ignore[index]
    return page.client.post("/reset", data={"csrf_token": token, "email": address}, headers=headers)


def mailed(house: Flask, address: str, **headers: str) -> None:
    assert request_reset(house, address, **headers).status_code == 200
    with house.app_context():
        work_off(house, NO_VAULT)


@both_databases
def test_a_forgotten_password_is_replaced_by_the_link_in_a_letter(
    house: Flask, alice: Person, letters: Letters
) -> None:
    alice.sign_in()
    mailed(house, " ALICE@example.com ")
    ((sender, to, letter),) = letters.taken
    assert (sender, to) == ("us@models.example", ["alice@example.com"])
    assert letter["From"] == "Modelsync <us@models.example>" and letter["Auto-Submitted"] == "auto-generated"
    page = Plainly(house.test_client()).open(letters.link())
    page.submit(letters.link(), password="short")
    assert "at least 12 characters" in page.words
    page.submit(letters.link(), password=NEW)
    assert "Your password is changed, and all sessions are ended." in page.words and "Sign in" in page.words
    assert alice.client.get("/profile").status_code == 303
    for password, status in ((PASSWORD, 422), (NEW, 303)):
        assert alice.post("/login", email="alice@example.com", password=password).status_code == status


@both_databases
def test_a_link_works_once_for_an_hour_and_ends_with_every_other_change(
    house: Flask, alice: Person, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailed(house, alice.row.email)
    first = letters.link()
    mailed(house, alice.row.email)
    second = letters.link()
    assert first != second
    client = house.test_client()
    assert [client.get(link).status_code for link in (first, second, first)] == [200, 200, 200]  # looking uses nothing
    Plainly(client).open(second).submit(second, password=NEW)
    for link in (first, second):
        answer = client.get(link)
        assert answer.status_code == 422 and _OVER in words(answer.text)
        token = re.search(r'name="csrf_token" value="([^"]+)"', answer.text)[1]  # type: ignore[index]
        assert client.post(link, data={"csrf_token": token, "password": "still another one"}).status_code == 422
    assert alice.post("/login", email=alice.row.email, password=NEW).status_code == 303
    mailed(house, alice.row.email)
    with monkeypatch.context() as later:
        moment = clock.utc_now() + timedelta(minutes=61)
        later.setattr(clock, "utc_now", lambda: moment)
        assert client.get(letters.link()).status_code == 422
    assert client.get(letters.link()).status_code == 200
    users.end_sessions(alice.row)  # as an admin does, or another password
    db.session.commit()
    assert client.get(letters.link()).status_code == 422


@both_databases
def test_an_address_without_an_account_is_answered_the_same(house: Flask, alice: Person, letters: Letters) -> None:
    alice.row.disabled_at = None
    known, unknown = request_reset(house, alice.row.email), request_reset(house, "nobody@example.com")
    assert known.status_code == unknown.status_code == 200
    said = [
        words(one.text).replace(who, "…") for one, who in ((known, alice.row.email), (unknown, "nobody@example.com"))
    ]
    assert said[0] == said[1] and _ASKED in said[0]
    rows = list(db.session.scalars(select(PasswordResetRow).order_by(PasswordResetRow.id)))
    assert [row.user_id for row in rows] == [alice.id, None]
    with house.app_context():
        work_off(house, NO_VAULT)
    assert [to for _, to, _ in letters.taken] == [[alice.row.email]]


def test_it_takes_as_long_for_an_address_without_an_account(
    house: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is the same; the medians of many may differ by what a busy machine does."""
    monkeypatch.setattr(limiter, "enabled", False)
    page = Plainly(house.test_client()).open("/reset")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.html)[1]  # type: ignore[index]
    took: dict[str, list[float]] = {alice.row.email: [], "nobody@example.com": []}
    for _ in range(25):
        for address, times in took.items():
            began = time.perf_counter()
            page.client.post("/reset", data={"csrf_token": token, "email": address})
            times.append(time.perf_counter() - began)
    known, unknown = (median(times) for times in took.values())
    assert 0.5 < known / unknown < 2


def test_a_disabled_account_gets_no_letter(house: Flask, alice: Person, letters: Letters) -> None:
    mailed(house, alice.row.email)
    link = letters.link()
    alice.row.disabled_at = clock.utc_now()
    db.session.commit()
    mailed(house, alice.row.email)
    assert len(letters.taken) == 1
    assert house.test_client().get(link).status_code == 422


def test_the_link_leads_to_the_configured_address_whatever_the_request_names(
    house: Flask, alice: Person, letters: Letters
) -> None:
    mailed(house, alice.row.email, **{"Host": "localhost:9999", "X-Forwarded-Host": "evil.example"})
    assert letters.link().startswith("/reset/")
    assert "evil" not in letters.taken[0][2].as_string() and "9999" not in letters.taken[0][2].as_string()


@both_databases
def test_only_the_letter_holds_the_token(house: Flask, alice: Person, letters: Letters, redis_url: str) -> None:
    import redis

    request_reset(house, alice.row.email)
    with redis.Redis.from_url(redis_url) as client:
        queued = b"".join(client.dump(name) or b"" for name in client.scan_iter())
    assert alice.row.email.encode() not in queued
    with house.app_context():
        work_off(house, NO_VAULT)
    token = letters.link().rpartition("/")[2]
    assert len(token) >= 43
    row = db.session.scalars(select(PasswordResetRow)).one()
    assert row.digest is not None and token.encode() not in row.digest and row.sent_at is not None


def test_a_letter_that_was_not_taken_is_tried_again_a_few_times(
    house: Flask, alice: Person, letters: Letters, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    letters.refuses = True
    request_reset(house, alice.row.email)
    (reset_id,) = db.session.scalars(select(PasswordResetRow.id))
    with house.app_context():
        for _ in range(2):
            with pytest.raises(mail.MailError, match=r"did not take a letter \(SMTPDataError\)"):
                tasks.send_password_reset(reset_id)
        letters.refuses = False
        later = clock.utc_now() + timedelta(seconds=20)
        monkeypatch.setattr(clock, "utc_now", lambda: later)
        periodic.housekeeping()
        work_off(house, NO_VAULT)
        tasks.send_password_reset(reset_id)  # one that comes twice mails nothing
    assert len(letters.taken) == 1
    assert house.test_client().get(letters.link()).status_code == 200
    assert "alice@" not in caplog.text


def test_after_five_tries_it_is_given_up(house: Flask, alice: Person, letters: Letters) -> None:
    letters.refuses = True
    request_reset(house, alice.row.email)
    (reset_id,) = db.session.scalars(select(PasswordResetRow.id))
    with house.app_context():
        for _ in range(password_resets.MAX_TRIES):
            with pytest.raises(mail.MailError):
                tasks.send_password_reset(reset_id)
        letters.refuses = False
        tasks.send_password_reset(reset_id)
        assert password_resets.stale_requests(clock.utc_now() + timedelta(seconds=20), timedelta(seconds=15)) == []
    assert letters.taken == []


def test_a_worker_without_a_mail_server_says_so(house: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    request_reset(house, alice.row.email)
    monkeypatch.delenv("SMTP_URL")
    (reset_id,) = db.session.scalars(select(PasswordResetRow.id))
    with house.app_context(), pytest.raises(ConfigError, match="SMTP_URL is not: set it"):
        tasks.send_password_reset(reset_id)


def test_a_password_is_never_sent_in_the_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    port = a_free_port()
    controller = Controller(Letters(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        monkeypatch.setattr(mail, "is_loopback", lambda _host: False)
        letter = mail.password_reset_email("us@models.example", "alice@example.com", "https://models.example/reset/x")
        with pytest.raises(mail.MailError, match="offers no TLS"):
            mail.send(MailServer("127.0.0.1", port, False, "user", "password"), letter)
        with pytest.raises(mail.MailError, match="SSLError"):
            mail.send(MailServer("127.0.0.1", port, True), letter)
    finally:
        controller.stop()


def test_asking_is_bounded_per_address_and_per_network(house: Flask, alice: Person) -> None:
    for address in (alice.row.email, "nobody@example.com"):
        assert [request_reset(house, address).status_code for _ in range(6)] == [200] * 5 + [429]
    statuses = [request_reset(house, f"u{number}@example.com").status_code for number in range(12)]
    assert statuses[:8] == [200] * 8 and statuses[-1] == 429  # ten or twelve came before, as refused ones count or not
    assert password_reset.PER_NETWORK == "20 per hour"


def test_the_second_factor_is_asked_for_after_a_reset(house: Flask, alice: Person, letters: Letters) -> None:
    alice.row.second_factor_at = clock.utc_now()
    db.session.commit()
    mailed(house, alice.row.email)
    page = Plainly(house.test_client()).open(letters.link()).submit(letters.link(), password=NEW)
    page.submit("/login", email=alice.row.email, password=NEW)
    assert "Your code" in page.words and page.client.get("/profile").status_code == 303


@pytest.mark.parametrize("link", ["/reset/x", "/reset/" + "x" * 3_000, "/reset/%00", "/reset/%F0%9F%98%80"])
def test_a_made_up_link_is_a_sentence(house: Flask, link: str) -> None:
    answer = house.test_client().get(link)
    assert answer.status_code == 422 and _OVER in words(answer.text)


def test_without_a_mail_server_there_is_no_such_door(app: Flask, house: Flask) -> None:
    assert app.test_client().get("/reset").status_code == 404
    assert "Forgot" not in app.test_client().get("/login").text
    assert "Forgot your password?" in house.test_client().get("/login").text
