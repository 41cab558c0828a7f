"""`flask backup`: created atomically while everything runs, verified, rejected where it does not fit, restored."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import stat
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import delete, func, select, text

from app import clock, config, create_app
from app.cli import backup
from app.demo.simulator import Simulator
from app.extensions import db
from app.jobs import queues
from app.store.accounts import users
from app.store.accounts.sessions import SessionRow
from app.store.engine import dump
from app.store.schema.tables import CredentialRow, ModelRow, RunRow, UserRow
from app.sync.run import SyncContext
from app.vault import generate_private_key
from tests.cli.shell import Run, read_output
from tests.cli.shell import run as run  # the fixture
from tests.cli.test_doctor import findings
from tests.conftest import PASSWORD, Person, both_databases
from tests.sync.test_run import synced
from tests.web.worker import worker_present

KEY = "sk-good-key-of-a-backup-7c1d"


@pytest.fixture(autouse=True)
def _require_client_programs(database_url: str) -> None:
    """PostgreSQL's tests need its client programs: skip without them, or fail if everything is to be tested."""
    everything = os.environ.get("MODELSYNC_TEST_EVERYTHING") == "1"
    if database_url.startswith("postgresql") and not shutil.which("pg_dump") and not everything:
        pytest.skip("there is no pg_dump")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / "modelsync.zip"


def delete_everything() -> None:
    for row in (RunRow, CredentialRow, UserRow):
        db.session.execute(delete(row))
    db.session.commit()


def read_manifest(file: Path) -> Any:
    with zipfile.ZipFile(file) as packed:
        return json.loads(packed.read("manifest.json"))


def rewrite_manifest(file: Path, **changes: Any) -> Path:
    """A copy of the backup with a changed manifest."""
    other = file.with_name(f"other-{file.name}")
    with zipfile.ZipFile(file) as packed, zipfile.ZipFile(other, "w") as target:
        target.writestr("manifest.json", json.dumps(read_manifest(file) | changes))
        member = read_manifest(file)["member"]
        target.writestr(member, packed.read(member))
    return other


# ------------------------------------------------------------------ a round trip


@both_databases
def test_after_a_restore_a_user_signs_in_and_syncs(
    run: Run, app: Flask, alice: Person, means: SyncContext, file: Path, simulator: Simulator
) -> None:
    alice.add_key("openai", KEY)
    synced(alice, means)
    models = db.session.scalar(select(func.count()).select_from(ModelRow))
    told = read_output(run("backup", "create", str(file)))
    assert told.startswith("Backed up 2 accounts, 1 sealed API key and ")
    assert "neither VAULT_PRIVATE_KEYS (in the environment) nor SECRET_KEY" in told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "1 API key, all open with VAULT_PRIVATE_KEYS." in read_output(run("backup", "verify", str(file)))
    delete_everything()
    assert "Restored 2 accounts, 1 sealed API key" in read_output(run("backup", "restore", str(file)))
    back = users.find_by_email("alice@example.com")
    assert back and back.id == alice.id
    again = Person(back, app, alice.public_key).sign_in()
    assert "OpenAI" in again.client.get("/profile").text
    assert db.session.scalar(select(func.count()).select_from(ModelRow)) == models
    db.session.rollback()
    run_row = synced(again, means)
    assert run_row.results[0].outcome == "unchanged"
    assert simulator.requests("openai")[-1].headers["authorization"] == f"Bearer {KEY}"


@both_databases
def test_a_restore_ends_all_sessions_and_says_what_counts_again(
    run: Run, app: Flask, alice: Person, carol: Person, file: Path
) -> None:
    stolen = alice.sign_in().client
    assert run("backup", "create", str(file)).exit_code == 0
    users.end_sessions(alice.row)  # as a password change or an admin does
    db.session.commit()
    assert stolen.get("/profile").status_code == 303
    told = read_output(run("backup", "restore", str(file), "--yes"))
    assert "Everybody has to sign in again." in told and "SECRET_KEY" not in told
    assert "personal tokens and feed addresses, which count again if they were revoked since" in told
    assert stolen.get("/profile").status_code == 303
    assert db.session.scalar(select(func.count()).select_from(SessionRow)) == 0
    db.session.rollback()
    again = users.find_by_email("alice@example.com")
    assert again is not None
    assert Person(again, app, alice.public_key).sign_in().client.get("/profile").status_code == 200


@both_databases
def test_a_backup_made_while_people_write_is_of_one_moment(run: Run, app: Flask, alice: Person, file: Path) -> None:
    over = threading.Event()

    def write_on() -> None:
        """Two rows in one transaction: a consistent copy has both or neither."""
        with app.app_context():
            for number in range(10_000):
                if over.is_set():
                    return
                for half in ("a", "b"):
                    users.create(f"{half}{number}@example.com", "x", datetime.now(UTC))
                db.session.commit()

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        for number in range(3):
            assert run("backup", "create", str(file.with_name(f"{number}.zip"))).exit_code == 0
    finally:
        over.set()
        writer.join(30)
    for number in range(3):
        path = file.with_name(f"{number}.zip")
        assert run("backup", "verify", str(path)).exit_code == 0
        assert read_manifest(path)["rows"]["users"] % 2 == 0  # carol, alice, and pairs


@both_databases
def test_what_is_secret_is_not_in_a_backup(run: Run, app: Flask, alice: Person, file: Path, tmp_path: Path) -> None:
    alice.add_key("openai", KEY)
    assert run("backup", "create", str(file)).exit_code == 0
    secrets = [KEY, PASSWORD, os.environ["VAULT_PRIVATE_KEYS"].partition(":")[2][:40], app.config["SECRET_KEY"]]
    with zipfile.ZipFile(file) as packed:
        held = b"".join(packed.read(name) for name in packed.namelist())
    held += file.read_bytes()
    assert not [secret for secret in secrets if secret.encode() in held]
    assert "sealed_key" in held.decode("latin-1")


# ------------------------------------------------------------------ create


def test_without_a_name_it_goes_into_the_instance_folder_and_its_age_is_told(
    run: Run, app: Flask, alice: Person, tmp_path: Path
) -> None:
    assert "backup" not in findings(run, code=1)
    data = json.loads(run("backup", "create", "--json").output)
    path = Path(data["file"])
    assert path.parent == tmp_path / "backups" and path.is_file()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert findings(run, code=1)["backup"]["state"] == "good"
    backup.record_last_backup(path, (datetime.now(UTC) - timedelta(days=9)).isoformat())
    found = findings(run, code=1)["backup"]
    assert found["state"] == "warn" and "9 days ago" in found["says"] and "flask backup create" in found["remedy"]


def test_a_file_that_exists_is_not_written_over(run: Run, alice: Person, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("mine")
    assert "exists already" in read_output(run("backup", "create", str(file)), code=1)
    assert file.read_text() == "mine"


def test_where_nothing_can_be_written_is_a_sentence(run: Run, alice: Person, file: Path) -> None:
    file.parent.write_text("a file where a folder should be")
    assert "The backup cannot be written to" in read_output(run("backup", "create", str(file)), code=1)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgres
@pytest.mark.skipif(not os.environ.get("MODELSYNC_TEST_DATABASE_URL"), reason="MODELSYNC_TEST_DATABASE_URL is not set")
def test_without_postgresqls_programs_it_is_a_sentence(
    run: Run, alice: Person, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("backup", "create", str(file)).exit_code == 0
    monkeypatch.setenv("PATH", "/nowhere")
    other = file.with_name("other.zip")
    assert "pg_dump is not on the PATH: install" in read_output(run("backup", "create", str(other)), code=1)
    assert "pg_restore is not on the PATH" in read_output(run("backup", "verify", str(file)), code=1)
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgres
@pytest.mark.skipif(not os.environ.get("MODELSYNC_TEST_DATABASE_URL"), reason="MODELSYNC_TEST_DATABASE_URL is not set")
def test_the_databases_password_is_on_no_command_line(
    run: Run, alice: Person, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\nenv >> {tmp_path}/held\nexit 3\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(type(db.engine.dialect), "create_connect_args", _connect_args_with_password)
    assert "pg_dump failed (exit code 3)" in read_output(run("backup", "create", str(file)), code=1)
    assert "s3cret" not in (tmp_path / "said").read_text() and "host=" in (tmp_path / "said").read_text()
    held = (tmp_path / "held").read_text()
    assert "PGPASSWORD=s3cret" in held and "VAULT_PRIVATE_KEYS" not in held
    assert not file.exists()


def _connect_args_with_password(_self: Any, _url: Any) -> tuple[list[Any], dict[str, Any]]:
    return [], {"host": "127.0.0.1", "dbname": "x", "user": "root", "password": "s3cret"}


KILL_POINTS = ["_pack", "_sync_folder", "_sha256"]


def create_until_killed(settings: config.Settings, target: Path, moment: str) -> None:
    real = getattr(backup, moment)

    def deadly(*args: Any) -> Any:
        if moment != "_sync_folder":
            real(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(backup, moment, deadly)
    with create_app(settings).app_context():
        backup.create(target)


@both_databases
@pytest.mark.parametrize("moment", KILL_POINTS)
def test_killed_while_it_is_made_it_leaves_a_whole_file_or_none(
    moment: str, run: Run, alice: Person, settings: config.Settings, file: Path
) -> None:
    alice.add_key("openai", KEY)
    db.session.remove()
    db.engine.dispose()  # connections must not be shared across the fork
    process = multiprocessing.get_context("fork").Process(target=create_until_killed, args=(settings, file, moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert file.exists() == (moment == "_sync_folder")  # already renamed
    if file.exists():
        assert run("backup", "verify", str(file)).exit_code == 0
    other = file.with_name("next.zip")
    assert run("backup", "create", str(other)).exit_code == 0
    assert {path.name for path in file.parent.iterdir()} <= {file.name, other.name}  # leftovers are removed


# ------------------------------------------------------------------ verify


@both_databases
def test_a_backup_with_any_part_changed_is_refused(run: Run, alice: Person, file: Path) -> None:
    alice.add_key("openai", KEY)
    assert run("backup", "create", str(file)).exit_code == 0
    whole = file.read_bytes()
    places = [0, 60, *range(200, len(whole), len(whole) // 17), len(whole) - 30]
    unnoticed = []
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        result = run("backup", "verify", str(file))
        if result.exit_code == 0:
            unnoticed.append(place)
    # Some bytes of a zip file are redundant or irrelevant, such as times; bytes of the data never are.
    assert len(unnoticed) <= 2, unnoticed
    file.write_bytes(whole[: len(whole) // 2])
    assert "damaged, or no backup" in read_output(run("backup", "verify", str(file)), code=1)


def test_what_is_no_backup_is_a_sentence(run: Run, alice: Person, file: Path, tmp_path: Path) -> None:
    assert "There is no file" in read_output(run("backup", "verify", str(file)), code=1)
    other = tmp_path / "text.zip"
    other.write_text("hello")
    assert "damaged, or no backup" in read_output(run("backup", "verify", str(other)), code=1)
    with zipfile.ZipFile(other, "w") as packed:
        packed.writestr("something", "else")
    assert "damaged, or no backup" in read_output(run("backup", "verify", str(other)), code=1)
    assert run("backup", "create", str(file)).exit_code == 0
    assert "newer Modelsync" in read_output(run("backup", "verify", str(rewrite_manifest(file, format=2))), code=1)
    assert "rows" in read_output(run("backup", "verify", str(rewrite_manifest(file, rows={"users": 5}))), code=1)
    assert "checksum" in read_output(run("backup", "verify", str(rewrite_manifest(file, sha256="0" * 64))), code=1)
    assert "checksum" in read_output(run("backup", "verify", str(rewrite_manifest(file, size=10))), code=1)


@pytest.mark.parametrize(("place", "value"), [(8, 1), (10, 99)], ids=["encrypted", "packed in an unknown way"])
def test_a_zip_that_cannot_be_unpacked_is_a_sentence(
    run: Run, alice: Person, file: Path, place: int, value: int
) -> None:
    assert run("backup", "create", str(file)).exit_code == 0
    entry = b"PK\x01\x02"  # central directory entry: flags at offset 8, compression at 10
    parts = file.read_bytes().split(entry)
    changed = [parts[0], *(part[: place - 4] + bytes([value]) + part[place - 3 :] for part in parts[1:])]
    file.write_bytes(entry.join(changed))
    assert "damaged, or no backup" in read_output(run("backup", "verify", str(file)), code=1)


@both_databases
def test_keys_that_the_private_keys_at_hand_do_not_open_are_told(
    run: Run, alice: Person, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = alice.add_key("openai", KEY)
    assert run("backup", "create", str(file)).exit_code == 0
    monkeypatch.setenv("VAULT_PRIVATE_KEYS", generate_private_key())
    assert f"1 of 1 API key do not open with VAULT_PRIVATE_KEYS (numbers {row.id})" in read_output(
        run("backup", "verify", str(file)), code=1
    )
    monkeypatch.delenv("VAULT_PRIVATE_KEYS")
    assert "were not tried: VAULT_PRIVATE_KEYS is not here (versions needed: 1)" in read_output(
        run("backup", "verify", str(file))
    )


# ------------------------------------------------------------------ restore


@both_databases
def test_what_somebody_would_miss_is_replaced_only_when_told_so(run: Run, alice: Person, file: Path) -> None:
    assert run("backup", "create", str(file)).exit_code == 0
    db.session.execute(text("UPDATE users SET email = 'alice@new.example' WHERE email = 'alice@example.com'"))
    db.session.execute(text("CREATE TABLE of_a_newer_version (user_id INTEGER REFERENCES users (id))"))
    db.session.commit()
    told = read_output(run("backup", "restore", str(file)), code=1)
    assert (
        "holds 2 accounts and tables that this version does not know (of_a_newer_version)" in told and "--yes" in told
    )
    assert users.find_by_email("alice@new.example")
    db.session.rollback()
    assert run("backup", "restore", str(file), "--yes").exit_code == 0
    assert users.find_by_email("alice@example.com") and not users.find_by_email("alice@new.example")
    assert "of_a_newer_version" not in dump.load_state().rows


@both_databases
def test_a_restore_that_fails_midway_leaves_the_database_as_it_was(
    run: Run, alice: Person, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("backup", "create", str(file)).exit_code == 0
    before = dump.load_state()
    if db.engine.dialect.name == "sqlite":
        monkeypatch.setattr(dump, "_LOCK_TIMEOUT_S", 0.5)
        with _lock_database(db.engine.url.database or ""):
            assert "cannot be written" in read_output(run("backup", "restore", str(file), "--yes"), code=1)
    else:
        # Everything is dropped and restored, then the last statement fails.
        real = backup.run_tool

        def broken(program: str, arguments: list[str], **options: Any) -> None:
            if program == "psql":
                script = Path(arguments[-1].partition("=")[2])
                script.write_text(script.read_text(encoding="utf-8") + "\nSELECT 1/0;\n", encoding="utf-8")
            real(program, arguments, **options)

        monkeypatch.setattr(backup, "run_tool", broken)
        assert "psql failed" in read_output(run("backup", "restore", str(file), "--yes"), code=1)
    assert dump.load_state() == before


def restore_until_killed(settings: config.Settings, file: Path) -> None:
    """Die after part of it is written; on PostgreSQL wait there until the test kills this process."""
    real_run, real_look = backup.run_tool, dump.time.monotonic

    def slow(program: str, arguments: list[str], **options: Any) -> None:
        if program == "psql":
            script = Path(arguments[-1].partition("=")[2])
            script.write_text(script.read_text(encoding="utf-8") + "\nSELECT pg_sleep(8);\n", encoding="utf-8")
        real_run(program, arguments, **options)

    looks = iter([real_look()])  # one at the start; the next follows the first pages

    def look() -> float:
        moment = next(looks, None)
        if moment is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return moment or 0.0

    backup.run_tool = slow
    dump.time = SimpleNamespace(monotonic=look)  # type: ignore[assignment]
    with create_app(settings).app_context(), backup.unpack(file) as (manifest, copy):
        backup.replace_database(manifest, copy)


@both_databases
def test_a_restore_that_is_killed_midway_leaves_the_database_as_it_was(
    run: Run, alice: Person, settings: config.Settings, file: Path, until: Any
) -> None:
    assert run("backup", "create", str(file)).exit_code == 0
    bob = users.create("later@example.com", "x", datetime.now(UTC))
    db.session.commit()
    assert bob
    before = dump.load_state()
    db.session.remove()
    db.engine.dispose()  # connections must not be shared across the fork
    process = multiprocessing.get_context("fork").Process(target=restore_until_killed, args=(settings, file))
    process.start()
    if db.engine.dialect.name == "postgresql":
        until(_is_asleep, 30)
        process.kill()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert dump.load_state() == before
    assert run("backup", "restore", str(file), "--yes").exit_code == 0
    assert not users.find_by_email("later@example.com")


def _is_asleep() -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' AND datname = "
    with db.engine.connect() as connection:
        found = connection.scalar(text(query + "current_database() AND wait_event = 'PgSleep'"))
    return bool(found)


@contextlib.contextmanager
def _lock_database(path: str) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_backup_of_a_newer_version_or_of_another_database_is_refused(run: Run, alice: Person, file: Path) -> None:
    assert run("backup", "create", str(file)).exit_code == 0
    newer = rewrite_manifest(file, revision="9999", modelsync="9.9.9")
    assert "made by a newer Modelsync (9.9.9, revision 9999)" in read_output(
        run("backup", "restore", str(newer)), code=1
    )
    other = rewrite_manifest(file, database="postgresql")
    assert "This backup is of PostgreSQL, and DATABASE_URL leads to SQLite" in read_output(
        run("backup", "restore", str(other)), code=1
    )
    assert users.find_by_email("alice@example.com")


def test_a_backup_of_an_older_version_is_brought_to_this_one(run: Run, app: Flask, alice: Person, file: Path) -> None:
    directory = str(config.ROOT / "migrations")
    db.session.commit()
    flask_migrate.downgrade(directory, revision="0007")
    assert run("backup", "create", str(file)).exit_code == 0  # does not migrate: backups are made before an update
    assert read_manifest(file)["revision"] == "0007" == dump.load_state().revision
    flask_migrate.upgrade(directory)
    head = dump.load_state().revision
    assert run("backup", "restore", str(file), "--yes").exit_code == 0
    assert dump.load_state().revision == head != "0007"
    assert users.find_by_email("alice@example.com")


def test_nothing_is_restored_while_modelsync_runs(run: Run, app: Flask, alice: Person, file: Path) -> None:
    assert run("backup", "create", str(file)).exit_code == 0
    with (config.current().instance / "up.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "Modelsync is running on" in read_output(run("backup", "restore", str(file), "--yes"), code=1)
    with worker_present(app):
        assert queues.count_live_workers()
        assert "Workers are running: stop them" in read_output(run("backup", "restore", str(file), "--yes"), code=1)
    assert run("backup", "restore", str(file), "--yes").exit_code == 0


def test_a_backup_is_restored_onto_a_machine_that_has_nothing_yet(
    run: Run, alice: Person, file: Path, settings: config.Settings, tmp_path: Path
) -> None:
    alice.add_key("openai", KEY)
    assert run("backup", "create", str(file)).exit_code == 0
    fresh = tmp_path / "fresh"
    app = create_app(dataclasses.replace(settings, instance=fresh, database_url=f"sqlite:///{fresh}/modelsync.sqlite"))
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["backup", "restore", str(file)])
        assert result.exit_code == 0, result.output
        assert users.find_by_email("alice@example.com")
        assert clock.utc_now() and db.session.scalar(select(func.count()).select_from(CredentialRow)) == 1
        db.session.remove()
        db.engine.dispose()
    assert not (fresh / "vault_private_keys").exists()
