"""`flask users`, `keys`, `sync` and `models`."""

from __future__ import annotations

import dataclasses
import json

from flask import Flask
from sqlalchemy import func, select

from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue
from app.store import credentials
from app.store.accounts import users
from app.store.queries import model_search
from app.store.queries.model_query import ModelFilter
from app.store.schema.tables import CredentialRow, ListingRow, ModelRow, ResultRow, RunRow
from app.vault import Keyring
from tests.cli.shell import Run, read_output
from tests.cli.shell import run as run  # the fixture
from tests.conftest import PASSWORD, Person, both_databases
from tests.sync.test_run import named
from tests.web.worker import now

KEY = "sk-a-key-for-the-shell-5d2e"


@both_databases
def test_accounts_are_added_listed_changed_and_deleted(run: Run, app: Flask) -> None:
    assert (
        read_output(run("users", "add", "First@Example.com", typed=PASSWORD + "\n"))
        == "Added first@example.com as an admin."
    )
    assert read_output(run("users", "add", "b@example.com", typed=PASSWORD)) == "Added b@example.com."
    assert (
        read_output(run("users", "add", "c@example.com", "--admin", typed=PASSWORD))
        == "Added c@example.com as an admin."
    )
    lines = [json.loads(line) for line in run("users", "list", "--json").output.splitlines()]
    assert [(line["email"], line["admin"]) for line in lines] == [
        ("first@example.com", True),
        ("b@example.com", False),
        ("c@example.com", True),
    ]
    assert "b@example.com" in read_output(run("users", "list"))
    before = users.find_by_email("b@example.com")
    assert before is not None
    stamp = before.auth_stamp
    changed = read_output(run("users", "set-password", "b@example.com", typed="another fine password\n"))
    assert changed == "The password of b@example.com is changed; all its sessions are signed out."
    after = users.find_by_email("b@example.com")
    assert after is not None and after.auth_stamp != stamp
    assert "Aborted" in read_output(run("users", "delete", "b@example.com", typed="n\n"), 1)
    assert users.find_by_email("b@example.com")
    assert read_output(run("users", "delete", "b@example.com", "--yes")) == "Deleted b@example.com."
    assert users.find_by_email("b@example.com") is None


def test_what_is_wrong_with_an_account_is_a_sentence(run: Run, alice: Person) -> None:
    assert "no address is not an e-mail address." in read_output(run("users", "add", "no address", typed=PASSWORD), 1)
    assert "There is an account ALICE@example.com already." in read_output(
        run("users", "add", "ALICE@example.com", typed=PASSWORD), 1
    )
    assert "at least 12 characters" in read_output(run("users", "add", "d@example.com", typed="short"), 1)
    assert "at least 12 characters" in read_output(run("users", "add", "d@example.com"), 1)
    assert "at least 12 characters" in read_output(run("users", "set-password", alice.row.email, typed="short"), 1)
    for command in (
        ["users", "delete", "--yes"],
        ["users", "set-password"],
        ["keys", "list"],
        ["sync", "run"],
        ["models", "list"],
    ):
        result = run(*command, "nobody@example.com", typed=PASSWORD)
        assert "There is no account nobody@example.com: see `flask users list`." in read_output(result, 1)


def test_an_account_goes_with_all_it_has(run: Run, alice: Person, bob: Person) -> None:
    alice.add_key("openai")
    bob.add_key("openai")
    run("sync", "run", alice.row.email)
    read_output(run("users", "delete", alice.row.email, "--yes"))
    for row in (RunRow, ResultRow):
        assert db.session.scalar(select(func.count()).select_from(row)) == 0
    assert db.session.scalars(select(CredentialRow.user_id)).all() == [bob.id]


def test_an_invitation_is_an_address_of_the_sign_up_page(run: Run, app: Flask) -> None:
    path = read_output(run("users", "invite", "new@example.com"))
    assert path.startswith("/signup?invite=")
    assert 'value="new@example.com"' in app.test_client().get(path).text


def test_where_the_web_s_secret_is_missing_no_invitation_is_made(run: Run, app: Flask) -> None:
    bare = dataclasses.replace(app.config["SETTINGS"], production=True, secret_key="")
    app.config["SETTINGS"] = bare
    result = run("users", "invite", "new@example.com")
    assert result.exit_code == 1 and "SECRET_KEY is not set" in result.output and "/signup" not in result.output


@both_databases
def test_keys_are_added_listed_and_removed(run: Run, alice: Person, bob: Person, vault: Keyring) -> None:
    email = alice.row.email
    stored = run("keys", "add", email, "openai", "--label", "work", typed=KEY + "\n")
    (row,) = db.session.scalars(select(CredentialRow)).all()
    assert read_output(stored) == f"Stored the openai key •••• 5d2e as number {row.id}. {enqueue.NO_WORKER}"
    assert row.sealed_key and row.vault_version
    assert vault.open(row.sealed_key, row.vault_version, credentials.seal_context(row, "openai")).reveal() == KEY
    assert "(none needed)" in read_output(run("keys", "add", email, "openrouter"))
    lines = [json.loads(line) for line in run("keys", "list", email, "--json").output.splitlines()]
    assert [(line["provider"], line["label"], line["key"], line["active"]) for line in lines] == [
        ("openai", "work", "•••• 5d2e", True),
        ("openrouter", "", None, True),
    ]
    shown = read_output(run("keys", "list", email))
    assert "•••• 5d2e" in shown and KEY not in shown
    number = str(row.id)
    assert f"no key number {number}" in read_output(run("keys", "remove", bob.row.email, number), 1)
    assert read_output(run("keys", "remove", email, number)) == f"Removed key {number}."
    assert len(db.session.scalars(select(CredentialRow)).all()) == 1


@both_databases
def test_what_is_wrong_with_a_key_is_a_sentence(run: Run, alice: Person) -> None:
    email = alice.row.email
    assert "Give the API key on standard input." in read_output(run("keys", "add", email, "openai"), 1)
    assert "at most 60 characters" in read_output(
        run("keys", "add", email, "openai", "--label", "x" * 61, typed=KEY), 1
    )
    read_output(run("keys", "add", email, "openai", typed=KEY))
    assert "choose another --label" in read_output(run("keys", "add", email, "openai", typed=KEY), 1)
    assert run("keys", "add", email, "nobody", typed=KEY).exit_code == 2
    assert db.session.scalar(select(func.count(CredentialRow.id))) == 1


@both_databases
def test_a_sync_prints_one_object_exactly_as_promised(run: Run, alice: Person, simulator: Simulator) -> None:
    alice.add_key("openai", label="work")
    simulator.set_models("openai", named("gpt-4o", "gpt-99-nobody-knows", "whisper-1"))
    result = run("sync", "run", alice.row.email, "--json")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    report = json.loads(line)
    totals = ["total_new_models", "total_changed", "total_unlisted", "total_relisted"]
    assert list(report) == ["run_id", "trigger", "state", *totals, "results"]
    assert (report["trigger"], report["state"], report["total_new_models"]) == ("cli", "done", 1)
    assert report["run_id"] == db.session.scalar(select(RunRow.id))
    (told,) = report["results"]
    assert told.pop("duration_s") >= 0
    assert told == {
        "provider": "openai",
        "label": "work",
        "outcome": "complete",
        "fetched": 3,
        "chat": 2,
        "new": 1,
        "changed": 0,
        "unlisted": 0,
        "uncatalogued": 1,
        "skipped": 0,
        "error": None,
    }


def test_a_failed_result_makes_the_exit_code_one(run: Run, alice: Person, simulator: Simulator) -> None:
    alice.add_key("openai")
    alice.add_key("groq", "sk-this-key-was-revoked-1234")
    result = run("sync", "run", alice.row.email, "--json")
    assert result.exit_code == 1
    by_provider = {told["provider"]: told for told in json.loads(result.stdout)["results"]}
    assert by_provider["openai"]["error"] is None
    assert by_provider["groq"]["error"]["code"] == "key_revoked"
    assert run("sync", "run", alice.row.email, "--provider", "openai", "--json").exit_code == 0
    assert run("sync", "run", alice.row.email, "--provider", "nobody").exit_code == 2
    shown = run("sync", "run", alice.row.email)
    assert shown.exit_code == 1 and "Groq says this key was revoked" in shown.output


def test_a_sync_without_keys_says_so(run: Run, alice: Person) -> None:
    for option in ([], ["--dry-run"], ["--json"]):
        assert "add one with `flask keys add`" in read_output(run("sync", "run", alice.row.email, *option), 1)
    assert db.session.scalar(select(func.count(RunRow.id))) == 0


@both_databases
def test_a_dry_run_writes_nothing(run: Run, alice: Person) -> None:
    alice.add_key("openai")
    report = json.loads(run("sync", "run", alice.row.email, "--dry-run", "--json").stdout)
    assert (report["run_id"], report["state"], report["results"][0]["outcome"]) == (None, "dry-run", "complete")
    assert report["results"][0]["chat"] > 0
    for row in (RunRow, ResultRow, ListingRow, ModelRow):
        assert db.session.scalar(select(func.count()).select_from(row)) == 0


@both_databases
def test_models_are_printed_one_a_line_exactly_as_promised(run: Run, alice: Person, simulator: Simulator) -> None:
    alice.add_key("openai")
    alice.add_key("openrouter", None)
    simulator.set_models("openai", named("gpt-4o", "gpt-99-nobody-knows", "text-embedding-3-small"))
    run("sync", "run", alice.row.email)
    email = alice.row.email
    lines = [
        json.loads(line) for line in run("models", "list", email, "--provider", "openai", "--json").stdout.splitlines()
    ]
    assert [line["provider_model_id"] for line in lines] == ["gpt-4o", "gpt-99-nobody-knows"]
    known, unknown = lines
    assert list(known) == [
        "provider",
        "provider_model_id",
        "name",
        "kind",
        "kind_reason",
        "canonical_id",
        "match_rule",
        "context_length",
        "max_output_tokens",
        "pricing",
        "modality",
        "capabilities",
        "deprecated_on",
        "retires_on",
        "first_seen_at",
        "status",
        "listed",
    ]
    assert (known["provider"], known["kind"], known["status"]) == ("openai", "chat", "listed")
    assert known["canonical_id"] and known["match_rule"] and known["first_seen_at"] and known["kind_reason"]
    page = {model.provider_model_id: model for model in model_search.search(alice.id, ModelFilter(), now()).lines}[
        "gpt-4o"
    ]
    assert known["context_length"] == page.context_length != known["listed"]["context_length"]
    assert known["capabilities"] == list(page.capabilities)
    assert known["pricing"]["input_per_million"] == float(page.input_per_million or 0) > 0
    assert known["pricing"]["output_per_million"] == float(page.output_per_million or 0) > 0
    assert set(known["listed"]) == {
        *("name", "context_length", "max_output_tokens", "pricing", "modality", "capabilities"),
    }
    assert unknown["canonical_id"] is None
    everything = [
        json.loads(line)
        for line in run("models", "list", email, "--provider", "openai", "--all", "--json").stdout.splitlines()
    ]
    (embedding,) = [line for line in everything if line["kind"] != "chat"]
    assert (embedding["provider_model_id"], embedding["kind"]) == ("text-embedding-3-small", "embedding")
    assert embedding["kind_reason"]
    priced = [
        json.loads(line)
        for line in run("models", "list", email, "--provider", "openrouter", "--json").stdout.splitlines()
    ]
    assert all(line["kind"] == "chat" for line in priced)
    assert any(isinstance(line["pricing"]["input_per_million"], float) for line in priced)
    assert "gpt-4o" in read_output(run("models", "list", email))
