"""The server's own keys: of its environment, never stored, synced by the installation's own account."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from app import config
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import enqueue, periodic
from app.store import credentials
from app.store.accounts import users
from app.store.queries import runs
from app.store.schema.tables import CredentialRow, ModelRow, UserRow
from app.sync import run as sync
from app.sync import server_keys
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring, generate_private_key
from tests.conftest import Clock, Person, both_databases
from tests.sync.test_run import named

pytestmark = both_databases

KEYS = {"openai": ApiKey("sk-of-the-server-0a1b"), "groq": ApiKey("gsk-of-the-server-2c3d")}
SIX_HOURS = timedelta(hours=6)


def of_server() -> dict[str, CredentialRow]:
    server = db.session.scalars(select(UserRow).where(UserRow.is_server)).one()
    return {slug: row for row, slug in credentials.list_for_user(server.id)}


def test_keys_of_the_environment_are_mirrored_without_the_keys(app: Flask, clock: Clock, vault: Keyring) -> None:
    server_keys.mirror_keys({}, vault, clock(), SIX_HOURS)
    assert db.session.scalar(select(func.count(UserRow.id)).where(UserRow.is_server)) == 0, "no keys, no account"
    server_keys.mirror_keys(KEYS, vault, clock(), SIX_HOURS)
    mine = of_server()
    assert set(mine) == set(KEYS)
    assert all(row.sealed_key is None and row.due_at is not None for row in mine.values())
    before = mine["openai"].key_number
    server_keys.mirror_keys(KEYS, vault, clock(), SIX_HOURS)
    assert of_server()["openai"].key_number == before, "the same key has the same number"
    server_keys.mirror_keys({"openai": ApiKey("sk-another-of-the-server-9z8y")}, vault, clock(), SIX_HOURS)
    mine = of_server()
    assert mine["openai"].key_number != before, "another key's list is another list"
    assert mine["groq"].due_at is None, "without a key it is never due"
    server_keys.mirror_keys(KEYS, vault, clock(), timedelta(0))
    assert of_server()["groq"].due_at is None, "an interval of zero syncs nothing by itself"


def test_a_sync_with_them_fills_the_shared_catalog_and_says_which_keys_are_missing(
    app: Flask, means: SyncContext, clock: Clock, simulator: Simulator
) -> None:
    simulator.set_models("openai", named("gpt-4o", "gpt-5"))
    started = server_keys.start(["openai", "openrouter", "anthropic"], "api", clock())
    db.session.commit()
    ours = replace(means, server_keys={"openai": KEYS["openai"]}, interval=SIX_HOURS)
    assert sync.execute(started.run.id, ours)
    run = runs.load_run(started.run.id)
    assert run is not None and run.email == users.SERVER_NAME
    told = {result.provider: (result.outcome, result.error_code) for result in run.results}
    assert told == {
        "openai": ("complete", None),
        "openrouter": ("complete", None),
        "anthropic": ("skipped", "key_missing"),
    }
    missing = next(result for result in run.results if result.provider == "anthropic")
    assert missing.error_message == "API key not configured: ANTHROPIC_API_KEY is not set."
    assert db.session.scalar(select(func.count(ModelRow.id)).where(ModelRow.provider_model_id == "gpt-5")) == 1
    mine = of_server()
    assert mine["openai"].due_at and abs(mine["openai"].due_at - clock() - SIX_HOURS) <= SIX_HOURS * 0.11
    assert mine["openrouter"].due_at is None and mine["anthropic"].due_at is None, "only what has a key comes again"
    assert simulator.requests("openai")[-1].headers["authorization"] == "Bearer " + KEYS["openai"].reveal()


def test_the_installations_account_has_no_sign_in(app: Flask, clock: Clock, alice: Person, vault: Keyring) -> None:
    server_keys.mirror_keys(KEYS, vault, clock(), SIX_HOURS)
    db.session.commit()
    assert users.SERVER_NAME not in [user.email for user in users.list_all()]
    assert credentials.count_users_to_sync() == 0, "the cron syncs people"
    assert alice.post("/login", email=users.SERVER_NAME, password="!").status_code == 422


def test_the_first_person_is_an_admin_though_the_installation_has_its_account(
    app: Flask, clock: Clock, vault: Keyring
) -> None:
    server_keys.mirror_keys(KEYS, vault, clock(), SIX_HOURS)
    first = users.create("first@example.com", "hash", clock())
    second = users.create("second@example.com", "hash", clock())
    assert first is not None and second is not None
    assert (first.is_admin, second.is_admin) == (True, False)


def test_the_sweep_mirrors_the_environment_and_queues_what_is_due(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-server-0a1b")
    assert periodic.enqueue_due() == 1
    assert set(of_server()) == {"openai"}
    result = enqueue.start_server_sync("api", ["groq"])
    assert not result.is_new, "the live run is given instead of a second one"


def test_only_workers_are_given_the_keys(monkeypatch: pytest.MonkeyPatch, app: Flask) -> None:
    from pathlib import Path

    from app.cli import supervisor

    environ = {"OPENAI_API_KEY": "sk-of-the-server-0a1b", "ADMIN_API_KEY": "x" * 32, "PATH": "/bin"}
    boss = supervisor.Supervisor(environ, Path())
    for process in (supervisor.web_process("127.0.0.1", 1, 1), supervisor.scheduler_process()):
        assert "OPENAI_API_KEY" not in boss.environment(process)
    given = boss.environment(supervisor.worker_process(1))
    assert given["OPENAI_API_KEY"] and "ADMIN_API_KEY" not in given
    assert config.load_server_keys(environ)["openai"].reveal() == "sk-of-the-server-0a1b"


def test_a_shell_without_the_keys_takes_nothing_off_the_schedule(
    app: Flask, means: SyncContext, clock: Clock, vault: Keyring
) -> None:
    keys = {**KEYS, "openrouter": ApiKey("sk-or-of-the-server-4e5f")}
    server_keys.mirror_keys(keys, vault, clock(), SIX_HOURS)
    db.session.commit()
    before = {slug: row.due_at for slug, row in of_server().items()}
    assert None not in before.values()
    for _ in range(2):  # the second time OpenRouter's list is as it was
        started = server_keys.start(list(keys), "cli", clock())
        db.session.commit()
        assert sync.execute(started.run.id, replace(means, interval=SIX_HOURS))
        run = runs.load_run(started.run.id)
        assert run is not None
        assert {result.provider: result.error_code for result in run.results if result.error_code} == {
            "openai": "key_missing",
            "groq": "key_missing",
        }
        db.session.expire_all()
        assert {slug: row.due_at for slug, row in of_server().items()} == before


def test_what_was_off_the_schedule_comes_back_with_an_interval_or_a_frequency_and_goes_with_them(
    app: Flask, clock: Clock, vault: Keyring
) -> None:
    def due_after(hours: int) -> dict[str, bool]:
        server_keys.mirror_keys(KEYS, vault, clock(), timedelta(hours=hours))
        return {slug: row.due_at is not None for slug, row in of_server().items()}

    both, neither = dict.fromkeys(KEYS, True), dict.fromkeys(KEYS, False)
    assert due_after(0) == neither
    assert due_after(6) == both, "an interval was set"
    credentials.providers_by_slug()["groq"].admin_update_frequency = "manual"
    assert due_after(6) == {"openai": True, "groq": False}
    credentials.providers_by_slug()["groq"].admin_update_frequency = "daily"
    assert due_after(6) == both, "it is not manual any more"
    assert due_after(0) == neither, "the interval was taken away"


def test_a_shorter_interval_is_not_kept_waiting_by_the_longer_one_before(
    app: Flask, clock: Clock, vault: Keyring
) -> None:
    server_keys.mirror_keys(KEYS, vault, clock(), SIX_HOURS)
    openai, groq = of_server()["openai"], of_server()["groq"]
    openai.due_at = clock() + timedelta(days=300)
    groq.due_at = groq.put_off_until = clock() + timedelta(days=2)
    server_keys.mirror_keys(KEYS, vault, clock(), SIX_HOURS)
    assert openai.due_at <= clock()
    assert groq.due_at == groq.put_off_until, "its provider asked for it"
    openai.due_at = in_time = clock() + timedelta(hours=6.5)
    server_keys.mirror_keys(KEYS, vault, clock(), SIX_HOURS)
    assert openai.due_at == in_time


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sk-of-the-server-0a1b", "sk-another-of-it-0a1b"),
        ('{"type": "service_account", "private_key": "one"}', '{"type": "service_account", "private_key": "two"}'),
    ],
)
def test_a_replaced_key_is_noticed_though_it_looks_like_the_one_before(
    app: Flask, clock: Clock, vault: Keyring, before: str, after: str
) -> None:
    server_keys.mirror_keys({"openai": ApiKey(before)}, vault, clock(), SIX_HOURS)
    row = of_server()["openai"]
    first, row.validators, row.due_at = row.key_number, {"etag": "of the first"}, clock() + SIX_HOURS
    server_keys.mirror_keys({"openai": ApiKey(before)}, vault, clock(), SIX_HOURS)
    assert (row.key_number, row.validators) == (first, {"etag": "of the first"}) and row.due_at > clock()
    server_keys.mirror_keys({"openai": ApiKey(after)}, vault, clock(), SIX_HOURS)
    assert row.key_number != first and row.validators is None and row.due_at <= clock()


def test_the_number_of_a_key_tells_nothing_without_the_private_vault_key(app: Flask, vault: Keyring) -> None:
    key = ApiKey("sk-of-the-server-0a1b")
    other = Keyring(generate_private_key())
    assert vault.digest(key) == vault.digest(ApiKey("sk-of-the-server-0a1b"))
    assert vault.digest(key) != other.digest(key)
