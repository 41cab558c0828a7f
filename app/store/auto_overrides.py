"""Automatic overrides: what a provider's listing says differently about canonical models, replaced by every sync."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, exists, select

from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex
from app.catalog.overrides import MANUAL_PRIORITY, derive_override
from app.extensions import db
from app.store.engine.statements import batches
from app.store.models import MatchedModel
from app.store.overrides import SECTIONS, section_columns, write_rows
from app.store.schema.catalog_tables import OverrideRow
from app.store.schema.tables import ModelRow

_BATCH_SIZE = 1_000


def save(provider_id: int, slug: str, pairs: Iterable[MatchedModel], index: CatalogIndex, now: datetime) -> int:
    """Save a listing's overrides, one per canonical chat model in it. Returns the number of rows written.

    Private models are skipped. Of several ids of one canonical model the plainest represents it. Only rows that differ
    are written, in the order of their ids, so that two workers cannot deadlock.
    """
    known = _load_auto_states(provider_id)
    rows = [
        {
            "provider_id": provider_id,
            "canonical_id": canonical_id,
            "provider_model_id": model.id,
            "priority": 0,
            "created_at": now,
            "updated_at": now,
            **section_columns(derive_override(slug, index.models[canonical_id], model)),
        }
        for canonical_id, model in sorted(_representatives(pairs).items())
        if canonical_id in index.models
    ]
    different = [row for row in rows if known.get(row["canonical_id"]) != _comparable_state(row)]
    write_rows(different)
    return len(different)


def remove(provider_id: int, canonical_ids: Iterable[str]) -> None:
    """Delete sync's overrides of models that no key's listing has any more; manual ones stay."""
    for batch in batches(sorted(canonical_ids), _BATCH_SIZE):
        _delete(OverrideRow.provider_id == provider_id, OverrideRow.canonical_id.in_(batch))


def remove_unserved() -> None:
    """Delete sync's overrides of canonical models without an active offer: a new catalog may match ids differently."""
    served = exists().where(
        ModelRow.provider_id == OverrideRow.provider_id,
        ModelRow.canonical_id == OverrideRow.canonical_id,
        ModelRow.is_active,
    )
    _delete(~served)


def _delete(*conditions: ColumnElement[bool]) -> None:
    """Locks the rows in the order in which `save` writes them, against deadlocks."""
    query = (
        select(OverrideRow.id)
        .where(OverrideRow.priority < MANUAL_PRIORITY, *conditions)
        .order_by(OverrideRow.provider_id, OverrideRow.canonical_id, OverrideRow.priority)
        .with_for_update()
    )
    for batch in batches(list(db.session.scalars(query)), _BATCH_SIZE):
        db.session.execute(delete(OverrideRow).where(OverrideRow.id.in_(batch)))


def _representatives(pairs: Iterable[MatchedModel]) -> dict[str, ListedModel]:
    """Canonical id → the listed model that represents it: plain before variants and snapshots, then the shortest id."""
    best: dict[str, tuple[tuple[bool, int, str], ListedModel]] = {}
    for model, match in pairs:
        if model.private or model.kind != "chat" or not match.canonical_id:
            continue
        rank = (bool(match.variant or match.snapshot), len(model.id), model.id)
        if match.canonical_id not in best or rank < best[match.canonical_id][0]:
            best[match.canonical_id] = rank, model
    return {canonical_id: model for canonical_id, (_, model) in best.items()}


def _load_auto_states(provider_id: int) -> dict[str, tuple[Any, ...]]:
    rows = db.session.execute(_AUTO_QUERY, {"provider_id": provider_id})
    return {canonical_id: tuple(state) for canonical_id, *state in rows}


_AUTO_QUERY: Select[*tuple[Any, ...]] = select(
    OverrideRow.canonical_id, OverrideRow.provider_model_id, *(getattr(OverrideRow, name) for name in SECTIONS)
).where(OverrideRow.provider_id == bindparam("provider_id"), OverrideRow.priority == 0)


def _comparable_state(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["provider_model_id"], *(row[name] for name in SECTIONS))
