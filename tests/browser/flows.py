"""What people do, step by step, in a browser of any width, with JavaScript or without it.

Each flow takes a signed-in visitor's page, or a stranger's, and leaves the house as it found it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visitor
from tests.browser.house import House, fits, has_script, sync_to_the_end, until
from tests.browser.states import open_offer
from tests.conftest import PASSWORD
from tests.visits import ALICE, CAROL, NEWCOMER, STRANGER

NEW_PASSWORD = "another horse, another battery"


@dataclass(frozen=True)
class Flow:
    who: str
    act: Callable[[Visitor, House], None]

    def __str__(self) -> str:
        return self.act.__name__


def account(someone: Visitor, _: House) -> None:
    """Sign up, out and in again; every form of the settings; the export; and away with it all."""
    page = someone.page
    someone.sign_up()
    fits(page)
    page.click("form[action='/logout'] button")
    expect(page.locator("form[action='/logout']")).to_have_count(0)
    sign_in(page, someone.email, "not the right password")
    expect(page.get_by_role("alert").first).to_be_visible()
    sign_in(page, someone.email, PASSWORD)
    page.wait_for_url("**/profile")
    page.goto("/settings")
    fits(page)

    page.check("input[name=theme][value=dark]")
    page.click("form[action='/settings/theme'] button")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.fill("input[name=time_zone]", "Asia/Tokyo")
    page.click("form[action='/settings/time-zone'] button")
    expect(page.locator("#time time")).to_contain_text("Asia/Tokyo")
    page.uncheck("input[name=sync_on_sign_in]")
    page.click("form[action='/profile/settings'] button")
    page.goto("/settings")
    expect(page.locator("input[name=sync_on_sign_in]")).not_to_be_checked()
    passwords = page.locator("form[action='/profile/password']")
    passwords.locator("input[name=current_password]").fill(PASSWORD)
    passwords.locator("input[name=password]").fill(NEW_PASSWORD)
    passwords.locator("button").click()
    expect(page.locator("main").get_by_role("status").first).to_be_visible()

    page.goto("/settings")
    with page.expect_download() as begun:
        page.click("a[href='/settings/export.json']")
    assert someone.email in begun.value.path().read_text("utf-8")
    delete = page.locator("form[action^='/settings/delete']")
    delete.locator("input[name=email]").fill(someone.email)
    delete.locator("input[name=password]").fill(NEW_PASSWORD)
    delete.locator("button").click()
    expect(page.locator("form[action='/logout']")).to_have_count(0)
    sign_in(page, someone.email, NEW_PASSWORD)
    expect(page.get_by_role("alert").first).to_be_visible()


def keys(someone: Visitor, house: House) -> None:
    """A key from its first typing to its deletion, with a sync to its end and one that is cancelled."""
    page = someone.page
    someone.sign_up()
    open_offer(page, "mistral")
    offer = page.locator("#add-mistral form[action='/keys']")
    offer.locator("input[name=key]").fill("mistral-key-of-a-flow-1111")
    offer.locator("input[name=label]").fill("mine")
    offer.locator("button.primary").click()
    key = page.locator("#provider-mistral .key")
    reads(page, key, "chat model", "1111")
    fits(page)

    unfold(key.locator(".key-change").first)
    key.locator("form[action$='/replace'] input[name=key]").fill("mistral-key-of-a-flow-2222")
    key.locator("form[action$='/replace'] button").click()
    reads(page, key, "chat model", "2222")
    for words in ("Enable", "Disable"):
        unfold(key.locator(".key-change").first)
        key.locator("form[action$='/active'] button").click()
        expect(key.locator("form[action$='/active'] button")).to_have_text(words)

    page.goto("/profile")
    sync_to_the_end(page)
    expect(page.locator("#sync-status .result")).to_have_attribute("data-state", "unchanged")
    fits(page)

    house.steer("mistral", "slow")
    page.goto("/profile")
    page.click("#sync-status form[action='/sync'] button")
    fits(page)
    page.click("#sync-status form[action='/sync/cancel'] button")
    until(page, lambda: again(page).locator("#sync-status form[action='/sync']").count() == 1)
    house.steer("mistral", "works")
    page.goto("/history")
    expect(page.locator("#history-runs tbody tr").first).to_contain_text("Cancelled")

    page.goto("/profile")
    unfold(key.locator(".key-change").first)
    unfold(key.locator(".key-delete"))
    key.locator("form[action$='/delete'] button").click()
    expect(key).to_have_count(0)


def models(someone: Visitor, house: House) -> None:
    """Find, filter, order and page; star and hide; compare; and how to call one."""
    page = someone.page
    page.goto("/models")
    first = page.locator("#models-list tbody code").first
    page.click("a[rel=next]")
    expect(page).to_have_url(re.compile("after="))
    begins = first.inner_text()
    page.go_back()
    expect(first).not_to_have_text(begins)
    choose(page, "select[name=sort]", "-price")
    expect(page).to_have_url(re.compile("sort=-price"))
    choose(page, "select[name=provider]", "openai")
    expect(page).to_have_url(re.compile("provider=openai"))
    page.fill("input[name=q]", "gpt-4o")
    show(page)
    expect(page).to_have_url(re.compile("q=gpt-4o"))
    expect(first).to_contain_text("gpt-4o")
    fits(page)

    row = page.locator("#models-list tbody tr").first
    for pressed in ("true", "false"):
        row.locator(".star").click()
        expect(row.locator(".star")).to_have_attribute("aria-pressed", pressed)
    for address in ("/models?provider=openai&q=gpt-4o", "/models?provider=openai&q=gpt-4o&marks=hidden"):
        page.goto(address)  # hidden where it was found, and then shown again where it is hidden
        before = row.locator(".star").get_attribute("id") or ""
        with page.expect_response("**/marks"):
            row.locator(".hide").click()
        page.goto(address)
        expect(page.locator(f"[id='{before}']")).to_have_count(0)
    page.goto("/models?provider=openai&q=gpt-4o")
    expect(page.locator(f"[id='{before}']")).to_have_count(1)

    page.goto("/models?provider=openai")
    ticks = page.locator("#models-list input[name=m]")
    ticks.nth(0).check()
    ticks.nth(1).check()
    page.click("#models-compare button")
    expect(page.locator(".compared thead th")).to_have_count(2)
    fits(page)
    page.goto("/models/use?m={model}".format(**house.ids))
    copy = page.locator("main [data-copy]")
    if has_script(page):
        someone.context.grant_permissions(["clipboard-read", "clipboard-write"])
        copy.first.click()
        assert page.evaluate("navigator.clipboard.readText()") == copy.first.get_attribute("data-copy")
    else:
        assert not any(one.is_visible() for one in copy.all())
    expect(page.locator(".snippet code").nth(1)).to_be_visible()


def changes(someone: Visitor, house: House) -> None:
    """What is new is filtered by kind and by words, and two moments of a key are compared."""
    page = someone.page
    page.goto("/changes")
    every = page.locator(".change").count()
    choose(page, "select[name=kind]", "changed")
    expect(page).to_have_url(re.compile("kind=changed"))
    expect(page.locator(".change-new")).to_have_count(0)
    assert 0 < page.locator(".change").count() < every
    fits(page)
    page.goto("/history/keys/{key}".format(**house.ids))
    page.click("form[action='/history/compare'] button")
    expect(page).to_have_url(re.compile(r"/history/compare\?(?=.*from=\d+).*to=\d+"))
    expect(page.locator("main").get_by_role("status")).to_contain_text("this key")
    fits(page)


def tokens(someone: Visitor, _: House) -> None:
    page = someone.page
    name = f"program {someone.email}"
    page.goto("/settings/tokens")
    page.fill("input[name=name]", name)
    page.click("form[action='/settings/tokens'] button")
    token = page.locator("#new-token").inner_text()
    asked = page.request.get("/api/v1/keys", headers={"Authorization": f"Bearer {token}"})
    assert asked.status == 200
    row = page.locator("#tokens-list tr", has_text=name)
    row.locator("form[action$='/revoke'] button").click()
    agree(page)
    expect(row.locator("form[action$='/revoke']")).to_have_count(0)
    fits(page)


def admin(someone: Visitor, house: House) -> None:
    """A provider is asked less or not at all, an account is disabled, a model is left unknown; and all back."""
    page = someone.page
    row = page.locator("#provider-cohere")
    for enabled, frequency in ((False, "weekly"), (True, "")):
        page.goto("/admin/providers")
        unfold(row.locator("details"))
        row.locator("input[name=enabled]").set_checked(enabled)
        row.locator("select[name=frequency]").select_option(frequency)
        row.locator("form[action='/admin/providers/cohere'] button").click()
        expect(row.locator("details")).not_to_have_attribute("open", "")
        page.goto("/admin/providers")
        expect(row.get_by_text("disabled", exact=True)).to_have_count(0 if enabled else 1)
        expect(row.locator("td").nth(2)).to_contain_text(frequency)
    fits(page)

    with house.person(STRANGER) as guest:
        guest.sign_up()
        page.goto(f"/admin/users?q={guest.email}")
        page.click("main tbody a[href^='/admin/users/']")
        page.click("form[action$='/disable'] button")
        expect(page.locator("form[action$='/enable']")).to_be_visible()
        guest.page.goto("/profile")
        expect(guest.page).to_have_url(re.compile("/login"))
        page.click("form[action$='/enable'] button")
        expect(page.locator("form[action$='/disable']")).to_be_visible()
        fits(page)

    page.goto("/admin/catalog/unknown")
    page.locator("form[action^='/admin/catalog/unknown/leave'] button").first.click()
    page.click(".decided form[action^='/admin/catalog/audit/undo'] button")
    expect(page.locator(".decided")).to_contain_text("taken back")
    fits(page)


FLOWS = (
    Flow(STRANGER, account),
    Flow(STRANGER, keys),
    Flow(ALICE, models),
    Flow(ALICE, changes),
    Flow(NEWCOMER, tokens),
    Flow(CAROL, admin),
)


def sign_in(page: Page, email: str, password: str) -> None:
    page.goto("/login")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.click("main form[action='/login'] button")


def unfold(details: Locator) -> None:
    if details.get_attribute("open") is None:
        details.locator("> summary").click()


def again(page: Page) -> Page:
    """The page as it is now: where there is a script it changes by itself."""
    if not has_script(page):
        page.reload()
    return page


def reads(page: Page, locator: Locator, *words: str) -> None:
    """In the end it says all of this."""

    def holds() -> bool:
        again(page)
        text = locator.inner_text() if locator.count() else ""
        return all(word in text for word in words)

    until(page, holds)


def choose(page: Page, css: str, value: str) -> None:
    page.select_option(css, value)
    show(page)


def show(page: Page) -> None:
    """What is typed into filters counts at once, or without a script when the button is pressed."""
    if not has_script(page):
        page.locator("main form[role=search] > button, main form.filters > button").first.click()


def agree(page: Page) -> None:
    if has_script(page):
        page.locator("dialog[open] button[value=yes]").click()
