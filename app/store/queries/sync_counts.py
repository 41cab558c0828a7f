"""Counts for the batch sync's report: the catalog in force, and the overrides that a sync wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from app.catalog.overrides import MANUAL_PRIORITY
from app.extensions import db
from app.store import catalog
from app.store.schema.catalog_tables import OverrideRow
from app.store.schema.tables import ProviderRow


@dataclass(frozen=True, slots=True)
class CatalogCounts:
    providers: int
    models: int
    """Canonical models."""
    overrides: int


@dataclass(frozen=True, slots=True)
class OverrideCounts:
    """Overrides of one provider, made by sync."""

    generated: int = 0
    """New ones."""
    merged: int = 0
    """Changed ones."""


def count_catalog() -> CatalogCounts:
    """Three queries."""
    in_force = catalog.version_in_force()
    return CatalogCounts(
        providers=db.session.scalar(select(func.count(ProviderRow.id))) or 0,
        models=in_force.model_count if in_force else 0,
        overrides=db.session.scalar(select(func.count(OverrideRow.id))) or 0,
    )


def count_overrides_written(since: datetime, until: datetime) -> Mapping[str, OverrideCounts]:
    """Provider slug → what syncs wrote between two times; providers without writes are left out. One query."""
    is_new = OverrideRow.created_at >= since
    query = (
        select(ProviderRow.slug, func.count().filter(is_new), func.count().filter(~is_new))
        .select_from(OverrideRow)
        .join(ProviderRow, ProviderRow.id == OverrideRow.provider_id)
        .where(OverrideRow.priority < MANUAL_PRIORITY, OverrideRow.updated_at >= since, OverrideRow.updated_at <= until)
        .group_by(ProviderRow.slug)
    )
    return {slug: OverrideCounts(generated, merged) for slug, generated, merged in db.session.execute(query)}
