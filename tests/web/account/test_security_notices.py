"""Changes to sign-in methods: the owner is notified by e-mail, the audit log records them, the log has each attempt."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
from flask import Flask

from app import logs, mail
from app.extensions import db
from app.jobs import enqueue
from app.store import audit
from app.store.accounts import users
from tests.conftest import PASSWORD, Person
from tests.test_logs import LineCollector
from tests.web.account.test_password_reset import NEW, NO_VAULT, Letters, mailed
from tests.web.account.test_password_reset import house as house  # the fixtures
from tests.web.account.test_password_reset import letters as letters
from tests.web.account.test_password_reset import post as post
from tests.web.account.test_second_factor import SET_UP, Hand, turned_on
from tests.web.account.test_second_factor import phone as phone
from tests.web.text_browser import Plainly
from tests.web.worker import work_off

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


@pytest.fixture
def log_lines() -> Iterator[LineCollector]:
    handler, root = LineCollector("json"), logging.getLogger()
    logs.configure("json", "DEBUG")
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def at_home(house: Flask, person: Person) -> Person:
    """The same person, before a server that sends letters."""
    person.client = house.test_client()
    return person


def security_emails(house: Flask, letters: Letters) -> list[str]:
    """Texts of the queued e-mails, each with its one recipient."""
    before = len(letters.taken)
    with house.app_context():
        work_off(house, NO_VAULT)
    said = []
    for _, to, letter in letters.taken[before:]:
        assert letter["Subject"] == "Your account at Modelsync was changed" and to == [letter["To"]]
        assert "https://models.example/reset" in letter.get_payload()
        said.append(f"{to[0]}: {letter.get_payload()}")
    return said


def entries(person: Person) -> list[object]:
    db.session.rollback()
    return [line.after for line in audit.list_entries()[0] if line.subject == person.row.email]


def test_a_password_change_is_reported_to_the_owner(house: Flask, alice: Person, letters: Letters) -> None:
    page = Plainly(at_home(house, alice).sign_in().client).open("/settings")
    page.submit("/profile/password", current_password="wrong wrong", password=NEW)
    assert security_emails(house, letters) == []
    page.submit("/profile/password", current_password=PASSWORD, password=NEW)
    (said,) = security_emails(house, letters)
    assert said.startswith("alice@example.com: ") and mail.SECURITY_EVENT_TEXTS["password"] in said and NEW not in said


def test_a_password_reset_is_reported_to_the_owner(house: Flask, alice: Person, letters: Letters) -> None:
    mailed(house, alice.row.email)
    Plainly(house.test_client()).open(letters.link()).submit(letters.link(), password=NEW)
    (said,) = security_emails(house, letters)
    assert mail.SECURITY_EVENT_TEXTS["password reset"] in said


def test_every_change_to_two_step_sign_in_is_reported_and_audited(
    house: Flask, alice: Person, carol: Person, letters: Letters, phone: Hand
) -> None:
    page, codes = turned_on(at_home(house, alice), phone)
    page.open("/settings").submit(f"{SET_UP}/codes", password=PASSWORD, code=codes[0])
    codes = re.findall(r"\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b", page.words)
    assert alice.post(f"{SET_UP}/off", password=PASSWORD, code=codes[0]).status_code == 303
    said = security_emails(house, letters)
    assert len(said) == 3 and not any(code in letter for letter in said for code in codes)
    for one, change in zip(said, ("second factor on", "recovery codes", "second factor off"), strict=True):
        assert mail.SECURITY_EVENT_TEXTS[change] in one  # type: ignore[index]
    assert entries(alice) == [
        {"second factor": "off"},
        {"second factor": "recovery codes renewed"},
        {"second factor": "on"},
    ]
    turned_on(alice, phone)
    security_emails(house, letters)
    at_home(house, carol).sign_in().post(f"/admin/users/{alice.id}/reset-second-factor", password=PASSWORD)
    (said_last,) = security_emails(house, letters)
    assert said_last.startswith("alice@example.com: ") and mail.SECURITY_EVENT_TEXTS["second factor off"] in said_last


def test_nobody_is_written_to_where_no_letters_are_sent_or_nobody_is_left(
    app: Flask, house: Flask, alice: Person, letters: Letters
) -> None:
    enqueue.notify_owner(alice.id, "password")
    with house.app_context():
        enqueue.notify_owner(alice.id, "password")
        users.remove(alice.row)
        db.session.commit()
    assert security_emails(house, letters) == []


@pytest.mark.parametrize("change", mail.SECURITY_EVENT_TEXTS)
def test_every_change_has_its_letter(change: mail.Change) -> None:
    text = mail.security_notice_email(
        "us@models.example", "a@b.example", "https://models.example", change
    ).get_content()
    assert mail.SECURITY_EVENT_TEXTS[change] in text and max(map(len, text.splitlines())) < 200


# ------------------------------------------------------------------ the log


def events(log_lines: LineCollector) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in log_lines.lines]
    return [line for line in lines if line["logger"] == "app.entrance"]


def test_the_log_has_each_try_to_sign_in_with_account_and_network_and_nothing_that_was_typed(
    app: Flask, alice: Person, log_lines: LineCollector
) -> None:
    alice.post("/login", email=alice.row.email, password="wrong wrong")
    alice.post("/login", email="nobody@example.com", password="wrong wrong")
    alice.sign_in()
    shown = [(line["event"], line["account"], line.get("why"), line["from_network"]) for line in events(log_lines)]
    assert shown == [
        ("sign-in refused", alice.id, "password", "127.0.0.…"),
        ("sign-in refused", None, "no account", "127.0.0.…"),
        ("signed in", alice.id, None, "127.0.0.…"),
    ]
    assert not [line for line in log_lines.lines if "wrong wrong" in line or "@example.com" in line]


def test_the_log_has_codes_that_were_wrong_and_recovery_codes_that_were_used(
    app: Flask, alice: Person, phone: Hand, log_lines: LineCollector
) -> None:
    page, codes = turned_on(alice, phone)
    page.submit("/logout")
    page.open("/login").submit("/login", email=alice.row.email, password=PASSWORD)
    log_lines.lines.clear()
    page.submit("/login/code", code="000000").submit("/login/code", code=codes[0])
    assert [(line["event"], line["account"]) for line in events(log_lines)] == [
        ("sign-in refused", alice.id),
        ("signed in", alice.id),
        ("recovery code used", alice.id),
    ]
    assert not [line for line in log_lines.lines if codes[0] in line]
