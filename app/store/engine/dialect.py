"""INSERT … ON CONFLICT for both databases, which spell it alike while SQLAlchemy has no common construct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from app.extensions import Row, db
from app.store.engine.statements import batches

_BATCH_SIZE = 1_000


def insert(row: type[Row]) -> Any:
    """The dialect's own `insert`, with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if db.engine.dialect.name == "postgresql":
        return postgresql.insert(row)
    return sqlite.insert(row)


def upsert(row: type[Row], rows: Sequence[Mapping[str, Any]], key: Sequence[str], columns: Sequence[str]) -> None:
    """Insert `rows` in batches; where `key` exists, update `columns` instead."""
    statement = insert(row)
    statement = statement.on_conflict_do_update(
        index_elements=key, set_={column: statement.excluded[column] for column in columns}
    )
    for batch in batches(rows, _BATCH_SIZE):
        # executemany on the connection is three times as fast as through the session
        db.session.connection().execute(statement, batch)
