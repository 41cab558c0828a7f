"""Keys with another base URL: regions, and users' own servers."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest
from flask import Flask
from sqlalchemy import select

from app import clock
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import context
from app.store import runs
from app.store.queries import runs as run_queries
from app.store.schema.tables import CredentialRow, ModelRow
from app.sync import run as sync
from app.vault import Keyring
from tests.conftest import Person
from tests.web.text_browser import words

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def opened(app: Flask, simulator: Simulator, allowed: tuple[ipaddress.IPv4Network, ...]) -> str:
    """The address of an OpenAI-compatible server of a user's own; no operator leads elsewhere."""
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], base_urls={}, allowed_private_networks=allowed)
    return simulator.base_urls["openai"]


def add(person: Person, url: str, **form: str) -> CredentialRow | None:
    person.post("/keys", provider="openai-compatible", base_url=url, **form)
    return db.session.scalar(select(CredentialRow).where(CredentialRow.user_id == person.id))


def synced(person: Person, vault: Keyring) -> run_queries.ResultView:
    started = runs.start(person.id, "manual", clock.utc_now())
    db.session.commit()
    assert started
    with context.sync_context(vault) as means:
        sync.execute(started.run.id, means)
    run = run_queries.load_run(started.run.id)
    assert run
    return run.results[0]


def test_a_server_of_ones_own_is_synced_where_the_operator_opened_the_network(
    app: Flask, alice: Person, simulator: Simulator, vault: Keyring
) -> None:
    url = opened(app, simulator, LOOPBACK)
    key = add(alice.sign_in(), url, key="sk-good-key-of-a-test-1234", label="LAN")
    assert key is not None and key.base_url == url
    result = synced(alice, vault)
    assert result.outcome in ("complete", "partial")
    assert result.chat > 0
    assert db.session.scalars(select(ModelRow.id)).all() == [], "what a server of one's own lists is nobody else's"
    assert url in words(alice.client.get("/profile").text)


def test_without_the_operators_leave_it_is_refused_in_a_sentence_and_not_asked(
    app: Flask, alice: Person, simulator: Simulator, vault: Keyring
) -> None:
    url = opened(app, simulator, ())
    add(alice.sign_in(), url, key="sk-good-key-of-a-test-1234")
    result = synced(alice, vault)
    assert (result.outcome, result.error_code) == ("failed", "private_address")
    assert "ALLOWED_PRIVATE_NETWORKS" in (result.error_action or "")
    assert simulator.requests() == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://",
        "http://user:password@example.com",
        "http://example.com/?key=1",
        "http://example.com/#x",
        "javascript:alert(1)",
        "http://[::1",
        "http://a b.example",
    ],
)
def test_an_address_that_is_none_is_refused_with_what_to_do(alice: Person, url: str) -> None:
    alice.sign_in()
    answer = alice.post("/keys", htmx=True, provider="openai-compatible", base_url=url, key="sk-good-key-1234")
    assert answer.status_code == 422
    assert db.session.scalar(select(CredentialRow.id)) is None


def test_a_region_is_kept_by_its_name_and_no_other_address_is_taken(alice: Person) -> None:
    alice.sign_in()
    alice.post("/keys", provider="moonshot", region="nowhere", key="sk-good-key-1234")
    alice.post("/keys", provider="openai", base_url="http://example.com", key="sk-good-key-1234")
    assert db.session.scalar(select(CredentialRow.id)) is None
    page = alice.client.get("/profile").text
    region = page.split('name="region"', 1)[1].split("<option>", 1)[1].split("</option>", 1)[0]
    assert region
