"""Every form, address and header of a whole app, as an admin who has something of everything, and as a stranger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from flask.testing import FlaskClient
from hypothesis import strategies as st
from sqlalchemy import select

from app.config import ROOT
from app.extensions import db
from app.store.schema.tables import UserRow
from tests.fuzz import inputs
from tests.fuzz.readers import Target
from tests.signed import sign_in
from tests.test_doors import DOORS, Door

HEADERS = (
    "Authorization",
    "HX-Request",
    "HX-Current-URL",
    "If-None-Match",
    "If-Modified-Since",
    "User-Agent",
    "Accept",
    "Accept-Language",
    "Accept-Encoding",
    "Content-Type",
    "Referer",
    "X-Request-ID",
    "X-Forwarded-For",
    "Cookie",
    "Range",
)
LEFT_OUT = ("static", "sync.stream", "health.ready", "accounts.logout")
"""An event stream does not end; the rest takes nothing that is typed."""
NOT_OURS = (404, 503)


def names() -> list[str]:
    """What fields and parameters are called, by the templates and by those who read them."""
    found: set[str] = set()
    for path in (ROOT / "templates").rglob("*.html"):
        found |= set(re.findall(r'name="([a-z_-]+)"', path.read_text(encoding="utf-8")))
    for folder in ("web", "api"):
        for path in (ROOT / "app" / folder).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r'(?:args|form)\.(?:get|getlist)\(\s*"([a-z_]+)"', text))
            found |= set(re.findall(r'_(?:arg|field|text)\(\s*"([a-z_]+)"', text))
    found |= {"take-0", "place-0", "label-0", "address-0", "per_page", "page", "limit", "cursor", "m", "sort"}
    return sorted(found - {"csrf_token"})


def doors(app: Flask, ids: Mapping[str, Any]) -> Target:
    """ids: for the parts of addresses, as the table of doors names them."""
    opened = [door for door in DOORS if door.endpoint not in LEFT_OUT]
    fields = st.dictionaries(st.sampled_from(names()), st.lists(inputs.texts, min_size=1, max_size=2), max_size=6)
    wild = st.dictionaries(st.text(max_size=10), st.lists(inputs.texts, min_size=1, max_size=1), max_size=2)
    headers = st.dictionaries(st.sampled_from(HEADERS), inputs.texts, max_size=2)
    parts = st.tuples(st.sampled_from(sorted(ids)), inputs.texts) | st.none()
    input_ = st.tuples(st.sampled_from(opened), fields, fields | wild, headers, parts, st.booleans())
    walker = _Walker(app, ids)
    return Target("a form or an address", input_, walker.check, share=40)


class _Walker:
    def __init__(self, app: Flask, ids: Mapping[str, Any]) -> None:
        self.app, self.ids = app, ids
        self.signed_in: FlaskClient | None = None

    def client(self, is_stranger: bool) -> FlaskClient:
        if is_stranger:
            return self.app.test_client()
        if self.signed_in is None or self.signed_in.get("/news").status_code != 200:
            self.signed_in = self.app.test_client()
            with self.app.app_context():
                user = db.session.scalar(select(UserRow).where(UserRow.is_admin))
                assert user is not None, "the last admin stays"
                sign_in(self.signed_in, user)
        return self.signed_in

    def check(self, given: tuple[Door, dict[str, Any], dict[str, Any], dict[str, str], Any, bool]) -> None:
        door, form, query, headers, part, is_stranger = given
        ids = dict(self.ids)
        if part and f"{{{part[0]}}}" in door.path:
            ids[part[0]] = part[1].replace("/", "") or "0"
        clean = {name: _on_one_line(value) for name, value in headers.items()}
        path, _, asked = _address(door.path.format(**ids)).partition("?")
        answer = self.client(is_stranger).open(
            path,
            method=door.method,
            query_string="&".join(filter(None, (asked, urlencode(query, doseq=True)))),
            data=form if door.method == "POST" else None,
            headers=clean,
        )
        try:
            assert answer.status_code < 500, f"{door.method} {door.path}: {answer.status_code}"
            if answer.mimetype == "text/html":
                assert inputs.MARK not in answer.text, f"{door.method} {door.path} shows what was typed as it was"
        finally:
            answer.close()


def _address(path: str) -> str:
    """An address as a browser would send it: no fragment, no half a character."""
    return path.encode("utf-8", "replace").decode().replace("#", "")


def _on_one_line(value: str) -> str:
    """A header that a server would pass on: in Latin-1, on one line."""
    return value.replace("\r", "").replace("\n", "").encode("latin-1", "replace").decode("latin-1")
