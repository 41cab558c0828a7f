"""Notifications: chosen in the settings, shown in the app, mailed at most once a day."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app import clock
from app.catalog import topics
from app.catalog.changes import Change, FieldChange
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import digest_email as writing
from app.jobs import enqueue, periodic, tasks
from app.jobs.digest_email import sanitize_line
from app.store.accounts import subscriptions
from app.store.accounts.subscriptions import SubscriptionRow
from app.store.queries import digest
from app.store.queries.digest import DigestContent, DigestKeyProblem, ProviderNews
from app.store.schema.tables import RunRow
from app.sync.http import errors
from app.sync.run import SyncContext
from app.vault import Keyring
from app.web.account import notifications
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.sync.test_run import synced
from tests.web.account import test_password_reset as mailing
from tests.web.account.test_password_reset import NO_VAULT, Letters
from tests.web.change_rows import add_changes, new_changes
from tests.web.html_rules import find_errors
from tests.web.test_home import address
from tests.web.text_browser import Plainly, words
from tests.web.worker import now, work_off

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
HTMX = {"HX-Request": "true"}
letters, post, house = mailing.letters, mailing.post, mailing.house
GPT = "gpt-4o"


def chosen(house: Flask, person: Person, *, in_app: tuple[str, ...] = (), by_mail: tuple[str, ...] = ()) -> Plainly:
    """Choose these on the settings page, in a separate browser."""
    person.row.sync_on_sign_in = False
    db.session.commit()
    client = house.test_client()
    page = Plainly(client).open("/login")
    page.submit("/login", email=person.row.email, password=mailing.PASSWORD)
    page.open("/settings")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.html)[1]  # type: ignore[index]
    data = {"csrf_token": token, "in_app": list(in_app), "by_mail": list(by_mail)}
    assert client.post("/settings/notifications", data=data).location == "/settings#notifications"
    return page.open("/settings")


def checked(page: Plainly, way: str) -> set[str]:
    return set(re.findall(rf'name="{way}" value="(\w+)" checked', page.html))


def sent(house: Flask) -> None:
    """What the scheduler does each minute, and the workers after it."""
    with house.app_context():
        periodic.enqueue_digests()
        work_off(house, NO_VAULT)


def later(monkeypatch: pytest.MonkeyPatch, **by: float) -> None:
    moment = now() + timedelta(**by)
    monkeypatch.setattr(clock, "utc_now", lambda: moment)


def body(letters: Letters, number: int = -1) -> str:
    return str(letters.taken[number][2].get_payload(decode=True).decode())


def changed(model_id: str, *fields: tuple[str, Any, Any]) -> Change:
    return Change("changed", model_id, model_id, tuple(FieldChange(*field) for field in fields))


CHEAPER = changed(GPT, ("output_per_million", "10", "8"))
ENDING = changed("o1", ("retires_at", None, "2026-12-01T00:00:00+00:00"))


# ------------------------------------------------------------------ choosing


def test_each_topic_is_chosen_for_each_way_and_nothing_is_mailed_unasked(house: Flask, alice: Person) -> None:
    page = chosen(house, alice, in_app=("new", "keys"), by_mail=("gone", "terms", "nonsense"))
    assert checked(page, "in_app") == {"new", "keys"} and checked(page, "by_mail") == {"gone", "terms"}
    page = chosen(house, alice)
    assert checked(page, "in_app") == checked(page, "by_mail") == set()


def test_by_default_new_models_are_shown_in_the_app_and_not_mailed(house: Flask, alice: Person) -> None:
    page = Plainly(house.test_client()).open("/login")
    page.submit("/login", email=alice.row.email, password=mailing.PASSWORD).open("/settings")
    assert checked(page, "in_app") == {"new"} and checked(page, "by_mail") == set()
    assert "at most one a day" in page.words


def test_without_a_mail_server_there_is_no_such_column(app: Flask, house: Flask, alice: Person) -> None:
    chosen(house, alice, by_mail=("new",))
    alice.sign_in()
    page = alice.client.get("/settings").text
    assert "by_mail" not in page and "This server sends no letters." in words(page)
    assert alice.post("/settings/notifications", in_app="gone").status_code == 303
    assert subscriptions.load_topics(alice.id) == {"new"}, "what was chosen waits for the mail server"


# ------------------------------------------------------------------ in the app


@both_databases
def test_toasts_report_the_chosen_topics_once(alice: Person) -> None:
    key = alice.add_key("openai")
    alice.row.told_topics = "gone,keys"
    db.session.commit()
    alice.sign_in()
    url = address(alice.client.get("/profile").text)
    assert alice.client.get(url, headers=HTMX).status_code == 204
    add_changes(alice, Change("unlisted", "o1", "o1"), CHEAPER, *new_changes("gpt-6"), at=now(), key=key)
    with counted() as statements:
        answer = alice.client.get(url, headers=HTMX)
    assert len([one for one in statements if "changes" in one]) == 2
    text = words(answer.text)
    assert "OpenAI no longer lists o1. See the changes" in text and "gpt-6" not in text and "price" not in text
    assert "badge-new" not in answer.text, "new models were not chosen"
    assert alice.client.get(address(answer.text), headers=HTMX).status_code == 204


def test_the_badge_alone_costs_no_query_more(alice: Person) -> None:
    alice.sign_in()
    with counted() as plain:
        alice.client.get("/settings/tokens")
    alice.row.told_topics = ""
    db.session.commit()
    with counted() as silent:
        page = alice.client.get("/settings/tokens").text
    assert len(silent) == len(plain) - 1 and "after=" not in address(page)


# ------------------------------------------------------------------ letters


@both_databases
def test_a_sync_that_found_something_of_a_chosen_topic_is_mailed(
    house: Flask, alice: Person, bob: Person, letters: Letters
) -> None:
    key = alice.add_key("openai", label="work")
    add_changes(alice, *new_changes("before-i-asked"), at=now(), key=key)
    chosen(house, alice, by_mail=("new", "gone"))
    chosen(house, bob, by_mail=())
    add_changes(alice, *new_changes("gpt-6"), CHEAPER, ENDING, Change("relisted", "o3", "o3"), at=now(), key=key)
    sent(house)
    ((sender, to, letter),) = letters.taken
    assert (sender, to) == ("us@models.example", ["alice@example.com"])
    assert letter["Subject"] == "Modelsync: 1 new model, 2 models gone, going or back"
    assert letter["Auto-Submitted"] == "auto-generated"
    text = body(letters)
    assert "gpt-6: new for this key" in text and "o3: listed again" in text and "end of service" in text
    assert "before-i-asked" not in text and "price" not in text
    assert "https://models.example/changes" in text and "https://models.example/settings#notifications" in text
    sent(house)
    assert len(letters.taken) == 1


@both_databases
def test_what_comes_within_a_day_is_in_the_next_letter(
    house: Flask, alice: Person, letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = alice.add_key("openai")
    chosen(house, alice, by_mail=("new",))
    add_changes(alice, *new_changes("one"), at=now(), key=key)
    sent(house)
    for name in ("two", "three"):
        add_changes(alice, *new_changes(name), at=now(), key=key)
        sent(house)
    assert len(letters.taken) == 1
    later(monkeypatch, hours=24, seconds=5)
    sent(house)
    assert len(letters.taken) == 2 and letters.taken[1][2]["Subject"] == "Modelsync: 2 new models"
    assert "two:" in body(letters) and "three:" in body(letters) and "one:" not in body(letters)


@both_databases
def test_a_sync_that_found_nothing_of_it_is_no_letter_and_counts_as_told(
    house: Flask, alice: Person, letters: Letters
) -> None:
    key = alice.add_key("openai")
    chosen(house, alice, by_mail=("new",))
    add_changes(alice, CHEAPER, at=now(), key=key)
    run = RunRow(user_id=alice.id, trigger="cron", state="done", created_at=now(), ended_at=now())
    db.session.add(run)
    db.session.commit()
    sent(house)
    assert letters.taken == []
    assert db.session.scalar(select(SubscriptionRow.told_run_id)) == run.id
    assert subscriptions.due_user_ids(now(), 10) == []


def test_a_run_that_goes_on_is_told_when_it_is_over(house: Flask, alice: Person, letters: Letters) -> None:
    key = alice.add_key("openai")
    chosen(house, alice, by_mail=("new",))
    run = RunRow(
        user_id=alice.id, trigger="cron", state="running", created_at=now(), lease_until=now() + timedelta(days=1)
    )
    db.session.add(run)
    db.session.flush()
    add_changes(alice, *new_changes("gpt-6"), at=now(), key=key, run=run)
    sent(house)
    assert letters.taken == []
    run.state, run.lease_until, run.ended_at = "done", None, now()
    db.session.commit()
    sent(house)
    assert len(letters.taken) == 1


@both_databases
def test_a_key_that_begins_to_fail_is_told_once_and_only_for_a_reason_of_its_own(
    house: Flask,
    alice: Person,
    letters: Letters,
    simulator: Simulator,
    means: SyncContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = alice.add_key("openai", label="work")
    synced(alice, means)
    chosen(house, alice, by_mail=("keys",))
    simulator.set_fault("openai", "unavailable_503")
    synced(alice, means)
    sent(house)
    assert letters.taken == []
    simulator.set_fault("openai", "unauthorized")
    synced(alice, means)
    sent(house)
    assert letters.taken[0][2]["Subject"] == "Modelsync: 1 key that fails"
    assert "OpenAI, work: OpenAI rejected this key" in " ".join(body(letters).split())
    assert "1234" not in body(letters) and key.key_hint not in body(letters)
    synced(alice, means)
    later(monkeypatch, days=2)
    sent(house)
    assert len(letters.taken) == 1, "that it still fails is no news"


def test_letters_end_by_one_press_without_signing_in(house: Flask, alice: Person, letters: Letters) -> None:
    key = alice.add_key("openai")
    chosen(house, alice, by_mail=topics.TOPICS)
    add_changes(alice, *new_changes("gpt-6"), at=now(), key=key)
    sent(house)
    letter = letters.taken[0][2]
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = re.fullmatch(r"<https://models\.example(/unsubscribe/\S+)>", letter["List-Unsubscribe"])[1]  # type: ignore[index]
    assert f"https://models.example{link}" in body(letters)
    stranger = house.test_client()
    looked = stranger.get(link)
    assert looked.status_code == 200 and alice.row.email not in looked.text and find_errors(looked.text) == []
    assert subscriptions.load_topics(alice.id), "to look ends nothing"
    for _ in range(2):
        done = stranger.post(link, data={"List-Unsubscribe": "One-Click"})
        assert done.status_code == 200 and find_errors(done.text) == []
        assert subscriptions.load_topics(alice.id) == frozenset()
    add_changes(alice, *new_changes("gpt-7"), at=now(), key=key)
    sent(house)
    assert len(letters.taken) == 1
    chosen(house, alice, by_mail=("new",))
    assert Plainly(house.test_client()).open(link).submit(link).words.count("You will get no more letters") == 1


@pytest.mark.parametrize(
    "forge",
    [lambda mine, his: his.split("-")[0] + "-" + mine.split("-")[1], lambda mine, _his: mine[:-1], lambda *_: "x"],
)
def test_a_forged_link_unsubscribes_no_one(house: Flask, alice: Person, bob: Person, forge: Any) -> None:
    tokens = []
    for person in (alice, bob):
        chosen(house, person, by_mail=("new",))
        add_changes(person, *new_changes("x"), at=now(), key=person.add_key("openai"))
        taken = subscriptions.claim(person.id, now())
        assert taken
        tokens.append(taken.stop_token)
    db.session.commit()
    link = f"/unsubscribe/{forge(*tokens)}"
    for answer in (house.test_client().get(link), house.test_client().post(link)):
        assert answer.status_code == 404 and "ends nobody's letters" in words(answer.text)
    assert subscriptions.load_topics(alice.id) == subscriptions.load_topics(bob.id) == {"new"}


def test_a_mail_server_that_fails_is_a_sentence_in_the_log_and_a_later_try(
    house: Flask, alice: Person, letters: Letters, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = alice.add_key("openai")
    chosen(house, alice, by_mail=("new",))
    add_changes(alice, *new_changes("gpt-6"), at=now(), key=key)
    letters.refuses = True
    sent(house)
    sent(house)
    assert caplog.text.count("a letter with news was not sent") == 1 and "alice@" not in caplog.text
    letters.refuses = False
    later(monkeypatch, minutes=11)
    sent(house)
    assert len(letters.taken) == 1 and "gpt-6" in body(letters)
    row = db.session.scalars(select(SubscriptionRow).execution_options(populate_existing=True)).one()
    assert (row.tries, row.put_off_until) == (0, None)


def test_it_waits_longer_each_time(alice: Person) -> None:
    subscriptions.set_topics(alice.id, ["new"])
    letter = subscriptions.DueDigest(alice.id, alice.row.email, frozenset({"new"}), 0, 1, "")
    at = now()
    waits = [subscriptions.mark_failed(letter, at) - at for _ in range(5)]
    assert waits == [
        timedelta(minutes=10),
        timedelta(hours=1),
        timedelta(hours=6),
        timedelta(days=1),
        timedelta(days=1),
    ]


def test_a_letter_is_taken_by_one_worker(alice: Person) -> None:
    subscriptions.set_topics(alice.id, ["new"])
    add_changes(alice, *new_changes("x"), at=now(), key=alice.add_key("openai"))
    assert subscriptions.claim(alice.id, now()) is not None
    assert subscriptions.claim(alice.id, now()) is None
    assert subscriptions.claim(alice.id, now() + timedelta(minutes=11)) is not None, "its worker died"


def test_a_disabled_account_gets_none(house: Flask, alice: Person, letters: Letters) -> None:
    chosen(house, alice, by_mail=("new",))
    add_changes(alice, *new_changes("x"), at=now(), key=alice.add_key("openai"))
    alice.row.disabled_at = now()
    db.session.commit()
    sent(house)
    with house.app_context():
        tasks.send_digest(alice.id)
    assert letters.taken == []


def test_a_sync_succeeds_with_any_mail_server_failure(
    house: Flask, alice: Person, vault: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter is a job of its own: a worker without a mail server syncs as ever, and the job ends well."""
    alice.add_key("openai")
    chosen(house, alice, by_mail=topics.TOPICS)
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1")
    with house.app_context():
        result = enqueue.start_sync(alice.id, "manual")
        assert result is not None
        work_off(house, vault)
        periodic.enqueue_digests()
        work_off(house, vault)
        assert db.session.get_one(RunRow, result.run_id, populate_existing=True).state == "done"


# ------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("gpt-4o", "gpt-4o"),
        ("a\r\nBcc: x@evil.example", "a Bcc: x@evil.example"),
        ("a\u2028b\x1b[31mc\u202edcba", "a b [31mc dcba"),
        ("see https://evil.example", "see https: //evil.example"),
        ("x" * 400, "x" * 159 + "…"),
    ],
)
def test_provider_text_becomes_one_harmless_line(typed: str, shown: str) -> None:
    assert sanitize_line(typed) == shown


def test_a_hostile_provider_cannot_add_lines_to_an_email() -> None:
    hostile = "x\n\n-- \nYour account is locked: https://evil.example/login"
    news = ProviderNews("openai", [Change("new", hostile, hostile), changed(hostile, ("id", hostile, "y"))])
    found = DigestContent([news], [DigestKeyProblem("openai", hostile, hostile, hostile)])
    text = writing.body(found, "https://models.example", "https://models.example/unsubscribe/1-x")
    assert text.count("\n-- \n") == 1 and "://evil" not in text
    assert "evil" not in writing.subject(found)


def test_many_changes_are_counted() -> None:
    found = DigestContent([ProviderNews("openai", new_changes(*(f"m{number:03}" for number in range(100))))])
    text = writing.body(found, "https://models.example", "")
    assert "m039" in text and "m040" not in text and "and 60 more changes" in text


def test_key_problems_are_all_that_blame_the_key() -> None:
    everything = list(errors.SyncError.__subclasses__())
    for one in everything:
        everything += one.__subclasses__()
    assert {one.code for one in everything if one.key_at_fault and hasattr(one, "code")} == writing.KEY_ERROR_CODES


def test_a_change_seen_by_two_keys_is_reported_once(alice: Person) -> None:
    first, second = alice.add_key("openai", label="a"), alice.add_key("openai", label="b")
    for key in (first, second):
        add_changes(alice, *new_changes("gpt-6"), at=now(), key=key)
    found = digest.load_digest(alice.id, 0, digest.newest_finished_run(alice.id), topics.TOPICS, ())
    assert found.count("new") == 1


def test_every_topic_has_its_words() -> None:
    assert set(notifications.TITLES) == set(writing._TOPIC_NAMES) == set(topics.TOPICS)
