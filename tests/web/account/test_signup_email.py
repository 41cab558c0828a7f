"""Sign-up with e-mail configured: only the mailbox's owner learns whether an address has an account."""

from __future__ import annotations

import re
import time
from statistics import median
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.extensions import db, limiter
from app.jobs import enqueue, signup_email
from app.store.accounts import users
from app.store.schema.tables import UserRow
from app.vault import ApiKey, Keyring, PublicKey, SealContext, UnsealError
from tests.chaos.verdict import queued
from tests.conftest import PASSWORD, Person, both_databases
from tests.web.account.test_password_reset import Letters
from tests.web.account.test_password_reset import house as house  # the fixtures
from tests.web.account.test_password_reset import letters as letters
from tests.web.account.test_password_reset import post as post
from tests.web.text_browser import Plainly, words
from tests.web.worker import no_redis, work_off

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
NEW = "dora@example.com"


def request_signup(house: Flask, address: str) -> Any:
    page = Plainly(house.test_client()).open("/signup")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.html)[1]  # type: ignore[index]
    return page.client.post("/signup", data={"csrf_token": token, "email": address, "password": PASSWORD})


def accounts() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(UserRow)) or 0


def jobs_in(url: str) -> bytes:
    """All that RQ holds. (Limits are counted by address, as those of signing in are.)"""
    return b"".join(said for place, said in queued(url) if "rq:" in place)


def text_of(letters: Letters) -> str:
    return str(letters.taken[-1][2].get_payload())


@both_databases
def test_a_new_address_gets_a_link_and_the_account_is_made_by_it(
    house: Flask,
    alice: Person,
    vault: Keyring,
    letters: Letters,
) -> None:
    before = accounts()
    answer = request_signup(house, " Dora@Example.com ")
    assert answer.status_code == 200 and "Look into your mail" in words(answer.text)
    assert accounts() == before, "nothing is made until the address is shown to be theirs"
    work_off(house, vault)
    assert letters.taken[0][1] == [NEW]  # as the account will have it
    link = re.search(r"https://models\.example(/signup\?invite=\S+)", text_of(letters))[1]  # type: ignore[index]
    page = Plainly(house.test_client()).open(link)
    assert f'value="{NEW}"' in page.html
    page.submit("/signup", password=PASSWORD)
    user = users.find_by_email(NEW)
    assert user is not None and not user.is_admin
    assert page.client.get("/profile").status_code == 200
    again = Plainly(house.test_client()).open(link)  # the owner of the link knows already
    token = re.search(r'name="csrf_token" value="([^"]+)"', again.html)[1]  # type: ignore[index]
    form = {"csrf_token": token, "email": NEW, "password": PASSWORD, "invite": link.partition("invite=")[2]}
    answer = again.client.post("/signup", data=form)
    assert answer.status_code == 422 and "There is an account" in words(answer.text)


@both_databases
def test_an_address_with_an_account_gets_the_same_answer_and_another_email(
    house: Flask,
    alice: Person,
    vault: Keyring,
    letters: Letters,
) -> None:
    before = accounts()
    unknown, known = request_signup(house, NEW), request_signup(house, "ALICE@example.com")

    def page_text(answer: Any, address: str) -> str:
        return re.sub(r'value="[^"]+"|nonce|[0-9a-f]{32}', "", answer.text.replace(address, "IT"))

    assert (unknown.status_code, page_text(unknown, NEW)) == (known.status_code, page_text(known, "ALICE@example.com"))
    assert {name for name, _ in unknown.headers} == {name for name, _ in known.headers}
    assert accounts() == before
    work_off(house, vault)
    assert len(letters.taken) == 2
    text = text_of(letters)
    assert "It has an account already." in text and "https://models.example/reset" in text and "invite" not in text


def test_the_answer_takes_as_long_for_both(house: Flask, alice: Person) -> None:
    took: dict[str, list[float]] = {"alice@example.com": [], NEW: []}
    client = house.test_client()
    page = Plainly(client).open("/signup")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.html)[1]  # type: ignore[index]
    for _ in range(15):
        for address, times in took.items():
            limiter.reset()
            began = time.perf_counter()
            answer = client.post("/signup", data={"csrf_token": token, "email": address})
            times.append(time.perf_counter() - began)
            assert answer.status_code == 200
    known, unknown = (median(times) for times in took.values())
    assert max(known, unknown) < 2 * min(known, unknown) + 0.01


def test_neither_the_address_nor_the_link_stands_in_the_queue(
    house: Flask,
    alice: Person,
    redis_url: str,
    vault: Keyring,
) -> None:
    request_signup(house, NEW)
    held = jobs_in(redis_url)
    assert b"send_signup_email" in held
    assert NEW.encode() not in held and b"invite" not in held
    letter = signup_email.seal_message(NEW, "https://models.example/x", PublicKey(vault.public))
    other = PublicKey(vault.public).seal(ApiKey("sk-of-somebody"), SealContext(1, 1, "openai"))
    with pytest.raises(UnsealError):
        vault.open(other, 1, signup_email._SEAL_CONTEXT)
    assert NEW not in letter


def test_letters_to_one_address_are_few_and_what_is_none_is_said(
    house: Flask,
    alice: Person,
) -> None:
    assert request_signup(house, "no address").status_code == 422
    answers = [request_signup(house, NEW).status_code for _ in range(6)]
    assert answers == [200] * 5 + [429]
    assert request_signup(house, "else@example.com").status_code == 200


def test_without_redis_it_says_so(house: Flask, alice: Person) -> None:
    with no_redis(house):
        limiter.enabled, kept = False, limiter.enabled
        try:
            answer = request_signup(house, NEW)
        finally:
            limiter.enabled = kept
    assert answer.status_code == 503 and "no letter can be sent" in words(answer.text)


def test_the_first_account_of_all_needs_no_letter(house: Flask, letters: Letters) -> None:
    page = Plainly(house.test_client()).open("/signup").submit("/signup", email="first@example.com", password=PASSWORD)
    assert page.client.get("/profile").status_code == 200
    first = users.find_by_email("first@example.com")
    assert first is not None and first.is_admin and not letters.taken


def test_a_letter_that_was_not_taken_is_tried_again(
    house: Flask,
    alice: Person,
    vault: Keyring,
    letters: Letters,
) -> None:
    letters.refuses = True
    request_signup(house, NEW)
    work_off(house, vault)
    assert not letters.taken
    held = jobs_in(house.config["SETTINGS"].redis_url)
    assert b"rq:failed" in held and NEW.encode() not in held, "a job that failed tells no address either"
    letters.refuses = False
    assert (
        enqueue.enqueue_signup_email(
            signup_email.seal_message(NEW, "https://models.example/x", PublicKey(vault.public))
        )
        is None
    )
    work_off(house, vault)
    assert len(letters.taken) == 1


def test_the_letter_goes_to_the_very_address_that_its_link_is_for(
    house: Flask, carol: Person, letters: Letters, vault: Keyring
) -> None:
    """The Kelvin sign is no K for a mail server, and a k once it is written small."""
    assert request_signup(house, "\u212aelvin@example.com").status_code == 200
    with house.app_context():
        work_off(house, vault)
    ((_, to, letter),) = letters.taken
    assert to == [letter["To"]] == ["kelvin@example.com"]
