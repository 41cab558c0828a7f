"""The main job, from sign-up to the badge, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from tests.browser.conftest import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Visit = Callable[..., Visitor]


def known(simulator: Simulator) -> None:
    """A list of models that the catalog knows, so that a first sync brings nothing new."""
    simulator.set_models("openai", [SimModel("gpt-4o"), SimModel("gpt-5"), SimModel("text-embedding-3-small")])


def wait_for_summary(page: Page, text: str) -> None:
    expect(page.locator("#sync-status")).to_contain_text(text, timeout=20_000)
    expect(page.locator("#sync-status button:has-text('Sync Now')")).to_be_visible()


def test_the_journey_with_live_rows(visitor: Visit, providers: Simulator) -> None:
    known(providers)
    someone = visitor()
    page = someone.page
    someone.sign_up()
    someone.add_key("openai")
    expect(page.locator("#provider-openai .key")).to_contain_text("2 chat models")
    expect(page.locator("#provider-openai")).not_to_contain_text("sk-a-good")
    expect(page.locator("#provider-openai")).to_contain_text("•••• ests")
    page.reload()  # the key is there, and Sync Now is enabled

    providers.set_latency("openai", 1.5)
    page.click("#sync-status button:has-text('Sync Now')")
    expect(page.locator("#sync-status .result[data-state=fetching]")).to_have_count(1)
    wait_for_summary(page, "No changes")
    expect(page.locator("#sync-status .result[data-state=unchanged]")).to_have_count(1)
    expect(page.locator("#new-badge .badge")).to_have_count(0)

    providers.set_latency("openai", 0.3)
    providers.add_new("openai", 3)
    page.click("#sync-status button:has-text('Sync Now')")
    wait_for_summary(page, "3 new models")
    expect(page.locator("#new-badge")).to_contain_text("New models available 3")  # pushed beside the status
    expect(page.locator("#provider-openai .key")).to_contain_text("5 chat models")
    page.click("#sync-status >> text=See the changes")
    page.wait_for_url("**/changes")
    expect(page.locator(".change-new")).to_have_count(3)
    page.goto("/profile")
    expect(page.locator("#new-badge .badge")).to_have_count(0)

    page.goto("/history")
    expect(page.locator("#history-runs tbody tr")).to_have_count(3)
    page.locator("#history-runs tbody a").first.click()
    expect(page.locator("h1")).to_contain_text("Done")
    page.goto("/models?all=yes")
    expect(page.locator("body")).to_contain_text("text-embedding-3-small")


def test_the_badge_shows_until_changes_was_opened(visitor: Visit, providers: Simulator) -> None:
    known(providers)
    someone = visitor()
    someone.sign_up()
    someone.add_key("openai")
    expect(someone.page.locator("#provider-openai .key")).to_contain_text("chat models")
    someone.page.reload()
    someone.page.click("#sync-status button:has-text('Sync Now')")
    wait_for_summary(someone.page, "No changes")
    providers.add_new("openai", 2)
    someone.page.click("#sync-status button:has-text('Sync Now')")
    wait_for_summary(someone.page, "2 new models")
    someone.page.goto("/history")
    expect(someone.page.locator("#new-badge")).to_contain_text("New models available 2")
    someone.page.click("nav >> text=Changes")
    someone.page.goto("/history")
    expect(someone.page.locator("#new-badge .badge")).to_have_count(0)


def test_the_journey_without_javascript(visitor: Visit, providers: Simulator) -> None:
    known(providers)
    someone = visitor(java_script_enabled=False)
    page = someone.page
    someone.sign_up()
    someone.add_key("openai")
    page.wait_for_url("**/profile#provider-openai")
    for wanted in ("Found", "No changes", "2 new models"):
        if wanted != "Found":  # the first sync started as the key was saved
            page.click("#sync-status button:has-text('Sync Now')")
        for _ in range(40):
            page.goto("/profile")
            if page.locator("#sync-status button:has-text('Sync Now')").count():
                break
            page.wait_for_timeout(250)
        expect(page.locator("#sync-status")).to_contain_text(wanted)
        if wanted == "No changes":
            providers.add_new("openai", 2)
    expect(page.locator("#new-badge")).to_contain_text("New models available 2")
    page.click("nav >> text=Changes")
    expect(page.locator(".change-new")).to_have_count(2)
    page.goto("/profile")
    expect(page.locator("#new-badge .badge")).to_have_count(0)


def test_a_second_tab_and_a_reload_come_back_to_the_true_state(visitor: Visit, providers: Simulator) -> None:
    known(providers)
    someone = visitor()
    someone.sign_up()
    someone.add_key("openai")
    expect(someone.page.locator("#provider-openai .key")).to_contain_text("chat models")
    someone.page.reload()
    providers.set_latency("openai", 8.0)  # long enough for two pages to be opened on a busy machine
    try:
        someone.page.click("#sync-status button:has-text('Sync Now')")
        expect(someone.page.locator(".result[data-state=fetching]")).to_have_count(1)
        other = someone.open()
        other.goto("/profile")
        expect(other.locator(".result[data-state=fetching]")).to_have_count(1)
        # Pressing it where a run is live shows that run: the page offers no second one.
        expect(other.locator("#sync-status button:has-text('Sync Now')")).to_have_count(0)
        someone.page.reload()
        expect(someone.page.locator(".result[data-state=fetching]")).to_have_count(1)
        for page in (someone.page, other):
            wait_for_summary(page, "No changes")
        other.goto("/history")
        expect(other.locator("#history-runs tbody tr")).to_have_count(2)
    finally:
        providers.set_latency("openai", 0.3)


def test_a_failing_provider_is_told_with_what_to_do(visitor: Visit, providers: Simulator) -> None:
    known(providers)
    someone = visitor()
    someone.sign_up()
    someone.add_key("openai")
    someone.add_key("groq", "a-revoked-key-of-groq")
    expect(someone.page.locator("#provider-groq .key")).to_contain_text("revoked")
    someone.page.reload()
    someone.page.click("#sync-status button:has-text('Sync Now')")
    wait_for_summary(someone.page, "Groq says the key is revoked")
    expect(someone.page.locator(".result[data-state=failed] .remedy")).to_contain_text("Groq keys")


def test_rows_are_pushed_by_the_stream_alone(visitor: Visit, providers: Simulator) -> None:
    known(providers)
    someone = visitor()
    page = someone.page
    page.route("**/sync/status*", lambda route: route.abort())  # neither the watchdog nor polling can help
    someone.sign_up()
    for slug in ("openai", "anthropic"):
        someone.add_key(slug)
        expect(page.locator(f"#provider-{slug} .key")).to_contain_text("chat models")
    page.reload()
    providers.set_latency("anthropic", 2.5)
    try:
        page.click("#sync-status button:has-text('Sync Now')")
        # The fast provider's row turns while the slow one's is still fetching.
        expect(page.locator(".result[data-state=unchanged]")).to_have_count(1)
        expect(page.locator(".result[data-state=fetching]")).to_have_count(1)
        expect(page.locator("#sync-progress")).to_contain_text("1 of 2 done")
        expect(page.locator("#sync-status button:has-text('Sync Now')")).to_be_visible(timeout=8_000)
    finally:
        providers.set_latency("anthropic", 0.3)


def test_a_lost_stream_is_made_up_for_by_asking(visitor: Visit, providers: Simulator) -> None:
    known(providers)
    someone = visitor()
    page = someone.page
    someone.sign_up()
    someone.add_key("openai")
    expect(page.locator("#provider-openai .key")).to_contain_text("chat models")
    page.reload()
    page.route("**/sync/stream*", lambda route: route.abort())
    page.click("#sync-status button:has-text('Sync Now')")
    wait_for_summary(page, "No changes")
    someone.complaints.clear()  # Chromium reports the connection that this test broke
