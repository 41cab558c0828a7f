"""Pruning of old history. A key's last good listing and the rows it refers to are never deleted."""

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
    """Number of rows deleted, or to be deleted."""

    runs: int = 0
    comparisons: int = 0
    """Sets of changes that no remaining run refers to."""
    listings: int = 0
    refreshes: int = 0
    """Attempts to refresh the catalog."""

    @property
    def is_empty(self) -> bool:
        return not (self.runs or self.comparisons or self.listings or self.refreshes)


def count_prunable(before: datetime) -> PruneResult:
    """Rows that ended before a time, without the comparisons and listings that become unused by deleting them."""

    def count(query: Select[Any]) -> int:
        return db.session.scalar(select(func.count()).select_from(query.subquery())) or 0

    return PruneResult(
        count(select(RunRow.id).where(*_old_runs(before))),
        count(select(ComparisonRow.id).where(*_unused_comparisons(before))),
        count(select(ListingRow.id).where(*_unused_listings(before))),
        count(select(CatalogRefreshRow.id).where(CatalogRefreshRow.ended_at < before)),
    )


def prune(before: datetime) -> PruneResult:
    """Delete one batch of each. Call it, and commit, until the result is empty."""
    return PruneResult(
        _delete_batch(RunRow, *_old_runs(before)),  # results follow by ON DELETE CASCADE
        _delete_batch(ComparisonRow, *_unused_comparisons(before)),  # so do changes
        _delete_batch(ListingRow, *_unused_listings(before)),
        _delete_batch(CatalogRefreshRow, CatalogRefreshRow.ended_at < before),
    )


def _delete_batch(row: Any, *conditions: ColumnElement[bool]) -> int:
    ids = list(db.session.scalars(select(row.id).where(*conditions).order_by(row.id).limit(_BATCH_SIZE)))
    if ids:
        db.session.execute(delete(row).where(row.id.in_(ids)))
    return len(ids)


def _old_runs(before: datetime) -> tuple[ColumnElement[bool], ...]:
    # Each user's latest finished run stays: it says when their lists were last fetched.
    latest = select(func.max(RunRow.id)).where(RunRow.state == "done").group_by(RunRow.user_id)
    return RunRow.created_at < before, RunRow.state.not_in(LIVE_STATES), RunRow.id.not_in(latest)


def _unused_comparisons(before: datetime) -> tuple[ColumnElement[bool], ...]:
    return ComparisonRow.created_at < before, ~exists().where(ResultRow.comparison_id == ComparisonRow.id)


def _unused_listings(before: datetime) -> tuple[ColumnElement[bool], ...]:
    in_force = exists().where(
        (CredentialRow.listing_id == ListingRow.id) | (CredentialRow.suspect_listing_id == ListingRow.id)
    )
    in_history = exists().where(
        (ResultRow.listing_id == ListingRow.id) | (ResultRow.before_listing_id == ListingRow.id)
    )
    return ListingRow.created_at < before, ~in_force, ~in_history
