"""Keys with another base URL: regions, and users' own servers."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app import clock
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import context
from app.store import credentials, runs
from app.store.queries import runs as run_queries
from app.store.schema.tables import CredentialRow, ModelRow, RunRow
from app.sync import run as sync
from app.vault import Keyring, PublicKey, generate_private_key
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
        "ftp://example.com",
        "file:///etc/passwd",
        "http://",
        "http://:password@example.com",
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


# ------------------------------------------------------------------ addresses as people have them, and changed ones

SECRET, LOGIN = "sk-good-key-of-a-test-1234", "me:pa55-of-the-proxy"


def opened_key(row: CredentialRow, vault: Keyring) -> tuple[str, str]:
    """The stored key and login."""
    assert row.sealed_key is not None and row.vault_version is not None
    key = vault.open(row.sealed_key, row.vault_version, credentials.seal_context(row, "openai-compatible"))
    return key.reveal(), key.reveal_login()


def change(person: Person, row: CredentialRow, url: str, **form: str) -> Any:
    answer = person.post(f"/keys/{row.id}/address", htmx=True, base_url=url, **form)
    db.session.refresh(row)
    return answer


def test_the_address_where_the_list_was_found_is_kept_and_shown(
    app: Flask, alice: Person, simulator: Simulator, vault: Keyring
) -> None:
    url = opened(app, simulator, LOOPBACK)
    key = add(alice.sign_in(), url.removesuffix("/v1").removeprefix("http://"), key=SECRET)
    assert key is not None and key.base_url == url.removesuffix("/v1")
    result = synced(alice, vault)
    assert result.chat > 0
    db.session.refresh(key)
    assert key.base_url == url and url in words(alice.client.get("/profile").text)
    simulator.reset()
    synced(alice, vault)
    assert [request.path for request in simulator.requests()] == ["/openai/v1/models"], "the next time at once"


def test_a_login_is_sealed_with_the_key_and_shown_nowhere(
    app: Flask, alice: Person, simulator: Simulator, vault: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    url = opened(app, simulator, LOOPBACK)
    in_url = url.replace("http://", "http://me:pa55-of-the-proxy@")
    alice.sign_in()
    for label, address, login in (("in the address", in_url, ""), ("in its field", url, LOGIN)):
        answer = alice.post(
            "/keys", htmx=True, provider="openai-compatible", base_url=address, key=SECRET, login=login, label=label
        )
        assert answer.status_code == 200 and "pa55" not in answer.text
    rows = db.session.scalars(select(CredentialRow)).all()
    assert [opened_key(row, vault) for row in rows] == [(SECRET, LOGIN)] * 2
    assert {(row.base_url, row.key_hint) for row in rows} == {(url, "•••• 1234 + login")}
    result = synced(alice, vault)
    assert simulator.requests()[-1].headers["authorization"] == "Basic bWU6cGE1NS1vZi10aGUtcHJveHk="
    assert simulator.requests()[-1].headers["x-api-key"] == SECRET
    for path in ("/profile", "/history", "/account/export.json", "/api/v1/keys"):
        assert "pa55" not in alice.client.get(path).text, path
    assert "pa55" not in caplog.text and "pa55" not in repr(result)
    newer = Keyring(generate_private_key(2))
    for row in rows:
        assert row.sealed_key is not None
        owner = credentials.seal_context(row, "openai-compatible")
        resealed = vault.reseal(row.sealed_key, 1, owner, PublicKey(newer.public))
        opened_again = newer.open(resealed, 2, owner)
        assert (opened_again.reveal(), opened_again.reveal_login()) == (SECRET, LOGIN)


def test_a_login_that_is_none_is_refused_and_not_repeated(alice: Person) -> None:
    alice.sign_in()
    answer = alice.post("/keys", htmx=True, provider="ollama", base_url="http://box:11434", login="only-a-password")
    assert answer.status_code == 422 and "user:password" in words(answer.text)
    assert "only-a-password" not in answer.text


def test_a_changed_address_on_the_same_host_keeps_key_and_list(
    app: Flask, alice: Person, simulator: Simulator, vault: Keyring
) -> None:
    url = opened(app, simulator, LOOPBACK)
    key = add(alice.sign_in(), url, key=SECRET)
    assert key is not None
    synced(alice, vault)
    db.session.refresh(key)
    listing, number = key.listing_id, key.key_number
    assert listing is not None
    elsewhere = url.removesuffix("/v1")
    assert change(alice, key, elsewhere + "/chat/completions").status_code == 200
    assert (key.base_url, key.listing_id, key.key_number) == (elsewhere, listing, number + 1)
    assert opened_key(key, vault) == (SECRET, "") and key.validators is None
    change(alice, key, elsewhere)
    assert key.key_number == number + 1, "the same address again changes nothing"
    (run,) = db.session.scalars(select(RunRow).where(RunRow.state == "queued"))
    with context.sync_context(vault) as means:
        sync.execute(run.id, means)
    db.session.refresh(key)
    assert (key.outcome, key.listing_id, key.base_url) == ("unchanged", listing, url), "found where it was"


def test_a_key_is_not_sent_to_a_host_that_it_was_not_given_for(alice: Person, vault: Keyring) -> None:
    key = add(alice.sign_in(), "https://a.example.com/v1", key=SECRET, login=LOGIN)
    assert key is not None
    for url in ("https://b.example.com/v1", "http://a.example.com/v1", "https://a.example.com:8443/v1"):
        refused = change(alice, key, url)
        assert refused.status_code == 422 and "paste it again" in words(refused.text)
        assert f'value="{url}"' in refused.text, "what was typed is not lost"
        assert (key.base_url, key.key_number) == ("https://a.example.com/v1", 1)
    change(alice, key, "https://b.example.com/v1", key="sk-another-key-0987")
    assert key.base_url == "https://b.example.com/v1"
    assert opened_key(key, vault) == ("sk-another-key-0987", ""), "the old login stays behind too"
    change(alice, key, "https://c.example.com", no_key="yes")
    assert (key.base_url, key.sealed_key, key.key_hint) == ("https://c.example.com", None, "")
    change(alice, key, "https://d.example.com")
    assert key.base_url == "https://d.example.com", "without a key there is nothing to guard"


def test_the_api_changes_an_address_on_the_same_host_only(alice: Person) -> None:
    key = add(alice.sign_in(), "https://a.example.com/v1", key=SECRET)
    assert key is not None
    headers = {"X-CSRFToken": alice.token("/profile")}

    def patch(url: str) -> Any:
        return alice.client.patch(f"/api/v1/keys/{key.id}", json={"base_url": url}, headers=headers)

    assert patch("https://a.example.com/api/v1/models").json["base_url"] == "https://a.example.com/api/v1"
    assert patch("https://b.example.com/v1").status_code == 409
    for wrong in ("ftp://a.example.com", "https://me:pa55@a.example.com"):
        refused = patch(wrong)
        assert refused.status_code == 400 and "pa55" not in refused.text
    db.session.refresh(key)
    assert key.base_url == "https://a.example.com/api/v1"


def test_the_command_line_adds_a_login_and_changes_an_address(app: Flask, alice: Person, vault: Keyring) -> None:
    def run(*args: str, given: str = "") -> str:
        done = app.test_cli_runner().invoke(args=["keys", *args], input=given)
        assert "pa55" not in done.output and SECRET not in done.output
        return done.output

    email = alice.row.email
    added = run(
        "add", email, "openai-compatible", "--url", "a.example.com/v1/models", "--login", given=f"{SECRET}\n{LOGIN}\n"
    )
    assert "for https://a.example.com/v1 as number" in added
    (key,) = db.session.scalars(select(CredentialRow))
    assert opened_key(key, vault) == (SECRET, LOGIN)
    assert "https://a.example.com/v1" in run("list", email)
    assert "is for https://a.example.com/api now" in run("address", email, str(key.id), "https://a.example.com/api")
    assert "another host" in run("address", email, str(key.id), "https://b.example.com")
    run("address", email, str(key.id), "https://b.example.com", "--new-key", given="sk-another-key-0987\n")
    db.session.refresh(key)
    assert (key.base_url, opened_key(key, vault)) == ("https://b.example.com", ("sk-another-key-0987", ""))
    run("address", email, str(key.id), "https://c.example.com", "--no-key")
    db.session.refresh(key)
    assert (key.base_url, key.sealed_key) == ("https://c.example.com", None)
