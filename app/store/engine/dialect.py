"""INSERT … ON CONFLICT for both databases; the two dialects spell it alike but keep it apart."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from app.extensions import Row, db


def insert(row: type[Row]) -> Any:
    """The dialect's own `insert`, which knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if db.engine.dialect.name == "postgresql":
        return postgresql.insert(row)
    return sqlite.insert(row)
