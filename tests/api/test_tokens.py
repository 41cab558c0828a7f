"""API authentication: by a valid token or a session only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from app.extensions import db
from app.store.accounts import tokens
from app.store.accounts.tokens import TokenRow
from app.store.schema.tables import RunRow, UserRow
from tests.api.client import create_client
from tests.conftest import Person, both_databases
from tests.web.app.test_database_errors import pragma, standby

READ = "/api/v1/keys"


def now() -> datetime:
    return datetime.now(UTC)


def read_error(answer: Any, status: int) -> str:
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text
    assert answer.json["status"] == status and answer.json["title"] and answer.json["type"] == "about:blank"
    return str(answer.json["detail"])


@both_databases
def test_a_token_reads_what_is_its_users(alice: Person, bob: Person) -> None:
    key = alice.add_key("openai", label="work")
    assert [one["id"] for one in create_client(alice).read(READ)["data"]] == [key.id]
    assert create_client(bob).read(READ)["data"] == []
    assert create_client(bob).ask(f"{READ}/{key.id}").status_code == 404


@pytest.mark.parametrize(
    "given",
    ["", "msk_", "msk_wrong", "msk_" + "x" * 43, "x" * 10_000, "msk_\u00e9", "msk_a b", "sk-proj-something"],
)
def test_a_wrong_token_is_refused(alice: Person, given: str) -> None:
    create_client(alice)
    answer = alice.app.test_client().get(READ, headers={"Authorization": f"Bearer {given}".encode().decode("latin-1")})
    assert "not known here" in read_error(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_nobody_is_told_how_to_come_in(app: Flask) -> None:
    answer = app.test_client().get(READ)
    assert "/settings/tokens" in read_error(answer, 401)
    assert read_error(app.test_client().get(READ, headers={"Authorization": "Basic YTpi"}), 401)


@both_databases
def test_a_token_works_until_it_expires(alice: Person) -> None:
    caller = create_client(alice, days=1)
    assert caller.ask(READ).status_code == 200
    db.session.execute(update(TokenRow).values(expires_at=now() - timedelta(seconds=1)))
    db.session.commit()
    assert "has expired" in read_error(caller.ask(READ), 401)


@both_databases
def test_a_revoked_token_is_refused_at_once(alice: Person, bob: Person) -> None:
    caller, other = create_client(alice), create_client(alice)
    assert not tokens.revoke(bob.id, caller.row.id, now())
    db.session.commit()
    assert caller.ask(READ).status_code == 200
    assert tokens.revoke(alice.id, caller.row.id, now())
    assert not tokens.revoke(alice.id, caller.row.id, now())
    db.session.commit()
    assert "was revoked" in read_error(caller.ask(READ), 401)
    assert other.ask(READ).status_code == 200


@both_databases
def test_the_tokens_of_a_disabled_account_do_not_work(alice: Person) -> None:
    caller = create_client(alice)
    db.session.execute(update(UserRow).where(UserRow.id == alice.id).values(disabled_at=now()))
    db.session.commit()
    assert "disabled" in read_error(caller.ask(READ), 401)
    db.session.execute(update(UserRow).values(disabled_at=None))
    db.session.commit()
    assert caller.ask(READ).status_code == 200


def test_the_session_of_a_disabled_account_does_not_work(alice: Person) -> None:
    alice.sign_in()
    assert alice.client.get(READ).status_code == 200
    db.session.execute(update(UserRow).where(UserRow.id == alice.id).values(disabled_at=now()))
    db.session.commit()
    assert read_error(alice.client.get(READ), 401)


@pytest.mark.parametrize("path", [READ, "/api/v1/models", "/api/v1/runs", "/api.json"])
def test_a_token_in_an_address_is_refused_with_a_sentence(alice: Person, path: str) -> None:
    caller = create_client(alice)
    for query in (f"after={caller.text}", f"token={caller.text}", f"q=x&access_token={caller.text}", "api_key=x"):
        for answer in (caller.ask(f"{path}?{query}"), alice.app.test_client().get(f"{path}?{query}")):
            assert "never into an address" in read_error(answer, 400)
            assert caller.text not in answer.text
    assert "never into an address" in caller.ask(f"/v1/models?key={caller.text}").json["error"]["message"]


@both_databases
def test_a_token_does_only_what_it_was_made_for(alice: Person) -> None:
    alice.add_key("openai")
    reader, syncer = create_client(alice, "read"), create_client(alice, "sync")
    answer = reader.ask("/api/v1/runs", "POST")
    assert "lacks the scope “sync”" in read_error(answer, 403)
    assert 'scope="sync"' in answer.headers["WWW-Authenticate"]
    assert db.session.scalar(select(func.count(RunRow.id))) == 0
    assert read_error(syncer.ask(READ), 403)
    assert syncer.ask("/api/v1/runs", "POST").status_code == 202


def test_a_token_opens_no_page_and_no_older_door(alice: Person) -> None:
    caller = create_client(alice, "read", "sync")
    for path in ("/profile", "/models", "/settings/tokens"):
        assert caller.ask(path).status_code == 303
    assert caller.ask("/api/models/sync").status_code == 401
    assert caller.ask("/keys", "POST", data={"provider": "openai", "key": "sk-x-of-a-test-1234"}).status_code == 419


def test_a_wrong_token_is_not_made_good_by_a_session(alice: Person) -> None:
    alice.sign_in()
    answer = alice.client.get(READ, headers={"Authorization": "Bearer msk_wrong"})
    assert read_error(answer, 401)


def test_a_session_needs_its_csrf_token_to_change_anything(alice: Person) -> None:
    alice.add_key("openai")
    alice.row.sync_on_sign_in = False
    db.session.commit()
    alice.sign_in()
    for headers in ({}, {"X-CSRFToken": "forged"}):
        assert "CSRF token" in read_error(alice.client.post("/api/v1/runs", headers=headers), 400)
    assert db.session.scalar(select(func.count(RunRow.id))) == 0
    answer = alice.client.post("/api/v1/runs", headers={"X-CSRFToken": alice.token("/profile")}, json={})
    assert answer.status_code == 202, answer.text


@both_databases
def test_the_last_use_is_written_at_most_once_a_minute(alice: Person) -> None:
    caller = create_client(alice)
    before = now()
    assert caller.ask(READ).status_code == 200
    first = db.session.scalar(select(TokenRow.last_used_at))
    db.session.rollback()
    assert first is not None and before <= first <= now()
    caller.ask(READ)
    assert db.session.scalar(select(TokenRow.last_used_at)) == first
    db.session.execute(update(TokenRow).values(last_used_at=first - timedelta(seconds=61)))
    db.session.commit()
    caller.ask(READ)
    again = db.session.scalar(select(TokenRow.last_used_at))
    assert again is not None and again >= first


@both_databases
def test_a_failure_to_record_token_use_rejects_no_request(alice: Person, database_url: str) -> None:
    key = alice.add_key("openai")
    caller = create_client(alice)
    with pragma("query_only=ON") if database_url.startswith("sqlite") else standby():
        found = caller.read(READ)["data"]
    assert [one["id"] for one in found] == [key.id]
    db.session.rollback()
    assert db.session.scalar(select(TokenRow.last_used_at)) is None


@both_databases
def test_only_the_hash_of_a_token_is_stored(alice: Person) -> None:
    caller = create_client(alice)
    row = db.session.execute(select(TokenRow.__table__)).one()
    assert caller.text.startswith("msk_") and len(caller.text) == 47
    assert caller.text[4:] not in repr(tuple(row)) and len(row.digest) == 32
    assert row.hint == f"msk_…{caller.text[-4:]}"


@both_databases
def test_deleting_an_account_takes_its_tokens(alice: Person) -> None:
    caller = create_client(alice)
    db.session.delete(alice.row)
    db.session.commit()
    assert read_error(caller.ask(READ), 401)
    assert db.session.scalar(select(func.count(TokenRow.id))) == 0


@both_databases
def test_nobody_has_more_tokens_than_one_may_have(alice: Person, bob: Person) -> None:
    for _ in range(tokens.MAX_TOKENS):
        assert tokens.create(alice.id, "one", ("read",), now())
    assert tokens.create(alice.id, "one more", ("read",), now()) is None
    assert tokens.create(bob.id, "his first", ("read",), now())
    db.session.execute(
        update(TokenRow).where(TokenRow.id == select(func.min(TokenRow.id)).scalar_subquery()).values(revoked_at=now())
    )
    assert tokens.create(alice.id, "one more", ("read",), now())


def test_all_tokens_and_sessions_of_an_account_share_one_limit(alice: Person, bob: Person) -> None:
    alice.add_key("openai")
    one, other, bobs = create_client(alice, "sync"), create_client(alice, "sync"), create_client(bob, "sync")
    answers = [caller.ask("/api/v1/runs", "POST") for _ in range(30) for caller in (one, other)]
    assert {answer.status_code for answer in answers} == {202}
    assert (answers[0].headers["X-RateLimit-Limit"], answers[0].headers["X-RateLimit-Remaining"]) == ("60", "59")
    for caller in (one, other, create_client(alice, "sync")):
        refused = caller.ask("/api/v1/runs", "POST")
        assert "Too many requests" in read_error(refused, 429) and int(refused.headers["Retry-After"]) > 0
    alice.sign_in()
    headers = {"X-CSRFToken": alice.token("/profile")}
    assert alice.client.post("/api/v1/runs", headers=headers).status_code == 429
    assert bobs.ask("/api/v1/runs", "POST").status_code == 409  # authenticated, but no key to sync


def test_guessing_tokens_counts_against_the_address(alice: Person, app: Flask) -> None:
    good = create_client(alice, "sync")
    guesses = [
        app.test_client().post("/api/v1/runs", headers={"Authorization": f"Bearer msk_{number}"}).status_code
        for number in range(61)
    ]
    assert (set(guesses[:60]), guesses[60]) == ({401}, 429)
    assert good.ask("/api/v1/runs", "POST").status_code == 409  # authenticated, but no key to sync
