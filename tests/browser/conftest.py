"""A real Chromium before a real installation; only the providers are simulated."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from app.demo.simulator import Simulator
from tests import conftest as stage
from tests.live import Live, up

if TYPE_CHECKING:
    from tests.browser.house import House

SHOTS = Path(__file__).parent / "shots"
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not _CHROMIUM:
        if stage._EVERYTHING:
            pytest.fail("MODELSYNC_TEST_EVERYTHING=1 needs Chromium: apt-get install chromium")
        pytest.skip("there is no Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def providers() -> Iterator[Simulator]:
    """The far end of every browser test, slow enough for rows to be seen turning."""
    with Simulator(latency_s=0.3) as simulator:
        yield simulator


def _base_urls(simulator: Simulator) -> dict[str, str]:
    return {f"{slug.upper().replace('-', '_')}_BASE_URL": url for slug, url in simulator.base_urls.items()}


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory, providers: Simulator) -> Iterator[Live]:
    with up(tmp_path_factory.mktemp("embedded"), **_base_urls(providers)) as live:
        yield live


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, providers: Simulator) -> Iterator[Live]:
    if not (stage._POSTGRES and stage._REDIS):
        pytest.skip("MODELSYNC_TEST_DATABASE_URL and MODELSYNC_TEST_REDIS_URL are not set")
    name = f"modelsync_browser_{uuid.uuid4().hex[:8]}"
    stage._on_postgres(f'CREATE DATABASE "{name}"')
    with redis.Redis.from_url(stage.shared_redis(offset=8)) as client:
        client.flushdb()  # sign-ups of an earlier run would count against this one's limit
    try:
        places = {"DATABASE_URL": stage._postgres_url(name), "REDIS_URL": stage.shared_redis(offset=8)}
        with up(tmp_path_factory.mktemp("shared"), **places, **_base_urls(providers)) as live:
            yield live
    finally:
        stage._on_postgres(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["embedded", pytest.param("shared", marks=[pytest.mark.postgres, pytest.mark.full])])
def live(request: pytest.FixtureRequest, providers: Simulator) -> Live:
    """SQLite + embedded Redis, then PostgreSQL + shared Redis."""
    providers.clear_fault()
    found: Live = request.getfixturevalue(request.param)
    _forget_limits(found)
    return found


def _forget_limits(live: Live) -> None:
    """All tests come from one network, which may sign up and sign in so often in an hour and no oftener."""
    place = live.instance / "redis.sock"
    url = f"unix://{place}" if place.exists() else stage.shared_redis(offset=8)
    with redis.Redis.from_url(url) as client:
        for name in client.scan_iter("LIMITS:*"):
            client.delete(name)


class Visitor:
    """A browser context that complains about every console error, page error and CSP report at its end."""

    def __init__(self, browser: Browser, live: Live, **options: Any) -> None:
        self.live = live
        self.context: BrowserContext = browser.new_context(base_url=live.url, **options)
        self.context.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.page = self.open()
        self.email = f"{uuid.uuid4().hex[:12]}@example.com"

    def open(self) -> Page:
        page = self.context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def sign_up(self) -> None:
        self.page.goto("/signup")
        self.page.fill("input[name=email]", self.email)
        self.page.fill("input[name=password]", stage.PASSWORD)
        self.page.click("main button:has-text('Create account')")
        self.page.wait_for_url("**/profile")

    def add_key(self, provider: str, key: str = "sk-a-good-key-for-tests") -> None:
        section = self.page.locator(f"#add-{provider}")
        if not section.is_visible():
            self.page.locator("#choose > summary").click()
        section.locator("summary").click()
        section.locator("input[name=key]").fill(key)
        section.locator("button:has-text('Save key')").click()

    def shot(self, name: str) -> None:
        SHOTS.mkdir(exist_ok=True)
        # To hide the caret, Playwright would write an inline style, which htmx copies and the policy then refuses.
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True, caret="initial")


@pytest.fixture(scope="session")
def house(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The demo, once for all tests that only look, or act as somebody of their own."""
    from tests.browser.house import SERVER_KEYS, House  # which knows the visitor above

    with up(tmp_path_factory.mktemp("house"), "--demo", **SERVER_KEYS) as live:
        yield House(browser, live).prepare()


@pytest.fixture
def visitor(browser: Browser, live: Live) -> Iterator[Callable[..., Visitor]]:
    made: list[Visitor] = []

    def make(**options: Any) -> Visitor:
        made.append(Visitor(browser, live, **options))
        return made[-1]

    yield make
    complaints = [complaint for visitor in made for complaint in visitor.complaints]
    for one in made:
        one.context.close()
    assert complaints == []
