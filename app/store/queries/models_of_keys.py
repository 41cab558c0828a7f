"""What a user's keys may use, complete, for the command line and for programs that keep a list of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select

from app.catalog.listing import ListedModel, Listing
from app.extensions import db
from app.store import listings
from app.store.queries.model_query import KeyRef
from app.store.queries.model_search import active_keys
from app.store.schema.tables import ChangeRow, CredentialRow, ListedModelRow, ModelRow, ProviderRow, ResultRow


@dataclass(frozen=True, slots=True)
class KeyModels:
    """The models of one key, after its last good sync."""

    credential_id: int
    provider: str
    label: str
    listed_at: datetime | None
    models: Sequence[ListedModel]
    unlisted: Sequence[ListedModel] = ()
    """Models it listed earlier and lost: ids and names only."""


def load_key_models(user_id: int, provider: str | None = None, credential_id: int | None = None) -> list[KeyModels]:
    """The listings in force of a user's active keys; equal listings are read once."""
    query = (
        select(
            CredentialRow.id, ProviderRow.slug, CredentialRow.label, CredentialRow.listed_at, CredentialRow.listing_id
        )
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == user_id, CredentialRow.is_active, CredentialRow.listing_id.is_not(None))
        .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
    )
    if provider is not None:
        query = query.where(ProviderRow.slug == provider)
    if credential_id is not None:
        query = query.where(CredentialRow.id == credential_id)
    rows = db.session.execute(query).all()
    contents = listings.load_many(row.listing_id for row in rows)
    lost = _load_lost({row.id for row in rows})
    keys = []
    for row in rows:
        listed = contents[row.listing_id].models
        ids = {model.id for model in listed}
        unlisted = tuple(model for model in lost[row.id] if model.id not in ids)
        keys.append(KeyModels(row.id, row.slug, row.label, row.listed_at, listed, unlisted))
    return keys


def _load_lost(credential_ids: Set[int]) -> dict[int, list[ListedModel]]:
    query = (
        select(ResultRow.credential_id, ChangeRow.provider_model_id, ChangeRow.model_name)
        .join(ChangeRow, and_(ChangeRow.comparison_id == ResultRow.comparison_id, ChangeRow.kind == "unlisted"))
        .where(ResultRow.credential_id.in_(credential_ids), ResultRow.comparison_id.is_not(None))
        .distinct()
        .order_by(ChangeRow.provider_model_id)
    )
    lost: dict[int, list[ListedModel]] = defaultdict(list)
    for credential_id, model_id, name in db.session.execute(query):
        if credential_id is not None:
            lost[credential_id].append(
                ListedModel(id=model_id, name=name, kind_reason="it was a chat model when listed")
            )
    return lost


@dataclass(frozen=True, slots=True)
class ProviderEndpoint:
    """A provider at one base URL: model ids are unique within it."""

    name: str
    """The provider's slug, with a number for further base URLs of the same provider."""
    provider: str
    base_url: str | None


@dataclass(frozen=True, slots=True)
class UsableModel:
    """A model that one of the user's keys lists."""

    endpoint: ProviderEndpoint
    listed: ListedModel
    """As the provider lists it."""
    facts: ListedModelRow
    """With catalog and overrides applied."""
    first_seen_at: datetime | None
    """When a key of this installation first listed it; None for a user's private model."""


def list_usable(user_id: int, kind: str = "chat") -> list[UsableModel]:
    """Each model of each endpoint once, ordered by endpoint and id. kind: empty for all kinds."""
    keys = sorted(active_keys(user_id), key=lambda key: key.credential_id)
    endpoints = _name_endpoints(keys)
    contents = listings.load_many(key.listing_id for key in keys)
    facts = _load_facts(contents)
    first_seen = _load_first_seen(contents)
    usable: dict[tuple[str, str], UsableModel] = {}
    for key in keys:
        endpoint = endpoints[key.provider, key.base_url]
        for model in contents[key.listing_id].models:
            row = facts.get((key.listing_id, model.id))
            if row is not None and kind in ("", row.kind):
                first_seen_at = first_seen.get((row.provider_id, model.id))
                usable.setdefault((endpoint.name, model.id), UsableModel(endpoint, model, row, first_seen_at))
    return [usable[key] for key in sorted(usable)]


def _name_endpoints(keys: Sequence[KeyRef]) -> dict[tuple[str, str | None], ProviderEndpoint]:
    """Endpoints with their names, the oldest key's first, so that a new key does not rename an existing endpoint."""
    endpoints: dict[tuple[str, str | None], ProviderEndpoint] = {}
    counts: dict[str, int] = {}
    for key in keys:
        address = key.provider, key.base_url
        if address not in endpoints:
            counts[key.provider] = number = counts.get(key.provider, 0) + 1
            endpoints[address] = ProviderEndpoint(f"{key.provider}-{number}" if number > 1 else key.provider, *address)
    return endpoints


def _load_facts(listing_ids: Iterable[int]) -> dict[tuple[int, str], ListedModelRow]:
    query = select(ListedModelRow).where(ListedModelRow.listing_id.in_(list(listing_ids)))
    return {(row.listing_id, row.provider_model_id): row for row in db.session.scalars(query)}


def _load_first_seen(contents: dict[int, Listing]) -> dict[tuple[int, str], datetime]:
    """(provider id, model id) → when it was first seen, for the shared models of these listings."""
    slugs = {listing.provider for listing in contents.values()}
    ids = {model.id for listing in contents.values() for model in listing.models}
    query = (
        select(ModelRow.provider_id, ModelRow.provider_model_id, ModelRow.first_seen_at)
        .join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        .where(ProviderRow.slug.in_(slugs))
    )
    return {
        (provider_id, model_id): first_seen_at
        for provider_id, model_id, first_seen_at in db.session.execute(query)
        if model_id in ids
    }
