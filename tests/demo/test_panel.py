"""The demo panel controls the simulator, for signed-in users, and only in a demo."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.demo.panel import ACTIONS
from app.demo.simulator import Simulator
from app.extensions import db
from app.providers import PROVIDERS
from app.store.accounts import users
from tests.signed import sign_in

TOKEN = "a-token-for-tests"


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    monkeypatch.setenv("MODELSYNC_DEMO_TOKEN", TOKEN)
    with Simulator(token=TOKEN) as running:
        yield running


@pytest.fixture
def demo(app: Flask, simulator: Simulator) -> Iterator[Flask]:
    """A second app with a demo URL on the test's database."""
    made = create_app(dataclasses.replace(app.config["SETTINGS"], demo_url=simulator.url))
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def alice(demo: Flask) -> FlaskClient:
    client = demo.test_client()
    with demo.app_context():
        user = users.create("alice@example.org", "no password", datetime.now(UTC))
        assert user is not None
        sign_in(client, user)
    return client


def press(client: FlaskClient, slug: str, action: str) -> int:
    page = client.get("/demo").get_data(as_text=True)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page).group(1)
    return client.post(f"/demo/{slug}", data={"csrf_token": token, "action": action}).status_code


def test_it_shows_every_provider_and_every_button(alice: FlaskClient) -> None:
    page = alice.get("/demo").get_data(as_text=True)
    assert all(provider.title in page for provider in PROVIDERS.values())
    assert page.count('name="action"') == len(PROVIDERS) * len(ACTIONS)


def test_a_button_makes_a_provider_fail_and_another_heals_it(alice: FlaskClient, simulator: Simulator) -> None:
    assert press(alice, "groq", "revoked") == 303
    assert simulator.state()["providers"]["groq"]["fault"] == "revoked"
    assert "Key revoked" in alice.get("/demo").get_data(as_text=True)
    press(alice, "groq", "works")
    assert simulator.state()["providers"]["groq"]["fault"] is None


def test_a_button_lists_two_models_more(alice: FlaskClient, simulator: Simulator) -> None:
    before = len(simulator.models("anthropic"))
    press(alice, "anthropic", "add")
    assert len(simulator.models("anthropic")) == before + 2


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_every_button_is_understood(alice: FlaskClient, action: object) -> None:
    assert press(alice, "openai", action.name) == 303
    assert "do not answer" not in alice.get("/demo").get_data(as_text=True)


def test_an_unknown_provider_or_button_is_not_found(alice: FlaskClient) -> None:
    assert press(alice, "nobody", "works") == 404
    assert press(alice, "groq", "explode") == 404


def test_without_the_token_in_the_form_nothing_happens(demo: Flask, alice: FlaskClient, simulator: Simulator) -> None:
    demo.config["WTF_CSRF_ENABLED"] = True
    assert alice.post("/demo/groq", data={"action": "failing"}).status_code >= 400
    assert simulator.state()["providers"]["groq"]["fault"] is None


def test_a_simulator_that_is_away_is_said_in_a_sentence(alice: FlaskClient, simulator: Simulator) -> None:
    simulator.stop()
    answer = alice.get("/demo")
    assert answer.status_code == 503
    assert "do not answer" in answer.get_data(as_text=True)


def test_strangers_are_sent_to_sign_in(demo: Flask) -> None:
    answer = demo.test_client().get("/demo")
    assert answer.status_code == 303
    assert "/login" in answer.headers["Location"]


def test_outside_a_demo_there_is_no_panel(app: Flask) -> None:
    assert app.test_client().get("/demo").status_code == 404
