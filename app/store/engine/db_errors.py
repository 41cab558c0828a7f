"""Classifies database errors by what their driver raised. Pure: executes no statement."""

from __future__ import annotations

import sqlite3
from typing import Literal

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

DatabaseProblem = Literal["full", "busy", "read_only", "crowded", "starting", "damaged", "away"]
"""full: disk full · busy: lock not available · crowded: no free connection · away: anything else."""
PERMANENT: frozenset[DatabaseProblem] = frozenset({"full", "read_only", "damaged"})
"""Problems that an immediate retry does not solve."""

_SQLITE_CODES: dict[int, DatabaseProblem] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
_POSTGRES_CODES: dict[str, DatabaseProblem] = {
    "53100": "full",
    "53300": "crowded",
    "57P03": "starting",
    "25006": "read_only",
    "40001": "busy",
    "40P01": "busy",
    "55P03": "busy",
    "57014": "busy",  # statement_timeout
    "XX001": "damaged",
    "XX002": "damaged",
}
# A refused connection carries no SQLSTATE, only the server's message.
_CONNECTION_REFUSALS: tuple[tuple[str, DatabaseProblem], ...] = (
    ("too many clients", "crowded"),
    ("too many connections", "crowded"),
    ("remaining connection slots", "crowded"),
    ("the database system is", "starting"),
)


def classify(error: DBAPIError | PoolTimeout) -> DatabaseProblem | None:
    """None for an error that is not the database's: a mistake in our code or in the data."""
    if isinstance(error, PoolTimeout):
        return "crowded"
    default: DatabaseProblem | None = "away" if isinstance(error, OperationalError | InterfaceError) else None
    if isinstance(error.orig, sqlite3.Error):
        # The upper bits are extended codes; errors raised by the driver itself have no code.
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return None if code == sqlite3.SQLITE_ERROR else _SQLITE_CODES.get(code, default)
    return _classify_postgres(error.orig) or default


def _classify_postgres(raised: BaseException | None) -> DatabaseProblem | None:
    if code := getattr(raised, "sqlstate", None):
        return _POSTGRES_CODES.get(code)
    message = str(raised).lower()
    return next((problem for phrase, problem in _CONNECTION_REFUSALS if phrase in message), None)
