"""What a user's keys can really use, whole and in one order, for programs that keep a list of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from app.catalog.listing import ListedModel
from app.extensions import db
from app.store import listings
from app.store.queries import model_search
from app.store.queries.model_search import KeyRef
from app.store.schema.tables import ListedModelRow, ModelRow, ProviderRow


@dataclass(frozen=True, slots=True)
class ProviderEndpoint:
    """A provider at one address: what its models' ids mean holds for this place only."""

    name: str
    """The provider's slug; of a further address of the same provider with a number behind it."""
    provider: str
    base_url: str | None


@dataclass(frozen=True, slots=True)
class UsableModel:
    """A model that a key of the user lists."""

    place: ProviderEndpoint
    listed: ListedModel
    """As the provider lists it."""
    facts: ListedModelRow
    """As it is after the catalog and the overrides."""
    seen_at: datetime | None
    """When a key of this installation first listed it; None for what is one user's own."""


def list_usable(user_id: int, kind: str = "chat") -> list[UsableModel]:
    """Each model of each place once, by place and id; kind: empty for every kind."""
    keys = sorted(model_search.active_keys(user_id), key=lambda key: key.credential_id)
    places = _name_endpoints(keys)
    contents = listings.load_many(key.listing_id for key in keys)
    facts = _load_facts(contents)
    seen = _load_first_seen(contents)
    found: dict[tuple[str, str], UsableModel] = {}
    for key in keys:
        place = places[key.provider, key.base_url]
        for model in contents[key.listing_id].models:
            row = facts.get((key.listing_id, model.id))
            if row is not None and kind in ("", row.kind):
                one = UsableModel(place, model, row, seen.get((row.provider_id, model.id)))
                found.setdefault((place.name, model.id), one)
    return [found[where] for where in sorted(found)]


def _name_endpoints(keys: Sequence[KeyRef]) -> dict[tuple[str, str | None], ProviderEndpoint]:
    """A name for each address, the oldest key's first, so that a new key does not rename what was there."""
    places: dict[tuple[str, str | None], ProviderEndpoint] = {}
    counts: dict[str, int] = {}
    for key in keys:
        where = key.provider, key.base_url
        if where not in places:
            counts[key.provider] = number = counts.get(key.provider, 0) + 1
            places[where] = ProviderEndpoint(f"{key.provider}-{number}" if number > 1 else key.provider, *where)
    return places


def _load_facts(listing_ids: Iterable[int]) -> dict[tuple[int, str], ListedModelRow]:
    query = select(ListedModelRow).where(ListedModelRow.listing_id.in_(list(listing_ids)))
    return {(row.listing_id, row.provider_model_id): row for row in db.session.scalars(query)}


def _load_first_seen(contents: dict[int, listings.Listing]) -> dict[tuple[int, str], datetime]:
    """(provider id, model id) → moment, of the shared models of these listings' providers that any of them has."""
    slugs = {listing.provider for listing in contents.values()}
    ids = {model.id for listing in contents.values() for model in listing.models}
    query = (
        select(ModelRow.provider_id, ModelRow.provider_model_id, ModelRow.first_seen_at)
        .join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        .where(ProviderRow.slug.in_(slugs))
    )
    return {
        (provider_id, model_id): moment
        for provider_id, model_id, moment in db.session.execute(query)
        if model_id in ids
    }
