"""Each database problem by the error that a real driver raises. (SQLite's are in web/test_database_trouble.py.)"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from app.extensions import db
from app.store.engine.db_errors import classify
from tests.conftest import _STAGES, both_databases

only_postgres = pytest.mark.parametrize("database_url", _STAGES[1:], indirect=True)


def raised(statement: str) -> DBAPIError:
    with pytest.raises(DBAPIError) as caught:
        db.session.execute(text(statement))
    db.session.rollback()
    return caught.value


@only_postgres
@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("53100", "full"),
        ("53300", "crowded"),
        ("57P03", "starting"),
        ("57P01", "away"),
        ("25006", "read_only"),
        ("40P01", "busy"),
        ("57014", "busy"),
        ("XX001", "damaged"),
        ("23505", None),
        ("22001", None),
        ("42P01", None),
        ("P0001", None),
    ],
)
def test_server_errors_are_classified_by_sqlstate(app: Flask, code: str, trouble: str | None) -> None:
    error = raised(f"DO $$ BEGIN RAISE EXCEPTION 'something' USING ERRCODE = '{code}'; END $$")
    assert classify(error) == trouble


@both_databases
def test_programming_errors_are_not_database_problems(app: Flask) -> None:
    for statement in ("SELECT * FROM nowhere", "SELECT nothing FROM users", "SELEKT 1"):
        assert classify(raised(statement)) is None


@pytest.fixture
def unwelcome(app: Flask, database_url: str) -> Iterator[tuple[str, str]]:
    """A role that may not have a single connection, and its password."""
    name, password = f"unwelcome_{uuid.uuid4().hex[:8]}", secrets.token_hex(8)
    with db.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' CONNECTION LIMIT 0"))
    yield name, password
    with db.engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {name}"))


@only_postgres
def test_too_many_connections_is_recognised_by_its_message(unwelcome: tuple[str, str], database_url: str) -> None:
    name, password = unwelcome
    engine = create_engine(make_url(database_url).set(username=name, password=password))
    with pytest.raises(DBAPIError) as caught:
        engine.connect()
    engine.dispose()
    assert classify(caught.value) == "crowded"


@only_postgres
def test_other_refused_connections_mean_the_database_is_away(app: Flask, database_url: str) -> None:
    engine = create_engine(make_url(database_url).set(database="there-is-none"))
    with pytest.raises(DBAPIError) as caught:
        engine.connect()
    engine.dispose()
    assert classify(caught.value) == "away"
