"""Database checks of `flask doctor`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text

from app.extensions import db
from app.store.schema.tables import LIVE_STATES, RunRow


def database_version() -> str:
    """ "SQLite 3.45.1", "PostgreSQL 16.2". Raises OperationalError if the database is unreachable."""
    if db.engine.dialect.name == "sqlite":
        return f"SQLite {db.session.scalar(text('SELECT sqlite_version()'))}"
    return f"PostgreSQL {str(db.session.scalar(text('SHOW server_version'))).split()[0]}"


def database_clock() -> datetime | None:
    """The database server's time, UTC; None for SQLite, which uses this machine's clock."""
    if db.engine.dialect.name == "sqlite":
        return None
    now: datetime | None = db.session.scalar(text("SELECT clock_timestamp()"))
    return now and now.astimezone(UTC)


def sqlite_path() -> Path | None:
    """The SQLite database file; None on PostgreSQL."""
    name = db.engine.url.database
    return Path(name).resolve() if db.engine.dialect.name == "sqlite" and name else None


def check_writable() -> None:
    """Write without changing anything, and roll back. Raises DBAPIError if the database is not writable."""
    db.session.execute(text("UPDATE alembic_version SET version_num = version_num"))
    db.session.rollback()


def connection_usage() -> tuple[int, int] | None:
    """(open, allowed) connections of PostgreSQL; None on SQLite."""
    if db.engine.dialect.name == "sqlite":
        return None
    used = db.session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
    return used or 0, int(db.session.scalar(text("SHOW max_connections")) or 0)


def count_stuck_runs(now: datetime, waiting_for: timedelta) -> tuple[int, int]:
    """(running runs with an expired lease, runs queued for longer than `waiting_for`)."""
    live = select(func.count()).select_from(RunRow).where(RunRow.state.in_(LIVE_STATES))
    lost = db.session.scalar(live.where(RunRow.state == "running", RunRow.lease_until < now)) or 0
    waiting = db.session.scalar(live.where(RunRow.state == "queued", RunRow.created_at < now - waiting_for)) or 0
    return lost, waiting
