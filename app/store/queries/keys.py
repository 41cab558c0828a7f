"""A user's API keys with their state, for the page of keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from app.extensions import db
from app.store.schema.tables import CredentialRow, ProviderRow

_CHECK_TIMEOUT = timedelta(seconds=90)
"""After this time without an answer a key is no longer shown as being checked."""


@dataclass(frozen=True, slots=True)
class KeyView:
    id: int
    provider: str
    label: str
    hint: str
    has_key: bool
    is_active: bool
    is_checking: bool
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
    put_off_until: datetime | None
    """Retry-After deadline of the provider; None or past if there is none."""


def list_keys(user_id: int, now: datetime, credential_id: int | None = None) -> list[KeyView]:
    """A user's API keys (or one of them), by provider and label. Sealed keys are not read."""
    query = _KEYS_QUERY
    if credential_id is not None:
        query = query.where(CredentialRow.id == credential_id)
    values = {"user_id": user_id, "check_since": now - _CHECK_TIMEOUT}
    return [KeyView(*tuple(row)) for row in db.session.execute(query, values)]


_KEYS_QUERY: Select[*tuple[Any, ...]] = (
    select(
        CredentialRow.id,
        ProviderRow.slug,
        CredentialRow.label,
        CredentialRow.key_hint,
        CredentialRow.vault_version.is_not(None),
        CredentialRow.is_active,
        func.coalesce(CredentialRow.check_asked_at > bindparam("check_since"), False),
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
        CredentialRow.put_off_until,
    )
    .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
    .where(CredentialRow.user_id == bindparam("user_id"))
    .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
)
