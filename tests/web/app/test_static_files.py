"""What a page weighs: its files come compressed and are asked for once, its HTML comes compressed, no secret does."""

from __future__ import annotations

import gzip
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import brotli
import pytest
from backports import zstd
from flask import Flask, url_for
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.extensions import db
from app.store import runs
from app.sync.run import SyncContext
from app.web.app import static_files
from tests.conftest import Person, both_databases
from tests.sync.test_run import synced

BUDGET = 80_000
"""Bytes of a first visit: HTML, style sheet, scripts and icons, as they come over the wire."""
CHROMIUM = "gzip, deflate, br, zstd"
PAGES = ("/", "/login", "/profile", "/models", "/changes", "/history", "/settings", "/settings/tokens", "/api/docs")
ADMIN_PAGES = ("/admin", "/admin/history", "/admin/providers", "/admin/users", "/admin/workers", "/admin/catalog")
UNPACK = {"br": brotli.decompress, "gzip": gzip.decompress, "zstd": zstd.decompress}


def files_of(html: str, client: FlaskClient) -> list[str]:
    """The addresses that a browser fetches for this page, those that the style sheets name among them."""
    matches = re.findall(r'<(?:script|img|use)[^>]* (?:src|href)="([^"#]+)', html)
    matches += re.findall(r'<link rel="(?:stylesheet|icon)" href="([^"]+)"', html)
    for sheet in [address for address in matches if address.endswith(".css")]:
        folder = sheet.rpartition("/")[0]
        named = re.findall(r"""url\(["']?([^"')#:]+)["')#]""", client.get(sheet).text)
        matches += [f"{folder}/{name}" for name in named]
    return sorted(set(matches))


def packed(client: FlaskClient, path: str, codings: str = CHROMIUM) -> TestResponse:
    return client.get(path, headers={"Accept-Encoding": codings}, follow_redirects=True)


@pytest.fixture
def folder(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Static files of a test's own."""
    monkeypatch.setattr(app, "static_folder", str(tmp_path))
    monkeypatch.setitem(app.extensions, "static_files", {})
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "style.css").write_text('a { background: url("icon.svg#x") } b { background: url(data:none) }')
    return tmp_path


def address(app: Flask, name: str, **more: str) -> str:
    with app.test_request_context():
        return url_for("static", filename=name, **more)  # type: ignore[arg-type]  # `_anchor` alone


# ------------------------------------------------------------------ names and times


def test_a_file_is_named_by_its_content_and_kept_for_ever(app: Flask) -> None:
    named = address(app, "vendor/htmx.min.js")
    assert re.fullmatch(r"/static/vendor/htmx\.min\.[0-9a-f]{12}\.js", named)
    answer = app.test_client().get(named)
    assert answer.status_code == 200 and answer.mimetype == "text/javascript"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Vary"] == "Accept-Encoding", "a proxy must be able to give it to anybody"
    assert "Set-Cookie" not in answer.headers and answer.headers["X-Content-Type-Options"] == "nosniff"
    plain = app.test_client().get("/static/vendor/htmx.min.js")
    assert plain.data == answer.data and "immutable" not in plain.headers["Cache-Control"]


def test_a_hash_of_another_version_gets_what_is_there_but_not_for_ever(app: Flask) -> None:
    answer = app.test_client().get("/static/style.0123456789ab.css")
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == static_files.SHORT_LIVED
    assert app.test_client().get("/static/nothing.0123456789ab.css").status_code == 404


@pytest.mark.parametrize(
    "path", ["/static/../wsgi.py", "/static/vendor/../../wsgi.py", "/static/vendor", "/static/%00"]
)
def test_nothing_outside_the_folder_is_served(app: Flask, path: str) -> None:
    assert app.test_client().get(path).status_code == 404


def test_one_file_is_kept_once_however_it_is_called(app: Flask, folder: Path) -> None:
    client = app.test_client()
    for way in ("style.css", "x/../style.css", "x/../y/../style.css", "./style.css"):
        client.get(f"/static/{way}")
    assert set(app.extensions["static_files"]) == {str(folder / "style.css"), str(folder / "icon.svg")}


def test_a_style_sheet_names_its_pictures_by_their_content(app: Flask, folder: Path) -> None:
    css = app.test_client().get(address(app, "style.css")).text
    (icon,) = re.findall(r'url\("(icon\.[0-9a-f]{12}\.svg)#x"\)', css)
    assert "url(data:none)" in css
    answer = app.test_client().get(f"/static/{icon}")
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == static_files.IMMUTABLE
    assert address(app, "icon.svg", _anchor="x") == f"/static/{icon}#x"


@pytest.mark.parametrize("debug", [True, False])
def test_an_edited_file_has_a_new_name_under_the_debugger_alone(app: Flask, folder: Path, debug: bool) -> None:
    app.debug = debug
    before = address(app, "style.css")
    (folder / "icon.svg").write_text("<svg></svg>")
    os.utime(folder / "icon.svg", ns=(1, 1))
    assert (address(app, "style.css") != before) is debug, "its picture's name stands in it"


def test_a_browser_that_asks_again_is_told_that_it_has_it(app: Flask) -> None:
    client = app.test_client()
    for codings in ("", "gzip", "br", CHROMIUM):
        first = packed(client, "/static/style.css", codings)
        headers = {"Accept-Encoding": codings, "If-None-Match": first.headers["ETag"]}
        again = client.get("/static/style.css", headers=headers)
        assert again.status_code == 304 and again.data == b"", codings
        assert again.headers["Cache-Control"] == static_files.SHORT_LIVED
    tags = {packed(client, "/static/style.css", codings).headers["ETag"] for codings in ("", "gzip", "br")}
    assert len(tags) == 3, "each coding is a representation of its own"


@pytest.mark.parametrize(
    ("codings", "used"), [("gzip", "gzip"), (CHROMIUM, "br"), ("br;q=0, gzip", "gzip"), ("", None)]
)
def test_files_come_compressed_as_the_browser_takes_them(app: Flask, codings: str, used: str | None) -> None:
    answer = packed(app.test_client(), "/static/style.css", codings)
    assert answer.headers.get("Content-Encoding") == used
    plain = app.test_client().get("/static/style.css").data
    assert (UNPACK[used](answer.data) if used else answer.data) == plain
    assert not used or len(answer.data) < len(plain) / 3
    assert app.test_client().head("/static/style.css", headers={"Accept-Encoding": codings}).status_code == 200


def test_a_picture_is_not_compressed_again(app: Flask) -> None:
    assert "Content-Encoding" not in packed(app.test_client(), "/static/screenshot.png").headers


# ------------------------------------------------------------------ weight


@both_databases
def test_a_first_visit_weighs_no_more_than_its_budget_and_a_second_only_its_html(
    carol: Person, means: SyncContext
) -> None:
    for slug in ("openai", "anthropic", "google", "groq"):
        carol.add_key(slug)
    carol.add_key("openrouter", None)
    synced(carol, means)
    client = carol.sign_in().client
    for path in (*PAGES, *ADMIN_PAGES):
        page = packed(client, path)
        assert page.status_code == 200 and page.headers["Content-Encoding"] == "zstd", path
        html = zstd.decompress(page.data).decode()
        files = {file: packed(client, file) for file in files_of(html, client)}
        assert len(files) >= 5, "scripts, the style sheet, the icon"
        for file, answer in files.items():
            assert answer.status_code == 200 and answer.headers["Cache-Control"] == static_files.IMMUTABLE, (path, file)
        weight = len(page.data) + sum(len(answer.data) for answer in files.values())
        assert weight <= BUDGET, f"{path} weighs {weight} bytes"


# ------------------------------------------------------------------ what is made for one person


@pytest.mark.parametrize(("codings", "used"), [("gzip", "gzip"), ("gzip, br", "br"), (CHROMIUM, "zstd"), ("", None)])
def test_a_page_comes_compressed_as_the_browser_takes_it(app: Flask, carol: Person, codings: str, used: str) -> None:
    client = carol.sign_in().client
    answer = packed(client, "/profile", codings)
    assert answer.headers.get("Content-Encoding") == used and answer.headers["Cache-Control"] == "no-store"
    body = UNPACK[used](answer.data) if used else answer.data
    assert b"<h1" in body and {"Accept-Encoding", "Cookie"} <= set(re.split(", *", answer.headers["Vary"]))


def test_an_answer_that_shows_a_fresh_secret_is_never_compressed(alice: Person) -> None:
    """Compressed, its length would tell of the secret to who can add text beside it."""
    alice.sign_in()
    shown = {
        "/settings/tokens": {"name": "my editor", "scope": "read", "days": ""},
        "/changes/feed": {},
        "/login": {"email": alice.row.email, "password": "wrong"},
    }
    for path, form in shown.items():
        data = {"csrf_token": alice.token("/profile"), **form}
        answer = alice.client.post(path, data=data, headers={"Accept-Encoding": CHROMIUM})
        assert len(answer.data) > 500 or answer.status_code == 303, path
        assert "Content-Encoding" not in answer.headers, path
    token = alice.client.post(
        "/settings/tokens", data={"csrf_token": alice.token("/profile"), **shown["/settings/tokens"]}
    )
    assert "msk_" in token.text


def test_an_event_stream_is_not_compressed(alice: Person) -> None:
    """Its messages would wait in the compressor."""
    alice.add_key("openai")
    alice.sign_in()
    assert runs.start(alice.id, "manual", datetime.now(UTC)) is not None
    db.session.commit()
    # Nobody works it off, which the stream says, and ends.
    stream = alice.client.get("/sync/stream", headers={"Accept-Encoding": CHROMIUM}, buffered=True)
    assert stream.mimetype == "text/event-stream" and "Content-Encoding" not in stream.headers
    assert stream.data.startswith(b"data: ") and b"no worker" in stream.data.lower()


def test_an_answer_with_an_etag_is_confirmed_also_when_it_came_compressed(alice: Person) -> None:
    for slug in ("openai", "anthropic", "google", "groq"):
        alice.add_key(slug)
    client = alice.sign_in().client
    for codings in ("", "gzip", CHROMIUM):
        first = packed(client, "/api/v1/keys", codings)
        assert first.status_code == 200 and (first.headers.get("Content-Encoding") is None) is (codings == "")
        headers = {"Accept-Encoding": codings, "If-None-Match": first.headers["ETag"]}
        again = client.get("/api/v1/keys", headers=headers)
        assert again.status_code == 304 and again.data == b"", codings


def test_an_export_is_written_while_it_is_read(carol: Person) -> None:
    headers = {"Accept-Encoding": CHROMIUM}
    answer = carol.sign_in().client.get("/admin/history.csv", headers=headers, buffered=True)
    assert answer.status_code == 200 and "Content-Encoding" not in answer.headers
