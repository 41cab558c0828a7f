"""A session commits read-only transactions, and rolls back all other uncommitted ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from gevent import GreenletExit
from sqlalchemy import event, func, insert, select, text, update

from app.extensions import db
from app.store.schema.tables import UserRow
from tests.conftest import Person, both_databases, on_postgresql

_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_ROW = {
    "email": "nobody@example.com",
    "password_hash": "!",
    "auth_stamp": "x",
    "created_at": datetime(2026, 11, 22, tzinfo=UTC),
}


def _ends(app: Flask, act: Callable[[], object]) -> list[str]:
    """How the transaction ended in which that was done."""
    told: list[str] = []
    for name in ("commit", "rollback"):
        event.listen(db.engine, name, lambda _, name=name: told.append(name))
    with app.app_context():
        act()
    return told


def _added() -> None:
    db.session.add(UserRow(**_ROW))
    db.session.flush()


def _changed() -> None:
    db.session.scalars(select(UserRow).where(UserRow.email == "alice@example.com")).one().email = "changed@example.com"


_WRITES: list[Callable[[], object]] = [
    _added,
    _changed,
    lambda: db.session.add(UserRow(**_ROW)),
    lambda: db.session.delete(db.session.scalars(select(UserRow).where(UserRow.email == "alice@example.com")).one()),
    lambda: db.session.execute(update(UserRow).values(email=UserRow.email + "x")),
    lambda: db.session.execute(text("UPDATE users SET email = email || 'x'")),
    lambda: db.session.connection().execute(update(UserRow).values(email=UserRow.email + "x")),
]


@both_databases
def test_reading_ends_by_commit_so_that_postgresql_keeps_its_plans(app: Flask) -> None:
    assert _ends(app, lambda: db.session.scalar(select(func.count()).select_from(UserRow))) == ["commit"]
    assert _ends(app, lambda: None) == []


@both_databases
@pytest.mark.parametrize("write", _WRITES)
def test_what_was_not_committed_is_taken_back(app: Flask, write: Callable[[], object]) -> None:
    db.session.add(UserRow(**_ROW | {"email": "alice@example.com"}))
    db.session.commit()
    db.session.remove()
    assert "commit" not in _ends(app, write)
    assert db.session.scalars(select(UserRow.email).where(UserRow.is_server.is_(False))).all() == ["alice@example.com"]


@both_databases
def test_the_next_transaction_of_a_session_is_judged_by_itself(app: Flask) -> None:
    def write_then_read() -> None:
        db.session.execute(insert(UserRow).values(_ROW))
        db.session.commit()
        db.session.scalar(select(func.count()).select_from(UserRow))

    assert _ends(app, write_then_read) == ["commit", "commit"]


@on_postgresql
def test_a_page_is_planned_once_and_not_each_time(alice: Person) -> None:
    alice.sign_in()
    for _ in range(8):
        assert alice.client.get("/profile").status_code == 200
    with db.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) >= 4


def test_a_connection_goes_back_even_if_its_reader_is_ended_at_the_commit(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.session.scalar(select(func.count()).select_from(UserRow))
    session = db.session()

    def ended() -> None:
        raise GreenletExit

    monkeypatch.setattr(session, "commit", ended)
    with pytest.raises(GreenletExit):
        session.close()
    assert not session.in_transaction() and db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
