"""Changes and history in a real browser: with and without JavaScript, on a desk and on a phone."""

from __future__ import annotations

import re
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from tests.browser.conftest import Visitor
from tests.browser.test_journey import wait_for_summary
from tests.live import Live

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FIRST = [
    SimModel("openai/gpt-4o", prompt=Decimal("2.50"), completion=Decimal(10)),
    SimModel("anthropic/claude-sonnet-4.5", prompt=Decimal(3), completion=Decimal(15)),
]
LATER = [
    SimModel("openai/gpt-4o", prompt=Decimal("2.50"), completion=Decimal(8)),
    *(SimModel(name, prompt=Decimal(1), completion=Decimal(2)) for name in ("openai/gpt-5", "nobody/knows-this")),
]


@pytest.fixture
def live(embedded: Live, providers: Simulator) -> Live:
    """SQLite + embedded Redis: what differs on PostgreSQL is tested without a browser."""
    providers.clear_fault()
    return embedded


def sync(page: Page, providers: Simulator, models: list[SimModel], said: str, *, script: bool) -> None:
    providers.set_models("openrouter", models)
    button = page.locator("#sync-status button:has-text('Sync Now')")

    def is_ready() -> bool:
        """Whether the key's first sync is over; without a script the page has to be opened again."""
        if not script:
            page.goto("/profile")
        return button.count() > 0 and button.is_enabled()

    until_true(page, is_ready)
    before = page.locator("#sync-status").inner_text()
    button.click()
    if script:
        wait_for_summary(page, said)
        return
    status = page.locator("#sync-status")
    until_true(page, lambda: said in status.inner_text() != before)


def until_true(page: Page, holds: Callable[[], bool]) -> None:
    """Reload the profile until it does, as a person without JavaScript would."""
    for _ in range(100):
        page.goto("/profile")
        if holds():
            return
        page.wait_for_timeout(200)
    raise AssertionError("it did not come true in time")


def fits(page: Page) -> None:
    """Nothing is wider than the window."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize(
    ("width", "script"),
    [
        pytest.param(1280, True, id="wide-with-script"),
        pytest.param(360, False, id="narrow-without-script"),
        pytest.param(360, True, id="narrow-with-script", marks=pytest.mark.full),
        pytest.param(1280, False, id="wide-without-script", marks=pytest.mark.full),
    ],
)
def test_news_are_read_filtered_and_marked_and_history_is_compared(
    visitor: Callable[..., Visitor], providers: Simulator, script: bool, width: int
) -> None:
    someone = visitor(java_script_enabled=script, viewport={"width": width, "height": 800})
    page = someone.page
    providers.set_models("openrouter", FIRST)
    someone.sign_up()
    someone.add_key("openrouter")
    sync(page, providers, FIRST, "No changes", script=script)
    sync(page, providers, LATER, "1 removed", script=script)

    page.goto("/changes")
    expect(page.locator(".news h3")).to_have_text(
        re.compile(r"OpenRouter added 2 chat models and no longer lists anthropic/claude-sonnet-4\.5; openai/gpt-4o's")
    )
    expect(page.locator(".changes-group[data-unseen]")).to_have_count(1)
    fold = page.locator(".news details")
    expect(fold.locator(".change-new").first).to_be_hidden()
    fold.locator("summary").click()
    expect(fold.locator(".change-new")).to_have_count(2)
    expect(fold.locator(".change-new").first).to_be_visible()
    fits(page)
    someone.shot(f"changes-{'script' if script else 'plain'}-{width}")

    page.fill("input[name=q]", "knows-this")
    if not script:
        page.click("form[role=search] button")
    expect(page.locator(".change")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/changes\?.*q=knows-this"))
    page.reload()
    expect(page.locator(".change")).to_have_count(1)
    page.click("text=Link to this view")
    expect(page.locator(".change")).to_have_count(1)

    page.goto("/changes")
    expect(page.locator(".changes-group[data-unseen]")).to_have_count(1)  # the mark is not lost by looking around
    page.click("text=Mark as read")
    expect(page.locator(".changes-group")).to_have_count(1)
    expect(page.locator(".changes-group[data-unseen]")).to_have_count(0)

    page.click("text=Make an address")
    expect(page.locator("#new-address")).to_be_visible()
    address = page.locator("#new-address").inner_text()
    with urllib.request.urlopen(address) as answer:  # our own server, as a feed reader asks it
        feed = ET.fromstring(answer.read())  # and its own document
    assert len(feed.findall("{http://www.w3.org/2005/Atom}entry")) == 1
    fits(page)

    page.goto("/history")
    expect(page.get_by_role("img", name="Syncs of the last 26 weeks")).to_be_visible()
    page.click("summary:has-text('Day by day')")
    page.click(".calendar tbody a")
    expect(page.locator("#history-runs tbody tr")).to_have_count(3)
    fits(page)
    page.goto("/profile")
    page.click("#provider-openrouter a:has-text('over time')")
    expect(page.get_by_role("img", name="Chat models of this key over time")).to_be_visible()
    fits(page)
    page.click("text=Compare these two")
    expect(page.locator("[role=status]", has_text="gained")).to_contain_text(
        "gained 2 chat models, lost 1, and 1 changed"
    )
    fits(page)
    someone.shot(f"compare-{'script' if script else 'plain'}-{width}")


def test_the_back_button_leads_from_older_changes_to_newer_ones(
    visitor: Callable[..., Visitor], providers: Simulator
) -> None:
    someone = visitor()
    page = someone.page
    providers.set_models("openrouter", FIRST)
    someone.sign_up()
    someone.add_key("openrouter")
    sync(page, providers, FIRST, "No changes", script=True)
    sync(page, providers, LATER, "1 removed", script=True)
    page.goto("/changes")
    # A page this long takes weeks to come about: its link is put in by hand, the rest is the page's own.
    page.evaluate(
        """() => {
          const more = document.createElement("p");
          more.className = "more";
          more.innerHTML = '<a class="button" rel="next" href="/changes?before=1" hx-get="/changes?before=1" '
            + 'hx-target="#changes-list" hx-swap="outerHTML show:top" hx-push-url="true">Older</a>';
          document.getElementById("changes-list").append(more);
          htmx.process(more);
        }"""
    )
    page.click("text=Older")
    expect(page.locator("#changes-list")).to_contain_text("Back to the newest")
    expect(page).to_have_url(re.compile(r"/changes\?before=1$"))
    page.go_back()
    expect(page.locator(".news h3")).to_contain_text("OpenRouter added 2 chat models")
    expect(page).to_have_url(re.compile(r"/changes$"))
