"""What keys may use, whole: their listings in force, for the command line and for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select

from app.catalog.listing import ListedModel
from app.extensions import db
from app.store import listings
from app.store.schema.tables import ChangeRow, CredentialRow, ProviderRow, ResultRow


@dataclass(frozen=True, slots=True)
class KeyModels:
    """What one key may use, after its last good sync."""

    credential_id: int
    provider: str
    label: str
    listed_at: datetime | None
    models: Sequence[ListedModel]
    unlisted: Sequence[ListedModel] = ()
    """What it listed earlier and lost: ids and names only."""


def load_key_models(user_id: int, provider: str | None = None, credential_id: int | None = None) -> list[KeyModels]:
    """What a user's active keys may use: their listings in force, each content read once."""
    query = (
        select(
            CredentialRow.id,
            ProviderRow.slug,
            CredentialRow.label,
            CredentialRow.listed_at,
            CredentialRow.listing_id,
        )
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == user_id, CredentialRow.is_active, CredentialRow.listing_id.is_not(None))
        .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
    )
    if provider is not None:
        query = query.where(ProviderRow.slug == provider)
    if credential_id is not None:
        query = query.where(CredentialRow.id == credential_id)
    found = db.session.execute(query).all()
    contents = listings.load_many(row.listing_id for row in found)
    lost = _load_lost({row.id for row in found})
    keys = []
    for row in found:
        listed = contents[row.listing_id].models
        ids = {model.id for model in listed}
        gone = tuple(model for model in lost[row.id] if model.id not in ids)
        keys.append(KeyModels(row.id, row.slug, row.label, row.listed_at, listed, gone))
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
