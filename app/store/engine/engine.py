"""How a database waits. SQLite: several processes read and write it, so write-ahead and patience are not optional."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event, text

from app.extensions import db


def configure_engine(engine: Engine) -> None:
    """Set the pragmas on every new SQLite connection; nothing to do for PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=15000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


LOCK_TIMEOUT_S = 5.0
"""The longest wait for one lock of whoever holds a lease meanwhile."""


def set_lock_timeout() -> None:
    """Until this transaction ends, a lock of PostgreSQL's that is not to be had in time is an error ("busy").

    SQLite has one lock, and its bound is set as a connection is opened.
    """
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_S * 1000:.0f}"))
