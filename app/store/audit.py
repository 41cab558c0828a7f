"""The audit log: who changed what in the catalog, with the state before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from app.extensions import db
from app.store.schema.catalog_tables import AuditRow

AuditState = Mapping[str, Any]


@dataclass(frozen=True)
class Actor:
    """Who does something: an account, or by its name alone the command line or the app itself."""

    id: int | None
    name: str
    """An e-mail address, "command line" or "automatic"."""


COMMAND_LINE = Actor(None, "command line")
AUTOMATIC = Actor(None, "automatic")


@dataclass(frozen=True)
class AuditView:
    """An entry as the page shows it."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str
    undoes_id: int | None
    undone_by_id: int | None


def record(
    actor: Actor,
    action: str,
    subject: str,
    before: AuditState | None,
    after: AuditState | None,
    reason: str,
    now: datetime,
    undoes: int | None = None,
) -> AuditRow:
    """Write an entry. before, after: JSON states, None where there is nothing; undoes: id of the entry taken back.

    Raises IntegrityError (at the flush, which happens here) if that entry was taken back already.
    """
    row = AuditRow(
        at=now,
        actor_id=actor.id,
        actor=actor.name,
        action=action,
        subject=subject,
        before=dict(before) if before is not None else None,
        after=dict(after) if after is not None else None,
        reason=reason,
        undoes_id=undoes,
    )
    db.session.add(row)
    db.session.flush()
    return row


def list_entries(before: int | None = None, size: int = 50) -> tuple[tuple[AuditView, ...], int | None]:
    """The newest `size` entries, only those older than entry `before` where given, and the cursor of the next page.

    The cursor is the id of the last line, None where nothing older is left. One query.
    """
    undoing = aliased(AuditRow)
    query = (
        select(AuditRow, undoing.id)
        .outerjoin(undoing, undoing.undoes_id == AuditRow.id)
        .order_by(AuditRow.id.desc())
        .limit(size + 1)
    )
    if before is not None:
        query = query.where(AuditRow.id < before)
    found = [_to_view(row, undone_by_id) for row, undone_by_id in db.session.execute(query)]
    lines = tuple(found[:size])
    return lines, lines[-1].id if len(found) > size else None


def _to_view(row: AuditRow, undone_by_id: int | None) -> AuditView:
    return AuditView(
        id=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        before=row.before,
        after=row.after,
        reason=row.reason,
        undoes_id=row.undoes_id,
        undone_by_id=undone_by_id,
    )
