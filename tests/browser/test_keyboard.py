"""By keyboard alone: shortcuts, their help, questions before something is done, and where the focus goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from tests.browser.conftest import Visitor
from tests.live import Live

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def live(embedded: Live, providers: Simulator) -> Live:
    """SQLite + embedded Redis: keys are pressed in the browser, whatever the database."""
    providers.clear_fault()
    return embedded


def test_keys_lead_to_every_page_but_not_while_somebody_types(visitor: Callable[..., Visitor]) -> None:
    someone = visitor()
    page = someone.page
    someone.sign_up()
    for key, path in (("m", "models"), ("c", "changes"), ("h", "history"), ("s", "settings"), ("p", "profile")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(f"**/{path}")

    page.goto("/settings")
    field = page.locator("input[name=time_zone]")
    field.fill("")
    field.press_sequentially("gm?/")
    expect(field).to_have_value("gm?/")
    assert page.url.endswith("/settings")
    expect(page.locator("#shortcuts")).to_be_hidden()
    page.locator("h1").click()
    page.keyboard.press("Alt+g")
    page.keyboard.press("m")
    page.keyboard.press("g")
    page.keyboard.press("x")  # no such pair: it is forgotten
    page.keyboard.press("m")
    expect(page).to_have_url(f"{someone.live.url}/settings")


def test_help_opens_lists_every_key_closes_and_can_turn_them_off(visitor: Callable[..., Visitor]) -> None:
    someone = visitor()
    page = someone.page
    someone.sign_up()
    page.keyboard.press("?")
    shortcuts = page.locator("#shortcuts")
    expect(shortcuts).to_be_visible()
    expect(shortcuts.locator("tbody tr")).to_have_count(8)
    page.keyboard.press("g")
    page.keyboard.press("m")  # not while it is open
    expect(shortcuts).to_be_visible()
    page.keyboard.press("Escape")
    expect(shortcuts).to_be_hidden()

    page.locator(".foot button", has_text="Keyboard shortcuts").click()
    shortcuts.locator("input[type=checkbox]").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("?")
    expect(shortcuts).to_be_hidden()
    page.locator(".foot button", has_text="Keyboard shortcuts").click()
    expect(shortcuts.locator("input[type=checkbox]")).not_to_be_checked()


def test_slash_goes_to_the_search_and_a_question_is_answered_by_keyboard(
    visitor: Callable[..., Visitor], providers: Simulator
) -> None:
    providers.set_models("openai", [SimModel("gpt-4o"), SimModel("gpt-5")])
    someone = visitor()
    page = someone.page
    someone.sign_up()
    someone.add_key("openai")
    expect(page.locator("#provider-openai .key")).to_contain_text("chat model", timeout=20_000)
    page.reload()
    page.click("#sync-status button:has-text('Sync Now')")
    expect(page.locator("#sync-status .result[data-state=complete]")).to_have_count(1, timeout=20_000)
    page.goto("/models")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()

    page.goto("/settings/tokens")
    page.fill("input[name=name]", "editor")
    page.press("input[name=name]", "Enter")
    revoke = page.locator("#tokens-list button", has_text="Revoke")
    expect(revoke).to_have_count(1)
    for answer, left in (("Cancel", 1), ("Revoke", 0)):
        revoke.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("alertdialog")
        expect(dialog).to_contain_text("Revoke this token?")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        dialog.get_by_role("button", name=answer).press("Enter")
        expect(dialog).to_be_hidden()
        expect(revoke).to_have_count(left)
    assert page.evaluate("document.activeElement !== document.body"), "the focus is not lost with the button"


def test_an_error_is_a_toast_that_can_be_closed_and_replaces_nothing(visitor: Callable[..., Visitor]) -> None:
    someone = visitor()
    page = someone.page
    someone.sign_up()
    page.goto("/settings/tokens")
    page.evaluate("document.querySelector('#tokens-list [name=csrf_token]').value = 'old'")
    page.fill("input[name=name]", "editor")
    page.press("input[name=name]", "Enter")
    toast = page.locator("#toasts .toast")
    expect(toast).to_contain_text("The page was open too long")
    expect(page.locator("input[name=name]")).to_have_value("editor")
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_have_count(0)
    someone.complaints[:] = [one for one in someone.complaints if "419" not in one]  # Chromium tells of the status
