"""The audit log: who changed what in the catalog, with the state before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from app.extensions import db
from app.store.engine.views import build_view
from app.store.schema.catalog_tables import AuditRow

AuditState = Mapping[str, Any]


@dataclass(frozen=True)
class Actor:
    """Who performs an action: an account, or, by name only, the command line or the app itself."""

    id: int | None
    name: str
    """An e-mail address, "command line" or "automatic"."""


COMMAND_LINE = Actor(None, "command line")
AUTOMATIC = Actor(None, "automatic")


@dataclass(frozen=True, slots=True)
class AuditView:
    """An audit log entry for display."""

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
    """Write and flush an entry.

    before, after: JSON states, None if nothing exists. undoes: id of the entry that this one undoes; raises
    IntegrityError if that entry was undone already.
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
    """The newest `size` entries, older than entry `before` if given, and the cursor of the next page.

    The cursor is the id of the last entry, None if there are no older ones. One query.
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
    rows = db.session.execute(query).all()
    views = tuple(build_view(AuditView, row, undone_by_id=undone_by_id) for row, undone_by_id in rows[:size])
    return views, views[-1].id if len(rows) > size else None
