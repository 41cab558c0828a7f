"""The database as a whole: a copy of it as of one moment while it is in use, and a copy put in its place."""

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
"""For so long a restore waits for whoever has the database open."""
_PAGES_PER_STEP = 100
"""Restored between two looks at the clock; they count once all are there."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What a database or a copy of it holds."""

    revision: str | None
    rows: dict[str, int]
    """Table → rows."""


@dataclass(frozen=True, slots=True)
class DumpedKey:
    """A sealed API key as a copy holds it."""

    owner: SealContext
    version: int
    sealed: bytes


def load_state() -> DatabaseState:
    """Of the database as it is now, whatever version made it. Empty for an empty one."""
    with db.engine.connect() as connection:
        return _load_state(connection)


@contextlib.contextmanager
def export_snapshot() -> Iterator[tuple[str, DatabaseState]]:
    """PostgreSQL: a moment that another connection can read too while this context lasts, and what is there then."""
    with db.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        name = str(connection.scalar(text("SELECT pg_export_snapshot()")))
        yield name, _load_state(connection)


def _load_state(connection: Connection) -> DatabaseState:
    seen, prepared = inspect(connection), connection.dialect.identifier_preparer
    revision = MigrationContext.configure(connection).get_current_revision()
    rows = {}
    for table in sorted(seen.get_table_names()):
        name = prepared.quote(quoted_name(table, quote=True))
        rows[table] = int(connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0)  # a table's own name
    return DatabaseState(revision, rows)


def copy_sqlite(target: Path) -> None:
    """A copy as of one moment, while others read and write; nothing in it of what was deleted before."""
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM INTO :target"), {"target": str(target)})


def inspect_sqlite(path: Path) -> DatabaseState:
    """What a copy holds. Raises sqlite3.DatabaseError if it is damaged."""
    with contextlib.closing(_open_read_only(path)) as connection:
        if (said := connection.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(said)
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) != 'sqlite_' ORDER BY name"
        ).fetchall()
        rows = {}
        for (name,) in tables:
            quoted = '"' + name.replace('"', '""') + '"'
            rows[name] = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0]  # as above
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
    """Put a copy in the database's place, in one transaction: killed within it, the database is as it was.

    Raises sqlite3.OperationalError if somebody holds a lock on it for long.
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
            raise TypeError("this is no SQLite database")
        target.execute("PRAGMA busy_timeout = 500")  # between two tries `wait` looks at the clock
        source.backup(target, pages=_PAGES_PER_STEP, progress=wait)
    db.engine.dispose()


def drop_statements() -> str:
    """PostgreSQL: the statements that take away all that is in the way of a restore."""
    seen, prepared = inspect(db.engine), db.engine.dialect.identifier_preparer
    kinds = (("VIEW", seen.get_view_names()), ("TABLE", seen.get_table_names()))
    drops = [
        f"DROP {kind} IF EXISTS {prepared.quote(quoted_name(name, quote=True))} CASCADE;"
        for kind, names in kinds
        for name in names
    ]
    return "\n".join(["SET lock_timeout = '30s';", *drops, ""])


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
