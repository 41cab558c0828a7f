"""What `flask doctor` asks the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text

from app.extensions import db
from app.store.schema.tables import LIVE_STATES, CredentialRow, ProviderRow, RunRow

_BATCH_SIZE = 500


@dataclass(frozen=True, slots=True)
class StoredKey:
    credential_id: int
    user_id: int
    provider: str
    sealed: bytes
    version: int


def database_version() -> str:
    """ "SQLite 3.45.1", "PostgreSQL 16.2". Raises OperationalError if it cannot be reached."""
    if db.engine.dialect.name == "sqlite":
        return f"SQLite {db.session.scalar(text('SELECT sqlite_version()'))}"
    return f"PostgreSQL {str(db.session.scalar(text('SHOW server_version'))).split()[0]}"


def database_clock() -> datetime | None:
    """The database server's clock; None where it is this machine's own."""
    if db.engine.dialect.name == "sqlite":
        return None
    moment: datetime | None = db.session.scalar(text("SELECT clock_timestamp()"))
    return moment and moment.astimezone(UTC)


def sqlite_path() -> Path | None:
    """Where SQLite keeps it; None on PostgreSQL."""
    name = db.engine.url.database
    return Path(name).resolve() if db.engine.dialect.name == "sqlite" and name else None


def check_writable() -> None:
    """Write something that changes nothing, and take it back. Raises DBAPIError if that cannot be done."""
    db.session.execute(text("UPDATE alembic_version SET version_num = version_num"))
    db.session.rollback()


def connection_usage() -> tuple[int, int] | None:
    """How many connections PostgreSQL has open, and how many it allows; None on SQLite."""
    if db.engine.dialect.name == "sqlite":
        return None
    used = db.session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
    return used or 0, int(db.session.scalar(text("SHOW max_connections")) or 0)


def count_stuck_runs(now: datetime, waiting_for: timedelta) -> tuple[int, int]:
    """Running runs whose lease is over, and queued ones that have waited for longer than `waiting_for`."""
    live = select(func.count()).select_from(RunRow).where(RunRow.state.in_(LIVE_STATES))
    lost = db.session.scalar(live.where(RunRow.state == "running", RunRow.lease_until < now)) or 0
    waiting = db.session.scalar(live.where(RunRow.state == "queued", RunRow.created_at < now - waiting_for)) or 0
    return lost, waiting


def iter_sealed_keys() -> Iterator[StoredKey]:
    """Every sealed API key, in batches by id."""
    last = 0
    while True:
        query = (
            select(
                CredentialRow.id,
                CredentialRow.user_id,
                ProviderRow.slug,
                CredentialRow.sealed_key,
                CredentialRow.vault_version,
            )
            .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
            .where(CredentialRow.sealed_key.is_not(None), CredentialRow.id > last)
            .order_by(CredentialRow.id)
            .limit(_BATCH_SIZE)
        )
        found = db.session.execute(query).all()
        for credential_id, user_id, slug, sealed, version in found:
            if sealed is not None and version is not None:
                yield StoredKey(credential_id, user_id, slug, sealed, version)
        if len(found) < _BATCH_SIZE:
            return
        last = found[-1][0]
