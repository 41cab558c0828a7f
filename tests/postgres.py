"""A PostgreSQL database for each test, as good as new: a process has one, and puts back what a test changed in it.

CREATE DATABASE and DROP DATABASE wait for the disk, for longer than most tests take.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, LiteralString, cast

import psycopg

_USES = 50
"""After that many tests the database is made anew: rows that were deleted still take time to skip."""
_SHAPE = """
SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM (
    SELECT concat_ws(' ', n.nspname, c.relname, c.relkind, c.relowner, c.relacl, a.attname, a.atttypid, a.attnotnull,
                     a.attisdropped, pg_get_expr(d.adbin, d.adrelid)) AS line
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT concat_ws(' ', 'schema', nspname, nspacl) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL SELECT concat_ws(' ', 'setting', s.setrole, s.setconfig) FROM pg_db_role_setting s
        JOIN pg_database b ON b.oid = s.setdatabase AND b.datname = current_database()
    UNION ALL SELECT concat_ws(' ', 'database', datallowconn, datconnlimit, datacl) FROM pg_database
        WHERE datname = current_database()
) AS lines
"""
"""Everything that is no row: tables, columns, constraints, indexes, triggers, rights, settings."""


class ReusableDatabase:
    """admin_url: of a superuser, who makes the database as a copy of `template`. url_of: name → URL."""

    def __init__(self, admin_url: str, template: str, url_of: Callable[[str], str]) -> None:
        self._admin_url, self._template = admin_url, template
        self._url_of = url_of
        self._name = ""
        self._uses = 0
        self._shape = ""
        self._tables: list[str] = []
        self._rows: dict[str, tuple[int, bytes]] = {}
        self._sequences: dict[str, tuple[int, bool]] = {}
        self._written_by = 0

    def fresh(self) -> str:
        """The URL of the database in its first state."""
        if not (self._name and self._uses < _USES and self._restore()):
            self.drop()
            self._create()
        self._uses += 1
        return self._url_of(self._name)

    def drop(self) -> None:
        if self._name:
            self._administer(f'DROP DATABASE "{self._name}" WITH (FORCE)')
        self._name = ""

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            _run(connection, statement)

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._url_of(self._name).replace("+psycopg", ""))

    def _create(self) -> None:
        self._name, self._uses = f"modelsync_test_{uuid.uuid4().hex[:8]}", 0
        self._administer(f'CREATE DATABASE "{self._name}" TEMPLATE "{self._template}"')
        with self._connect() as connection:
            self._shape = _one(connection, _SHAPE)
            self._tables = _names(connection, "r")
            self._sequences = {
                name: _run(connection, f'SELECT last_value, is_called FROM "{name}"').fetchone()
                for name in _names(connection, "S")
            }
            self._rows = {name: _read(connection, name) for name in self._tables}
            self._written_by = int(_one(connection, "SELECT pg_current_xact_id()::text"))

    def _restore(self) -> bool:
        """Put back what was changed; whether only rows had been."""
        self._administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'")
        try:
            with self._connect() as connection:
                if _one(connection, _SHAPE) != self._shape:
                    return False
                _run(connection, "SET LOCAL session_replication_role = replica")  # deletes in any order
                _run(connection, "SET LOCAL synchronous_commit = off")
                for name in self._changed(connection):
                    _run(connection, f'DELETE FROM "{name}"')
                    _write(connection, name, self._rows[name][1])
                values = [f"setval('\"{name}\"', {at}, {called})" for name, (at, called) in self._sequences.items()]
                _run(connection, f"SELECT {', '.join(values)}")
                self._written_by = int(_one(connection, "SELECT pg_current_xact_id()::text"))
        except psycopg.Error:
            return False
        return True

    def _changed(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Tables with rows that were written since, or with another number of rows."""
        counts = " UNION ALL ".join(
            f"SELECT '{name}', count(*), coalesce(bool_or(xmin::text::bigint > {self._written_by}), false) "
            f'FROM "{name}"'
            for name in self._tables
        )
        rows = _run(connection, counts).fetchall()
        return [name for name, count, is_newer in rows if is_newer or count != self._rows[name][0]]


def _run(connection: psycopg.Connection[Any], statement: str) -> psycopg.Cursor[Any]:
    return connection.execute(cast(LiteralString, statement))


def _one(connection: psycopg.Connection[Any], statement: str) -> Any:
    return (_run(connection, statement).fetchone() or [None])[0]


def _names(connection: psycopg.Connection[Any], kind: str) -> list[str]:
    query = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = %s ORDER BY relname"
    return [name for (name,) in connection.execute(query, (kind,))]


def _read(connection: psycopg.Connection[Any], name: str) -> tuple[int, bytes]:
    with connection.cursor().copy(cast(LiteralString, f'COPY "{name}" TO STDOUT (FORMAT binary)')) as copy:
        data = b"".join(copy)
    return _one(connection, f'SELECT count(*) FROM "{name}"'), data


def _write(connection: psycopg.Connection[Any], name: str, data: bytes) -> None:
    with connection.cursor().copy(cast(LiteralString, f'COPY "{name}" FROM STDIN (FORMAT binary)')) as copy:
        copy.write(data)
