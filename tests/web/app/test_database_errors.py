"""What a person sees when the database is full, locked, read-only, damaged or gone: the truth. Nothing is half-done."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select, text, update

from app.extensions import Row, db
from app.store.schema.tables import CredentialRow, RunRow, UserRow
from tests.conftest import Person, both_databases
from tests.web.text_browser import words
from tests.web.worker import now

HTMX = {"HX-Request": "true"}
FULL = "The server's disk is full"


def count(row: type[Row]) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(row)) or 0


@contextlib.contextmanager
def listening(name: str, listener: Callable[..., None]) -> Iterator[None]:
    """Every connection of the app is opened anew, and with this, until the block is left."""

    def reopen() -> None:
        db.session.remove()
        db.engine.dispose()

    event.listen(db.engine, name, listener)
    reopen()
    try:
        yield
    finally:
        event.remove(db.engine, name, listener)
        reopen()


def pragma(statement: str) -> contextlib.AbstractContextManager[None]:
    return listening("connect", lambda connection, _record: connection.execute(f"PRAGMA {statement}"))


def standby() -> contextlib.AbstractContextManager[None]:
    """PostgreSQL as a standby server is: every transaction is read-only."""
    return listening("connect", lambda connection, _record: setattr(connection, "read_only", True))


def gone() -> contextlib.AbstractContextManager[None]:
    """No server listens at the database's address, and its file is gone."""

    def lead_astray(_dialect: Any, _record: Any, places: list[Any], options: dict[str, Any]) -> None:
        places[:] = ["/nowhere/at/all.sqlite"] if places else []
        options |= {"port": 1} if "host" in options else {}

    return listening("do_connect", lead_astray)


def fill() -> None:
    """Use up what is free within the file, so that the next page is one too many."""
    with db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE ballast (content BLOB)"))
    with contextlib.suppress(Exception), db.engine.connect() as connection:
        while True:
            connection.execute(text("INSERT INTO ballast VALUES (zeroblob(900))"))
            connection.commit()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """SQLite refuses to grow, as on a full disk: it raises the very same error, by the very same way."""
    pages = db.session.scalar(text("PRAGMA page_count"))
    with pragma(f"max_page_count={pages + 4}"):
        fill()
        yield


def log_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_full_disk_is_called_so_as_page_as_partial_and_as_json(
    alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in()
    csrf = alice.token("/profile")
    before = count(CredentialRow), count(RunRow)
    with full_disk():
        label = "a long label " + "x" * 80
        new_key = {"provider": "groq", "key": "sk-good-key-of-a-test-1234" + "x" * 4_000, "label": label[:60]}
        page = alice.client.post("/keys", data={"csrf_token": csrf, **new_key})
        partial = alice.client.post("/keys", data={"csrf_token": csrf, **new_key}, headers=HTMX)
        for answer in (page, partial):
            assert answer.status_code == 507, answer.text
            assert FULL in words(answer.text) and "cannot be reached" not in answer.text
            assert "sk-good-key" not in answer.text
        assert "<html" in page.text and "<html" not in partial.text
        assert (count(CredentialRow), count(RunRow)) == before
        assert alice.client.get("/profile").status_code == 200  # reading goes on
    assert log_messages(caplog) == ["database trouble at POST /keys: full (OperationalError)"] * 2
    after = alice.client.post("/keys", data={"csrf_token": csrf, **new_key})
    assert after.status_code == 303  # with room again it works, in the same session
    assert count(CredentialRow) == before[0] + 1


def test_a_locked_database_is_busy_and_says_when_to_come_back(alice: Person, database_url: str) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in()
    csrf = alice.token("/profile")
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    with contextlib.closing(other), pragma("busy_timeout=1"):
        other.execute("BEGIN IMMEDIATE")
        answer = alice.client.post("/sync", data={"csrf_token": csrf})
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 5
        assert "The database is busy" in words(answer.text)
        json = alice.client.post("/api/models/sync", headers={"X-CSRFToken": csrf})
        assert json.json == {"error": "The database is busy. Somebody else is writing to it. Try again in a moment."}
        other.execute("ROLLBACK")
        assert count(RunRow) == 0
        assert alice.client.post("/sync", data={"csrf_token": csrf}).status_code == 303


@both_databases
def test_a_read_only_database_is_called_so(alice: Person, database_url: str) -> None:
    alice.row.sync_on_sign_in = False
    alice.add_key("openai")
    alice.sign_in()
    csrf = alice.token("/profile")
    db.session.execute(update(UserRow).values(last_sign_in_at=now() - timedelta(days=2)))
    db.session.commit()
    with pragma("query_only=ON") if database_url.startswith("sqlite") else standby():
        answer = alice.client.post("/sync", data={"csrf_token": csrf})
        assert answer.status_code == 503
        assert "The database cannot be written" in words(answer.text)
        assert count(RunRow) == 0
        assert alice.client.get("/profile").status_code == 200  # also on the day's first visit, which is noted


def test_a_database_that_is_none_is_called_damaged(alice: Person, database_url: str) -> None:
    alice.sign_in()
    db.session.remove()
    db.engine.dispose()
    path = database_url.removeprefix("sqlite:///")
    for name in (f"{path}-wal", f"{path}-shm", path):
        with open(name, "wb") as file:
            file.write(b"this is no database, whatever its name says " * 200 if name == path else b"")
    answer = alice.client.get("/profile")
    assert answer.status_code == 503 and "The database is damaged" in words(answer.text)


@both_databases
def test_a_database_that_went_away_is_told_to_whoever_is_signed_in_too(alice: Person) -> None:
    """The error page does not query the database: that would fail too."""
    alice.sign_in()
    with gone():
        page = alice.client.get("/profile")
        partial = alice.client.get("/sync/status", headers=HTMX)
        json = alice.client.get("/api/models/sync")
    for answer in (page, partial, json):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "The database cannot be reached" in words(answer.text)
    assert "<nav" not in page.text  # signed in or out: nobody could look
    assert alice.client.get("/profile").status_code == 200  # and the session is kept
