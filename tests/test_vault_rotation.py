"""Moving to a new vault key while everything runs, and living with a vault key that was lost."""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from app import clock, config, create_app
from app.cli.vault_commands import warn_about_unopenable_keys
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import credentials, rotation, runs
from app.store.schema.tables import CredentialRow, ResultRow, RunRow
from app.sync import key_rotation
from app.sync import run as sync
from app.sync.http.client import new_client
from app.sync.run import SyncContext
from app.vault import ApiKey, Keyring, PublicKey, UnsealError, generate_private_key
from tests.cli.shell import Run, read_output
from tests.cli.shell import run as run  # the fixture
from tests.cli.test_doctor import findings
from tests.conftest import Person, both_databases

SECOND, THIRD = generate_private_key(2), generate_private_key(3)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, app: Flask) -> Keyring:
    """The old and the new private key are available, the new public one is in use."""
    written = f"{SECOND},{os.environ['VAULT_PRIVATE_KEYS']}"
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", written)
    vault = Keyring(written)
    seal_with(app, vault.public)
    return vault


def seal_with(app: Flask, public: str) -> None:
    app.config["SETTINGS"] = dataclasses.replace(app.config["SETTINGS"], vault_public_key=public)


def key_of(number: int) -> str:
    return f"sk-good-key-of-a-rotation-{number:04d}"


def opened(vault: Keyring) -> dict[int, str]:
    """Every API key as it opens with these private keys."""
    db.session.rollback()
    found = {
        key.credential_id: vault.open(key.sealed, key.version, key.owner).reveal()
        for batch in rotation.iter_batches()
        for key in batch
    }
    db.session.rollback()
    return found


def sealed_bytes() -> dict[int, tuple[bytes | None, int | None]]:
    query = select(CredentialRow.id, CredentialRow.sealed_key, CredentialRow.vault_version)
    rows = {number: (sealed, version) for number, sealed, version in db.session.execute(query)}
    db.session.rollback()
    return rows


def seven_keys(*people: Person) -> dict[int, str]:
    keys = [(people[number % len(people)], key_of(number)) for number in range(7)]
    return {one.add_key("openai", key, label=key[-4:]).id: key for one, key in keys}


# ------------------------------------------------------------------ flask keys rotate


@both_databases
def test_rotating_reseals_everything_and_the_old_vault_key_can_go(
    run: Run, alice: Person, bob: Person, both: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = seven_keys(alice, bob)
    alice.add_key("openrouter", None)  # nothing to seal
    monkeypatch.setattr(rotation, "_BATCH_SIZE", 3)
    status = [json.loads(line) for line in run("vault", "status", "--json").output.splitlines()]
    assert [(one["version"], one["api_keys"], one["seals_new_ones"], one["private_key"]) for one in status] == [
        (1, 7, False, "at hand"),
        (2, 0, True, "at hand"),
    ]
    assert "7 API keys sealed by an older" in findings(run, code=1)["vault"]["says"]
    data = json.loads(run("keys", "rotate", "--json").output)
    assert data == {
        "version": 2,
        "resealed": 7,
        "replaced_meanwhile": 0,
        "do_not_open": [],
        "removable_versions": [1],
    }
    assert opened(Keyring(SECOND)) == kept
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", SECOND)
    assert findings(run, code=1)["vault"]["state"] == "good"
    assert findings(run, code=1)["API keys"]["says"] == "7 keys, all open"
    before = sealed_bytes()
    assert read_output(run("keys", "rotate")) == "Resealed 0 keys to version 2."
    assert sealed_bytes() == before


@both_databases
def test_a_key_that_does_not_open_is_named_and_left_and_the_others_are_moved(
    run: Run, alice: Person, bob: Person, both: Keyring
) -> None:
    kept = seven_keys(alice, bob)
    lost = min(kept)
    db.session.execute(update(CredentialRow).where(CredentialRow.id == lost).values(sealed_key=b"\1" * 1_200))
    db.session.commit()
    result = run("keys", "rotate")
    assert result.exit_code == 1
    assert "Resealed 6 keys to version 2." in result.output
    assert f"number {lost} of alice@example.com at openai, version 1" in result.output
    assert "can be removed" not in result.output  # version 1 may still be needed for it
    now = sealed_bytes()
    assert now[lost] == (b"\1" * 1_200, 1)
    assert {version for number, (_, version) in now.items() if number != lost} == {2}
    assert "Paste it again" in alice.sign_in().client.get("/profile").text
    assert "Paste it again" not in bob.sign_in().client.get("/profile").text


def test_a_public_key_that_is_not_the_new_ones_is_refused(run: Run, app: Flask, alice: Person, both: Keyring) -> None:
    seven_keys(alice)
    before = sealed_bytes()
    seal_with(app, Keyring(generate_private_key(1)).public)
    assert "VAULT_PUBLIC_KEY is version 1, the newest of VAULT_PRIVATE_KEYS is 2" in read_output(
        run("keys", "rotate"), code=1
    )
    assert sealed_bytes() == before


def test_vault_new_prints_a_pair_of_the_version_asked_for(run: Run) -> None:
    private, public = run("vault", "new", "--version", "2").output.split()
    written = private.removeprefix("VAULT_PRIVATE_KEYS=")
    assert written.startswith("2:")
    assert public == f"VAULT_PUBLIC_KEY={Keyring(written).public}"


# ------------------------------------------------------------------ beside others


def test_a_key_that_was_replaced_after_it_was_read_stays_as_its_owner_saved_it(
    alice: Person, both: Keyring, public_key: PublicKey
) -> None:
    row = alice.add_key("openai", key_of(1))
    (stale,) = rotation.load_older_than(2, 0)
    credentials.replace(row, "openai", ApiKey(key_of(2)), public_key, clock.utc_now())
    db.session.commit()
    assert rotation.save_resealed([(stale, both.reseal(stale.sealed, 1, stale.owner, PublicKey(both.public)))], 2) == 0
    db.session.commit()
    assert opened(both) == {row.id: key_of(2)}


@both_databases
def test_a_key_that_is_replaced_by_a_page_which_read_it_before_the_rotation_opens(
    alice: Person, both: Keyring, public_key: PublicKey
) -> None:
    """The page still has the old public key: the version it read and the one it writes are the same number."""
    row = alice.add_key("openai", key_of(1))
    assert row.vault_version == 1

    def rotating() -> None:
        with alice.app.app_context():
            assert key_rotation.rotate(both, clock.utc_now).resealed == 1

    thread = threading.Thread(target=rotating)
    db.session.commit()
    thread.start()
    thread.join(30)
    assert row.vault_version == 1  # as this session read it
    credentials.replace(row, "openai", ApiKey(key_of(2)), public_key, clock.utc_now())
    db.session.commit()
    assert opened(both) == {row.id: key_of(2)}


@dataclass
class Bustle:
    """Threads that sync and replace keys, each in its own context."""

    app: Flask
    vault: Keyring
    simulator: Simulator
    over: threading.Event = field(default_factory=threading.Event)
    wrong: list[str] = field(default_factory=list)
    saved: dict[int, str] = field(default_factory=dict)
    """Credential → the last API key that was saved for it."""

    def start(self, act: Callable[[int], None], number: int) -> threading.Thread:
        def body() -> None:
            try:
                with self.app.app_context():
                    act(number)
            except Exception as error:  # told in the test's own thread
                self.wrong.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=body)
        thread.start()
        return thread

    def sync_seven_times(self, user_id: int) -> None:
        with new_client() as client:
            for _ in range(7):
                started = runs.start(user_id, "manual", clock.utc_now())
                db.session.commit()
                assert started and started.is_new
                urls = self.simulator.base_urls
                means = SyncContext(vault=self.vault, client=client, base_urls=urls, total_timeout_s=20.0)
                assert sync.execute(started.run.id, means)

    def replace_again_and_again(self, credential_id: int) -> None:
        publics = [PublicKey(Keyring(one).public) for one in (os.environ["VAULT_PRIVATE_KEYS"], SECOND, THIRD)]
        for number in itertools.count(1_000):
            if self.over.wait(0.01):
                return
            credential = credentials.find(credential_id)
            assert credential
            credentials.replace(*credential, ApiKey(key_of(number)), publics[number % 3], clock.utc_now())
            credential[0].check_asked_at = None
            db.session.commit()
            self.saved[credential_id] = key_of(number)


@both_databases
@pytest.mark.slow
def test_while_twenty_syncs_run_and_keys_are_replaced_a_rotation_loses_nothing(
    app: Flask, alice: Person, bob: Person, carol: Person, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "_BATCH_SIZE", 2)
    vault = Keyring(f"{THIRD},{SECOND},{os.environ['VAULT_PRIVATE_KEYS']}")
    kept, users = seven_keys(alice, bob, carol), [alice.id, bob.id, carol.id]
    replaced, rounds = min(kept), 0
    db.session.commit()
    bustle = Bustle(app, vault, simulator)
    replacing = bustle.start(bustle.replace_again_and_again, replaced)
    syncing = [bustle.start(bustle.sync_seven_times, user_id) for user_id in users]
    while any(thread.is_alive() for thread in syncing) or not rounds:
        # Back to the first version by hand, so that there is always something to rotate: that too compares first.
        _age(vault)
        assert not key_rotation.rotate(vault, clock.utc_now).unopenable
        rounds += 1
    bustle.over.set()
    for thread in (*syncing, replacing):
        thread.join(60)
    assert not bustle.wrong
    key_rotation.rotate(vault, clock.utc_now)
    assert opened(Keyring(THIRD)) == kept | bustle.saved
    assert bustle.saved and rounds > 1
    assert db.session.scalars(select(RunRow.state)).all() == ["done"] * 21
    failed = select(ResultRow.credential_id).where(ResultRow.outcome.in_(("failed", "skipped")))
    assert set(db.session.scalars(failed)) <= {replaced}  # an answer to the key of before says nothing of the new one


def _age(vault: Keyring) -> None:
    oldest = PublicKey(Keyring(os.environ["VAULT_PRIVATE_KEYS"]).public)
    for batch in rotation.iter_batches():
        moved = [(key, vault.reseal(key.sealed, key.version, key.owner, oldest)) for key in batch if key.version == 3]
        rotation.save_resealed(moved, 1)
        db.session.commit()


# ------------------------------------------------------------------ kill -9

PHASES = [
    ("load_older_than", 1, "after"),
    ("save_resealed", 2, "before"),
    ("save_resealed", 2, "after"),
    ("count_by_version", 1, "before"),
]


def rotating_until_killed(settings: config.Settings, written: str, phase: tuple[str, int, str]) -> None:
    name, at, when = phase
    real, calls = getattr(rotation, name), itertools.count(1)

    def deadly(*args: Any) -> Any:
        number = next(calls)
        if number == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args)
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(rotation, name, deadly)
    with create_app(settings).app_context():
        key_rotation.rotate(Keyring(written), clock.utc_now)


@both_databases
@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: "-".join(map(str, phase)))
def test_killed_at_any_moment_and_run_again_it_finishes(
    phase: tuple[str, int, str],
    alice: Person,
    both: Keyring,
    settings: config.Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = seven_keys(alice)
    monkeypatch.setattr(rotation, "_BATCH_SIZE", 3)
    db.session.remove()
    db.engine.dispose()  # no connection crosses the fork
    written = os.environ["VAULT_PRIVATE_KEYS"]
    process = multiprocessing.get_context("fork").Process(target=rotating_until_killed, args=(settings, written, phase))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert opened(both) == kept  # half way, every key opens
    done = key_rotation.rotate(both, clock.utc_now)
    assert done.is_whole and done.removable == [1]
    assert opened(Keyring(SECOND)) == kept


# ------------------------------------------------------------------ the wrong private key


@both_databases
def test_with_a_wrong_private_key_the_owners_are_asked_and_nothing_is_destroyed(
    run: Run, app: Flask, alice: Person, vault: Keyring, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    row = alice.add_key("openai", key_of(1))
    before = sealed_bytes()
    warn_about_unopenable_keys(vault)
    assert capsys.readouterr().err == ""
    wrong = Keyring(generate_private_key(1))
    warn_about_unopenable_keys(wrong)
    assert f"1 of 1 API key cannot be opened with VAULT_PRIVATE_KEYS (numbers {row.id})" in capsys.readouterr().err
    assert "Paste it again" in alice.sign_in().client.get("/profile").text
    assert sealed_bytes() == before
    right = os.environ["VAULT_PRIVATE_KEYS"]
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", generate_private_key(1))
    found = findings(run, code=1)
    assert found["vault"]["state"] == "bad" and "version 1 does not open" in found["vault"]["says"]
    assert found["API keys"]["state"] == "bad"
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", right)
    warn_about_unopenable_keys(vault)  # it was found again
    assert capsys.readouterr().err == ""
    assert "Paste it again" not in alice.client.get("/profile").text
    assert opened(vault) == {row.id: key_of(1)}


def test_once_every_key_was_entered_again_the_lost_vault_key_is_forgotten(
    run: Run, app: Flask, alice: Person, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = alice.add_key("openai", key_of(1))
    fresh = generate_private_key(1)  # the same number by mistake
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", fresh)
    seal_with(app, Keyring(fresh).public)
    rotation.save_known_answer(PublicKey(Keyring(fresh).public), clock.utc_now())
    db.session.commit()
    warn_about_unopenable_keys(Keyring(fresh))
    assert "cannot be opened" in capsys.readouterr().err
    credentials.replace(row, "openai", ApiKey(key_of(2)), PublicKey(Keyring(fresh).public), clock.utc_now())
    db.session.commit()
    assert findings(run, code=1)["vault"]["state"] == "bad"
    warn_about_unopenable_keys(Keyring(fresh))
    assert capsys.readouterr().err == ""
    assert findings(run, code=1)["vault"]["state"] == "good"
    assert opened(Keyring(fresh)) == {row.id: key_of(2)}


def test_the_known_answer_is_kept_at_set_up_and_opens_with_the_right_key_only(app: Flask, vault: Keyring) -> None:
    (answer,) = rotation.load_known_answers()
    assert key_rotation.opens_known_answer(vault, answer)
    assert not key_rotation.opens_known_answer(Keyring(generate_private_key(1)), answer)
    with pytest.raises(UnsealError):
        vault.open(answer.sealed, answer.version, dataclasses.replace(answer.owner, user_id=1))
