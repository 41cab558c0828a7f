"""`flask users disable`, `enable`, `promote`, `demote`, `sign-out`."""

from __future__ import annotations

import sqlite3

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from app.extensions import db
from app.store import audit
from app.store.accounts import user_actions, users
from tests.conftest import Person


def run(app: Flask, *words: str) -> tuple[int, str]:
    db.session.commit()
    result = app.test_cli_runner().invoke(args=["users", *words])
    db.session.rollback()
    db.session.expire_all()
    return result.exit_code, result.output


def test_each_act_has_its_command(app: Flask, carol: Person, alice: Person) -> None:
    assert run(app, "disable", "Alice@example.com") == (
        0,
        "alice@example.com cannot sign in any more, and is not synced.\n"
        "Its tokens and the address of its feed are revoked, also for when it is enabled again.\n",
    )
    assert users.find_by_email("alice@example.com").disabled_at is not None
    assert run(app, "enable", "alice@example.com") == (0, "alice@example.com may sign in again.\n")
    assert run(app, "promote", "alice@example.com") == (0, "alice@example.com is an admin now.\n")
    assert run(app, "demote", "alice@example.com") == (0, "alice@example.com is no admin any more.\n")
    stamp = users.find_by_email("alice@example.com").auth_stamp
    assert run(app, "sign-out", "alice@example.com") == (
        0,
        "All sessions of alice@example.com are ended.\n"
        "Its tokens and the address of its feed go on: `flask users disable` ends them too.\n",
    )
    assert users.find_by_email("alice@example.com").auth_stamp != stamp
    assert {line.actor for line in audit.list_entries()[0]} == {"command line"} and len(audit.list_entries()[0]) == 5


@pytest.mark.parametrize("act", ["disable", "demote"])
def test_the_last_admin_stays_one(app: Flask, carol: Person, act: str) -> None:
    code, said = run(app, act, "carol@example.com")
    assert code == 1 and "This is the last admin" in said


@pytest.mark.parametrize("act", ["disable", "enable", "promote", "demote", "sign-out"])
def test_an_unknown_address_is_a_sentence(app: Flask, carol: Person, act: str) -> None:
    assert run(app, act, "nobody@example.com") == (
        1,
        "Error: There is no account nobody@example.com: see `flask users list`.\n",
    )


def test_a_database_in_trouble_is_a_sentence(app: Flask, carol: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY

    def busy(*_: object) -> None:
        raise OperationalError("SELECT", {}, locked)

    monkeypatch.setattr(user_actions, "find_by_email", busy)
    code, said = run(app, "sign-out", "alice@example.com")
    assert (code, said) == (
        1,
        "Error: The database is busy, somebody else is writing to it: do it again in a moment.\n",
    )
