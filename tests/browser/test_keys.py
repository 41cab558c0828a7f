"""The first minute: from sign-up by pasting a key to the list of models, wide and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from tests.browser.conftest import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Visit = Callable[..., Visitor]
GROQ, OPENAI = "gsk_a-good-key-of-groq-4f2a", "sk-" + "proj-a-good-key-of-openai-7f3c"
UNCLEAR = "sk-0123456789abcdef0123456789abc1d2"
WIDE, PHONE = {"width": 1280, "height": 850}, {"width": 360, "height": 740}


@pytest.fixture(autouse=True)
def known(providers: Simulator) -> Iterator[None]:
    providers.set_models("openai", [SimModel("gpt-4o"), SimModel("gpt-5"), SimModel("text-embedding-3-small")])
    yield
    providers.set_latency("groq", 0.3)


def no_wider_than_the_window(someone: Visitor) -> None:
    wide, window = someone.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_first_minute(visitor: Visit, providers: Simulator, viewport: dict[str, int]) -> None:
    someone = visitor(viewport=viewport)
    page = someone.page
    name = f"first-minute-{viewport['width']}"
    someone.sign_up()
    no_wider_than_the_window(someone)
    someone.shot(f"{name}-1-empty")
    page.click("#keys >> text=Paste a key")
    page.fill("#paste-text", f"# mine\nOPENAI_API_KEY={OPENAI}\n{GROQ}\nDEBUG=true\n")
    expect(page.locator(".find")).to_have_count(2)  # by itself, a moment after the last letter
    expect(page.locator("#paste-said")).to_contain_text("2 keys recognised.")
    expect(page.locator("#paste-found")).to_contain_text("Line 4 holds no key that we know.")
    assert page.evaluate("document.activeElement.id") == "paste-text"  # whoever types goes on typing
    assert "a-good-key" not in page.content()
    no_wider_than_the_window(someone)
    someone.shot(f"{name}-2-preview")

    page.click("#paste-save")
    expect(page.locator("#paste-found")).to_contain_text("Saved 2 keys: OpenAI, Groq.")
    assert "saved-keys" in page.evaluate("document.activeElement.className")
    expect(page.locator("#paste-text")).to_have_value("")
    expect(page.locator("#provider-openai .key")).to_contain_text("2 chat models", timeout=20_000)
    expect(page.locator("#provider-groq .key")).to_contain_text("chat models", timeout=20_000)
    no_wider_than_the_window(someone)
    someone.shot(f"{name}-3-saved")

    providers.set_latency("groq", 4.0)
    page.click("#sync-status button:has-text('Sync Now')")
    expect(page.locator("#sync-progress")).to_contain_text("waiting for Groq")
    expect(page.locator("#sync-progress [data-seconds]")).to_have_text(re.compile(r"^[1-9]\d* s$"))
    someone.shot(f"{name}-4-running")
    expect(page.locator("#sync-status")).to_contain_text("See your models", timeout=20_000)
    expect(page.locator("#provider-openai .key")).to_contain_text("list of 3 models")
    no_wider_than_the_window(someone)
    someone.shot(f"{name}-5-done")
    page.click("#sync-status >> text=See your models")
    page.wait_for_url("**/models")
    expect(page.locator("body")).to_contain_text("gpt-5")


def test_a_key_of_several_is_asked_about_where_the_eye_is(visitor: Visit) -> None:
    someone = visitor()
    page = someone.page
    someone.sign_up()
    page.fill("#paste-text", f"{UNCLEAR}\n{GROQ}")
    page.click("#paste-save")
    expect(page.locator(".field-error")).to_have_text("Choose whose key this is, or leave it out.")
    expect(page.locator("[name=place-0]")).to_be_focused()
    someone.complaints.clear()  # Chromium tells of every answer that refuses something
    page.select_option("[name=place-0]", "deepseek")
    page.click("#paste-save")
    expect(page.locator("#provider-deepseek .key")).to_contain_text("•••• c1d2")
    page.fill("#paste-text", GROQ)  # the form that came with the answer listens as the first one did
    expect(page.locator(".find-have")).to_contain_text("Looks like one you have: Groq")
    expect(page.locator("[name=take-0]")).not_to_be_checked()


def test_one_press_tries_openrouter_without_a_key(visitor: Visit) -> None:
    someone = visitor(viewport=PHONE)
    someone.sign_up()
    someone.page.click("text=Try OpenRouter without a key")
    expect(someone.page.locator("#provider-openrouter .key")).to_contain_text("no key needed")
    expect(someone.page.locator("#sync-status")).to_contain_text("See your models", timeout=30_000)
    expect(someone.page.locator("#provider-openrouter .key")).to_contain_text("chat models", timeout=20_000)


def test_keys_are_changed_and_deleted_by_the_keyboard(visitor: Visit) -> None:
    someone = visitor()
    page = someone.page
    someone.sign_up()
    someone.add_key("openai")
    expect(page.locator("#provider-openai .key")).to_contain_text("2 chat models", timeout=20_000)
    page.locator(".key-change > summary").focus()
    page.keyboard.press("Enter")
    page.fill("#provider-openai [name=label]", "work")
    page.keyboard.press("Enter")
    expect(page.locator("#provider-openai .key-name")).to_have_text("work")
    page.locator(".key-change > summary").focus()
    page.keyboard.press("Enter")
    page.locator(".key-delete > summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".key-delete")).to_contain_text("Delete OpenAI work (•••• ests)?")
    someone.shot("key-delete")
    page.locator(".key-delete button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#keys-title")).to_have_text("Start here")
    expect(page.locator("#keys-title")).to_be_focused()
    expect(page.locator("#sync-status button")).to_be_disabled()


def test_a_provider_is_found_by_typing(visitor: Visit) -> None:
    someone = visitor(viewport=PHONE)
    page = someone.page
    someone.sign_up()
    page.click("#choose > summary")
    page.fill("#offers-find", "qwen")
    expect(page.locator("#offers > .offer:visible")).to_have_count(1)
    page.locator("#add-alibaba summary").click()
    expect(page.locator("#add-alibaba [name=region] option")).to_have_count(3)
    no_wider_than_the_window(someone)
    someone.shot("choose-a-provider-360")
    page.fill("#offers-find", "nobody of this name")
    expect(page.locator("#offers-none")).to_be_visible()


def test_pasting_works_without_javascript(visitor: Visit) -> None:
    someone = visitor(java_script_enabled=False)
    page = someone.page
    someone.sign_up()
    page.fill("#paste-text", f"{GROQ}\n{UNCLEAR}")
    page.click("#paste-look")
    page.wait_for_url("**/profile")
    expect(page.locator("#provider-groq .key")).to_contain_text("•••• 4f2a")
    expect(page.locator("main")).to_contain_text("Line 2 may be of DeepSeek")
    expect(page.locator("#paste-text")).to_have_value("")
