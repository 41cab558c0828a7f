"""A browser without JavaScript: it opens pages, follows links, fills in the forms that are there, and reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from flask.testing import FlaskClient


@dataclass
class Form:
    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self._select: str | None = None
        self._in_picture = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "svg" and given.get("aria-hidden") == "true":
            self._in_picture = True
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "select":
            self._select = given.get("name")
        elif tag == "option" and self._select and "selected" in given:
            self.forms[-1].values[self._select] = given.get("value", "")
        elif tag == "input" and "name" in given and (given.get("type") != "checkbox" or "checked" in given):
            self.forms[-1].values[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "svg":
            self._in_picture = False

    def handle_data(self, data: str) -> None:
        if not self._in_picture:
            self.words += data.split()


def read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader


def words(html: str) -> str:
    """What a person reads, with single spaces."""
    return " ".join(read(html).words)


class Plainly:
    """Acts through the page that is open, as a person would: a form that is not there cannot be sent."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.answer: Any = None
        self.seen: list[str] = []

    def open(self, path: str) -> Plainly:
        return self._take(self.client.get(path, follow_redirects=True))

    def follow(self, beginning: str) -> Plainly:
        """Follow the first link whose address begins so."""
        return self.open(next(link for link in read(self.html).links if link.startswith(beginning)))

    def submit(self, action: str, where: dict[str, str] | None = None, **typed: str) -> Plainly:
        """Fill in and send the first form with this action (and these hidden values) of the open page."""
        form = next(
            form
            for form in read(self.html).forms
            if form.action == action and (where or {}).items() <= form.values.items()
        )
        send = self.client.post if form.method == "post" else self.client.get
        values = {"data": {**form.values, **typed}} if form.method == "post" else {"query_string": typed}
        return self._take(send(action, follow_redirects=True, **values))

    @property
    def html(self) -> str:
        return str(self.answer.text)

    @property
    def words(self) -> str:
        return words(self.html)

    def _take(self, answer: Any) -> Plainly:
        assert answer.status_code in (200, 422), answer.text
        self.answer = answer
        self.seen.append(answer.text)
        return self


def unsigned(html: str) -> str:
    """Without the tokens of its forms, which are signed with the second they are made in."""
    return re.sub(r'(name="csrf_token" value=")[^"]*', r"\1", html)
