"""One canonical model: the providers that serve it, their prices, and its changes in a user's syncs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec
from sqlalchemy import select, tuple_

from app.catalog.changes import Change
from app.catalog.effective import effective_facts, infer_from_kind
from app.catalog.matching import CanonicalModel
from app.catalog.overrides import Override
from app.extensions import db
from app.store import overrides
from app.store.engine.views import build_view
from app.store.models import to_listed_model
from app.store.queries import changes
from app.store.schema.catalog_tables import CanonicalRow
from app.store.schema.tables import ChangeRow, CredentialRow, ListedModelRow, ModelRow, ProviderRow, ResultRow

_MAX_CHANGES = 50


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider's model that is this canonical model."""

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
    """Whether one of the user's keys lists it."""


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """A change of this model in one of the user's syncs."""

    provider: str
    provider_model_id: str
    at: datetime
    change: Change


def load_canonical(canonical_id: str) -> CanonicalModel | None:
    """The canonical model with this id, in the catalog in force."""
    facts = db.session.scalar(select(CanonicalRow.facts).where(CanonicalRow.id == canonical_id))
    return None if facts is None else msgspec.convert(facts, CanonicalModel)


def list_offers(canonical: CanonicalModel, user_id: int) -> list[Offer]:
    """The offers to the user's keys, as listed for them, then others, as last seen by any key."""
    own = _own_offers(canonical.id, user_id)
    own_ids = {(offer.provider, offer.provider_model_id) for offer in own}
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
        if (slug, row.provider_model_id) not in own_ids
    ]
    return [*own, *others]


def list_events(canonical_id: str, user_id: int) -> list[ModelEvent]:
    """The changes of this model in the user's syncs, latest first."""
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
    """The offers to the user's active keys; of several keys of one endpoint, the most recently synced one's."""
    query = (
        select(ListedModelRow, ProviderRow.slug, CredentialRow.base_url)
        .join(CredentialRow, CredentialRow.listing_id == ListedModelRow.listing_id)
        .join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
        .where(CredentialRow.user_id == user_id, CredentialRow.is_active, ListedModelRow.canonical_id == canonical_id)
        .order_by(CredentialRow.listed_at.desc(), ListedModelRow.provider_model_id)
    )
    by_endpoint: dict[tuple[str, str | None, str], Offer] = {}
    for row, slug, base_url in db.session.execute(query):
        offer = build_view(Offer, row, provider=slug, is_mine=True)
        by_endpoint.setdefault((slug, base_url, row.provider_model_id), offer)
    return list(by_endpoint.values())


def _other_offer(row: ModelRow, slug: str, canonical: CanonicalModel, manual: Override | None) -> Offer:
    facts = infer_from_kind(effective_facts(slug, canonical, to_listed_model(row), manual, row.variant))
    ids = {name: getattr(row, name) for name in ("provider_model_id", "variant", "snapshot")}
    return build_view(Offer, facts, provider=slug, **ids, is_mine=False)
