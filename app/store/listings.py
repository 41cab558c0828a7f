"""Content-addressed listings, and the shared changes between two of them."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Set
from datetime import datetime

import msgspec
from sqlalchemy import bindparam, select

from app.catalog.changes import Change
from app.catalog.listing import Listing, canonical_form, fingerprint, parse_canonical_form
from app.extensions import db
from app.store.engine.dialect import insert
from app.store.schema.tables import ChangeRow, ComparisonRow, CredentialRow, ListingRow, ResultRow


def save(provider_id: int, listing: Listing, now: datetime) -> ListingRow:
    """The row with this content, created if it is new."""
    form = canonical_form(listing)
    address = fingerprint(form)
    existing = db.session.scalar(_BY_FINGERPRINT, {"address": address})
    if existing:
        return existing
    values = {
        "provider_id": provider_id,
        "fingerprint": address,
        "model_count": len(listing.models),
        "chat_count": len(listing.chat()),
        "content": zlib.compress(form, 6),
        "created_at": now,
    }
    db.session.execute(insert(ListingRow).on_conflict_do_nothing(), values)
    return db.session.scalars(_BY_FINGERPRINT, {"address": address}).one()


_BY_FINGERPRINT = select(ListingRow).where(ListingRow.fingerprint == bindparam("address"))


def load(listing_id: int) -> Listing:
    """Raises ValueError for corrupt content, and NoResultFound for an unknown id."""
    content = db.session.scalars(_CONTENT_QUERY, {"listing_id": listing_id}).one()
    return parse_canonical_form(zlib.decompress(content))


_CONTENT_QUERY = select(ListingRow.content).where(ListingRow.id == bindparam("listing_id"))


def load_many(listing_ids: Iterable[int]) -> dict[int, Listing]:
    """Id → listing; unknown ids are left out. Raises ValueError for corrupt content."""
    query = select(ListingRow.id, ListingRow.content).where(ListingRow.id.in_(set(listing_ids)))
    return {
        listing_id: parse_canonical_form(zlib.decompress(content)) for listing_id, content in db.session.execute(query)
    }


def ids_in_force(provider_id: int, *, excluding: int) -> list[int]:
    """Ids of the listings in force for any key of this provider, also disabled ones, except credential `excluding`."""
    ids = db.session.scalars(_IN_FORCE_QUERY, {"provider_id": provider_id, "excluding": excluding})
    return [listing_id for listing_id in ids if listing_id is not None]


_IN_FORCE_QUERY = (
    select(CredentialRow.listing_id)
    .where(
        CredentialRow.provider_id == bindparam("provider_id"),
        CredentialRow.id != bindparam("excluding"),
        CredentialRow.listing_id.is_not(None),
    )
    .distinct()
)


def is_in_force_elsewhere(listing_id: int, *, excluding: int) -> bool:
    """Whether a credential other than `excluding` has this listing: then everything derived from it is written."""
    return db.session.scalar(_OTHER_HOLDERS_QUERY, {"listing_id": listing_id, "excluding": excluding}) or False


_OTHER_HOLDERS_QUERY = select(
    select(CredentialRow.id)
    .where(CredentialRow.listing_id == bindparam("listing_id"), CredentialRow.id != bindparam("excluding"))
    .exists()
)


def ids_lost_by(credential_id: int) -> frozenset[str]:
    """Ids of models that this key once listed and then lost: if they come back, they are "relisted"."""
    return frozenset(db.session.scalars(_LOST_QUERY, {"credential_id": credential_id}))


_LOST_QUERY = (
    select(ChangeRow.provider_model_id)
    .join(ResultRow, ResultRow.comparison_id == ChangeRow.comparison_id)
    .where(ResultRow.credential_id == bindparam("credential_id"), ChangeRow.kind == "unlisted")
)


def comparison_key(before: bytes | None, after: bytes, *inputs: Iterable[str]) -> bytes:
    """Address of the changes between two fingerprints, given all other inputs that determine them."""
    parts = [before or b"", after, *("\x1f".join(sorted(words)).encode() for words in inputs)]
    return hashlib.sha256(b"\x1e".join(part.hex().encode() for part in parts)).digest()


def find_comparison(key: bytes) -> ComparisonRow | None:
    return db.session.scalar(_COMPARISON_QUERY, {"key": key})


_COMPARISON_QUERY = select(ComparisonRow).where(ComparisonRow.key == bindparam("key"))


def save_comparison(key: bytes, changes: Iterable[Change], now: datetime) -> ComparisonRow:
    """Save the changes under their key. If another worker did so first, its changes are the same."""
    changes = list(changes)
    counts = Counter(change.kind for change in changes)
    values = {kind: counts[kind] for kind in ("new", "changed", "unlisted", "relisted")}
    statement = insert(ComparisonRow).on_conflict_do_nothing().returning(ComparisonRow.id)
    new_id = db.session.scalar(statement, {"key": key, "created_at": now, **values})
    if new_id and changes:
        db.session.connection().execute(insert(ChangeRow), [_change_values(new_id, change) for change in changes])
    row = find_comparison(key)
    if row is None:  # would need an insert by another transaction, rolled back since: impossible on either database
        raise RuntimeError("a comparison vanished between its insert and its read")
    return row


def model_ids(listing: Listing) -> Set[str]:
    return {model.id for model in listing.models}


def _change_values(comparison_id: int, change: Change) -> dict[str, object]:
    return {
        "comparison_id": comparison_id,
        "kind": change.kind,
        "provider_model_id": change.model_id,
        "model_name": change.name,
        "fields": msgspec.to_builtins(change.fields),
    }
