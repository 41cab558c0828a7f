"""What pages become through what people do on them: refusals, things just made, dialogs, a sync under way."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import pyotp
from flask import Flask
from playwright.sync_api import Page, Route, expect

from app.demo import seed
from tests.browser.house import House
from tests.conftest import PASSWORD
from tests.visits import ALICE, CAROL, NEWCOMER, STRANGER

ENV_FILE = "OPENAI_API_KEY=sk-demo-pasted-90c2aa61d4e871b2aa\nGROQ_API_KEY=gsk_demo_pasted_58a4c19e7fd0b362\nOTHER=1\n"


@dataclass(frozen=True)
class State:
    name: str
    who: str
    act: Callable[[Page, House], object]
    status: int = 200
    """Of the page's answer, which Chromium reports if it is an error."""

    def __str__(self) -> str:
        return self.name


def _wrong_password(page: Page, _: House) -> None:
    page.goto("/login")
    page.fill("input[name=email]", "nobody-of-that-name@example.com")
    page.fill("input[name=password]", "not the right one")
    page.click("main form[action='/login'] button")
    expect(page.get_by_role("alert").first).to_be_visible()


def _address_taken(page: Page, _: House) -> None:
    page.goto("/signup")
    page.fill("input[name=email]", seed.ALICE)
    page.fill("input[name=password]", PASSWORD)
    page.click("main form[action='/signup'] button")
    expect(page.get_by_role("alert").first).to_be_visible()


def _key_refused(page: Page, _: House) -> None:
    """Alice has an OpenAI key that is labelled so already."""
    page.goto("/profile")
    open_offer(page, "openai")
    form = page.locator("#add-openai form[action='/keys']")
    form.locator("input[name=key]").fill("sk-another-key-0f3c9d25")
    form.locator("input[name=label]").fill("personal")
    form.locator("button.primary").click()
    expect(page.locator("#add-openai").get_by_role("alert")).to_be_visible()


def _keys_pasted(page: Page, _: House) -> None:
    page.goto("/profile")
    page.fill("#paste-text", ENV_FILE)
    expect(page.locator("#paste-found .find")).to_have_count(2)


def _syncing(page: Page, house: House) -> None:
    house.steer("google", "slow")
    page.goto("/profile")
    page.click("#sync-status form[action='/sync'] button")
    expect(page.locator("#sync-status form[action='/sync/cancel']")).to_be_visible()


def _token_made(page: Page, _: House) -> None:
    page.goto("/settings/tokens")
    page.fill("input[name=name]", "a program of axe")
    page.click("form[action='/settings/tokens'] button")
    expect(page.locator("#new-token")).to_be_visible()


def _asked_again(page: Page, house: House) -> None:
    """Whether the token is really to be revoked."""
    _token_made(page, house)
    page.locator("form[action$='/revoke'] button").first.click()
    expect(page.get_by_role("alertdialog")).to_be_visible()


def _shortcuts(page: Page, _: House) -> None:
    page.goto("/history")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()


def _feed_address_made(page: Page, _: House) -> None:
    page.goto("/changes")
    page.click("form[action='/changes/feed'] button")
    expect(page.locator("#new-address")).to_be_visible()


def _zone_unknown(page: Page, _: House) -> None:
    page.goto("/settings")
    page.fill("input[name=time_zone]", "Mars/Olympus")
    page.click("form[action='/settings/time-zone'] button")
    expect(page.locator("#zone-error")).to_be_visible()


def _not_deleted(page: Page, _: House) -> None:
    page.goto("/settings")
    form = page.locator("form[action^='/settings/delete']")
    form.locator("input[name=email]").fill("somebody@else.example")
    form.locator("input[name=password]").fill("not the right one")
    form.locator("button").click()
    expect(page.locator("#delete-error")).to_be_visible()


def _second_factor_offered(page: Page, _: House) -> str:
    """A new account's, since it changes how one signs in. The secret that the page shows."""
    page.goto("/signup")
    page.fill("input[name=email]", f"{uuid.uuid4().hex[:12]}@example.com")
    page.fill("input[name=password]", PASSWORD)
    page.click("main form[action='/signup'] button")
    page.wait_for_url("**/profile")
    page.goto("/settings/second-factor")
    page.fill("main input[name=password]", PASSWORD)
    page.click("form[action='/settings/second-factor'] button")
    return "".join(page.locator("main code").first.inner_text().split())


def _second_factor_on(page: Page, house: House) -> None:
    """Its recovery codes are shown."""
    secret = _second_factor_offered(page, house)
    page.fill("input[name=code]", pyotp.TOTP(secret).now())
    page.click("form[action='/settings/second-factor/confirm'] button")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()


def _code_asked(page: Page, house: House) -> None:
    _second_factor_on(page, house)
    page.goto("/settings")
    email = page.locator("input[name=account]").first.input_value()
    page.click("form[action='/logout'] button")
    page.goto("/login")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main form[action='/login'] button")
    page.wait_for_url("**/login/code")


def _provider_saved(page: Page, _: House) -> None:
    page.goto("/admin/providers")
    row = page.locator("#provider-mistral")
    row.locator("summary").click()
    row.locator("form[action='/admin/providers/mistral'] button").click()
    expect(row).to_contain_text("saved")


def _provider_refused(page: Page, _: House) -> None:
    page.goto("/admin/providers")
    row = page.locator("#provider-mistral")
    row.locator("summary").click()
    row.locator("input[name=base_url]").fill("https://elsewhere.example")
    row.locator("form[action='/admin/providers/mistral'] button").click()
    expect(row.get_by_role("alert")).to_be_visible()


def _model_refused(page: Page, house: House) -> None:
    page.goto("/admin/catalog/new?provider={slug}&model_id={unknown}".format(**house.ids))
    page.fill("input[name=id]", "no lab and no model")
    page.fill("input[name=context_length]", "many")
    page.click("form[action='/admin/catalog/new'] button")
    expect(page.get_by_role("alert").first).to_be_visible()


def _invited(page: Page, _: House) -> None:
    page.goto("/admin/users")
    page.fill("form[action='/admin/users/invite'] input[name=email]", "guest@example.com")
    page.click("form[action='/admin/users/invite'] button")
    expect(page.locator("#invite code").last).to_contain_text("/signup?invite=")


def _decided(page: Page, _: House) -> None:
    """Left unknown; the page offers the way back."""
    page.goto("/admin/catalog/unknown")
    page.locator("form[action^='/admin/catalog/unknown/leave'] button").first.click()
    expect(page.locator(".decided")).to_be_visible()


STATES = (
    State("sign-in-refused", STRANGER, _wrong_password, 422),
    State("sign-up-refused", STRANGER, _address_taken, 422),
    State("key-refused", ALICE, _key_refused, 422),
    State("keys-pasted", NEWCOMER, _keys_pasted),
    State("syncing", ALICE, _syncing),
    State("token-made", ALICE, _token_made),
    State("asked-again", ALICE, _asked_again),
    State("shortcuts", ALICE, _shortcuts),
    State("feed-address-made", ALICE, _feed_address_made),
    State("second-factor-offered", STRANGER, _second_factor_offered),
    State("second-factor-on", STRANGER, _second_factor_on),
    State("code-asked", STRANGER, _code_asked),
    State("zone-unknown", NEWCOMER, _zone_unknown, 422),
    State("not-deleted", NEWCOMER, _not_deleted, 422),
    State("provider-saved", CAROL, _provider_saved),
    State("provider-refused", CAROL, _provider_refused, 422),
    State("model-refused", CAROL, _model_refused, 422),
    State("invited", CAROL, _invited),
    State("decided", CAROL, _decided),
)


def open_offer(page: Page, provider: str) -> None:
    """Unfold the form that adds a key of this provider."""
    page.locator("#choose > summary").click()
    page.locator(f"#add-{provider} summary").click()


def break_front(app: Flask, error: Callable[[], str]) -> str:
    """The page that an error in the front page's code leads to, as the app itself makes it."""
    app.view_functions["pages.front"] = error
    return str(app.test_client().get("/").text)


def show(page: Page, html: str, status: int) -> None:
    """Open a page whose HTML was made elsewhere, with the style and scripts of the installation."""

    def answer(route: Route) -> None:
        route.fulfill(status=status, body=html, content_type="text/html; charset=utf-8")

    page.route("**/broken", answer)
    page.goto("/broken")
