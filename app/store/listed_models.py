"""The rows behind the models page: every listing in force, with the effective facts of its models.

A projection of other tables: materialised when a listing comes into force, rebuilt when the catalog or an override
changes, and deleted when no key has the listing any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import BindParameter, Insert, Integer, bindparam, delete, exists, func, insert, select, update

from app.catalog.effective import effective_facts, infer_from_kind
from app.catalog.listing import CAPABILITIES, PRICES, ListedModel, Listing
from app.catalog.matching import CatalogIndex, Match
from app.catalog.overrides import Override
from app.extensions import db
from app.store import catalog, listings, overrides
from app.store.engine.statements import batches, cached_statement, execute_dml
from app.store.schema.tables import CredentialRow, ListedModelRow, ListingRow, ProviderRow

_BATCH_SIZE = 1_000
_MAX_INDEXED_BYTES = 1_200
"""Bytes of a text in an index beside the provider's model id of up to as many; a PostgreSQL index row holds 2,704."""
_FACT_FIELDS = ("context_length", "max_output_tokens", *CAPABILITIES, *PRICES)


def materialise(
    listing_id: int,
    slug: str,
    provider_id: int,
    listing: Listing,
    index: CatalogIndex,
    before: tuple[int, Listing] | None = None,
) -> None:
    """Create the rows of a listing that comes into force, unless they exist.

    before: the listing it replaces, which is in force until this transaction ends. The rows of models that are the
    same in both are copied: under the provider's lock they are up to date.
    """
    if _lock(listing_id):
        return
    same: set[str] = set()
    if before and _lock(before[0]):
        known = {model.id: model for model in before[1].models}
        same = {model.id for model in listing.models if known.get(model.id) == model}
        if len(known) - len(same) <= _BATCH_SIZE:
            _copy(before[0], listing_id, known.keys() - same)
        else:
            same = set()
    fresh = Listing(listing.provider, tuple(model for model in listing.models if model.id not in same))
    _write(listing_id, slug, provider_id, fresh, index, overrides.load_manual())
    execute_dml(update(ListingRow).where(ListingRow.id == listing_id).values(is_shown=True))


def backfill() -> None:
    """Create the rows of every listing in force without any: after an update from a version without this table."""
    query = _LISTINGS.where(~ListingRow.is_shown, _IS_IN_FORCE)
    for listing_id, slug, provider_id in db.session.execute(query).all():
        materialise(listing_id, slug, provider_id, listings.load(listing_id), catalog.load_index()[1])


def rebuild(index: CatalogIndex, provider_ids: Collection[int] | None = None) -> None:
    """Recreate all rows (or those of `provider_ids`) after a change of the catalog or of an override."""
    query = _LISTINGS.where(ListingRow.is_shown)
    if provider_ids is not None:
        query = query.where(ListingRow.provider_id.in_(provider_ids))
    manual = overrides.load_manual()
    for listing_id, slug, provider_id in db.session.execute(query).all():
        if _lock(listing_id):
            db.session.execute(delete(ListedModelRow).where(ListedModelRow.listing_id == listing_id))
            _write(listing_id, slug, provider_id, listings.load(listing_id), index, manual)


def count_uncatalogued(listing_id: int) -> int | None:
    """Number of chat models of a listing that the catalog does not know; None if the listing has no rows."""
    return db.session.scalar(_UNCATALOGUED_QUERY, {"listing_id": listing_id})


def count_uncatalogued_many(listing_ids: Collection[int]) -> dict[int, int]:
    """Listing id → that number; listings without such models, or without rows, are left out."""
    query = (
        select(ListedModelRow.listing_id, func.count())
        .where(
            ListedModelRow.listing_id.in_(listing_ids),
            ListedModelRow.kind == "chat",
            ListedModelRow.canonical_id.is_(None),
        )
        .group_by(ListedModelRow.listing_id)
    )
    return dict(db.session.execute(query).all())


def delete_unused() -> set[int]:
    """Delete the rows of listings that no key has in force any more. Returns the ids of their providers."""
    shown = select(ListingRow.id).where(ListingRow.is_shown, ~_IS_IN_FORCE).order_by(ListingRow.id)
    candidates = list(db.session.scalars(shown.with_for_update(key_share=True)))
    # Checked again under the lock: a worker may have just put one of them in force.
    query = select(ListingRow.id, ListingRow.provider_id).where(ListingRow.id.in_(candidates), ~_IS_IN_FORCE)
    rows = db.session.execute(query).all()
    unused = [listing_id for listing_id, _ in rows]
    if unused:
        db.session.execute(delete(ListedModelRow).where(ListedModelRow.listing_id.in_(unused)))
        db.session.execute(update(ListingRow).where(ListingRow.id.in_(unused)).values(is_shown=False))
    return {provider_id for _, provider_id in rows}


def _lock(listing_id: int) -> bool:
    """Lock the listing against `delete_unused` until the transaction ends; returns whether it has rows."""
    return bool(db.session.scalar(_LOCK_QUERY, {"listing_id": listing_id}))


def _copy(from_id: int, to_id: int, excluding: Collection[str]) -> None:
    """Copy the rows of one listing to another, except those of these models."""
    values = {"from_id": from_id, "to_id": to_id, "excluding": list(excluding)}
    db.session.connection().execute(_copy_statement(), values)


_IS_IN_FORCE = exists().where(CredentialRow.listing_id == ListingRow.id)
_LISTINGS = (
    select(ListingRow.id, ProviderRow.slug, ProviderRow.id)
    .join(ProviderRow, ProviderRow.id == ListingRow.provider_id)
    .order_by(ListingRow.id)
)
_LOCK_QUERY = (
    select(ListingRow.is_shown).where(ListingRow.id == bindparam("listing_id")).with_for_update(key_share=True)
)
_UNCATALOGUED_QUERY = select(
    select(func.count())
    .select_from(ListedModelRow)
    .where(
        ListedModelRow.listing_id == ListingRow.id, ListedModelRow.kind == "chat", ListedModelRow.canonical_id.is_(None)
    )
    .scalar_subquery()
).where(ListingRow.id == bindparam("listing_id"), ListingRow.is_shown)


@cached_statement
def _copy_statement() -> Insert:
    columns = [column for column in ListedModelRow.__table__.columns if column.name != "listing_id"]
    excluding: BindParameter[list[str]] = bindparam("excluding", expanding=True)
    rows = select(bindparam("to_id", type_=Integer), *columns).where(
        ListedModelRow.listing_id == bindparam("from_id"), ListedModelRow.provider_model_id.not_in(excluding)
    )
    return insert(ListedModelRow).from_select(["listing_id", *(column.name for column in columns)], rows)


def _write(
    listing_id: int,
    slug: str,
    provider_id: int,
    listing: Listing,
    index: CatalogIndex,
    manual: Mapping[tuple[str, str], Override],
) -> None:
    rows = [
        {
            "listing_id": listing_id,
            "provider_id": provider_id,
            **_row_values(slug, model, index.match(slug, model), index, manual),
        }
        for model in listing.models
    ]
    for batch in batches(rows, _BATCH_SIZE):
        db.session.connection().execute(insert(ListedModelRow), batch)


def _row_values(
    slug: str, model: ListedModel, match: Match, index: CatalogIndex, manual: Mapping[tuple[str, str], Override]
) -> dict[str, Any]:
    canonical = index.models[match.canonical_id] if match.canonical_id else None
    override = manual.get((slug, canonical.id)) if canonical else None
    facts = infer_from_kind(effective_facts(slug, canonical, model, override, match.variant))
    search = "\n".join((model.id, match.canonical_id or "", facts.name))
    return {
        "provider_model_id": model.id,
        "name": facts.name,
        "sort_name": _truncate_for_index(canonical.name if canonical else facts.name),
        "search": _truncate_for_index(search),
        "kind": model.kind,
        "kind_reason": model.kind_reason,
        "canonical_id": match.canonical_id,
        "match_rule": match.rule,
        "variant": match.variant,
        "snapshot": match.snapshot,
        **{field: getattr(facts, field) for field in _FACT_FIELDS},
        "documented": model.documented,
        "deprecated_on": facts.deprecated_on,
        "retires_on": facts.retires_on,
        "successor": facts.successor,
    }


def _truncate_for_index(text: str) -> str:
    """In lower case, cut to what an index holds."""
    return text.lower().encode()[:_MAX_INDEXED_BYTES].decode(errors="ignore")
