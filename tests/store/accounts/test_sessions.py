"""Sign-in sessions and what ends them."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from app.extensions import db
from app.store.accounts import sessions, user_actions, users
from app.store.accounts.sessions import IDLE_TIMEOUT, MAX_AGENT_LENGTH, MAX_SESSIONS, TOUCH_EVERY, SessionRow
from app.store.audit import COMMAND_LINE
from tests.conftest import Clock, Person, both_databases
from tests.store.queries.test_runs import counted


def rows() -> list[SessionRow]:
    db.session.expire_all()
    return list(db.session.scalars(select(SessionRow).order_by(SessionRow.id)))


@both_databases
def test_only_the_hash_of_a_session_token_is_stored(alice: Person, clock: Clock) -> None:
    tokens = {sessions.create(alice.id, "Firefox", "203.0.113.9", clock()) for _ in range(3)}
    assert len(tokens) == 3 and all(len(token) >= 43 for token in tokens)
    kept = rows()
    assert {row.digest for row in kept} == {hashlib.sha256(token.encode()).digest() for token in tokens}
    assert not any(token in repr(vars(row)) for row in kept for token in tokens)


@both_databases
def test_a_session_is_found_by_its_token_with_its_account_in_one_query(alice: Person, clock: Clock) -> None:
    token = sessions.create(alice.id, "Firefox", "203.0.113.9", clock())
    db.session.commit()
    db.session.expunge_all()
    with counted() as sent:
        found = sessions.find(token, clock())
        assert found is not None
        assert (found[0].user_id, found[1].email) == (alice.id, "alice@example.com")
    assert len(sent) == 1
    assert sessions.find(token[:-1], clock()) is None
    assert sessions.find("", clock()) is None
    assert sessions.find("\0\udce4" * 100, clock()) is None


@both_databases
def test_a_session_also_needs_the_accounts_stamp(alice: Person, bob: Person, clock: Clock) -> None:
    token = sessions.create(alice.id, "", "", clock())
    assert users.find_by_session(alice.row.get_id(), token, clock()) is not None
    for identity in (bob.row.get_id(), str(alice.id), f"{alice.id}.", f"{alice.id}.{'x' * 43}", "", "²."):
        assert users.find_by_session(identity, token, clock()) is None, identity


@both_databases
def test_an_idle_session_expires(alice: Person, clock: Clock) -> None:
    token = sessions.create(alice.id, "", "", clock())
    clock.forward(days=29)
    assert sessions.find(token, clock()) is not None
    clock.forward(days=2)
    assert sessions.find(token, clock()) is None
    assert sessions.list_for_user(alice.id, clock()) == []
    sessions.create(alice.id, "", "", clock())
    assert len(rows()) == 1  # deleted at the next sign-in
    assert timedelta(days=30) == IDLE_TIMEOUT


@both_databases
def test_session_use_is_recorded_at_most_every_five_minutes(alice: Person, clock: Clock) -> None:
    token = sessions.create(alice.id, "", "", clock())
    found = sessions.find(token, clock())
    assert found is not None
    row, seen_at = found[0], found[0].seen_at
    clock.forward(seconds=299)
    with counted() as sent:
        assert not sessions.touch(row, clock())
    assert sent == []
    clock.forward(seconds=2)
    assert sessions.touch(row, clock())
    assert rows()[0].seen_at - seen_at > TOUCH_EVERY
    assert not sessions.touch(row, clock())


@both_databases
def test_the_least_recently_used_sessions_end_beyond_the_limit(alice: Person, bob: Person, clock: Clock) -> None:
    sessions.create(bob.id, "", "", clock())
    first = sessions.create(alice.id, "", "", clock())
    tokens = [sessions.create(alice.id, "", "", clock()) for _ in range(MAX_SESSIONS)]
    assert sessions.find(first, clock()) is None
    assert all(sessions.find(token, clock()) for token in tokens)
    assert (len(sessions.list_for_user(alice.id, clock())), len(sessions.list_for_user(bob.id, clock()))) == (
        MAX_SESSIONS,
        1,
    )


@both_databases
def test_users_can_end_only_their_own_sessions(alice: Person, bob: Person, clock: Clock) -> None:
    sessions.create(alice.id, "", "", clock())
    theirs = sessions.create(bob.id, "", "", clock())
    hers, his = rows()
    assert not sessions.end(bob.id, hers.id)
    assert sessions.end_all(bob.id, excluding=his.id) == 0
    assert len(rows()) == 2
    assert sessions.end(alice.id, hers.id)
    assert not sessions.end(alice.id, hers.id)
    assert sessions.find(theirs, clock()) is not None


@both_databases
def test_another_password_a_sign_out_by_an_admin_and_a_disabled_account_end_all_sessions(
    alice: Person, bob: Person, carol: Person, clock: Clock
) -> None:
    for person in (alice, bob, carol):
        sessions.create(person.id, "", "", clock())
        sessions.create(person.id, "", "", clock())
    stamps = {person.row.auth_stamp for person in (alice, bob, carol)}
    users.set_password(alice.row, "a hash")
    user_actions.sign_out(bob.row, COMMAND_LINE, clock())
    assert [row.user_id for row in rows()] == [carol.id, carol.id]
    assert {alice.row.auth_stamp, bob.row.auth_stamp}.isdisjoint(stamps)
    user_actions.promote(bob.row, COMMAND_LINE, clock())
    user_actions.disable(carol.row, COMMAND_LINE, clock())
    assert rows() == []


@both_databases
def test_hostile_user_agents_are_truncated(alice: Person, clock: Clock) -> None:
    sessions.create(alice.id, "\0<script>" + "é" * 500, "not an address", clock())
    (row,) = rows()
    assert row.agent.startswith("<script>é") and len(row.agent) == MAX_AGENT_LENGTH
    assert row.address == ""


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("203.0.113.9", "203.0.113.…"),
        ("::ffff:203.0.113.9", "203.0.113.…"),
        ("2001:db8:7:1:2:3:4:5", "2001:db8:7:…"),
        ("2001:db8::1", "2001:db8:0:…"),
        ("fe80::1%eth0", "fe80:0:0:…"),
        ("unix:", ""),
        ("", ""),
    ],
)
def test_only_the_network_of_an_address_is_stored(address: str, short: str) -> None:
    assert sessions.shorten_address(address) == short


@both_databases
def test_sessions_are_deleted_with_the_account(app: Flask, alice: Person, clock: Clock) -> None:
    sessions.create(alice.id, "", "", clock())
    users.remove(alice.row)
    assert rows() == []


def test_a_session_has_a_maximum_lifetime(alice: Person, clock: Clock) -> None:
    token = sessions.create(alice.id, "a browser", "127.0.0.1", clock())
    for _ in range(29):
        clock.forward(days=1)
        found = sessions.find(token, clock())
        assert found is not None and sessions.touch(found[0], clock())
        db.session.expire_all()
    clock.forward(days=1)
    assert sessions.find(token, clock()) is None and sessions.list_for_user(alice.id, clock()) == []
