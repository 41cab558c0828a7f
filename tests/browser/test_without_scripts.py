"""Without JavaScript every page says what it says, and nothing on it is there in vain."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.house import NARROW, SIZES, WIDE, House, every_page, fits
from tests.visits import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(300)]

_DEAD = """() => [...document.querySelectorAll("button, input, select, textarea")]
  .filter((one) => one.checkVisibility() && !(one.form && one.form.getAttribute("action")) && !one.closest("dialog"))
  .map((one) => one.outerHTML.slice(0, 160))"""
"""What can be seen and pressed or filled in, and belongs to no form that leads anywhere."""


@every_page
def test_a_page_works_without_scripts(house: House, visit: Visit) -> None:
    with house.at(visit, java_script_enabled=False) as page:
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("document.documentElement.classList.contains('scripted')") is False
        for width in (WIDE, NARROW):
            page.set_viewport_size(SIZES[width])
            fits(page)
            if visit.endpoint != "design.index":  # which shows buttons for their looks
                assert page.evaluate(_DEAD) == []
