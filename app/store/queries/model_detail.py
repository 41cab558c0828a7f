"""One canonical model: who serves it, at what price, and what changed about it for one person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec
from sqlalchemy import select, tuple_

from app.catalog.changes import Change
from app.catalog.effective import effective_facts
from app.catalog.listing import CAPABILITIES, ListedModel
from app.catalog.matching import CanonicalModel
from app.catalog.overrides import Override
from app.extensions import db
from app.store import overrides
from app.store.queries import changes
from app.store.schema.catalog_tables import CanonicalRow
from app.store.schema.tables import ChangeRow, CredentialRow, ListedModelRow, ModelRow, ProviderRow, ResultRow

_MAX_CHANGES = 50


@dataclass(frozen=True, slots=True)
class Offer:
    """One id under which a provider serves the model."""

    provider: str
    provider_model_id: str
    variant: str
    snapshot: str
    context_length: int | None
    max_output_tokens: int | None
    input_per_million: Decimal | None
    output_per_million: Decimal | None
    cache_read_per_million: Decimal | None
    retires_on: str
    is_mine: bool
    """Whether a key of this person lists it."""


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """A change about this model in one of the person's syncs."""

    provider: str
    provider_model_id: str
    at: datetime
    change: Change


def load_canonical(canonical_id: str) -> CanonicalModel | None:
    """The canonical model of this id, in the catalog in force."""
    facts = db.session.scalar(select(CanonicalRow.facts).where(CanonicalRow.id == canonical_id))
    return None if facts is None else msgspec.convert(facts, CanonicalModel)


def list_offers(canonical: CanonicalModel, user_id: int) -> list[Offer]:
    """Who serves it, the person's own keys first: theirs as listed for them, the others' as last seen by anyone."""
    mine = _own_offers(canonical.id, user_id)
    mine_by_id = {(offer.provider, offer.provider_model_id) for offer in mine}
    query = (
        select(ModelRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        .where(ModelRow.canonical_id == canonical.id, ModelRow.is_active)
        .order_by(ProviderRow.slug, ModelRow.provider_model_id)
    )
    manual = {slug: override for (slug, of), override in overrides.load_manual().items() if of == canonical.id}
    others = [
        _other_offer(row, slug, canonical, manual.get(slug))
        for row, slug in db.session.execute(query)
        if (slug, row.provider_model_id) not in mine_by_id
    ]
    return [*mine, *others]


def list_events(canonical_id: str, user_id: int) -> list[ModelEvent]:
    """What the person's syncs told of the ids that mean this model, the latest first."""
    shared = select(ModelRow.provider_id, ModelRow.provider_model_id).where(ModelRow.canonical_id == canonical_id)
    own = (
        select(ListedModelRow.provider_id, ListedModelRow.provider_model_id)
        .join(CredentialRow, CredentialRow.listing_id == ListedModelRow.listing_id)
        .where(CredentialRow.user_id == user_id, ListedModelRow.canonical_id == canonical_id)
    )
    query = (
        select(ChangeRow, ResultRow.ended_at, ProviderRow.slug)
        .join(ResultRow, ResultRow.comparison_id == ChangeRow.comparison_id)
        .join(ProviderRow, ProviderRow.id == ResultRow.provider_id)
        .where(
            ResultRow.user_id == user_id,
            ResultRow.ended_at.is_not(None),
            tuple_(ResultRow.provider_id, ChangeRow.provider_model_id).in_(shared.union(own)),
        )
        .order_by(ResultRow.id.desc(), ChangeRow.id)
        .limit(_MAX_CHANGES)
    )
    return [
        ModelEvent(slug, row.provider_model_id, ended_at, changes.to_change(row))
        for row, ended_at, slug in db.session.execute(query)
        if ended_at is not None
    ]


def _own_offers(canonical_id: str, user_id: int) -> list[Offer]:
    """The offers to the person's own active keys; of several keys of one place the last synced speaks."""
    query = (
        select(ListedModelRow, ProviderRow.slug, CredentialRow.base_url)
        .join(CredentialRow, CredentialRow.listing_id == ListedModelRow.listing_id)
        .join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
        .where(CredentialRow.user_id == user_id, CredentialRow.is_active, ListedModelRow.canonical_id == canonical_id)
        .order_by(CredentialRow.listed_at.desc(), ListedModelRow.provider_model_id)
    )
    found: dict[tuple[str, str | None, str], Offer] = {}
    for row, slug, base_url in db.session.execute(query):
        offer = Offer(
            provider=slug,
            provider_model_id=row.provider_model_id,
            variant=row.variant,
            snapshot=row.snapshot,
            context_length=row.context_length,
            max_output_tokens=row.max_output_tokens,
            input_per_million=row.input_per_million,
            output_per_million=row.output_per_million,
            cache_read_per_million=row.cache_read_per_million,
            retires_on=row.retires_on,
            is_mine=True,
        )
        found.setdefault((slug, base_url, row.provider_model_id), offer)
    return list(found.values())


def _other_offer(row: ModelRow, slug: str, canonical: CanonicalModel, manual: Override | None) -> Offer:
    facts = effective_facts(slug, canonical, _to_listed_model(row), manual, row.variant)
    return Offer(
        provider=slug,
        provider_model_id=row.provider_model_id,
        variant=row.variant,
        snapshot=row.snapshot,
        context_length=facts.context_length,
        max_output_tokens=facts.max_output_tokens,
        input_per_million=facts.input_per_million,
        output_per_million=facts.output_per_million,
        cache_read_per_million=facts.cache_read_per_million,
        retires_on=facts.retires_on,
        is_mine=False,
    )


def _to_listed_model(row: ModelRow) -> ListedModel:
    """The facts of a shared row as its provider listed them."""
    supports = {name: getattr(row, _COLUMNS[name]) for name in CAPABILITIES}
    return ListedModel(
        id=row.provider_model_id,
        name=row.model_name,
        context_length=row.context_length,
        max_output_tokens=row.max_output_tokens,
        input_per_million=row.input_per_million,
        output_per_million=row.output_per_million,
        cache_read_per_million=row.cache_read_per_million,
        cache_write_per_million=row.cache_write_per_million,
        deprecated_at=row.deprecated_at,
        retires_at=row.retires_at,
        **supports,
    )


_COLUMNS = {
    "streaming": "supports_streaming",
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "reasoning": "supports_reasoning",
    "structured_output": "supports_structured_output",
}
