"""On a phone nothing is cut off, and nothing that can be pressed is too small for a thumb."""

from __future__ import annotations

import pytest

from tests.browser.house import NARROW, SIZES, House, every_page, fits
from tests.browser.test_axe import _UNFOLD
from tests.visits import Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(300)]

SMALLEST = {"width": 320, "height": 640}
"""What a page must fit into by WCAG 2.2 (1.4.10): a desk's 1280 px at four times the size."""
_SMALL = """() => {
  const small = [];
  const fields = "button, input:not([type=hidden]), select, textarea, summary, a.button, nav a";
  for (const one of document.querySelectorAll(fields)) {
    if (!one.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    if (one.closest(".visually-hidden, [aria-hidden=true]")) continue;
    const field = one.matches("[type=checkbox], [type=radio]") ? one.closest("label") ?? one : one;
    const box = field.getBoundingClientRect();
    if (box.width && (box.width < 24 || box.height < 24)) {
      small.push(`${Math.round(box.width)} × ${Math.round(box.height)} px: ${one.outerHTML.slice(0, 120)}`);
    }
  }
  return small;
}"""
"""What is smaller than 24 px (WCAG 2.2, 2.5.8); links within a text may be, as the line is."""


@every_page
def test_a_page_fits_a_phone_and_a_thumb(house: House, visit: Visit) -> None:
    with house.at(visit, viewport=SIZES[NARROW], has_touch=True) as page:
        for unfolded in (False, True):
            if unfolded:
                page.evaluate(_UNFOLD)
            for size in (SIZES[NARROW], SMALLEST):
                page.set_viewport_size(size)  # type: ignore[arg-type]
                fits(page)
            assert page.evaluate(_SMALL) == []
