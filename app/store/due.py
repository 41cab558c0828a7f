"""What is to be synced by itself, and when: `credentials.due_at` and its one index.

A sweep takes what is due, starts runs of just that, and moves it on at once, so that two sweeps at one moment (or two
schedulers) cannot both have it; what comes of the run sets the real moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update

from app.extensions import db
from app.store.schema.tables import LIVE_STATES, CredentialRow, ProviderRow, RunRow, UserRow

INACTIVE_AFTER = timedelta(days=90)
"""Keys of whoever has not been here for so long are synced monthly."""
CLAIM_FOR = timedelta(minutes=30)
"""For so long what was taken is not due again, unless its run ends before."""


@dataclass(frozen=True, slots=True)
class DueCredential:
    """A credential whose moment has come or will."""

    credential_id: int
    user_id: int
    email: str
    provider: str
    label: str
    due_at: datetime
    is_server: bool


def load_upcoming(until: datetime, count: int, user_id: int | None = None) -> list[DueCredential]:
    """What is due by then, the longest overdue first: one indexed query."""
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
    """Take what is due: user → credentials. Whoever asks at the same moment gets others."""
    query = _active_only(select(CredentialRow.id, CredentialRow.user_id)).where(CredentialRow.due_at <= now)
    # A user's live run may be of other keys: what is due then waits for its end.
    query = query.where(
        ~select(RunRow.id).where(RunRow.user_id == CredentialRow.user_id, RunRow.state.in_(LIVE_STATES)).exists()
    )
    query = query.order_by(CredentialRow.due_at).limit(count)
    query = query.with_for_update(skip_locked=True, key_share=True, of=CredentialRow)
    found = [(credential_id, user_id) for credential_id, user_id in db.session.execute(query)]
    taken = db.session.scalars(
        update(CredentialRow)
        .where(CredentialRow.id.in_([credential_id for credential_id, _ in found]), CredentialRow.due_at <= now)
        .values(due_at=now + CLAIM_FOR)
        .returning(CredentialRow.id)
        .execution_options(synchronize_session=False)
    )
    ours = set(taken)
    by_user: dict[int, list[int]] = defaultdict(list)
    for credential_id, user_id in found:
        if credential_id in ours:
            by_user[user_id].append(credential_id)
    return dict(by_user)


def ids_at_provider(provider_id: int, after: int, count: int) -> Sequence[int]:
    """Ids of users' active credentials at a provider, beyond `after`."""
    query = (
        select(CredentialRow.id)
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(CredentialRow.provider_id == provider_id, CredentialRow.is_active, CredentialRow.id > after)
        .where(UserRow.is_server.is_(False))
        .order_by(CredentialRow.id)
        .limit(count)
    )
    return list(db.session.scalars(query))


def set_due(moments: Mapping[int, datetime | None]) -> None:
    """Credential → when it is due; one that was deleted meanwhile is passed over."""
    if moments:
        # Not the ORM's way of many updates, which takes a row that is gone for a mistake. In the order of all who lock.
        rows = [{"of_credential": credential_id, "due_at": moments[credential_id]} for credential_id in sorted(moments)]
        table = CredentialRow.__table__
        statement = update(table).where(table.c.id == bindparam("of_credential"))  # type: ignore[arg-type]
        db.session.flush()
        db.session.connection().execute(statement.values(due_at=bindparam("due_at")), rows)


def resume_schedule(user_id: int, now: datetime) -> None:
    """Its owner is back after a long time: what was put to once a month is due now."""
    db.session.execute(
        update(CredentialRow)
        .where(CredentialRow.user_id == user_id, CredentialRow.is_active, CredentialRow.due_at > now)
        .values(due_at=now)
        .execution_options(synchronize_session=False)
    )


def _active_only(query: Any) -> Any:
    return (
        query.join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(CredentialRow.is_active, ProviderRow.is_active, UserRow.disabled_at.is_(None))
    )
