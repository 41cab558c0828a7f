"""The page of personal tokens: made, shown once, revoked; each person's own."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.extensions import db
from app.store import audit
from app.store.accounts import feeds, tokens
from app.store.accounts.tokens import TokenRow
from tests.api.client import create_client
from tests.conftest import PASSWORD, Person, both_databases
from tests.web.text_browser import Plainly, words

PAGE = "/settings/tokens"


def text_of(page: str) -> str:
    (text,) = re.findall(r'<code id="new-token">(msk_[\w-]+)</code>', page)
    return str(text)


def rows() -> list[TokenRow]:
    db.session.rollback()
    return list(db.session.scalars(select(TokenRow).order_by(TokenRow.id).execution_options(populate_existing=True)))


@both_databases
def test_a_token_is_shown_once_and_works(alice: Person) -> None:
    alice.sign_in()
    response = alice.post(PAGE, name="my editor", scope="read", days="30")
    assert response.status_code == 200 and response.headers["Cache-Control"] == "no-store"
    text = text_of(response.text)
    (row,) = rows()
    assert (row.name, row.scopes) == ("my editor", ["read"])
    assert row.expires_at is not None and timedelta(days=29) < row.expires_at - datetime.now(UTC) <= timedelta(days=30)
    page = alice.client.get(PAGE).text
    assert text not in page and row.hint in page and "never" in words(page)
    client = alice.app.test_client()
    assert client.get("/api/v1/keys", headers={"Authorization": f"Bearer {text}"}).status_code == 200
    assert "just now" in words(alice.client.get(PAGE).text)


@both_databases
def test_tokens_work_by_the_forms_of_the_page_alone(alice: Person) -> None:
    person = Plainly(alice.sign_in().client).open(PAGE)
    person.submit(PAGE, name="one", days="")
    (row,) = rows()
    assert row.expires_at is None and "for ever" in person.words
    assert "is revoked" in person.submit(f"{PAGE}/{row.id}/revoke").words
    (after,) = rows()
    assert after.revoked_at is not None


def test_htmx_gets_the_piece_alone(alice: Person) -> None:
    alice.sign_in()
    response = alice.post(PAGE, htmx=True, name="one", scope="sync")
    assert response.text.lstrip().startswith('<section id="tokens-list"') and "<html" not in response.text
    assert text_of(response.text)
    revoked = alice.post(f"{PAGE}/{rows()[0].id}/revoke", htmx=True)
    assert revoked.status_code == 200 and ">revoked<" in revoked.text and "<html" not in revoked.text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": ""}, "Name the program"),
        ({"name": "x" * 61}, "at most 60 characters"),
        ({"name": "a\nb"}, "on one line"),
        ({"name": "a\x00b"}, "on one line"),
        ({"scope": ""}, "Choose what it may do"),
        ({"scope": "admin"}, "Choose what it may do"),
        ({"days": "0"}, "Let it live"),
        ({"days": "99999"}, "Let it live"),
        ({"days": "-1"}, "Let it live"),
        ({"days": "many"}, "Let it live"),
    ],
)
def test_what_cannot_be_a_token_is_a_sentence(alice: Person, form: dict[str, str], said: str) -> None:
    alice.sign_in()
    answer = alice.post(PAGE, htmx=True, **{"name": "good", "scope": "read", "days": "30", **form})
    assert answer.status_code == 422 and said in words(answer.text)
    assert rows() == []


@both_databases
def test_nobody_sees_or_revokes_anothers_token(alice: Person, bob: Person) -> None:
    caller = create_client(alice)
    bob.sign_in()
    assert caller.row.hint not in bob.client.get(PAGE).text
    assert bob.post(f"{PAGE}/{caller.row.id}/revoke").status_code == 404
    assert caller.ask("/api/v1/keys").status_code == 200


def test_an_expired_token_says_so_and_goes_after_a_month(alice: Person) -> None:
    create_client(alice)
    alice.sign_in()
    for age, seen in ((timedelta(days=1), True), (timedelta(days=31), False)):
        db.session.execute(update(TokenRow).values(expires_at=datetime.now(UTC) - age))
        db.session.commit()
        assert (">expired<" in alice.client.get(PAGE).text) is seen


def test_there_is_a_last_token_one_may_have(alice: Person) -> None:
    for _ in range(tokens.MAX_TOKENS):
        create_client(alice)
    alice.sign_in()
    answer = alice.post(PAGE, htmx=True, name="one more", scope="read")
    assert answer.status_code == 422 and "Revoke one you no longer use" in words(answer.text)


@both_databases
def test_to_disable_an_account_ends_its_tokens_and_its_feed_for_good(
    app: Flask, alice: Person, bob: Person, carol: Person
) -> None:
    editor, bobs = create_client(alice), create_client(bob)
    hers, his = (feeds.create_secret(person.id, "localhost", datetime.now(UTC)) for person in (alice, bob))
    db.session.commit()
    carol.sign_in()
    carol.post(f"/admin/users/{alice.id}/sign-out")
    assert editor.ask("/api/v1/keys").status_code == 200
    assert "Personal tokens and the feed's address go on" in words(carol.client.get("/admin/users").text)
    for act in ("disable", "enable"):
        carol.post(f"/admin/users/{alice.id}/{act}")
        assert editor.ask("/api/v1/keys").status_code == 401
        assert app.test_client().get(f"/feeds/{hers}.atom").status_code == 404
    assert bobs.ask("/api/v1/keys").status_code == 200
    assert app.test_client().get(f"/feeds/{his}.atom").status_code == 200
    (disabled,) = (
        line for line in audit.list_entries()[0] if line.after and line.after.get("signing in") == "disabled"
    )
    assert disabled.after == {"signing in": "disabled", "tokens revoked": 1, "feed address": "revoked"}


@both_databases
def test_what_lets_somebody_in_is_in_the_audit_log_without_a_word_of_theirs(
    app: Flask, alice: Person, carol: Person
) -> None:
    alice.sign_in()
    text = text_of(alice.post(PAGE, name="my secret project", scope="read").text)
    alice.post(PAGE, name="another", scope="sync")
    one, other = (row.id for row in rows())
    alice.post(f"{PAGE}/{one}/revoke")
    alice.post(f"{PAGE}/revoke-all")
    alice.post(f"{PAGE}/revoke-all")  # there is nothing left, and so nothing to note
    alice.post("/profile/password", current_password="not hers at all", password="another fine password")
    alice.post("/profile/password", current_password=PASSWORD, password="another fine password")
    lines = [line for line in audit.list_entries()[0] if line.subject == "alice@example.com"]
    assert {(line.actor, line.action) for line in lines} == {("alice@example.com", "user")}
    assert [line.after for line in reversed(lines)] == [
        {"token made": one, "it may": "read"},
        {"token made": other, "it may": "sync"},
        {"token revoked": one},
        {"revoked": "1 personal token"},
        {"password": "changed"},
    ]
    page = carol.sign_in().client.get("/admin/catalog/audit").text
    assert "The account alice@example.com" in words(page) and "token revoked" in words(page)
    assert "secret project" not in page and text not in page and "fine password" not in page
