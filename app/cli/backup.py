"""Backups: one zip file with a consistent copy of the database and a manifest of its contents.

SQLite is copied with `VACUUM INTO`, PostgreSQL with pg_dump, pg_restore and psql, which must be on the PATH. Vault
private keys and the session secret are not in the database and therefore in no backup.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import IO

from app import clock, config
from app.cli.postgres_tools import BackupError, iter_copy_rows, run_tool
from app.extensions import db
from app.store import rotation
from app.store.engine import diagnostics, dump, migrations
from app.store.engine.dump import DatabaseState, DumpedKey
from app.sync import key_rotation
from app.vault import Keyring, SealContext

FORMAT = 1
_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 1_000_000
_CHUNK_BYTES = 1024 * 1024
_SCRATCH_PREFIX = ".modelsync-backup-"
_LAST_BACKUP = "last_backup.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    database: str
    """sqlite or postgresql."""
    server: str
    """Server version, like "SQLite 3.45.1"."""
    modelsync: str
    revision: str
    created_at: str
    rows: dict[str, int]
    """Table → rows."""
    vault_versions: dict[str, int]
    """Vault key version → number of API keys that it seals."""
    member: str
    """Name of the database file within the zip file."""
    size: int
    sha256: str
    format: int = FORMAT


@dataclass(slots=True)
class VerifyResult:
    """The result of verifying a backup."""

    manifest: Manifest
    opened: int = 0
    unopenable: list[int] = field(default_factory=list)
    """Ids of the API keys that do not open with the available private keys."""
    has_keyring: bool = False
    """Whether there were private keys to try the API keys with."""


# ------------------------------------------------------------------ create


def create(target: Path) -> Manifest:
    """Back the database up to `target`, which must not exist. Atomic, also if killed. Raises BackupError."""
    if target.exists():
        raise BackupError(f"{target} exists already: name another file, or take it away.")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _scratch_folder(target.parent) as folder:
            manifest = _dump_database(folder)
            packed = folder / "packed"
            _pack(packed, manifest, folder / manifest.member)
            if target.exists():
                raise BackupError(f"{target} was made by another meanwhile: name another file.")
            os.replace(packed, target)
            _sync_folder(target.parent)
    except OSError as error:
        raise BackupError(f"The backup cannot be written to {target.parent} ({error.strerror}).") from None
    record_last_backup(target, manifest.created_at)
    return manifest


def _dump_database(folder: Path) -> Manifest:
    """Copy the database to a file in `folder`; its manifest."""
    server, versions = diagnostics.database_version(), rotation.count_by_version()
    db.session.rollback()
    if db.engine.dialect.name == "sqlite":
        member = "database.sqlite"
        dump.copy_sqlite(folder / member)
        state = dump.inspect_sqlite(folder / member)
    else:
        member = "database.dump"
        with dump.export_snapshot() as (name, state):
            arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={name}"]
            run_tool("pg_dump", [*arguments, f"--file={folder / member}"], connects=True)
    if not state.revision:
        raise BackupError("This database holds nothing yet: there is nothing to back up.")
    return Manifest(
        database=db.engine.dialect.name,
        server=server,
        modelsync=metadata.version("modelsync"),
        revision=state.revision,
        created_at=clock.utc_now().isoformat(timespec="seconds"),
        rows=state.rows,
        vault_versions={str(version): count for version, count in versions.items()},
        member=member,
        size=(folder / member).stat().st_size,
        sha256=_sha256(folder / member),
    )


def _pack(target: Path, manifest: Manifest, copy: Path) -> None:
    with target.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")
            packed.write(copy, manifest.member)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _scratch_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder beside the target, so that the finished file only has to be renamed.

    Removes folders left behind by killed processes, whose locks are released.
    """
    for leftover in parent.glob(f"{_SCRATCH_PREFIX}*"):
        with contextlib.suppress(OSError), (leftover / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(leftover)
    folder = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=parent))
    try:
        with (folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------ last backup


def record_last_backup(target: Path, created_at: str) -> None:
    """Record the backup in the instance folder, for `flask doctor`."""
    instance = config.current().instance
    with contextlib.suppress(OSError):  # the backup itself succeeded
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=instance, delete=False) as file:
            json.dump({"created_at": created_at, "file": str(target)}, file)
        os.replace(file.name, instance / _LAST_BACKUP)


def last_backup() -> tuple[datetime, str] | None:
    """Time and path of the last backup made on this machine; None if there is none."""
    try:
        record = json.loads((config.current().instance / _LAST_BACKUP).read_text(encoding="utf-8"))
        return datetime.fromisoformat(record["created_at"]), str(record["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ------------------------------------------------------------------ verify


@contextlib.contextmanager
def unpack(path: Path) -> Iterator[tuple[Manifest, Path]]:
    """The manifest of a backup and its database as a temporary file with verified checksum. Raises BackupError."""
    with tempfile.TemporaryDirectory(prefix="modelsync-") as folder:
        copy = Path(folder) / "copy"
        try:
            with zipfile.ZipFile(path) as packed:
                manifest = _read_manifest(packed)
                with packed.open(manifest.member) as source, copy.open("xb") as target:
                    digest = _copy_bounded(source, target, manifest.size)
        except FileNotFoundError:
            raise BackupError(f"There is no file {path}.") from None
        except OSError as error:
            raise BackupError(f"{path} cannot be read or unpacked ({error.strerror or error}).") from None
        # RuntimeError: zipfile's error for encryption and unknown compression methods.
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError):
            raise BackupError(f"{path} is damaged, or no backup of Modelsync: take another.") from None
        if digest != manifest.sha256:
            raise BackupError(f"{path} is damaged: its checksum is not that of its manifest. Take another.")
        yield manifest, copy


def _read_manifest(packed: zipfile.ZipFile) -> Manifest:
    if packed.getinfo(_MANIFEST).file_size > _MAX_MANIFEST_BYTES:
        raise BackupError("This is no backup of Modelsync: its manifest is too long.")
    try:
        manifest = Manifest(**json.loads(packed.read(_MANIFEST)))
    except (ValueError, TypeError):
        raise BackupError("This backup's manifest cannot be read: a newer Modelsync may have made it.") from None
    if manifest.format != FORMAT or manifest.database not in ("sqlite", "postgresql"):
        raise BackupError("This backup was made by a newer Modelsync: update this copy.")
    return manifest


def _copy_bounded(source: IO[bytes], target: IO[bytes], size: int) -> str:
    """Copy at most `size` bytes (against zip bombs); their SHA-256, or "" if the source is not exactly that long."""
    digest, remaining = hashlib.sha256(), size
    while remaining > 0 and (chunk := source.read(min(_CHUNK_BYTES, remaining))):
        digest.update(chunk)
        target.write(chunk)
        remaining -= len(chunk)
    return "" if remaining or source.read(1) else digest.hexdigest()


def verify(path: Path, keyring: Keyring | None) -> VerifyResult:
    """Check that a backup is intact and holds what its manifest says; with a keyring, also try its API keys.

    Raises BackupError.
    """
    with unpack(path) as (manifest, copy):
        return verify_unpacked(manifest, copy, keyring)


def verify_unpacked(manifest: Manifest, copy: Path, keyring: Keyring | None) -> VerifyResult:
    """As `verify`, for an unpacked backup."""
    state, keys = _inspect_sqlite(copy) if manifest.database == "sqlite" else _inspect_dump(copy)
    if state != DatabaseState(manifest.revision, manifest.rows):
        raise BackupError("This backup does not hold the rows that its manifest tells of: take another.")
    result = VerifyResult(manifest, has_keyring=keyring is not None)
    for key in keys if keyring else ():
        if keyring and key_rotation.can_open(keyring, key):
            result.opened += 1
        else:
            result.unopenable.append(key.owner.credential_id)
    return result


def _inspect_sqlite(copy: Path) -> tuple[DatabaseState, Iterator[DumpedKey]]:
    try:
        return dump.inspect_sqlite(copy), dump.iter_sqlite_keys(copy)
    except sqlite3.DatabaseError as error:
        raise BackupError(f"The database in this backup is damaged ({error}): take another.") from None


def _inspect_dump(copy: Path) -> tuple[DatabaseState, Iterator[DumpedKey]]:
    """Rows and sealed keys of a dump, read without a server."""
    rows: dict[str, int] = {}
    tables: dict[str, list[dict[str, str]]] = {"credentials": [], "providers": [], "alembic_version": []}
    with tempfile.TemporaryFile() as script:
        run_tool("pg_restore", ["--data-only", "--file=-", str(copy)], output=script)
        script.seek(0)
        for table, row in iter_copy_rows(script):
            rows[table] = rows.get(table, 0) + (row is not None)
            if row is not None and table in tables:
                columns = ("id", "user_id", "provider_id", "slug", "vault_version", "sealed_key", "version_num")
                tables[table].append({name: row[name] for name in columns if name in row})
    slugs = {row["id"]: row["slug"] for row in tables["providers"]}
    revision = next((row["version_num"] for row in tables["alembic_version"]), None)
    keys = (
        DumpedKey(
            SealContext(int(row["user_id"]), int(row["id"]), slugs[row["provider_id"]]),
            int(row["vault_version"]),
            bytes.fromhex(row["sealed_key"].removeprefix("\\\\x")),
        )
        for row in tables["credentials"]
        if row["sealed_key"] != "\\N"
    )
    return DatabaseState(revision, dict(sorted(rows.items()))), keys


# ------------------------------------------------------------------ restore


def check_revision(manifest: Manifest) -> None:
    """Raises BackupError if the backup has a revision that this version does not know."""
    if manifest.revision not in migrations.code_revisions():
        raise BackupError(
            f"This backup was made by a newer Modelsync ({manifest.modelsync}, revision {manifest.revision}): "
            "update this copy first."
        )


def check_dialect(manifest: Manifest) -> None:
    """Raises BackupError if the backup is of another database system than the one in use."""
    kind, names = db.engine.dialect.name, {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    if manifest.database != kind:
        raise BackupError(
            f"This backup is of {names[manifest.database]}, and DATABASE_URL leads to {names[kind]}: "
            "restore it into a database of its own kind."
        )


def describe_existing_data() -> str:
    """What a restore would replace, in words; empty if there are no accounts and no unknown tables."""
    state = dump.load_state()
    users = state.rows.get("users", 0)
    unknown = [name for name in state.rows if name not in db.metadata.tables and name != "alembic_version"]
    parts = [f"{users} accounts" if users != 1 else "one account"] if users else []
    return " and ".join(
        parts + ([f"tables that this version does not know ({', '.join(unknown[:5])})"] if unknown else [])
    )


def replace_database(manifest: Manifest, copy: Path) -> None:
    """Replace the database by the copy, in one transaction. Raises BackupError, which leaves the database unchanged."""
    if manifest.database == "sqlite":
        try:
            dump.restore_sqlite(copy)
        except sqlite3.Error as error:
            raise BackupError(f"The database cannot be written ({error}): see that nobody has it open.") from None
    else:
        _restore_postgres(copy)
    if dump.load_state() != DatabaseState(manifest.revision, manifest.rows):
        raise BackupError(
            "What was restored is not what the backup holds: somebody else writes. Stop it, restore again."
        )


def _restore_postgres(copy: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="modelsync-") as folder:
        clear_script, restore_script = Path(folder) / "clear.sql", Path(folder) / "restore.sql"
        clear_script.write_text(dump.drop_statements(), encoding="utf-8")
        # A file, not a pipe: psql would commit a truncated stream as if it were complete.
        run_tool("pg_restore", ["--no-owner", "--no-privileges", f"--file={restore_script}", str(copy)])
        db.session.remove()
        db.engine.dispose()
        arguments = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        run_tool("psql", [*arguments, f"--file={clear_script}", f"--file={restore_script}"], connects=True)
