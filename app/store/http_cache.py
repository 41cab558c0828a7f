"""What a provider said for the next time it is asked with a key: when to come back, and by what to know its list again.

Both stand on the credential, and are of that very key: replacing it drops them.
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
"""A list is read anew at least so often: a newer Modelsync may read more out of the same bytes."""


class CacheEntry(TypedDict):
    """Validators as they are stored, with all that they hold for."""

    etag: str
    last_modified: str
    digest: str
    """Of the bytes of the list."""
    base_url: str
    skipped: int
    """Of the answer they came with."""
    read_at: str
    """ISO, UTC."""


@dataclass(frozen=True, slots=True)
class FetchHints:
    """Of one credential."""

    put_off_until: datetime | None = None
    memo: CacheEntry | None = None


NO_HINTS = FetchHints()


def load_hints(parts: Sequence[RunItem], now: datetime) -> dict[int, FetchHints]:
    """By credential, as far as there is something to know."""
    query = select(
        CredentialRow.id,
        CredentialRow.key_number,
        CredentialRow.listing_id,
        CredentialRow.put_off_until,
        CredentialRow.validators,
    ).where(
        CredentialRow.id.in_([part.credential_id for part in parts]),
        or_(CredentialRow.put_off_until > now, CredentialRow.validators.is_not(None)),
    )
    current = {part.credential_id: part.key_number for part in parts}
    return {
        credential_id: FetchHints(put_off_until, _valid_entry(stored, key_number, listing_id, now))
        for credential_id, key_number, listing_id, put_off_until, stored in db.session.execute(query)
        if current[credential_id] == key_number
    }


def to_validators(memo: CacheEntry, key_number: int, listing_id: int) -> dict[str, Any]:
    """What to write to `credentials.validators`: they hold for this key and this listing."""
    return {**memo, "key_number": key_number, "listing_id": listing_id}


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
