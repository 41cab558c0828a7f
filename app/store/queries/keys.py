"""A user's API keys with their state, for the page of keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, select

from app.extensions import db
from app.store.schema.tables import CredentialRow, ListingRow, ProviderRow, ResultRow, RunRow


@dataclass(frozen=True, slots=True)
class KeyView:
    id: int
    provider: str
    label: str
    hint: str
    has_key: bool
    is_active: bool
    is_new: bool
    """Whether it waits for its first sync, or is in it."""
    is_syncing: bool
    """Whether a worker is fetching its list."""
    outcome: str | None
    model_count: int | None
    chat_count: int | None
    error_code: str | None
    error_message: str | None
    error_action: str | None
    checked_at: datetime | None
    listed_at: datetime | None
    base_url: str | None
    can_accept: bool
    held_chat_count: int | None
    """Chat models of the list on hold."""
    put_off_until: datetime | None
    """Retry-After deadline of the provider; None or past if there is none."""


def list_keys(user_id: int, credential_id: int | None = None) -> list[KeyView]:
    """A user's API keys (or one of them), by provider and label. Sealed keys are not read."""
    query = _KEYS_QUERY
    if credential_id is not None:
        query = query.where(CredentialRow.id == credential_id)
    return [KeyView(*tuple(row)) for row in db.session.execute(query, {"user_id": user_id})]


_IS_SYNCING = (
    select(ResultRow.id)
    .join(RunRow, RunRow.id == ResultRow.run_id)
    .where(
        RunRow.user_id == bindparam("user_id"),
        RunRow.state == "running",
        ResultRow.credential_id == CredentialRow.id,
        ResultRow.outcome.is_(None),
    )
    .exists()
    .correlate(CredentialRow)
)
_HELD_CHAT_COUNT = (
    select(ListingRow.chat_count)
    .where(ListingRow.id == CredentialRow.suspect_listing_id)
    .correlate(CredentialRow)
    .scalar_subquery()
)
_KEYS_QUERY: Select[*tuple[Any, ...]] = (
    select(
        CredentialRow.id,
        ProviderRow.slug,
        CredentialRow.label,
        CredentialRow.key_hint,
        CredentialRow.vault_version.is_not(None),
        CredentialRow.is_active,
        CredentialRow.check_asked_at.is_not(None),
        _IS_SYNCING,
        CredentialRow.outcome,
        CredentialRow.model_count,
        CredentialRow.chat_count,
        CredentialRow.error_code,
        CredentialRow.error_message,
        CredentialRow.error_action,
        CredentialRow.checked_at,
        CredentialRow.listed_at,
        CredentialRow.base_url,
        CredentialRow.suspect_listing_id.is_not(None) & (CredentialRow.outcome == "suspect"),
        _HELD_CHAT_COUNT,
        CredentialRow.put_off_until,
    )
    .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
    .where(CredentialRow.user_id == bindparam("user_id"))
    .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
)
