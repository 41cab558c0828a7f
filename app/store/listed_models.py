"""The rows behind the page of models: every listing in force, with the effective facts of its models.

They hold nothing of their own. A listing gets them when it comes into force, all get them anew when the catalog or an
override changes, and they go when no key has the listing any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Insert, Integer, Select, bindparam, delete, exists, func, insert, select, update

from app.catalog.listing import CAPABILITIES, PRICES, ListedModel, Listing
from app.catalog.matching import CatalogIndex, Match
from app.catalog.overrides import Override, effective_facts
from app.extensions import db
from app.store import catalog, listings, overrides
from app.store.schema.tables import CredentialRow, ListedModelRow, ListingRow, ProviderRow

_BATCH_SIZE = 1_000
_MAX_INDEXED_BYTES = 1_200
"""Of a text that an index holds beside the provider's id, which may have as many: PostgreSQL's take 2,704 in all."""
_FACT_FIELDS = ("context_length", "max_output_tokens", *CAPABILITIES, *PRICES)


def materialise(
    listing_id: int,
    slug: str,
    provider_id: int,
    listing: Listing,
    index: CatalogIndex,
    before: tuple[int, Listing] | None = None,
) -> None:
    """Make the rows of a listing that comes into force, unless it has them.

    before: the listing that it takes the place of, and which is in force until this transaction ends. The rows of
    models that are the same in both are copied: under the hold of their provider they are up to date.
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
    shown = update(ListingRow).where(ListingRow.id == listing_id).values(is_shown=True)
    db.session.execute(shown.execution_options(synchronize_session=False))


def backfill() -> None:
    """Make the rows of every listing in force that has none: after an update from a version without them."""
    query = (
        select(ListingRow.id, ProviderRow.slug, ProviderRow.id)
        .join(ProviderRow, ProviderRow.id == ListingRow.provider_id)
        .where(~ListingRow.is_shown, _is_in_force())
        .order_by(ListingRow.id)
    )
    for listing_id, slug, provider_id in db.session.execute(query).all():
        materialise(listing_id, slug, provider_id, listings.load(listing_id), catalog.load_index()[1])


def rebuild(index: CatalogIndex, provider_ids: Collection[int] | None = None) -> None:
    """Make all rows anew (provider_ids: those of these providers), since the catalog or an override changed."""
    query = (
        select(ListingRow.id, ProviderRow.slug, ProviderRow.id)
        .join(ProviderRow, ProviderRow.id == ListingRow.provider_id)
        .where(ListingRow.is_shown)
        .order_by(ListingRow.id)
    )
    if provider_ids is not None:
        query = query.where(ListingRow.provider_id.in_(provider_ids))
    manual = overrides.load_manual()
    for listing_id, slug, provider_id in db.session.execute(query).all():
        if _lock(listing_id):
            db.session.execute(delete(ListedModelRow).where(ListedModelRow.listing_id == listing_id))
            _write(listing_id, slug, provider_id, listings.load(listing_id), index, manual)


def count_uncatalogued(listing_id: int) -> int | None:
    """How many chat models of a listing the catalog does not know; None unless its rows are there to tell."""
    return db.session.scalar(_uncatalogued_query(), {"listing_id": listing_id})


@cache
def _uncatalogued_query() -> Select[int]:
    unknown = (
        select(func.count())
        .select_from(ListedModelRow)
        .where(
            ListedModelRow.listing_id == ListingRow.id,
            ListedModelRow.kind == "chat",
            ListedModelRow.canonical_id.is_(None),
        )
        .scalar_subquery()
    )
    return select(unknown).where(ListingRow.id == bindparam("listing_id"), ListingRow.is_shown)


def count_uncatalogued_many(listing_ids: Collection[int]) -> dict[int, int]:
    """The same of several listings at once; those without such models, or without rows, are left out."""
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
    """Remove the rows of listings that no key has in force any more. Returns the providers they were of."""
    shown = select(ListingRow.id).where(ListingRow.is_shown, ~_is_in_force()).order_by(ListingRow.id)
    candidates = list(db.session.scalars(shown.with_for_update(key_share=True)))
    # Asked again under the lock: a worker may just have put one of them in force.
    query = select(ListingRow.id, ListingRow.provider_id).where(ListingRow.id.in_(candidates), ~_is_in_force())
    found = db.session.execute(query).all()
    unused = [listing_id for listing_id, _ in found]
    if unused:
        db.session.execute(delete(ListedModelRow).where(ListedModelRow.listing_id.in_(unused)))
        db.session.execute(update(ListingRow).where(ListingRow.id.in_(unused)).values(is_shown=False))
    return {provider_id for _, provider_id in found}


def _is_in_force() -> Any:
    return exists().where(CredentialRow.listing_id == ListingRow.id)


def _lock(listing_id: int) -> bool:
    """Hold the listing until the transaction ends, against `drop_unused`; whether it has its rows."""
    return bool(db.session.scalar(_lock_query(), {"listing_id": listing_id}))


@cache
def _lock_query() -> Select[bool]:
    return select(ListingRow.is_shown).where(ListingRow.id == bindparam("listing_id")).with_for_update(key_share=True)


def _copy(from_id: int, to_id: int, but: Collection[str]) -> None:
    """The rows of one listing for another, but those of these models."""
    db.session.connection().execute(_copy_statement(), {"from_id": from_id, "to_id": to_id, "but": list(but)})


@cache
def _copy_statement() -> Insert:
    columns = [column for column in ListedModelRow.__table__.columns if column.name != "listing_id"]
    but: BindParameter[list[str]] = bindparam("but", expanding=True)
    rows = select(bindparam("to_id", type_=Integer), *columns).where(
        ListedModelRow.listing_id == bindparam("from_id"), ListedModelRow.provider_model_id.not_in(but)
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
    for start in range(0, len(rows), _BATCH_SIZE):
        db.session.connection().execute(insert(ListedModelRow), rows[start : start + _BATCH_SIZE])


def _row_values(
    slug: str,
    model: ListedModel,
    match: Match,
    index: CatalogIndex,
    manual: Mapping[tuple[str, str], Override],
) -> dict[str, Any]:
    canonical = index.models[match.canonical_id] if match.canonical_id else None
    settled = manual.get((slug, canonical.id)) if canonical else None
    facts = effective_facts(slug, canonical, model, settled, match.variant)
    searched = "\n".join((model.id, match.canonical_id or "", facts.name))
    return {
        "provider_model_id": model.id,
        "name": facts.name,
        "sort_name": _truncate_for_index(canonical.name if canonical else facts.name),
        "search": _truncate_for_index(searched),
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
    """In lower case, as much of it as an index takes."""
    return text.lower().encode()[:_MAX_INDEXED_BYTES].decode(errors="ignore")
