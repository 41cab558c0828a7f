"""The page of changes: what is new since the last visit, told calmly, filtered by its address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from app import clock
from app.catalog.changes import Change, FieldChange
from app.extensions import db
from app.store.queries import changes, nav
from app.store.schema.tables import UserRow
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.web.change_rows import add_changes, new_changes
from tests.web.text_browser import Plainly, read, words

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HTMX = {"HX-Request": "true"}
CHEAPER = Change("changed", "gpt-4o", "GPT 4o", (FieldChange("output_per_million", "10", "8"),))


class Watch:
    """What the pages take for now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = NOW
        monkeypatch.setattr(clock, "utc_now", lambda: self.moment)

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def seen_at(person: Person) -> datetime | None:
    db.session.expire_all()
    return db.session.get_one(UserRow, person.id).changes_seen_at


def page_text(person: Person, path: str = "/changes") -> str:
    return words(person.client.get(path).text)


@both_databases
def test_a_headline_stands_above_its_details(alice: Person, watch: Watch) -> None:
    key = alice.add_key("openai", label="work")
    add_changes(alice, *new_changes("gpt-6", "gpt-7"), CHEAPER, at=NOW - timedelta(hours=2), key=key)
    page = alice.sign_in().client.get("/changes").text
    text = words(page)
    assert "Today unseen OpenAI added 2 chat models; gpt-4o's output price fell 20\N{NARROW NO-BREAK SPACE}%".replace(
        "\N{NARROW NO-BREAK SPACE}", " "
    ) in text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert page.count('class="change change-') == 3
    assert "work · 2 h ago 3 changes" in text


def test_what_was_new_stays_marked_for_as_long_as_one_looks(alice: Person, watch: Watch) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes("old"), at=NOW - timedelta(days=3), key=key)
    alice.sign_in()
    assert "unseen" in page_text(alice) and "Seen before your last visit" not in page_text(alice)
    watch.forward(days=1)
    add_changes(alice, *new_changes("fresh"), at=watch.moment - timedelta(hours=1), key=key)
    for _ in range(5):  # a reload, the back button, or a look every twenty minutes
        text = page_text(alice)
        assert text.index("fresh") < text.index("Seen before your last visit") < text.index("old")
        assert text.count("unseen") == 1
        watch.forward(minutes=20)
    assert nav.load_nav(alice.id).unseen_new == 0  # although the badge went at the first look
    watch.forward(minutes=31)
    assert "unseen" not in page_text(alice)


def test_mark_as_read_takes_the_marks_away_at_once_but_not_from_what_came_meanwhile(
    alice: Person, watch: Watch
) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes("first"), at=NOW - timedelta(hours=1), key=key)
    someone = Plainly(alice.sign_in().client).open("/changes?kind=new")
    assert seen_at(alice) is None  # a part of the changes was looked at, not all
    add_changes(alice, *new_changes("meanwhile"), at=NOW - timedelta(minutes=1), key=key)
    someone.submit("/changes/read")
    assert someone.answer.request.path == "/changes" and "kind=new" in someone.answer.request.url
    assert someone.words.count("unseen") == 1
    assert someone.words.index("meanwhile") < someone.words.index("Seen before your last visit")
    assert seen_at(alice) == NOW - timedelta(hours=1)


@pytest.mark.parametrize("until", ["", "yesterday", "2026-01-01", "9999-12-31T23:59:59+00:00"])
def test_nothing_of_the_future_can_be_read(alice: Person, watch: Watch, until: str) -> None:
    alice.sign_in()
    assert alice.post("/changes/read", until=until).status_code == 303
    assert seen_at(alice) == (NOW if until.startswith("9") else None)


@pytest.mark.parametrize("query", ["kind=new", "provider=openai", "q=a", "since=visit", "before=999999"])
def test_only_the_whole_page_counts_as_a_visit(alice: Person, watch: Watch, query: str) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes("a"), at=NOW - timedelta(hours=1), key=key)
    alice.sign_in().client.get(f"/changes?{query}")
    alice.client.get("/changes", headers=HTMX)
    assert (seen_at(alice), nav.load_nav(alice.id).unseen_new) == (None, 1)
    alice.client.get("/changes")
    assert (seen_at(alice), nav.load_nav(alice.id).unseen_new) == (NOW - timedelta(hours=1), 0)


def test_a_visit_is_of_one_person_in_one_browser(app: Flask, alice: Person, bob: Person, watch: Watch) -> None:
    add_changes(alice, *new_changes("alices"), at=NOW - timedelta(hours=1), key=alice.add_key("openai"))
    add_changes(bob, *new_changes("bobs"), at=NOW - timedelta(hours=1), key=bob.add_key("openai"))
    alice.sign_in()
    assert "unseen" in page_text(alice)
    alice.post("/changes/read", until=(NOW + timedelta(days=9)).isoformat())
    alice.post("/logout")
    bob.client = alice.client
    bob.sign_in()
    text = page_text(bob)
    assert "unseen" in text and "bobs" in text and "alices" not in text


def test_filters_stand_in_the_address_and_in_the_form(alice: Person, watch: Watch) -> None:
    openai, groq = alice.add_key("openai"), alice.add_key("groq")
    add_changes(alice, *new_changes("gpt-6"), at=NOW - timedelta(days=1), key=openai)
    add_changes(alice, Change("unlisted", "llama", ""), at=NOW - timedelta(hours=1), key=groq)
    alice.sign_in()
    for query, yes, no in (
        ("kind=new", "gpt-6", "llama"),
        ("kind=unlisted", "llama", "gpt-6"),
        ("provider=groq", "llama", "gpt-6"),
        (f"key={openai.id}", "gpt-6", "llama"),
        ("q=GPT", "gpt-6", "llama"),
    ):
        page = alice.client.get(f"/changes?{query}").text
        listed = page.split('id="changes-list"', 1)[1]
        assert yes in listed and no not in listed, query
        assert f'href="/changes?{query}">Link to this view' in page
        name, value = query.split("=")
        assert read(page).forms[1].values[name] == value  # the first form signs out
    assert "No change fits" in page_text(alice, "/changes?q=nobody")
    odd = alice.client.get("/changes?kind=odd&provider=nobody&key=%C2%B2&since=ever&q=")
    assert odd.status_code == 200 and "Link to this view" not in odd.text


def test_only_since_my_last_visit(alice: Person, watch: Watch) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes("old"), at=NOW - timedelta(hours=1), key=key)
    alice.sign_in()
    page_text(alice)
    watch.forward(hours=2)
    assert "Nothing new since your last visit" in page_text(alice, "/changes?since=visit")
    add_changes(alice, *new_changes("fresh"), at=watch.moment, key=key)
    text = page_text(alice, "/changes?since=visit")
    assert "fresh" in text and "old" not in text


def test_older_changes_are_a_link_that_keeps_the_filter(alice: Person, watch: Watch) -> None:
    key = alice.add_key("openai")
    for number in reversed(range(changes.PAGE_SIZE + 1)):
        add_changes(alice, *new_changes(f"m{number:03}"), at=NOW - timedelta(days=number), key=key)
    alice.sign_in()
    page = alice.client.get("/changes?kind=new").text
    (older,) = [link for link in read(page).links if "before=" in link]
    assert "kind=new" in older
    for headers in ({}, HTMX):
        rest = alice.client.get(older, headers=headers)
        assert ("<html" in rest.text) == (not headers)
        assert "m060" in rest.text and "m059" not in rest.text and 'rel="next"' not in rest.text
    back = words(alice.client.get(older.replace("kind=new", "")).text)
    assert "Back to the newest" in back


def test_names_of_providers_are_shown_as_text(alice: Person, watch: Watch) -> None:
    evil = "<script>alert(1)</script>"
    add_changes(alice, Change("new", evil, evil), at=NOW, key=alice.add_key("openai"))
    page = alice.sign_in().client.get("/changes").text
    assert evil not in page and "&lt;script&gt;" in page


def test_bob_sees_nothing_of_alices_not_even_by_her_keys_number(alice: Person, bob: Person, watch: Watch) -> None:
    key = alice.add_key("openai", label="office")
    add_changes(alice, *new_changes("alices-model"), at=NOW, key=key)
    bob.sign_in()
    for query in ("", f"?key={key.id}", "?q=alices", "?provider=openai"):
        text = bob.client.get(f"/changes{query}").text.split("<main", 1)[1]
        assert "alices-model" not in text and "office" not in text, query


def test_an_empty_page_says_what_will_come(alice: Person) -> None:
    assert "Nothing has changed yet" in words(alice.sign_in().client.get("/changes").text)


@both_databases
def test_the_page_takes_the_same_few_queries_however_much_there_is(alice: Person, watch: Watch) -> None:
    openai, groq = alice.add_key("openai"), alice.add_key("groq")
    add_changes(alice, *new_changes("first"), at=NOW - timedelta(days=200), key=openai)
    alice.sign_in()
    paths = ("/changes", f"/changes?kind=new&q=m&key={groq.id}&since=visit")
    queries: dict[str, set[int]] = {path: set() for path in paths}
    for more in (1, 100):
        for number in range(more):
            add_changes(alice, *new_changes(f"m{number}"), at=NOW - timedelta(days=number), key=groq)
        for path in paths:
            alice.client.get("/changes")
            with counted() as sent:
                assert alice.client.get(path).status_code == 200
            queries[path].add(len(sent))
    assert all(len(counts) == 1 and max(counts) <= 8 for counts in queries.values()), queries


def test_the_line_between_new_and_seen_is_not_lost_between_two_pages(alice: Person, watch: Watch) -> None:
    key = alice.add_key("openai")
    add_changes(alice, *new_changes("old"), at=NOW - timedelta(days=365), key=key)
    alice.sign_in()
    page_text(alice)
    watch.forward(hours=1)
    for number in reversed(range(changes.PAGE_SIZE)):
        add_changes(alice, *new_changes(f"m{number:03}"), at=watch.moment - timedelta(seconds=number), key=key)
    page = alice.client.get("/changes").text
    assert "Seen before your last visit" not in words(page)
    (older,) = [link for link in read(page).links if "before=" in link]
    text = page_text(alice, older)
    assert text.index("Seen before your last visit") < text.index("old")
    assert "unseen" not in text
