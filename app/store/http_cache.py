"""HTTP cache state per credential: validators (ETag, Last-Modified, body digest) and the Retry-After deadline.

Both belong to the current key: replacing it drops them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from sqlalchemy import or_, select

from app.extensions import db
from app.store.runs import RunItem
from app.store.schema.tables import CredentialRow

MAX_AGE = timedelta(days=7)
"""A list is fetched and parsed again after this time: a newer version may read more from the same bytes."""


class CacheEntry(TypedDict):
    """Stored validators, and what they are valid for."""

    etag: str
    last_modified: str
    digest: str
    """Hash of the body."""
    base_url: str
    skipped: int
    """Unreadable entries of that answer."""
    read_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class FetchHints:
    """What to respect and send when one credential's list is fetched."""

    put_off_until: datetime | None = None
    cache_entry: CacheEntry | None = None


NO_HINTS = FetchHints()


def load_hints(items: Sequence[RunItem], now: datetime) -> dict[int, FetchHints]:
    """Credential id → hints, for those that have any."""
    query = select(
        CredentialRow.id,
        CredentialRow.key_number,
        CredentialRow.listing_id,
        CredentialRow.put_off_until,
        CredentialRow.validators,
    ).where(
        CredentialRow.id.in_([item.credential_id for item in items]),
        or_(CredentialRow.put_off_until > now, CredentialRow.validators.is_not(None)),
    )
    current = {item.credential_id: item.key_number for item in items}
    return {
        credential_id: FetchHints(put_off_until, _valid_entry(stored, key_number, listing_id, now))
        for credential_id, key_number, listing_id, put_off_until, stored in db.session.execute(query)
        if current[credential_id] == key_number
    }


def to_validators(entry: CacheEntry, key_number: int, listing_id: int) -> dict[str, Any]:
    """The value of `credentials.validators`, valid for this key and this listing."""
    return {**entry, "key_number": key_number, "listing_id": listing_id}


def _valid_entry(
    stored: dict[str, Any] | None, key_number: int, listing_id: int | None, now: datetime
) -> CacheEntry | None:
    if stored is None or (stored["key_number"], stored["listing_id"]) != (key_number, listing_id):
        return None
    read_at = datetime.fromisoformat(stored["read_at"]).astimezone(UTC)
    if not timedelta(0) <= now - read_at < MAX_AGE:
        return None
    return CacheEntry(
        etag=stored["etag"],
        last_modified=stored["last_modified"],
        digest=stored.get("digest", ""),
        base_url=stored["base_url"],
        skipped=stored["skipped"],
        read_at=stored["read_at"],
    )
