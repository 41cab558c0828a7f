"""Backup and restore of the whole database: a consistent copy while it is in use, and a copy put in its place."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, quoted_name, text

from app.extensions import db
from app.vault import SealContext

_LOCK_TIMEOUT_S = 30.0
"""How long a restore waits for other connections, seconds."""
_PAGES_PER_STEP = 100
"""Pages copied between two checks of the deadline; the restore commits after the last."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """Contents of a database or of a dump."""

    revision: str | None
    rows: dict[str, int]
    """Table → row count."""


@dataclass(frozen=True, slots=True)
class DumpedKey:
    """A sealed API key in a dump."""

    owner: SealContext
    version: int
    sealed: bytes


def load_state() -> DatabaseState:
    """State of the database in use, at any schema revision; empty for an empty database."""
    with db.engine.connect() as connection:
        return _load_state(connection)


@contextlib.contextmanager
def export_snapshot() -> Iterator[tuple[str, DatabaseState]]:
    """PostgreSQL: id of a snapshot that other connections can import while the context is open, and its state."""
    with db.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        name = str(connection.scalar(text("SELECT pg_export_snapshot()")))
        yield name, _load_state(connection)


def _load_state(connection: Connection) -> DatabaseState:
    inspector, preparer = inspect(connection), connection.dialect.identifier_preparer
    revision = MigrationContext.configure(connection).get_current_revision()
    rows = {}
    for table in sorted(inspector.get_table_names()):
        name = preparer.quote(quoted_name(table, quote=True))
        rows[table] = int(connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0)  # noqa: S608  # quoted table name
    return DatabaseState(revision, rows)


def copy_sqlite(target: Path) -> None:
    """Write a consistent copy while the database is in use; it holds no remains of deleted rows."""
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM INTO :target"), {"target": str(target)})


def inspect_sqlite(path: Path) -> DatabaseState:
    """State of a dump. Raises sqlite3.DatabaseError if it is damaged."""
    with contextlib.closing(_open_read_only(path)) as connection:
        if (result := connection.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(result)
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) != 'sqlite_' ORDER BY name"
        ).fetchall()
        rows = {}
        for (name,) in tables:
            quoted = '"' + name.replace('"', '""') + '"'
            rows[name] = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0]  # noqa: S608  # quoted above
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return DatabaseState(revision and revision[0], rows)


def iter_sqlite_keys(path: Path) -> Iterator[DumpedKey]:
    with contextlib.closing(_open_read_only(path)) as connection:
        query = (
            "SELECT c.id, c.user_id, p.slug, c.vault_version, c.sealed_key FROM credentials c "
            "JOIN providers p ON p.id = c.provider_id WHERE c.sealed_key IS NOT NULL ORDER BY c.id"
        )
        for credential_id, user_id, slug, version, sealed in connection.execute(query):
            yield DumpedKey(SealContext(user_id, credential_id, slug), version, sealed)


def restore_sqlite(copy: Path) -> None:
    """Replace the database by a dump, in one transaction: if killed, the database stays as it was.

    Raises sqlite3.OperationalError if it stays locked for longer than the timeout.
    """
    db.session.remove()
    db.engine.dispose()
    deadline = time.monotonic() + _LOCK_TIMEOUT_S

    def wait(_status: int, _left: int, _total: int) -> None:
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("database is locked")

    with contextlib.closing(db.engine.raw_connection()) as pooled, contextlib.closing(_open_read_only(copy)) as source:
        target = pooled.driver_connection
        if not isinstance(target, sqlite3.Connection):
            raise TypeError("not a SQLite database")
        target.execute("PRAGMA busy_timeout = 500")  # `wait` checks the deadline between tries
        source.backup(target, pages=_PAGES_PER_STEP, progress=wait)
    db.engine.dispose()


def drop_statements() -> str:
    """PostgreSQL: the SQL that drops all views and tables before a restore."""
    inspector, preparer = inspect(db.engine), db.engine.dialect.identifier_preparer
    kinds = (("VIEW", inspector.get_view_names()), ("TABLE", inspector.get_table_names()))
    drops = [
        f"DROP {kind} IF EXISTS {preparer.quote(quoted_name(name, quote=True))} CASCADE;"
        for kind, names in kinds
        for name in names
    ]
    return "\n".join(["SET lock_timeout = '30s';", *drops, ""])


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
