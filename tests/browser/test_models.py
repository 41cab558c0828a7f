"""Finding a model and what it costs, as typed, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import expect

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from tests.browser.conftest import Visitor
from tests.browser.test_journey import wait_for_summary
from tests.live import Live

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODELS = [
    SimModel("openai/gpt-4o", prompt=Decimal("2.50"), completion=Decimal(10), tools=True),
    SimModel("anthropic/claude-sonnet-4.5", prompt=Decimal(3), completion=Decimal(15), tools=True),
    SimModel("nobody/knows-this", prompt=Decimal(1), completion=Decimal(2)),
]


@pytest.fixture
def live(embedded: Live, providers: Simulator) -> Live:
    """SQLite + embedded Redis: what differs on PostgreSQL is tested without a browser."""
    providers.clear_fault()
    return embedded


def test_a_search_shows_its_finds_as_typed_and_the_address_keeps_it(
    visitor: Callable[..., Visitor], providers: Simulator
) -> None:
    providers.set_models("openrouter", MODELS)
    someone = visitor()
    someone.sign_up()
    someone.add_key("openrouter")
    expect(someone.page.locator("#provider-openrouter .key")).to_contain_text("chat model")
    someone.page.reload()
    someone.page.click("#sync-status button:has-text('Sync Now')")
    wait_for_summary(someone.page, "No changes")

    page = someone.page
    page.goto("/models")
    expect(page.locator("#models-list h2")).to_have_text("3 models")
    page.fill("input[name=q]", "gpt")
    expect(page.locator("#models-list h2")).to_have_text("1 model")
    expect(page).to_have_url(re.compile(r"/models\?.*q=gpt"))
    page.reload()
    expect(page.locator("#models-list h2")).to_have_text("1 model")
    assert page.input_value("input[name=q]") == "gpt"

    page.click("#models-list a:has-text('GPT')")
    page.fill("input[name=input]", "10M")
    page.fill("input[name=output]", "1M")
    expect(page.locator("#models-offers")).to_contain_text("$35.00")
    page.go_back()
    expect(page.locator("#models-list h2")).to_have_text("1 model")


def reader(visitor: Callable[..., Visitor], providers: Simulator, models: list[SimModel], **options: Any) -> Visitor:
    """Someone whose OpenRouter list has been read."""
    providers.set_models("openrouter", models)
    someone = visitor(**options)
    someone.sign_up()
    someone.add_key("openrouter")
    expect(someone.page.locator("#provider-openrouter .key")).to_contain_text("chat model", timeout=60_000)
    someone.page.reload()
    someone.page.click("#sync-status button:has-text('Sync Now')")
    expect(someone.page.locator("#sync-status")).to_contain_text("No changes", timeout=120_000)
    someone.page.goto("/models")
    return someone


WIDE = {"viewport": {"width": 1280, "height": 900}}
NARROW = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}


@pytest.mark.parametrize("options", [WIDE, NARROW], ids=["wide", "narrow"])
def test_models_are_starred_hidden_compared_and_copied(
    visitor: Callable[..., Visitor], providers: Simulator, options: dict[str, Any]
) -> None:
    rights = {"permissions": ["clipboard-read", "clipboard-write"]}
    someone = reader(visitor, providers, MODELS, **options, **rights)
    page = someone.page
    gpt = page.locator("#models-list tr", has_text="openai/gpt-4o")

    gpt.locator(".star").click()
    expect(gpt.locator(".star")).to_have_attribute("aria-pressed", "true")
    expect(gpt.locator(".star")).to_be_focused()
    other = page.locator("#models-list tr", has_text="nobody/knows-this")
    other.locator(".hide").click()
    expect(other.locator(".hide")).to_contain_text("Show again")
    page.reload()
    expect(page.locator("#models-list h2")).to_have_text(re.compile(r"2 models\s+1 hidden"))
    page.select_option("select[name=marks]", "starred")
    expect(page.locator("#models-list tbody tr")).to_have_count(1)

    page.goto("/models")
    page.locator("#models-list tr", has_text="openai/gpt-4o").locator("[data-copy]").click()
    expect(page.locator("#models-list")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "openai/gpt-4o"

    page.locator("#models-list tr", has_text="openai/gpt-4o").locator("input[name=m]").check()
    page.fill("input[name=q]", "claude")  # what was ticked stays at hand, though it is not found any more
    expect(page.locator("#models-list h2")).to_have_text(re.compile(r"1 model\b"))
    expect(page.locator("input[name=q]")).to_be_focused()
    expect(page.locator(".comparing .chip")).to_have_text(re.compile("openai/gpt-4o"))
    page.locator("#models-list tbody input[name=m]").check()
    page.click("#models-compare button")
    expect(page.locator(".compared thead th")).to_have_count(2)
    expect(page.locator(".compared")).to_contain_text("$70.00")
    page.fill("input[name=input]", "10M")
    expect(page.locator(".compared")).to_contain_text("$45.00")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.locator(".compared thead a", has_text="Use").first.click()
    page.locator(".snippet [data-copy]").nth(1).click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl https://openrouter.ai/")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.go_back()
    expect(page.locator(".compared")).to_contain_text("$45.00")


def test_without_javascript_models_are_marked_columns_kept_and_code_can_be_selected(
    visitor: Callable[..., Visitor], providers: Simulator
) -> None:
    someone = reader(visitor, providers, MODELS)
    plain = someone.context.browser.new_context(
        base_url=someone.live.url, storage_state=someone.context.storage_state(), java_script_enabled=False
    )
    page = plain.new_page()
    page.goto("/models?q=gpt")
    page.click(".star")
    assert page.url.endswith("/models?q=gpt")
    assert page.get_attribute(".star", "aria-pressed") == "true"
    page.click("summary:has-text('Columns')")
    page.check("input[name=column][value=answer]")
    page.click("button:has-text('Keep these columns')")
    assert page.locator("thead th", has_text="Longest answer").count() == 1
    page.click("#models-list a:has-text('Use')")
    assert page.locator("[data-copy]").first.is_hidden() and page.locator(".snippet code").nth(1).is_visible()
    plain.close()


def test_twenty_thousand_models_are_paged_and_the_back_button_works(
    visitor: Callable[..., Visitor], providers: Simulator
) -> None:
    many = [SimModel(f"lab/model-{n:05}", prompt=Decimal(n), completion=Decimal(n)) for n in range(20_000)]
    page = reader(visitor, providers, many).page
    expect(page.locator("#models-list h2")).to_have_text("20\u202f000 models")
    page.select_option("select[name=sort]", "-price")
    first = page.locator("#models-list tbody code").first
    expect(first).to_have_text("lab/model-19999")
    page.click("a[rel=next]")
    expect(first).to_have_text("lab/model-19949")
    page.click("a[rel=next]")
    expect(first).to_have_text("lab/model-19899")
    page.go_back()
    expect(first).to_have_text("lab/model-19949")
    page.go_back()
    expect(first).to_have_text("lab/model-19999")
    assert page.locator("select[name=sort]").input_value() == "-price"
