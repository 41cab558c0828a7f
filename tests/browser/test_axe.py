"""No page has an accessibility problem that axe-core knows: wide and narrow, light and dark, folded and unfolded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from flask import Flask
from playwright.sync_api import Page

from app import create_app
from app.config import Settings
from tests.browser.house import ELSEWHERE, NARROW, SIZES, WIDE, House, every_page
from tests.browser.states import STATES, State, break_front, show
from tests.browser.test_pages import picture
from tests.test_doors import _database_gone, _too_often, _unknown
from tests.visits import ENTRANCES, STRANGER, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

_OPTIONS: dict[str, Any] = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    },
    "rules": {"target-size": {"enabled": True}},  # WCAG 2.2's, which axe leaves out unless asked
    "resultTypes": ["violations"],
}
_LOOKS = ((NARROW, "light", False), (WIDE, "dark", True))
"""Width, colours, and whether everything that folds is unfolded: each value of each once."""
_UNFOLD = """() => {
  const opened = {};
  for (const one of document.querySelectorAll("main details")) {
    const kind = `${one.className} in ${one.parentElement.className}`;
    opened[kind] = (opened[kind] ?? 0) + 1;
    one.name = ""; // else one would close another
    one.open = opened[kind] <= 3;
  }
}"""
"""Three of each kind: forty forms that are alike take forty times as long to look at, and say no more."""
_RUN = """async (options) => {
  const found = await axe.run(document, options);
  if (!found.testEngine || found.passes.length === 0) throw new Error("axe looked at nothing");
  const why = (node) => [...node.any, ...node.all, ...node.none].map((one) => one.message).join(" ");
  return found.violations.flatMap((rule) => rule.nodes.slice(0, 3).map((node) =>
    `${rule.id} (${rule.nodes.length} times): ${node.target.join(" ")} ${node.html.slice(0, 160)} ${why(node)}`));
}"""


def problems(page: Page) -> list[str]:
    """What axe finds in each look at an open page."""
    page.evaluate(AXE_SCRIPT)
    found = []
    for width, colours, unfolded in _LOOKS:
        page.set_viewport_size(SIZES[width])
        page.emulate_media(color_scheme=colours)
        if unfolded:
            page.evaluate(_UNFOLD)
        look = f"{width} px, {colours}{', unfolded' if unfolded else ''}"
        found += [f"[{look}] {one}" for one in page.evaluate(_RUN, _OPTIONS)]
    return found


def test_axe_finds_what_is_wrong(house: House) -> None:
    """Else it would prove nothing that it finds nothing."""
    with house.person(STRANGER) as visitor:
        visitor.page.goto("/login")
        visitor.page.evaluate("document.querySelector('main').innerHTML += '<img src=\"/static/icon.svg\"><input>'")
        told = "\n".join(problems(visitor.page))
    assert "image-alt" in told and "label" in told


@every_page
def test_a_page_is_accessible(house: House, visit: Visit) -> None:
    with house.at(visit) as page:
        assert problems(page) == []


@pytest.mark.parametrize("state", STATES, ids=str)
def test_what_an_action_leads_to_is_accessible(house: House, state: State) -> None:
    with house.person(state.who) as visitor:
        state.act(visitor.page, house)
        picture(visitor.page, f"after-{state.name}")  # here, since some actions can be done twenty times an hour
        assert problems(visitor.page) == []
        visitor.complaints[:] = [one for one in visitor.complaints if f"status of {state.status}" not in one]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, _unknown),
        pytest.param(503, _database_gone, marks=pytest.mark.full),
        pytest.param(429, _too_often, marks=pytest.mark.full),
    ],
)
def test_an_error_is_accessible(house: House, app: Flask, status: int, error: Callable[[], str]) -> None:
    with house.person(STRANGER) as visitor:
        show(visitor.page, break_front(app, error), status)
        assert problems(visitor.page) == []
        visitor.complaints[:] = [one for one in visitor.complaints if f"status of {status}" not in one]


@pytest.mark.parametrize("path", ["/login", *(visit.path for visit in ELSEWHERE)])
def test_a_way_in_that_a_demo_does_not_have_is_accessible(house: House, settings: Settings, path: str) -> None:
    app = create_app(replace(settings, **ENTRANCES))
    with house.person(STRANGER) as visitor:
        show(visitor.page, str(app.test_client().get(path).text), 200)
        assert problems(visitor.page) == []
