"""Engine settings: SQLite pragmas (several processes share it, so WAL and a busy timeout are needed), lock timeout."""

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
"""Longest wait for one lock, seconds; shorter than a lease."""


def set_lock_timeout() -> None:
    """PostgreSQL: until the transaction ends, waiting too long for a lock is an error ("busy").

    SQLite has one lock; its timeout is set when a connection is opened.
    """
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_S * 1000:.0f}"))
