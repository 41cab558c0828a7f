"""The audit log: every entry once, newest first, with actor, subject and whether it was undone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError

from app.extensions import db
from app.store import audit
from app.store.accounts import users
from app.store.audit import AUTOMATIC, COMMAND_LINE, Actor, AuditView
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


def noted(subject: str, undoes: int | None = None) -> int:
    return audit.record(COMMAND_LINE, "override", subject, None, {"price": "1.10"}, "because", NOW, undoes).id


@both_databases
def test_an_entry_has_actor_action_time_and_reason(app: Flask, carol: Person) -> None:
    audit.record(Actor(carol.id, "carol@example.com"), "match", "groq/x", {"a": 1}, None, "why", NOW)
    (line,), more = audit.list_entries()
    assert line == AuditView(
        line.id, NOW, "carol@example.com", "match", "groq/x", {"a": 1}, None, "why", undoes_id=None, undone_by_id=None
    )
    assert more is None
    users.remove(carol.row)
    db.session.commit()
    (line,), _ = audit.list_entries()
    assert line.actor == "carol@example.com"  # the name outlives the account


@both_databases
def test_paging_shows_every_entry_once_newest_first_with_one_query_per_page(app: Flask) -> None:
    assert audit.list_entries() == ((), None)
    ids = [noted(f"groq/{number}@100") for number in range(7)]
    seen: list[int] = []
    cursor = None
    while True:
        with counted() as sent:
            lines, cursor = audit.list_entries(cursor, 3)
        assert len(sent) == 1
        seen += [line.id for line in lines]
        if cursor is None:
            break
    assert seen == ids[::-1]
    assert audit.list_entries(size=7)[1] is None


@both_databases
def test_an_entry_is_undone_only_once(app: Flask) -> None:
    first = noted("groq/x@100")
    second = audit.record(AUTOMATIC, "override", "groq/x@100", {"price": "1.10"}, None, "", NOW, undoes=first).id
    undoing, undone = audit.list_entries()[0]
    assert (undoing.id, undoing.undoes_id, undoing.undone_by_id) == (second, first, None)
    assert (undone.id, undone.undoes_id, undone.undone_by_id) == (first, None, second)
    with pytest.raises(IntegrityError):
        noted("groq/x@100", undoes=first)
    db.session.rollback()
