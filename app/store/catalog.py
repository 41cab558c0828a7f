"""The canonical catalog in force, and the mirror of the provider files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, select, update

from app.catalog.identity import CanonicalModel, CatalogIndex
from app.extensions import db
from app.store.catalog_tables import CanonicalRow, CatalogVersionRow
from app.store.dialect import insert
from app.store.tables import ProviderRow

_index: tuple[int, CatalogIndex] | None = None
"""The last index built, by its version: a cache only, asked for its version every time."""


def version() -> int:
    """The version in force; 0 while no catalog was loaded."""
    return db.session.scalar(select(CatalogVersionRow.id).order_by(CatalogVersionRow.id.desc()).limit(1)) or 0


def index() -> tuple[int, CatalogIndex]:
    """The version in force and its index, built when another process changed the catalog."""
    global _index
    current = version()
    if _index is None or _index[0] != current:
        facts = db.session.scalars(select(CanonicalRow.facts))
        _index = current, CatalogIndex(msgspec.convert(entry, CanonicalModel) for entry in facts)
    return _index


def replace(name: str, source: str, models: Iterable[CanonicalModel], now: datetime) -> bool:
    """Put another catalog in force; False if `name` is in force or was before."""
    if db.session.scalar(select(CatalogVersionRow.id).where(CatalogVersionRow.version == name)):
        return False
    rows = [
        {
            "id": model.id,
            "lab": model.lab,
            "name": model.name,
            "kind": model.kind,
            "facts": msgspec.to_builtins(model, builtin_types=()),
        }
        for model in models
    ]
    db.session.execute(delete(CanonicalRow))
    db.session.connection().execute(insert(CanonicalRow), rows)
    db.session.add(CatalogVersionRow(version=name, source=source, model_count=len(rows), loaded_at=now))
    db.session.flush()
    return True


def mirror_providers(files: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Make the providers table say what the provider files say; an admin's own settings stay as they are."""
    for facts in files:
        statement = insert(ProviderRow).values(created_at=now, updated_at=now, **facts)
        changed = {name: statement.excluded[name] for name in facts if name != "slug"}
        differs = [getattr(ProviderRow, name).is_distinct_from(statement.excluded[name]) for name in _compared(facts)]
        where = differs[0]
        for one in differs[1:]:
            where = where | one
        db.session.execute(
            statement.on_conflict_do_update(index_elements=["slug"], set_={**changed, "updated_at": now}, where=where)
        )


def admin_base_urls() -> dict[str, str]:
    """Slug → the base URL that an admin set for a provider."""
    query = select(ProviderRow.slug, ProviderRow.admin_base_url).where(ProviderRow.admin_base_url.is_not(None))
    return {slug: url for slug, url in db.session.execute(query) if url}


def touch_synced(provider_id: int, now: datetime, no_later_than: datetime) -> None:
    """Note that a provider's list was just read, unless it was noted since `no_later_than`: one row for all users."""
    db.session.execute(
        update(ProviderRow)
        .where(
            ProviderRow.id == provider_id,
            ProviderRow.last_synced_at.is_(None) | (ProviderRow.last_synced_at < no_later_than),
        )
        .values(last_synced_at=now)
    )


def _compared(facts: Mapping[str, Any]) -> list[str]:
    return [name for name in facts if name != "slug"]
