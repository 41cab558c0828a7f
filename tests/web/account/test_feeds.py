"""Atom by a secret address: valid, stable, escaped, cached, and gone when its owner says so."""

from __future__ import annotations

import hashlib
import html
import logging
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.catalog.changes import Change, FieldChange
from app.extensions import db
from app.store.accounts import feeds, users
from app.web.account.feeds import ATOM
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.web.change_rows import add_changes, new_changes
from tests.web.text_browser import Plainly, words

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
NAMES = {"a": ATOM}
_SECRET = re.compile(r"/feeds/([\w-]{43})\.atom")
_TAG = re.compile(r"tag:[a-z0-9.-]+,\d{4}-\d\d-\d\d:[0-9a-f]{32}")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
HOSTILE = [
    "<script>alert(1)</script>",
    "a]]>b",
    "bell\x07escape\x1b[31m",
    "&amp;&#x0;",
    "\ufffe\uffff",
    "‮cod.exe",
    "😀",
]


def create_feed(person: Person) -> str:
    """The path of a new address of theirs."""
    answer = person.post("/changes/feed")
    (secret,) = set(_SECRET.findall(answer.text))
    return f"/feeds/{secret}.atom"


def got(app: Flask, path: str, **headers: str) -> Any:
    """As a feed reader asks: without a cookie."""
    return app.test_client().get(path, headers=headers)


def parsed(app: Flask, path: str) -> ET.Element:
    answer = got(app, path)
    assert answer.status_code == 200 and answer.mimetype == "application/atom+xml", answer.text
    return ET.fromstring(answer.data)  # it is our own document


def entries(feed: ET.Element) -> list[ET.Element]:
    return feed.findall("a:entry", NAMES)


def of(element: ET.Element, name: str) -> str:
    (found,) = element.findall(f"a:{name}", NAMES)
    return found.text or ""


@pytest.fixture
def alice_with_changes(alice: Person) -> Person:
    """Alice, with two entries."""
    key = alice.add_key("openai", label="work")
    cheaper = Change("changed", "gpt-4o", "", (FieldChange("output_per_million", "10", "8"),))
    add_changes(alice, *new_changes("gpt-6", "gpt-7"), cheaper, at=NOON, key=key)
    add_changes(
        alice, Change("unlisted", "llama", ""), at=NOON + timedelta(hours=1, microseconds=5), key=alice.add_key("groq")
    )
    return alice.sign_in()


@both_databases
def test_the_feed_has_all_that_rfc_4287_requires(app: Flask, alice_with_changes: Person) -> None:
    feed = parsed(app, create_feed(alice_with_changes))
    assert feed.tag == f"{{{ATOM}}}feed"
    assert _TAG.fullmatch(of(feed, "id")) and of(feed, "title") and _RFC3339.fullmatch(of(feed, "updated"))
    assert of(feed.find("a:author", NAMES), "name")  # type: ignore[arg-type]  # an entry may then go without
    found = entries(feed)
    assert len(found) == 2
    for entry in found:
        assert of(entry, "id").startswith(of(feed, "id") + "/runs/") and of(entry, "title")
        assert _RFC3339.fullmatch(of(entry, "updated")) and _RFC3339.fullmatch(of(entry, "published"))
        assert entry.find("a:content", NAMES).get("type") == "html"  # type: ignore[union-attr]
        links = entry.findall("a:link[@rel='alternate']", NAMES)
        assert len(links) == 1 and links[0].get("href", "").startswith("http://localhost/history/")
    assert len({of(entry, "id") for entry in found}) == 2
    assert [of(entry, "title") for entry in found] == [
        "Groq no longer lists llama",
        "OpenAI added 2 chat models; gpt-4o's output price fell 20\N{NARROW NO-BREAK SPACE}%",
    ]
    assert of(feed, "updated") == of(found[0], "updated") == "2026-11-01T13:00:00.000005Z"
    assert "<code>gpt-4o</code>: output price $10.00 → $8.00" in of(found[1], "content")
    assert "(work)" in of(found[1], "content")


def test_an_empty_feed_is_valid_as_well(app: Flask, alice: Person) -> None:
    feed = parsed(app, create_feed(alice.sign_in()))
    assert _TAG.fullmatch(of(feed, "id")) and _RFC3339.fullmatch(of(feed, "updated")) and entries(feed) == []


@both_databases
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_survive_as_text(app: Flask, alice: Person, name: str) -> None:
    renamed = Change("changed", name, name, (FieldChange("id", "old", name), FieldChange("name", name, "x")))
    key = alice.add_key("openai", label="<b>&]]>")
    add_changes(alice, Change("new", name, name), at=NOON, key=key)
    add_changes(alice, renamed, at=NOON + timedelta(hours=1), key=key)
    path = create_feed(alice.sign_in())
    found = entries(parsed(app, path))
    plain = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", name)
    assert of(found[1], "title") == f"OpenAI added {plain}"
    for entry in found:
        content = of(entry, "content")
        assert f"<code>{html.escape(plain, quote=False)}</code>" in content
        assert "<script" not in content and "<b>" not in content and "&lt;b&gt;&amp;]]&gt;" in content
    assert "script>" not in got(app, path).text.replace("script&", "")


def test_ids_outlive_a_new_address_and_the_old_one_ends(app: Flask, alice_with_changes: Person) -> None:
    first = create_feed(alice_with_changes)
    before = [of(entry, "id") for entry in entries(parsed(app, first))]
    second = create_feed(alice_with_changes)
    assert second != first and got(app, first).status_code == 404
    assert [of(entry, "id") for entry in entries(parsed(app, second))] == before


def test_the_host_of_an_id_is_a_name_or_localhost(app: Flask, alice_with_changes: Person) -> None:
    for host, authority in (
        ("models.example.org:8443", "models.example.org"),
        ("[::1]:8000", "localhost"),
        ("", "localhost"),
        ("a," + "b" * 300, "localhost"),
    ):
        feeds.revoke(alice_with_changes.id)
        feeds.create_secret(alice_with_changes.id, host, NOON)
        db.session.commit()
        row = feeds.find_by_user(alice_with_changes.id)
        assert row is not None and row.tag.startswith(f"tag:{authority},2026-11-01:"), host
        assert _TAG.fullmatch(row.tag)


def test_the_secret_is_256_bits_shown_once_and_never_stored(app: Flask, alice_with_changes: Person) -> None:
    path = create_feed(alice_with_changes)
    secret = path.split("/")[2].removesuffix(".atom")
    assert secret not in alice_with_changes.client.get("/changes").text
    (row,) = db.session.execute(text("SELECT * FROM feeds")).all()
    assert secret not in str(row)
    assert hashlib.sha256(secret.encode()).digest() in tuple(row)
    assert secret not in got(app, path).text  # entries are passed on


def test_by_the_forms_of_the_page_alone_it_is_made_renewed_and_revoked(app: Flask, alice_with_changes: Person) -> None:
    someone = Plainly(alice_with_changes.client).open("/changes")
    assert "Make an address" in someone.words and "Revoke" not in someone.words
    someone.submit("/changes/feed")
    first = _SECRET.search(someone.html)
    assert first is not None and "Copy your feed’s address now." in someone.words
    assert got(app, first[0]).status_code == 200
    someone.open("/changes").submit("/changes/feed/revoke")
    assert "The feed's address is revoked" in someone.words and "Make an address" in someone.words
    assert got(app, first[0]).status_code == 404
    assert alice_with_changes.post("/changes/feed/revoke").status_code == 404


def test_htmx_gets_the_piece_alone(alice_with_changes: Person) -> None:
    piece = alice_with_changes.post("/changes/feed", htmx=True).text
    assert "<html" not in piece and 'id="changes-address"' in piece and _SECRET.search(piece)


def test_it_takes_the_filters_of_the_page(app: Flask, alice_with_changes: Person) -> None:
    path = create_feed(alice_with_changes)
    for query, titles in (
        ("?provider=groq", ["Groq no longer lists llama"]),
        ("?kind=new", ["OpenAI added 2 chat models"]),
        ("?q=gpt-6", ["OpenAI added gpt-6"]),
        ("?key=999", []),
        ("?since=visit", ["Groq no longer lists llama", "OpenAI added 2 chat models; gpt-4o's output price fell"]),
        ("?provider=%3Cscript%3E&kind=%00&q=%00", None),
    ):
        found = [of(entry, "title") for entry in entries(parsed(app, path + query))]
        if titles is None:
            assert len(found) == 2
        else:
            assert len(found) == len(titles), query
            assert all(title.startswith(said) for title, said in zip(found, titles, strict=True)), (query, found)
    page = parsed(app, path + "?provider=groq&q=a%26b").find("a:link[@rel='alternate']", NAMES)
    assert page is not None and page.get("href") == "http://localhost/changes?provider=groq&q=a%26b"


def test_a_reader_that_knows_it_already_is_told_so(app: Flask, alice_with_changes: Person) -> None:
    path = create_feed(alice_with_changes)
    answer = got(app, path)
    modified = answer.headers["Last-Modified"]
    assert parsedate_to_datetime(modified) == NOON + timedelta(hours=1)
    for headers in ({"If-None-Match": answer.headers["ETag"]}, {"If-Modified-Since": modified}):
        again = got(app, path, **headers)
        assert (again.status_code, again.data) == (304, b"")
    add_changes(
        alice_with_changes,
        *new_changes("more"),
        at=NOON + timedelta(hours=2),
        key=alice_with_changes.add_key("mistral"),
    )
    for headers in ({"If-None-Match": answer.headers["ETag"]}, {"If-Modified-Since": modified}):
        assert got(app, path, **headers).status_code == 200
    assert got(app, path).data == got(app, path).data


def test_it_needs_no_cookie_sets_none_and_asks_little(app: Flask, alice_with_changes: Person) -> None:
    path = create_feed(alice_with_changes)
    with counted() as sent:
        answer = got(app, path)
    assert "Set-Cookie" not in answer.headers and answer.headers["Cache-Control"] == "private, no-cache"
    assert len(sent) == 3
    for number in range(100):
        add_changes(
            alice_with_changes, *new_changes(f"m{number}"), at=NOON + timedelta(hours=number), key=None, provider_id=1
        )
    with counted() as sent:
        assert len(entries(parsed(app, path))) == 60
    assert len(sent) == 3


def test_a_disabled_or_deleted_account_has_no_feed(app: Flask, alice_with_changes: Person) -> None:
    path = create_feed(alice_with_changes)
    alice_with_changes.row.disabled_at = NOON
    db.session.commit()
    assert got(app, path).status_code == 404
    alice_with_changes.row.disabled_at = None
    db.session.commit()
    assert got(app, path).status_code == 200
    users.remove(alice_with_changes.row)
    db.session.commit()
    assert got(app, path).status_code == 404
    assert db.session.execute(text("SELECT count(*) FROM feeds")).scalar() == 0


def test_bobs_feed_has_nothing_of_alices(app: Flask, alice_with_changes: Person, bob: Person) -> None:
    create_feed(alice_with_changes)
    path = create_feed(bob.sign_in())
    assert entries(parsed(app, path)) == []
    bob.post("/changes/feed/revoke")
    assert feeds.find_by_user(alice_with_changes.id) is not None


def test_no_log_has_the_secret_when_something_breaks(
    app: Flask, alice_with_changes: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = create_feed(alice_with_changes)

    def gone(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    for trouble, status in ((gone, 503), (broken, 500)):
        monkeypatch.setattr("app.store.queries.changes.load_entries", trouble)
        with caplog.at_level(logging.DEBUG):
            answer = got(app, path)
        assert answer.status_code == status
        assert "/feeds/<secret>.atom" in caplog.text
        assert path not in caplog.text and path not in answer.text
        caplog.clear()
    assert "There is nothing here" in words(got(app, "/feeds/" + "x" * 43 + ".atom").text)
