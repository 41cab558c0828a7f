"""What is drawn once for all who look shows everybody the same, and nobody what is another's."""

from __future__ import annotations

import re

import pytest
from flask import Flask, url_for
from sqlalchemy import select

from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.extensions import db
from app.store.accounts import favorites
from app.store.schema.tables import CredentialRow
from app.sync.run import SyncContext
from tests.conftest import Person
from tests.sync.test_run import synced

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


@pytest.fixture
def both(alice: Person, bob: Person, simulator: Simulator, means: SyncContext) -> tuple[Person, Person]:
    """Two people whose keys list the same models."""
    simulator.set_models("openrouter", [SimModel("acme/one"), SimModel("acme/two", tools=True)])
    for person in (alice, bob):
        person.add_key("openrouter", None)
        synced(person, means)
        person.sign_in()
    return alice, bob


@pytest.mark.parametrize("path", ["/models", "/profile"])
def test_a_token_on_a_page_is_its_readers_own(both: tuple[Person, Person], path: str) -> None:
    tokens = []
    for person in (*both, *both):
        page = person.client.get(path).text
        tokens.append(set(_TOKEN.findall(page)))
        assert len(tokens[-1]) == 1 and len(_TOKEN.findall(page)) > 3
        assert not re.search(r"[0-9a-f]{32}-", page)  # no place was left empty
    assert not (tokens[0] | tokens[2]) & (tokens[1] | tokens[3])
    for person, own in zip(both, tokens, strict=False):
        form = {"provider": "openrouter", "model": "acme/one", "mark": "starred"}
        answer = person.client.post("/marks", data={**form, "csrf_token": own.pop()})
        assert answer.status_code == 303


def test_marks_labels_filters_and_names_are_of_this_moment(both: tuple[Person, Person], means: SyncContext) -> None:
    alice, bob = both
    assert "Take the star away" not in alice.client.get("/models").text
    favorites.set_mark(alice.id, "openrouter", "acme/one", "starred", None, means.now())
    for key in db.session.scalars(select(CredentialRow).where(CredentialRow.user_id == alice.id)):
        key.label = "<work>"
    db.session.commit()
    page, others = alice.client.get("/models?q=acme&sort=price").text, bob.client.get("/models").text
    assert "Take the star away" in page and "&lt;work&gt;" in page
    assert 'name="here" value="q=acme&amp;sort=price"' in page
    assert "Take the star away" not in others and "work&gt;" not in others and "q=acme" not in others


def test_an_address_is_the_same_as_without_memory_wherever_the_app_hangs(app: Flask) -> None:
    remembered = app.jinja_env.globals["url_for"]
    for script_name in ("", "/below"):
        for _ in range(2):
            with app.test_request_context("/models", environ_overrides={"SCRIPT_NAME": script_name}):
                for endpoint, values in (
                    ("models.index", {}),
                    ("models.index", {"q": "a b", "capability": ["tools", "vision"]}),
                    ("history.run", {"run_id": 1}),
                    ("models.index", {"after": None, "q": "1"}),
                    ("models.index", {"q": "x" * 500}),
                    ("keys.profile", {"_anchor": "sync-status"}),
                    ("static", {"filename": "app.js"}),
                    (".index", {}),
                    ("keys.profile", {"_external": True}),
                ):
                    assert remembered(endpoint, **values) == url_for(endpoint, **values), endpoint
