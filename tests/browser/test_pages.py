"""Every page wide and narrow, light and dark: no error on the console, nothing wider than the window, and two pictures
for people."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import SHOTS
from tests.browser.house import NARROW, SIZES, WIDE, House, every_page, fits
from tests.visits import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(300)]

FOLDER = SHOTS / "pages"
LOOKS = ((WIDE, "light"), (NARROW, "dark"))


def picture(page: Page, name: str) -> None:
    """One of each look, full length. What only the colours of the other two would show, axe looks at."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for width, colours in LOOKS:
        page.set_viewport_size(SIZES[width])
        page.emulate_media(color_scheme=colours)
        fits(page)
        path: Path = FOLDER / f"{name}-{width}-{colours}.png"
        page.screenshot(path=path, full_page=True)


@every_page
def test_a_page_wide_and_narrow(house: House, visit: Visit) -> None:
    with house.at(visit) as page:
        picture(page, visit.name)
