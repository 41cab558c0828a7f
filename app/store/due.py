"""Scheduled syncs: `credentials.due_at` and its one index.

A sweep claims due credentials, starts runs over just those, and postpones them at once, so that two concurrent sweeps
(or schedulers) cannot both take them; the result of the run sets the real next time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update

from app.extensions import db
from app.store.engine.statements import execute_dml
from app.store.schema.tables import LIVE_STATES, CredentialRow, ProviderRow, RunRow, UserRow

INACTIVE_AFTER = timedelta(days=90)
"""After this time without a visit of their owner, keys are synced monthly."""
CLAIM_FOR = timedelta(minutes=30)
"""How long a claimed credential is not due again, unless its run ends sooner."""


@dataclass(frozen=True, slots=True)
class DueCredential:
    """A credential with a scheduled sync."""

    credential_id: int
    user_id: int
    email: str
    provider: str
    label: str
    due_at: datetime
    is_server: bool


def load_upcoming(until: datetime, count: int, user_id: int | None = None) -> list[DueCredential]:
    """Credentials due by `until`, the longest overdue first. One indexed query."""
    query = _active_only(
        select(
            CredentialRow.id,
            CredentialRow.user_id,
            UserRow.email,
            ProviderRow.slug,
            CredentialRow.label,
            CredentialRow.due_at,
            UserRow.is_server,
        )
    )
    query = query.where(CredentialRow.due_at <= until).order_by(CredentialRow.due_at).limit(count)
    if user_id is not None:
        query = query.where(CredentialRow.user_id == user_id)
    return [DueCredential(*tuple(row)) for row in db.session.execute(query)]


def claim(now: datetime, count: int) -> dict[int, list[int]]:
    """Claim due credentials: user id → credential ids. Concurrent callers get different ones."""
    query = _active_only(select(CredentialRow.id, CredentialRow.user_id)).where(CredentialRow.due_at <= now)
    # A user's live run may be over other keys: due ones wait for its end.
    query = query.where(
        ~select(RunRow.id).where(RunRow.user_id == CredentialRow.user_id, RunRow.state.in_(LIVE_STATES)).exists()
    )
    query = query.order_by(CredentialRow.due_at).limit(count)
    query = query.with_for_update(skip_locked=True, key_share=True, of=CredentialRow)
    candidates = [(credential_id, user_id) for credential_id, user_id in db.session.execute(query)]
    updated = db.session.scalars(
        update(CredentialRow)
        .where(CredentialRow.id.in_([credential_id for credential_id, _ in candidates]), CredentialRow.due_at <= now)
        .values(due_at=now + CLAIM_FOR)
        .returning(CredentialRow.id)
        .execution_options(synchronize_session=False)
    )
    claimed = set(updated)
    by_user: dict[int, list[int]] = defaultdict(list)
    for credential_id, user_id in candidates:
        if credential_id in claimed:
            by_user[user_id].append(credential_id)
    return dict(by_user)


def ids_at_provider(provider_id: int, after: int, count: int) -> Sequence[int]:
    """Ids of users' active credentials at a provider, after id `after`."""
    query = (
        select(CredentialRow.id)
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(CredentialRow.provider_id == provider_id, CredentialRow.is_active, CredentialRow.id > after)
        .where(UserRow.is_server.is_(False))
        .order_by(CredentialRow.id)
        .limit(count)
    )
    return list(db.session.scalars(query))


def set_due(due_at: Mapping[int, datetime | None]) -> None:
    """Set when credentials (id → time) are due; deleted ones are ignored."""
    if due_at:
        # Not the ORM's bulk update, which raises for a missing row. Ordered by id against deadlocks.
        rows = [{"of_credential": credential_id, "due_at": due_at[credential_id]} for credential_id in sorted(due_at)]
        table = CredentialRow.__table__
        statement = update(table).where(table.c.id == bindparam("of_credential"))  # type: ignore[arg-type]
        db.session.flush()
        db.session.connection().execute(statement.values(due_at=bindparam("due_at")), rows)


def resume_schedule(user_id: int, now: datetime) -> None:
    """The owner is back after a long absence: their keys, synced monthly until now, become due."""
    is_later = CredentialRow.user_id == user_id, CredentialRow.is_active, CredentialRow.due_at > now
    execute_dml(update(CredentialRow).where(*is_later).values(due_at=now))


def _active_only(query: Any) -> Any:
    return (
        query.join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(CredentialRow.is_active, ProviderRow.is_active, UserRow.disabled_at.is_(None))
    )
