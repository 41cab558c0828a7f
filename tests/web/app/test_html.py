"""Every page and every piece of one is valid HTML: parsed without an error, with labels, headings and ids in order."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.demo import seed
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue
from app.store.accounts import second_factors, users
from app.store.audit import Actor
from app.vault import Keyring
from tests import conftest as stage
from tests.visits import ACCOUNTS, ENTRANCES, HALFWAY, NEWCOMER, NO_PAGES, PAGES, STRANGER, VISITS, Visit, ids, left_out
from tests.web.html_rules import find_errors
from tests.web.worker import work_off

HTMX = {"HX-Request": "true"}
_NEW, _CAREFUL = "new@example.com", "careful@example.com"
_TOKEN = "of-the-demo-panel"


class House:
    """The demo's accounts with their five weeks of history, a newcomer, and a browser for each."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.clients = {
            who: self._signed_in(email) for who, email in (ACCOUNTS | {NEWCOMER: "new@example.com"}).items()
        }
        self.clients[STRANGER] = app.test_client()
        self.clients[HALFWAY] = self._signed_in(_CAREFUL)
        self.ids = ids(lambda who, path: self.clients[who].get(path).text)

    def _signed_in(self, email: str) -> FlaskClient:
        client = self.app.test_client()
        token = client.get("/login").text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
        password = stage.PASSWORD if email in (_NEW, _CAREFUL) else seed.PASSWORD
        answer = client.post("/login", data={"csrf_token": token, "email": email, "password": password})
        assert answer.status_code == 303
        return client

    def open(self, visit: Visit, headers: dict[str, str] | None = None) -> str:
        answer = self.clients[visit.who].get(visit.path.format(**self.ids), headers=headers)
        assert answer.status_code == visit.status, (visit, answer.status_code)
        return str(answer.text)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, demo_template: Path, embedded_redis: str) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("html")
    shutil.copy(demo_template, folder)
    vault = Keyring(stage._PRIVATE)
    with pytest.MonkeyPatch.context() as patch, Simulator(token=_TOKEN) as simulator:
        patch.setenv("VAULT_PRIVATE_KEYS", stage._PRIVATE)
        patch.setenv("MODELSYNC_DEMO_TOKEN", _TOKEN)
        places = {"base_urls": simulator.base_urls, "catalog_urls": simulator.catalog_urls}
        database = f"sqlite:///{folder / demo_template.name}"
        app = create_app(
            stage._settings(folder, database, embedded_redis, demo_url=simulator.url, **places, **ENTRANCES)
        )
        app.config["TESTING"] = True
        app.test_client_class = stage.Browser
        with redis.Redis.from_url(embedded_redis) as client:
            client.flushdb()
        with app.app_context():
            users.create(_NEW, stage._CHEAP_HASH, datetime.now(UTC))
            careful = users.create(_CAREFUL, stage._CHEAP_HASH, datetime.now(UTC))
            assert careful
            second_factors.save_pending(careful, b"sealed", datetime.now(UTC))
            second_factors.enable(careful, datetime.now(UTC))
            db.session.commit()
            enqueue.start_plan(Actor(None, seed.CAROL), ["openrouter"])
            work_off(app, vault)
            yield House(app)
            db.session.remove()
            db.engine.dispose()
            app.extensions["redis"].close()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("<p><div>x</div></p>", "Unexpected end tag (p)"),
        ("<table><div>x</div></table>", "Unexpected start tag (div)"),
        ("<ul><p>x</p></ul>", "may not be a child of <ul>"),
        ("<span><section>x</section></span>", "<section> may not stand in <span>"),
        ('<a href="/x">x <button>y</button></a>', "may not stand in the interactive"),
        ("<details><p>x</p><summary>y</summary></details>", "is not the first child of a <details>"),
        ('<form action="/x" method="post"></form>', "carries no CSRF token"),
        ("<form></form>", "leads nowhere"),
        ("<table><tr><th>x</th></tr></table>", "has no scope"),
        ('<time datetime="yesterday">x</time>', "has no moment"),
        ("<input name=x>", "has no label"),
        ("<label>x <input> <input></label>", "labels 2 controls"),
        ("<button></button>", "says nothing"),
        ("<b id=a></b><b id=a></b>", 'the id "a" is there 2 times'),
        ("<p aria-describedby=gone>x</p>", 'refers to "gone"'),
        ('<a href="#gone">x</a>', 'leads to "#gone"'),
        ("<h3>x</h3>", "after an h1 comes an h3"),
        ("<h1>x</h1>", "not one h1"),
        ('<p style="color: red">x</p>', "which the policy forbids"),
    ],
)
def test_html_errors_are_reported(wrong: str, told: str) -> None:
    document = "<!doctype html><html lang=en><head><title>t</title></head><body><main><h1>h</h1>{}</main></body>"
    assert find_errors(document.format("<p>right</p>")) == []
    assert told in " ".join(find_errors(document.format(wrong)))


def test_every_page_is_visited_or_known_to_be_none(house: House) -> None:
    assert left_out(house.app) == set()
    assert NO_PAGES.keys() <= house.app.view_functions.keys()
    assert {visit.endpoint for visit in VISITS} - {""} <= house.app.view_functions.keys()


@pytest.mark.every
@pytest.mark.parametrize("visit", PAGES, ids=str)
def test_a_page_is_valid(house: House, visit: Visit) -> None:
    assert find_errors(house.open(visit)) == []


@pytest.mark.every
@pytest.mark.parametrize("visit", VISITS, ids=str)
def test_a_piece_is_valid(house: House, visit: Visit) -> None:
    """What htmx gets for the same address: where it is a piece, it conforms too."""
    html = house.open(visit, HTMX)
    if "<html" in html:
        assert not visit.is_piece
        return
    assert find_errors(html, container="tbody" if html.lstrip().startswith("<tr") else "div") == []
