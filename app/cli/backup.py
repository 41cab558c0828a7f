"""A backup: one compressed file with the database as of one moment, and a manifest that says what it must hold.

SQLite is copied by itself (`VACUUM INTO`), PostgreSQL by its own pg_dump, pg_restore and psql, which have to be on the
PATH. Vault private keys and the session secret are not in the database, and so in no backup.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import psycopg
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from app import config
from app.extensions import db
from app.hardening import die_with_parent
from app.store import rotation
from app.store.engine import diagnostics, dump
from app.store.engine.dump import DatabaseState, DumpedKey
from app.vault import Keyring, SealContext, UnsealError

FORMAT = 1
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1_000_000
_CHUNK = 1024 * 1024
_PARTIAL = ".modelsync-backup-"
_NOTE = "last_backup.json"
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY")


class BackupError(Exception):
    """A backup cannot be made, read or restored. Its text is a sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    database: str
    """sqlite or postgresql."""
    server: str
    """What it was copied from, as "SQLite 3.45.1"."""
    modelsync: str
    revision: str
    created_at: str
    rows: dict[str, int]
    """Table → rows."""
    vault_versions: dict[str, int]
    """Version of the vault key → API keys that it seals: what is needed to open them."""
    member: str
    """Name of the file within the backup that holds the database."""
    size: int
    sha256: str
    format: int = FORMAT


@dataclass(slots=True)
class Verified:
    """What a look at a backup found."""

    manifest: Manifest
    opened: int = 0
    shut: list[int] = field(default_factory=list)
    """Numbers of the API keys that do not open with the private keys at hand."""
    tried: bool = False
    """Whether there were private keys to try them with."""


# ------------------------------------------------------------------ create


def create(target: Path) -> Manifest:
    """Back the database up to `target`, which must not exist. Raises BackupError.

    The file is there whole or not at all, wherever this is killed.
    """
    if target.exists():
        raise BackupError(f"{target} exists already: name another file, or take it away.")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _workshop(target.parent) as folder:
            manifest = _copied(folder)
            packed = folder / "packed"
            _pack(packed, manifest, folder / manifest.member)
            if target.exists():
                raise BackupError(f"{target} was made by another meanwhile: name another file.")
            os.replace(packed, target)
            _sync_folder(target.parent)
    except OSError as error:
        raise BackupError(f"The backup cannot be written to {target.parent} ({error.strerror}).") from None
    note_last(target, manifest.created_at)
    return manifest


def _copied(folder: Path) -> Manifest:
    """The database as a file in `folder`, and what is in it."""
    server, versions = diagnostics.database_version(), rotation.count_by_version()
    db.session.rollback()
    if db.engine.dialect.name == "sqlite":
        member = "database.sqlite"
        dump.copy_sqlite(folder / member)
        found = dump.inspect_sqlite(folder / member)
    else:
        member = "database.dump"
        with dump.export_snapshot() as (name, found):
            arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={name}"]
            _run("pg_dump", [*arguments, f"--file={folder / member}"], connects=True)
    if not found.revision:
        raise BackupError("This database holds nothing yet: there is nothing to back up.")
    return Manifest(
        database=db.engine.dialect.name,
        server=server,
        modelsync=metadata.version("modelsync"),
        revision=found.revision,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=found.rows,
        vault_versions={str(version): count for version, count in versions.items()},
        member=member,
        size=(folder / member).stat().st_size,
        sha256=_digest(folder / member),
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
def _workshop(parent: Path) -> Iterator[Path]:
    """A folder for half-made files beside the target, so that the whole one only has to be renamed.

    What a killed process left behind is taken away by the next: its lock went with it.
    """
    for left in parent.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(OSError), (left / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=parent))
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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------ the last one


def note_last(target: Path, created_at: str) -> None:
    """Note in the instance folder that a backup was made, for `flask doctor`."""
    instance = config.current().instance
    with contextlib.suppress(OSError):  # the backup is made; only its age will not be told
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=instance, delete=False) as file:
            json.dump({"created_at": created_at, "file": str(target)}, file)
        os.replace(file.name, instance / _NOTE)


def last() -> tuple[datetime, str] | None:
    """When the last backup was made on this machine, and its file; None if none was."""
    try:
        noted = json.loads((config.current().instance / _NOTE).read_text(encoding="utf-8"))
        return datetime.fromisoformat(noted["created_at"]), str(noted["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ------------------------------------------------------------------ verify


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[tuple[Manifest, Path]]:
    """A backup's manifest and the database in it, as a file whose checksum is right. Raises BackupError."""
    with tempfile.TemporaryDirectory(prefix="modelsync-") as folder:
        copy = Path(folder) / "copy"
        try:
            with zipfile.ZipFile(path) as packed:
                manifest = _manifest(packed)
                with packed.open(manifest.member) as source, copy.open("xb") as target:
                    digest = _copy(source, target, manifest.size)
        except FileNotFoundError:
            raise BackupError(f"There is no file {path}.") from None
        except OSError as error:
            raise BackupError(f"{path} cannot be read or unpacked ({error.strerror or error}).") from None
        # RuntimeError is how zipfile refuses what is encrypted, or packed in a way it does not know.
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError):
            raise BackupError(f"{path} is damaged, or no backup of Modelsync: take another.") from None
        if digest != manifest.sha256:
            raise BackupError(f"{path} is damaged: its checksum is not that of its manifest. Take another.")
        yield manifest, copy


def _manifest(packed: zipfile.ZipFile) -> Manifest:
    if packed.getinfo(_MANIFEST).file_size > _LARGEST_MANIFEST:
        raise BackupError("This is no backup of Modelsync: its manifest is too long.")
    try:
        manifest = Manifest(**json.loads(packed.read(_MANIFEST)))
    except (ValueError, TypeError):
        raise BackupError("This backup's manifest cannot be read: a newer Modelsync may have made it.") from None
    if manifest.format != FORMAT or manifest.database not in ("sqlite", "postgresql"):
        raise BackupError("This backup was made by a newer Modelsync: update this copy.")
    return manifest


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> str:
    """Its SHA-256. No more than `size` bytes are written: a file may unpack to more than a disk holds."""
    digest, left = hashlib.sha256(), size
    while left > 0 and (chunk := source.read(min(_CHUNK, left))):
        digest.update(chunk)
        target.write(chunk)
        left -= len(chunk)
    return "" if left or source.read(1) else digest.hexdigest()


def verify(path: Path, vault: Keyring | None) -> Verified:
    """See that a backup is whole, opens, and holds what its manifest says; with private keys, that API keys open too.

    Raises BackupError.
    """
    with unpacked(path) as (manifest, copy):
        return look_into(manifest, copy, vault)


def look_into(manifest: Manifest, copy: Path, vault: Keyring | None) -> Verified:
    """As `verify`, of what is unpacked already."""
    found, keys = _from_sqlite(copy) if manifest.database == "sqlite" else _from_dump(copy)
    if found != DatabaseState(manifest.revision, manifest.rows):
        raise BackupError("This backup does not hold the rows that its manifest tells of: take another.")
    verified = Verified(manifest, tried=vault is not None)
    for key in keys if vault else ():
        if vault and _opens(vault, key):
            verified.opened += 1
        else:
            verified.shut.append(key.owner.credential_id)
    return verified


def _from_sqlite(copy: Path) -> tuple[DatabaseState, Iterator[DumpedKey]]:
    try:
        return dump.inspect_sqlite(copy), dump.iter_sqlite_keys(copy)
    except sqlite3.DatabaseError as error:
        raise BackupError(f"The database in this backup is damaged ({error}): take another.") from None


def _opens(vault: Keyring, key: DumpedKey) -> bool:
    try:
        vault.open(key.sealed, key.version, key.owner)
    except UnsealError:
        return False
    return True


def _from_dump(copy: Path) -> tuple[DatabaseState, Iterator[DumpedKey]]:
    """Read through all data of a dump, without a server."""
    rows: dict[str, int] = {}
    kept: dict[str, list[dict[str, str]]] = {"credentials": [], "providers": [], "alembic_version": []}
    with tempfile.TemporaryFile() as script:
        _run("pg_restore", ["--data-only", "--file=-", str(copy)], output=script)
        script.seek(0)
        for table, row in _copied_rows(script):
            rows[table] = rows.get(table, 0) + (row is not None)
            if row is not None and table in kept:
                wanted = ("id", "user_id", "provider_id", "slug", "vault_version", "sealed_key", "version_num")
                kept[table].append({name: row[name] for name in wanted if name in row})
    slugs = {row["id"]: row["slug"] for row in kept["providers"]}
    revision = next((row["version_num"] for row in kept["alembic_version"]), None)
    keys = (
        DumpedKey(
            SealContext(int(row["user_id"]), int(row["id"]), slugs[row["provider_id"]]),
            int(row["vault_version"]),
            bytes.fromhex(row["sealed_key"].removeprefix("\\\\x")),
        )
        for row in kept["credentials"]
        if row["sealed_key"] != "\\N"
    )
    return DatabaseState(revision, dict(sorted(rows.items()))), keys


def _copied_rows(script: IO[bytes]) -> Iterator[tuple[str, dict[str, str] | None]]:
    """(table, row) for each row of a dump's COPY blocks; (table, None) as a block begins, so that empty ones count."""
    table, columns = "", []
    for raw in script:
        line = raw.decode("utf-8").rstrip("\n")
        if not table:
            if line.startswith("COPY ") and line.endswith(" FROM stdin;"):
                name, _, listed = line[5 : -len(" FROM stdin;")].partition(" (")
                table = name.rpartition(".")[2].strip('"')
                columns = [column.strip('"') for column in listed.rstrip(")").split(", ")]
                yield table, None
        elif line == "\\.":
            table = ""
        else:
            yield table, dict(zip(columns, line.split("\t"), strict=True))


# ------------------------------------------------------------------ restore


def refuse_newer(manifest: Manifest) -> None:
    """Raises BackupError if this version does not know the backup's revision."""
    try:
        ScriptDirectory(str(config.ROOT / "migrations")).get_revision(manifest.revision)
    except CommandError:
        raise BackupError(
            f"This backup was made by a newer Modelsync ({manifest.modelsync}, revision {manifest.revision}): "
            "update this copy first."
        ) from None


def refuse_other_kind(manifest: Manifest) -> None:
    """Raises BackupError if the backup is of another kind of database."""
    kind, names = db.engine.dialect.name, {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    if manifest.database != kind:
        raise BackupError(
            f"This backup is of {names[manifest.database]}, and DATABASE_URL leads to {names[kind]}: "
            "restore it into a database of its own kind."
        )


def in_the_way() -> str:
    """What a restore would take away, as words; empty if there is nothing anyone would miss."""
    found = dump.load_state()
    users = found.rows.get("users", 0)
    foreign = [name for name in found.rows if name not in db.metadata.tables and name != "alembic_version"]
    said = [f"{users} accounts" if users != 1 else "one account"] if users else []
    return " and ".join(
        said + ([f"tables that this version does not know ({', '.join(foreign[:5])})"] if foreign else [])
    )


@contextlib.contextmanager
def stopped(instance: Path) -> Iterator[None]:
    """Keep `flask up` from running on this instance meanwhile. Raises BackupError if it does."""
    try:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (instance / "up.lock").open("a")
    except OSError as error:
        raise BackupError(f"The folder {instance} cannot be written ({error.strerror}).") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Modelsync is running on {instance}: stop it, then restore.") from None
        yield


def put_in_place(manifest: Manifest, copy: Path) -> None:
    """Replace the database by the copy, in one transaction. Raises BackupError; the database is then as it was."""
    if manifest.database == "sqlite":
        try:
            dump.restore_sqlite(copy)
        except sqlite3.Error as error:
            raise BackupError(f"The database cannot be written ({error}): see that nobody has it open.") from None
    else:
        _put_into_postgres(copy)
    if dump.load_state() != DatabaseState(manifest.revision, manifest.rows):
        raise BackupError(
            "What was restored is not what the backup holds: somebody else writes. Stop it, restore again."
        )


def _put_into_postgres(copy: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="modelsync-") as folder:
        first, then = Path(folder) / "clear.sql", Path(folder) / "restore.sql"
        first.write_text(dump.drop_statements(), encoding="utf-8")
        # Written out first: a pipe that broke midway would look like the end of it, and be committed.
        _run("pg_restore", ["--no-owner", "--no-privileges", f"--file={then}", str(copy)])
        db.session.remove()
        db.engine.dispose()
        arguments = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        _run("psql", [*arguments, f"--file={first}", f"--file={then}"], connects=True)


# ------------------------------------------------------------------ PostgreSQL's own programs


def _run(program: str, arguments: list[str], *, connects: bool = False, output: IO[bytes] | None = None) -> None:
    """Run one of them to its end. The password goes by its environment, which holds no secret of ours."""
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not on the PATH: install PostgreSQL's client programs (in Debian: postgresql-client), "
            "of the server's version or a later one."
        )
    place, secret = _place() if connects else ("", {})
    environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    done = subprocess.run(  # a program of PostgreSQL's, arguments of ours, no shell
        [path, *arguments, *([f"--dbname={place}"] if connects else [])],
        env={**environ, **secret},
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        preexec_fn=die_with_parent,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        told = next((line for line in said if "error" in line.lower() or "mismatch" in line), said[0])
        raise BackupError(f"{program} failed ({told.removeprefix(f'{program}: ')[:300]}).")


def _place() -> tuple[str, Mapping[str, str]]:
    """DATABASE_URL without its password, and the password apart."""
    _, parameters = db.engine.dialect.create_connect_args(db.engine.url)
    given: dict[str, Any] = dict(parameters)
    password = given.pop("password", None)
    known = {name: value for name, value in given.items() if isinstance(value, str | int) and name != "context"}
    return psycopg.conninfo.make_conninfo("", **known), {"PGPASSWORD": str(password)} if password else {}
