"""The design system: its page, its colours, its icons, and how small it is."""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.config import ROOT
from app.extensions import db
from app.web import design
from tests.conftest import Person

STATIC, TEMPLATES = ROOT / "static", ROOT / "templates"
FIRST_VISIT = 80_000
"""Compressed bytes of the first page with all it asks for."""
TEXT_ON = {
    "page": ("text", "soft", "accent"),
    "card": ("text", "soft", "accent", "bad", "good", "warn", "busy"),
    "sunken": ("text", "soft", "accent"),
    "good-bg": ("good",),
    "bad-bg": ("bad",),
    "warn-bg": ("warn",),
    "busy-bg": ("busy",),
    "fill": ("on-fill",),
    "fill-hover": ("on-fill",),
}
"""What is written on what."""


@pytest.fixture
def demo(app: Flask) -> Iterator[FlaskClient]:
    """A browser before the same app as a demo."""
    made = create_app(dataclasses.replace(app.config["SETTINGS"], demo_url="http://127.0.0.1:1"))
    yield made.test_client()
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


def css(name: str) -> str:
    return re.sub(r"/\*.*?\*/", "", (STATIC / name).read_text("utf-8"), flags=re.S)


def classes_of(html: str) -> set[str]:
    return set(" ".join(re.findall(r'class="([^"]*)"', html)).split())


def test_the_page_is_there_in_a_demo_and_under_the_debugger_only(
    app: Flask, demo: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.test_client().get("/design").status_code == 404
    assert "/design" not in app.test_client().get("/").text
    assert demo.get("/design").status_code == 200
    assert 'href="/design"' in demo.get("/").text
    monkeypatch.setenv("FLASK_DEBUG", "1")
    debugged = create_app(app.config["SETTINGS"])
    assert debugged.test_client().get("/design").status_code == 200
    with debugged.app_context():
        db.engine.dispose()


def test_it_shows_every_class_of_the_shared_pieces_in_light_and_dark(demo: FlaskClient) -> None:
    page = demo.get("/design").text
    selectors = re.findall(r"[^{};]+(?=\{)", css("css/components.css"))
    named = {name for selector in selectors if "@" not in selector for name in re.findall(r"\.([a-z][\w-]*)", selector)}
    assert len(named) > 50
    assert named - classes_of(page) == set()
    for theme in ("light", "dark"):
        assert page.count(f'data-theme="{theme}"') == 1
    assert page.count('class="button primary"') == 2, "once light, once dark"


def test_it_shows_every_icon_and_templates_ask_for_none_that_is_not_drawn(demo: FlaskClient) -> None:
    drawn = set(design.icon_names())
    page = demo.get("/design").text
    assert {name for name in drawn if f"#{name}" not in page} == set()
    templates = "".join(path.read_text("utf-8") for path in TEMPLATES.rglob("*.html"))
    matches = set(re.findall(r'{{ icon\("([a-z-]+)"', templates))
    assert len(matches) > 10 and matches - drawn == set()


def test_icons_are_hidden_from_screen_readers_and_come_from_the_sprite(demo: FlaskClient) -> None:
    icons = re.findall(r'<svg class="icon[^>]*>\s*<use href="([^"#]*)#', demo.get("/design").text)
    assert len(icons) > 50 and len(set(icons)) == 1
    assert demo.get(icons[0]).mimetype == "image/svg+xml"
    assert demo.get("/design").text.count('<svg class="icon" aria-hidden="true"') == len(icons)


def channels(colour: str) -> tuple[float, float, float]:
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.fixture(params=[0, 1], ids=["light", "dark"])
def colours(request: pytest.FixtureRequest) -> dict[str, str]:
    results = {}
    for name, value in re.findall(
        r"--([a-z-]+): (light-dark\(#[^)]*\)|#\w+);", css("css/base.css").partition("@media")[0]
    ):
        shades = re.findall(r"#\w+", value)
        results[name] = shades[request.param] if len(shades) == 2 else shades[0]
    return results


def test_contrast_is_that_of_wcag_aa(colours: dict[str, str]) -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)
    faint = {
        (text, ground): round(contrast(colours[text], colours[ground]), 2)
        for ground, texts in TEXT_ON.items()
        for text in texts
        if contrast(colours[text], colours[ground]) < 4.5
    }
    assert faint == {}
    for ground in ("card", "page"):
        assert contrast(colours["edge"], colours[ground]) >= 3, "the edge of a field is what shows that it is one"


def sent(client: FlaskClient, address: str) -> int:
    return len(gzip.compress(client.get(address).data, mtime=0))


def test_a_first_visit_is_small_with_all_that_it_asks_for(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/").text
    addresses = set(re.findall(r'(?:src|href)="(/static/[^"#]+)', page))
    assert {Path(address).suffix for address in addresses} == {".css", ".js", ".svg"}
    assert len(addresses) <= 8, "each is a request"
    assert sum(sent(client, address) for address in chain(["/"], addresses)) <= FIRST_VISIT


def test_every_page_has_one_heading_its_landmarks_and_a_place_for_toasts(app: Flask, alice: Person) -> None:
    alice.sign_in()
    landmarks = ("<main ", '<nav aria-label="Main"', '<header class="top"', '<footer class="foot"')
    for path in ("/profile", "/models", "/changes", "/history", "/settings", "/settings/tokens", "/nowhere"):
        page = alice.client.get(path).text
        for once in ("<h1", *landmarks, 'id="toasts"'):
            assert page.count(once) == 1, (path, once)
        assert 'id="toasts" class="toasts" role="status" aria-live="polite"' in page
        assert re.search(r"Modelsync \d+\.\d+", page)


def test_motion_and_paper_are_thought_of(app: Flask) -> None:
    base = css("css/base.css")
    assert "@media (prefers-reduced-motion: reduce)" in base and "@media print" in base
    assert "@media (forced-colors: active)" in base


# ------------------------------------------------------------------ error pages


def test_an_error_page_says_what_to_do_and_leads_on(app: Flask, alice: Person) -> None:
    stranger = app.test_client().get("/nowhere")
    assert stranger.status_code == 404 and "Go to the start" in stranger.text and "Search your" not in stranger.text
    alice.sign_in()
    assert "Search your models" in alice.client.get("/nowhere").text
    lost = alice.client.post("/sync", headers={"Referer": "http://localhost/profile?x=1"})
    assert lost.status_code == 419 and 'href="http://localhost/profile?x=1">Reload the page' in lost.text
    elsewhere = alice.client.post("/sync", headers={"Referer": "http://localhost.evil.example/"})
    assert "evil" not in elsewhere.text


def test_a_server_error_offers_to_try_the_same_address_again(app: Flask) -> None:
    def fail() -> str:
        raise RuntimeError("a secret detail")

    app.view_functions["pages.front"] = fail
    answer = app.test_client().get("/?a=1&b=2")
    assert answer.status_code == 500 and 'href=""' in answer.text and "secret" not in answer.text


def test_an_error_as_a_partial_is_a_toast_that_replaces_nothing(alice: Person) -> None:
    alice.sign_in()
    partial = alice.client.post("/sync", headers={"HX-Request": "true"}).text
    assert partial.strip().startswith('<hx-partial hx-target="#toasts" hx-swap="beforeend">')
    assert partial.strip().endswith("</hx-partial>")
    assert 'class="toast toast-bad" role="alert"' in partial and "Reload it" in partial
