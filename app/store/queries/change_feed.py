"""What changed for a user, change by change, for programs; the page shows the same by sync."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, or_, select

from app.catalog.changes import Change
from app.extensions import db
from app.store.queries.runs import to_change
from app.store.schema.tables import ChangeRow, ProviderRow, ResultRow


@dataclass(frozen=True, slots=True)
class ChangeView:
    result_id: int
    change_id: int
    """Of the change as such, which other results may have brought too."""
    run_id: int
    credential_id: int | None
    provider: str
    label: str
    at: datetime | None
    change: Change


def list_changes(
    user_id: int, *, kind: str = "", provider: str = "", after: tuple[int, int] | None = None, size: int = 50
) -> list[ChangeView]:
    """The newest results' changes first, at most `size`; after: result and change of the last line before."""
    query = (
        select(ResultRow, ChangeRow, ProviderRow.slug)
        .join(ChangeRow, ChangeRow.comparison_id == ResultRow.comparison_id)
        .join(ProviderRow, ProviderRow.id == ResultRow.provider_id)
        .where(ResultRow.user_id == user_id, ResultRow.comparison_id.is_not(None))
        .order_by(ResultRow.id.desc(), ChangeRow.id)
        .limit(size)
    )
    if kind:
        query = query.where(ChangeRow.kind == kind)
    if provider:
        query = query.where(ProviderRow.slug == provider)
    if after is not None:
        result_id, change_id = after
        behind = and_(ResultRow.id == result_id, ChangeRow.id > change_id)
        query = query.where(or_(ResultRow.id < result_id, behind))
    return [
        ChangeView(
            result_id=result.id,
            change_id=change.id,
            run_id=result.run_id,
            credential_id=result.credential_id,
            provider=slug,
            label=result.label,
            at=result.ended_at,
            change=to_change(change),
        )
        for result, change, slug in db.session.execute(query)
    ]
