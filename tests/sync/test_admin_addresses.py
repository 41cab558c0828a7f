"""Base URLs set by an admin: all users' keys are sent there, so they are restricted like those of users."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import context
from app.providers import PROVIDERS
from app.providers.addresses import InvalidBaseURL, validate_shared_url
from app.store.schema.tables import ProviderRow
from app.sync.http.client import new_client
from app.sync.run import SyncContext
from app.vault import Keyring
from tests.conftest import Person
from tests.sync.test_run import only, synced

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
METADATA = "https://169.254.169.254/latest"


@pytest.fixture
def by_admin(means: SyncContext, simulator: Simulator) -> Iterator[SyncContext]:
    """No provider's address is the operator's; OpenAI's is an admin's, within this machine."""
    with new_client(restricted=()) as guarded:
        urls = {"openai": simulator.base_urls["openai"]}
        yield replace(means, base_urls={}, admin_base_urls=urls, restricted=guarded)


def test_an_admins_address_does_not_lead_into_a_private_network(
    alice: Person, by_admin: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    for url in (simulator.base_urls["openai"], METADATA, "https://10.0.0.1/v1", "https://[::1]/v1"):
        result = only(synced(alice, replace(by_admin, admin_base_urls={"openai": url})))
        assert (result.outcome, result.error_code) == ("failed", "private_address"), url
    assert simulator.requests() == []


def test_an_admins_address_is_asked_where_the_operator_opened_its_network(
    alice: Person, by_admin: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    with new_client(restricted=LOOPBACK) as opened:
        assert only(synced(alice, replace(by_admin, restricted=opened))).outcome == "complete"
    assert simulator.requests("openai")


def test_the_operators_address_goes_before_an_admins_and_may_lead_anywhere(
    alice: Person, by_admin: SyncContext, simulator: Simulator
) -> None:
    alice.add_key("openai")
    both = replace(by_admin, base_urls={"openai": simulator.base_urls["openai"]}, admin_base_urls={"openai": METADATA})
    assert only(synced(alice, both)).outcome == "complete"


def test_a_worker_keeps_both_kinds_of_addresses_apart(
    app: Flask, simulator: Simulator, vault: Keyring, carol: Person
) -> None:
    db.session.execute(update(ProviderRow).where(ProviderRow.slug == "groq").values(admin_base_url=METADATA))
    db.session.commit()
    with context.sync_context(vault) as means:
        assert means.admin_base_urls == {"groq": METADATA}
        assert means.base_urls == simulator.base_urls
        assert means.restricted is not None


def test_recording_an_answer_with_the_servers_key_is_guarded_too(
    app: Flask, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-good-key-of-a-test-1234")
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], base_urls={})
    runner = app.test_cli_runner()
    set_to = ["providers", "set", "openai", "--base-url", simulator.base_urls["openai"]]
    assert runner.invoke(args=set_to).exit_code == 0
    done = runner.invoke(args=["providers", "record", "openai", "--to", str(tmp_path)])
    assert done.exit_code == 1 and "private" in done.output
    assert simulator.requests() == []
    refused = runner.invoke(args=["providers", "set", "openai", "--base-url", "http://proxy.example/v1"])
    assert refused.exit_code == 1 and "write an https:// address" in refused.output


@pytest.mark.parametrize(
    "url", ["http://proxy.example/v1", "http://10.0.0.1", "http://localhost.example", "HTTP://x.y"]
)
def test_an_address_for_all_keys_is_not_in_the_clear(url: str) -> None:
    with pytest.raises(InvalidBaseURL, match="https://"):
        validate_shared_url(url, PROVIDERS["openai"].base_url)


@pytest.mark.parametrize(
    "url", ["https://proxy.example/v1/", "http://127.0.0.1:8080", "http://localhost", "http://[::1]/v1"]
)
def test_within_this_machine_it_may_be(url: str) -> None:
    assert validate_shared_url(url, PROVIDERS["openai"].base_url) == url.rstrip("/")
