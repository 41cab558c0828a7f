"""Which trouble the database is in, read from what its driver raised. Pure: it asks the database nothing."""

from __future__ import annotations

import sqlite3
from typing import Literal

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

DatabaseProblem = Literal["full", "busy", "read_only", "crowded", "starting", "damaged", "away"]
"""full: no room on its disk · busy: a lock was not to be had · crowded: no connection is free · away: the rest."""
PERMANENT: frozenset[DatabaseProblem] = frozenset({"full", "read_only", "damaged"})
"""What does not pass by itself: to try again in a moment is no use."""

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
    "57014": "busy",  # a statement that took longer than the server allows
    "XX001": "damaged",
    "XX002": "damaged",
}
# A connection that was refused carries no code, only the server's words.
_CONNECTION_REFUSALS: tuple[tuple[str, DatabaseProblem], ...] = (
    ("too many clients", "crowded"),
    ("too many connections", "crowded"),
    ("remaining connection slots", "crowded"),
    ("the database system is", "starting"),
)


def classify(error: DBAPIError | PoolTimeout) -> DatabaseProblem | None:
    """None for an error that is no trouble of the database's, but a mistake of ours or of the data's."""
    if isinstance(error, PoolTimeout):
        return "crowded"
    otherwise: DatabaseProblem | None = "away" if isinstance(error, OperationalError | InterfaceError) else None
    if isinstance(error.orig, sqlite3.Error):
        # The upper bits tell variants apart; what the driver itself raises has no code.
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return None if code == sqlite3.SQLITE_ERROR else _SQLITE_CODES.get(code, otherwise)
    return _classify_postgres(error.orig) or otherwise


def _classify_postgres(raised: BaseException | None) -> DatabaseProblem | None:
    if code := getattr(raised, "sqlstate", None):
        return _POSTGRES_CODES.get(code)
    words = str(raised).lower()
    return next((trouble for refusal, trouble in _CONNECTION_REFUSALS if refusal in words), None)
