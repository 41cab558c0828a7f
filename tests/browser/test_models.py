"""Finding a model and what it costs, as typed, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

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
    expect(someone.page.locator("#provider-openrouter .key")).to_contain_text("valid")
    someone.page.reload()
    someone.page.click("#sync-status button:has-text('Sync Now')")
    wait_for_summary(someone.page, "1 new model")

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
