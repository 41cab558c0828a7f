"""How long history is kept. A key's last good list and the rows it stands on are never touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, select

from app.extensions import db
from app.store.schema.catalog_tables import CatalogRefreshRow
from app.store.schema.tables import LIVE_STATES, ComparisonRow, CredentialRow, ListingRow, ResultRow, RunRow

_BATCH_SIZE = 200


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was taken away, or would be."""

    runs: int = 0
    comparisons: int = 0
    """Sets of changes that no kept run refers to."""
    listings: int = 0
    refreshes: int = 0
    """Of the catalog."""

    @property
    def is_empty(self) -> bool:
        return not (self.runs or self.comparisons or self.listings or self.refreshes)


def count_prunable(before: datetime) -> PruneResult:
    """How much ended before a moment. Comparisons and listings that only become unused by it are not counted."""

    def number(query: Select[Any]) -> int:
        return db.session.scalar(select(func.count()).select_from(query.subquery())) or 0

    return PruneResult(
        number(select(RunRow.id).where(*_old_runs(before))),
        number(select(ComparisonRow.id).where(*_unused_comparisons(before))),
        number(select(ListingRow.id).where(*_unused_listings(before))),
        number(select(CatalogRefreshRow.id).where(CatalogRefreshRow.ended_at < before)),
    )


def prune(before: datetime) -> PruneResult:
    """Take one batch of each away; to be called, and committed, until it says that nothing was left."""
    return PruneResult(
        _delete_batch(RunRow, *_old_runs(before)),  # with their results
        _delete_batch(ComparisonRow, *_unused_comparisons(before)),  # with their changes
        _delete_batch(ListingRow, *_unused_listings(before)),
        _delete_batch(CatalogRefreshRow, CatalogRefreshRow.ended_at < before),
    )


def _delete_batch(row: Any, *conditions: ColumnElement[bool]) -> int:
    ids = list(db.session.scalars(select(row.id).where(*conditions).order_by(row.id).limit(_BATCH_SIZE)))
    if ids:
        db.session.execute(delete(row).where(row.id.in_(ids)))
    return len(ids)


def _old_runs(before: datetime) -> tuple[ColumnElement[bool], ...]:
    # Each person's latest finished run stays: it says when their lists were last asked for.
    latest = select(func.max(RunRow.id)).where(RunRow.state == "done").group_by(RunRow.user_id)
    return RunRow.created_at < before, RunRow.state.not_in(LIVE_STATES), RunRow.id.not_in(latest)


def _unused_comparisons(before: datetime) -> tuple[ColumnElement[bool], ...]:
    return ComparisonRow.created_at < before, ~exists().where(ResultRow.comparison_id == ComparisonRow.id)


def _unused_listings(before: datetime) -> tuple[ColumnElement[bool], ...]:
    in_force = exists().where(
        (CredentialRow.listing_id == ListingRow.id) | (CredentialRow.suspect_listing_id == ListingRow.id)
    )
    answered = exists().where((ResultRow.listing_id == ListingRow.id) | (ResultRow.before_listing_id == ListingRow.id))
    return ListingRow.created_at < before, ~in_force, ~answered
