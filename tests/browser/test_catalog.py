"""An admin settles what nobody knows, in a real browser, and takes it back."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Locator, Page, expect

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from tests import conftest as stage
from tests.browser.conftest import Visitor
from tests.browser.test_journey import Visit, wait_for_summary
from tests.live import Live, flask

pytestmark = [pytest.mark.browser, pytest.mark.slow]

UNKNOWN = "gpt-4o-nebula"


@pytest.fixture
def live(embedded: Live, providers: Simulator) -> Live:
    """SQLite + embedded Redis: what differs on PostgreSQL is tested without a browser."""
    providers.clear_fault()
    return embedded


@pytest.fixture
def admin(visitor: Visit, providers: Simulator) -> Visitor:
    """An admin whose key lists a model that nobody knows."""
    providers.set_models("openai", [SimModel("gpt-4o"), SimModel(UNKNOWN)])
    someone: Visitor = visitor()
    added = flask("users", "add", someone.email, "--admin", instance=someone.live.instance, stdin=stage.PASSWORD)
    assert added.returncode == 0, added.stderr
    someone.page.goto("/login")
    someone.page.fill("input[name=email]", someone.email)
    someone.page.fill("input[name=password]", stage.PASSWORD)
    someone.page.click("main button")
    someone.page.wait_for_url("**/profile")
    someone.add_key("openai")
    expect(someone.page.locator("#provider-openai .key")).to_contain_text("chat model")
    someone.page.reload()
    someone.page.click("#sync-status button:has-text('Sync Now')")
    wait_for_summary(someone.page, "No changes")
    return someone


def reload_until(page: Page, path: str, wanted: Locator, count: int) -> None:
    """The catalog follows a decision in a worker: look again until it did."""
    deadline = time.monotonic() + 20
    while True:
        page.goto(path)
        if wanted.count() == count:
            return
        assert time.monotonic() < deadline, f"{path} does not show it"
        page.wait_for_timeout(200)


def test_a_candidate_is_accepted_and_that_is_taken_back(admin: Visitor) -> None:
    page = admin.page
    page.goto("/profile")
    page.click("nav >> text=Admin")
    page.click("nav[aria-label=Admin] >> text=Unknown models")
    row = page.locator(".review", has=page.locator(f"code:text-is('{UNKNOWN}')"))
    row.locator("button[value='openai/gpt-4o']").click()
    expect(page.locator(".decided")).to_contain_text(f"What OpenAI means by {UNKNOWN}: decided.")
    expect(row).to_have_count(0)
    known = page.locator("tr", has_text=UNKNOWN).locator("a[href^='/models/openai/gpt-4o']")
    reload_until(page, "/models", known, 1)

    page.goto("/admin/catalog/audit")
    entry = page.locator("tr", has_text=UNKNOWN).first
    expect(entry).to_contain_text(admin.email)
    entry.locator("button:has-text('Undo')").click()
    expect(page.locator("tr", has_text=UNKNOWN).first).to_contain_text("takes back")
    reload_until(page, "/models", known, 0)
    reload_until(page, "/admin/catalog/unknown", row, 1)


def test_a_mistyped_id_is_told_beside_its_row_and_the_right_one_is_suggested(admin: Visitor) -> None:
    page = admin.page
    page.goto("/admin/catalog/unknown")
    row = page.locator(".review", has=page.locator(f"code:text-is('{UNKNOWN}')"))
    row.locator("summary").click()
    row.locator("input[name=canonical_id]").type("openai/gpt-4o-mini")
    expect(page.locator("#catalog-ids option[value='openai/gpt-4o-mini']")).to_have_count(1)
    row.locator("input[name=canonical_id]").fill("openai/gpt-4o-minni")
    admin.complaints.clear()
    row.locator("button:has-text('Match')").click()
    expect(row.locator("[role=alert]")).to_contain_text("The catalog has no model “openai/gpt-4o-minni”.")
    expect(row.locator("input[name=canonical_id]")).to_have_value("openai/gpt-4o-minni")
    admin.complaints.clear()  # Chromium reports every 422
    row.locator("button:has-text('Leave unknown')").click()
    expect(row).to_have_count(0)
    page.check("input[name=left]")
    expect(row).to_contain_text("left unknown")
