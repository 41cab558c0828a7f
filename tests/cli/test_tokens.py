"""`flask tokens`: create, list and revoke."""

from __future__ import annotations

import contextvars
import json

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import func, select

from app.extensions import db
from app.store.accounts.tokens import TokenRow
from tests.conftest import Person


def shell(app: Flask, *arguments: str) -> Result:
    return contextvars.Context().run(app.test_cli_runner().invoke, args=["tokens", *arguments])


def test_a_token_of_the_shell_works_is_listed_and_revoked(app: Flask, alice: Person) -> None:
    made = shell(app, "add", "alice@example.com", "--name", "cron", "--scope", "sync", "--scope", "read", "--days", "7")
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    assert text.startswith("msk_") and "may read and sync, until" in made.stderr and text not in made.stderr
    ask = {"headers": {"Authorization": f"Bearer {text}"}}
    assert app.test_client().get("/api/v1/keys", **ask).status_code == 200
    listed = shell(app, "list", "alice@example.com", "--json")
    (line,) = map(json.loads, listed.output.splitlines())
    assert (line["name"], line["scopes"], line["state"]) == ("cron", "read sync", "live")
    assert line["last_used_at"] and text not in listed.output
    assert "cron" in shell(app, "list", "alice@example.com").output
    assert shell(app, "revoke", "alice@example.com", str(line["id"])).exit_code == 0
    assert app.test_client().get("/api/v1/keys", **ask).status_code == 401
    again = shell(app, "revoke", "alice@example.com", str(line["id"]))
    assert again.exit_code == 1 and "no live token" in again.output


def test_a_token_reads_unless_it_is_said_otherwise(app: Flask, alice: Person) -> None:
    assert shell(app, "add", "alice@example.com", "--name", "x").exit_code == 0
    row = db.session.scalars(select(TokenRow)).one()
    assert (row.scopes, row.expires_at, row.user_id) == (["read"], None, alice.id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "nobody@example.com", "--name", "x"), "There is no account"),
        (("add", "alice@example.com", "--name", " "), "Name the program"),
        (("add", "alice@example.com"), "Missing option"),
        (("add", "alice@example.com", "--name", "x", "--scope", "admin"), "not one of"),
        (("add", "alice@example.com", "--name", "x", "--days", "0"), "not in the range"),
        (("list", "nobody@example.com"), "There is no account"),
        (("revoke", "alice@example.com", "1"), "no live token"),
    ],
)
def test_what_cannot_be_is_a_sentence(app: Flask, alice: Person, arguments: tuple[str, ...], said: str) -> None:
    result = shell(app, *arguments)
    assert result.exit_code and said in result.output and "Traceback" not in result.output
    assert db.session.scalar(select(func.count(TokenRow.id))) == 0
