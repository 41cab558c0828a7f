"""A whole demo for the browser tests: its three accounts and five weeks of history, and the pages looked at in turn."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from app.demo import seed
from tests import visits
from tests.browser.conftest import Visitor
from tests.live import Live
from tests.visits import ACCOUNTS, ALICE, BOB, CAROL, NEWCOMER, Visit, ids

WIDE, NARROW = 1280, 360
ELSEWHERE = tuple(visit for visit in visits.PAGES if visit.endpoint in visits.NOT_IN_A_DEMO)
PAGES = tuple(visit for visit in visits.PAGES if visit not in ELSEWHERE and visit.who != visits.HALFWAY)
"""All but what is asked for in the five minutes after a password was typed: that is a state, in states.py."""
_TEMPLATES = {visit.endpoint: visit for visit in reversed(PAGES) if visit.who != NEWCOMER}
every_page = pytest.mark.parametrize(
    "visit",
    [visit if visit in _TEMPLATES.values() else pytest.param(visit, marks=pytest.mark.full) for visit in PAGES],
    ids=str,
)
"""One page of each template, where there is most to see; its other states only in `.ci/full`."""
SIZES = {WIDE: {"width": WIDE, "height": 900}, NARROW: {"width": NARROW, "height": 740}}
SERVER_KEYS = {"OPENAI_API_KEY": "sk-demo-of-the-server-71fe03", "GROQ_API_KEY": "gsk-demo-of-the-server-82aa"}
"""So that an admin can sync, and make plans, with the server's own keys."""
expect.set_options(timeout=15_000)  # as patient as the visitors' browsers are
_NOT_OK = re.compile(r"^Failed to load resource: the server responded with a status of (4\d\d|5\d\d)")


@dataclass
class House:
    browser: Browser
    live: Live
    signed_in: dict[str, StorageState] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> House:
        for who in (ALICE, BOB, CAROL, NEWCOMER):
            with self.person(who) as visitor:
                _sign_in(visitor, who)
                self.signed_in[who] = visitor.context.storage_state()
        self._let_a_list_shrink()
        self._make_a_plan()
        self.ids = ids(self.read)
        return self

    def read(self, who: str, path: str) -> str:
        with self.person(who) as visitor:
            return visitor.context.request.get(path).text()

    @contextlib.contextmanager
    def person(self, who: str, *, heed: bool = True, **options: Any) -> Iterator[Visitor]:
        """Somebody's browser. At its end it complains of every error and every CSP report, if these are to `heed`."""
        state = {"storage_state": self.signed_in[who]} if who in self.signed_in else {}
        visitor = Visitor(self.browser, self.live, reduced_motion="reduce", **state, **options)
        try:
            yield visitor
            if heed:
                assert visitor.complaints == []
        finally:
            visitor.context.close()

    @contextlib.contextmanager
    def at(self, visit: Visit, **options: Any) -> Iterator[Page]:
        """A page, opened in one of its states."""
        with self.person(visit.who, **options) as visitor:
            answer = visitor.page.goto(visit.path.format(**self.ids))
            assert answer and answer.status == visit.status
            yield visitor.page
            if visit.status >= 400:  # which Chromium tells as an error of the page
                visitor.complaints[:] = [one for one in visitor.complaints if not _NOT_OK.match(one)]

    def steer(self, provider: str, action: str) -> None:
        """Have a simulated provider behave so, with the buttons of the demo's panel."""
        with self.person(CAROL) as visitor:
            visitor.page.goto("/demo")
            with visitor.page.expect_navigation():  # it is told, and the page is there again
                visitor.page.click(f"form[action='/demo/{provider}'] button[value='{action}']")

    def _let_a_list_shrink(self) -> None:
        """Bob's OpenAI list is kept aside and his Groq key was revoked: what can be wrong is on his page."""
        self.steer("openai", "shrunk")
        with self.person(BOB) as visitor:
            visitor.page.goto("/profile")
            sync_to_the_end(visitor.page)
            expect(visitor.page.locator("#sync-status [data-state=suspect]")).to_have_count(1)
            expect(visitor.page.locator("#sync-status [data-state=failed]")).to_have_count(1)
        self.steer("openai", "works")

    def _make_a_plan(self) -> None:
        with self.person(CAROL) as visitor:
            visitor.page.goto("/admin/providers")
            visitor.page.click("#provider-sync-openai button[name=dry_run]")
            expect(visitor.page.locator("#provider-sync-openai")).to_contain_text("dry run", timeout=60_000)


def _sign_in(visitor: Visitor, who: str) -> None:
    if who == NEWCOMER:
        visitor.sign_up()
        return
    page = visitor.page
    page.goto("/login")
    page.fill("input[name=email]", ACCOUNTS[who])
    page.fill("input[name=password]", seed.PASSWORD)
    page.click("main form button")
    page.wait_for_url("**/profile")


def sync_to_the_end(page: Page) -> None:
    """Press Sync Now and wait until it can be pressed again."""
    before = _last_sync(page)
    page.click("#sync-status form[action='/sync'] button")
    until(page, lambda: _last_sync(page) != before)
    if not has_script(page):
        page.goto("/profile")
    expect(page.locator("#sync-status form[action='/sync']")).to_be_visible(timeout=30_000)


def has_script(page: Page) -> bool:
    # By a locator, which waits where the page is just being exchanged for the next.
    return "scripted" in (page.locator("html").get_attribute("class") or "").split()


def _last_sync(page: Page) -> int | None:
    """The number of the last sync that ended."""
    last = page.context.request.get("/api/models/sync").json()["lastSync"]
    return last and last["id"]


def until(page: Page, holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        page.wait_for_timeout(200)
    raise AssertionError("it did not come true in time")


def fits(page: Page) -> None:
    """Nothing is wider than the window."""
    page.wait_for_load_state()
    # By a locator, which waits for the root: a document that a click is just replacing has none.
    wide, window = page.locator("html").evaluate("root => [root.scrollWidth, innerWidth]")
    assert wide <= window, f"{page.url}: {wide} px of content in {window} px"
