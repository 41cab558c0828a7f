"""News that arrive while a page is open: a new badge, and a toast."""

from __future__ import annotations

import html
import re

import pytest
from flask import Flask

from app.demo.simulator import Simulator
from app.sync.run import SyncContext
from app.web.home import describe_new_models
from tests.conftest import Person, both_databases
from tests.store.queries.test_runs import counted
from tests.sync.test_run import named, synced

HTMX = {"HX-Request": "true"}


@pytest.fixture
def reader(app: Flask, alice: Person, simulator: Simulator, means: SyncContext) -> Person:
    """Alice, whose list is known and read."""
    simulator.set_models("openai", named("gpt-4o"))
    alice.add_key("openai")
    synced(alice, means)
    alice.sign_in()
    alice.client.get("/changes")
    return alice


def address(page: str) -> str:
    """What the badge of this page asks for."""
    return html.unescape(re.findall(r'id="new-badge" hx-get="([^"]+)"', page)[0])


@both_databases
def test_new_models_come_as_a_badge_and_a_toast_once(reader: Person, simulator: Simulator, means: SyncContext) -> None:
    url = address(reader.client.get("/profile").text)
    assert reader.client.get(url, headers=HTMX).status_code == 204
    simulator.set_models("openai", named("gpt-4o", "gpt-5", "o3"))
    synced(reader, means)
    with counted() as statements:
        answer = reader.client.get(url, headers=HTMX)
    assert len([one for one in statements if "JOIN changes" in one]) == 1, "one query finds the news"
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store" and "HX-Request" in answer.vary
    assert answer.text.startswith('<span id="new-badge"') and "New models available</span> 2" in answer.text
    assert '<hx-partial hx-target="#toasts"' in answer.text
    assert "2 new chat models at OpenAI." in answer.text and 'href="/changes"' in answer.text
    assert reader.client.get(address(answer.text), headers=HTMX).status_code == 204


@both_databases
def test_what_was_read_in_another_tab_leaves_the_badge_without_a_toast(
    reader: Person, simulator: Simulator, means: SyncContext
) -> None:
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    synced(reader, means)
    url = address(reader.client.get("/profile").text)
    reader.client.get("/changes")
    answer = reader.client.get(url, headers=HTMX)
    assert answer.status_code == 200 and "badge-new" not in answer.text and "toast" not in answer.text
    assert reader.client.get(address(answer.text), headers=HTMX).status_code == 204


def test_nobody_hears_of_another_ones_news(
    reader: Person, bob: Person, simulator: Simulator, means: SyncContext
) -> None:
    bob.sign_in()
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    synced(reader, means)
    assert bob.client.get(address(bob.client.get("/profile").text), headers=HTMX).status_code == 204


def test_without_htmx_and_with_odd_cursors_it_leads_somewhere(app: Flask, reader: Person) -> None:
    assert reader.client.get("/news").location == "/changes"
    for since in ("", "yesterday", "2026-01-01", "%00", "9999-12-31T23:59:59+00:00"):
        assert reader.client.get(f"/news?since={since}&known=0", headers=HTMX).status_code == 204, since
    assert reader.client.get("/news?known=nonsense", headers=HTMX).status_code == 200
    stranger = app.test_client().get("/news", headers=HTMX)
    assert (stranger.status_code, stranger.headers["HX-Redirect"][:6]) == (401, "/login")


@pytest.mark.parametrize(
    ("fresh", "sentence"),
    [
        ([], ""),
        ([("groq", 1)], "1 new chat model at Groq."),
        ([("groq", 2)], "2 new chat models at Groq."),
        ([("groq", 2), ("openai", 1)], "2 new chat models at Groq and 1 at OpenAI."),
        ([("groq", 2), ("openai", 1), ("xai", 1)], "4 new chat models at 3 providers."),
    ],
)
def test_the_toast_names_two_providers_and_counts_more(fresh: list[tuple[str, int]], sentence: str) -> None:
    assert describe_new_models(fresh) == sentence
