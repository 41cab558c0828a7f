"""Listings by the hash of their content, and the changes between two of them, once for everyone."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Set
from datetime import datetime
from functools import cache

import msgspec
from sqlalchemy import Select, bindparam, select

from app.catalog.changes import Change
from app.catalog.listing import Listing, canonical_form, fingerprint, from_canonical_form
from app.extensions import db
from app.store.engine.dialect import insert
from app.store.schema.tables import ChangeRow, ComparisonRow, CredentialRow, ListingRow, ResultRow


def save(provider_id: int, listing: Listing, now: datetime) -> ListingRow:
    """The row of this very content, made if it is new."""
    form = canonical_form(listing)
    address = fingerprint(form)
    known = db.session.scalar(_by_fingerprint_query(), {"address": address})
    if known:
        return known
    values = {
        "provider_id": provider_id,
        "fingerprint": address,
        "model_count": len(listing.models),
        "chat_count": len(listing.chat()),
        "content": zlib.compress(form, 6),
        "created_at": now,
    }
    db.session.execute(insert(ListingRow).on_conflict_do_nothing(), values)
    return db.session.scalars(_by_fingerprint_query(), {"address": address}).one()


@cache
def _by_fingerprint_query() -> Select[ListingRow]:
    return select(ListingRow).where(ListingRow.fingerprint == bindparam("address"))


def load(listing_id: int) -> Listing:
    """Raises ValueError for damaged content, and NoResultFound for an id that does not exist."""
    content = db.session.scalars(_content_query(), {"listing_id": listing_id}).one()
    return from_canonical_form(zlib.decompress(content))


@cache
def _content_query() -> Select[bytes]:
    return select(ListingRow.content).where(ListingRow.id == bindparam("listing_id"))


def load_many(listing_ids: Iterable[int]) -> dict[int, Listing]:
    """Several at once. Raises ValueError for damaged content; an id that does not exist is left out."""
    query = select(ListingRow.id, ListingRow.content).where(ListingRow.id.in_(set(listing_ids)))
    return {
        listing_id: from_canonical_form(zlib.decompress(content)) for listing_id, content in db.session.execute(query)
    }


def ids_in_force(provider_id: int, *, but: int) -> list[int]:
    """Ids of the listings in force for any key of this provider, disabled ones too, except credential `but`."""
    found = db.session.scalars(_in_force_query(), {"provider_id": provider_id, "but": but})
    return [listing_id for listing_id in found if listing_id is not None]


@cache
def _in_force_query() -> Select[int | None]:
    return (
        select(CredentialRow.listing_id)
        .where(
            CredentialRow.provider_id == bindparam("provider_id"),
            CredentialRow.id != bindparam("but"),
            CredentialRow.listing_id.is_not(None),
        )
        .distinct()
    )


def is_in_force_elsewhere(listing_id: int, *, but: int) -> bool:
    """Whether another key has this very listing: then all that follows from its content is written."""
    return db.session.scalar(_other_holders_query(), {"listing_id": listing_id, "but": but}) or False


@cache
def _other_holders_query() -> Select[bool]:
    others = select(CredentialRow.id)
    others = others.where(CredentialRow.listing_id == bindparam("listing_id"), CredentialRow.id != bindparam("but"))
    return select(others.exists())


def ids_lost_by(credential_id: int) -> frozenset[str]:
    """Ids that this key listed at some time and then lost: if they come back, they are "relisted"."""
    return frozenset(db.session.scalars(_lost_query(), {"credential_id": credential_id}))


@cache
def _lost_query() -> Select[str]:
    return (
        select(ChangeRow.provider_model_id)
        .join(ResultRow, ResultRow.comparison_id == ChangeRow.comparison_id)
        .where(ResultRow.credential_id == bindparam("credential_id"), ChangeRow.kind == "unlisted")
    )


def comparison_key(before: bytes | None, after: bytes, *decisive: Iterable[str]) -> bytes:
    """Address of the changes between two fingerprints, given all else that decides them."""
    parts = [before or b"", after, *("\x1f".join(sorted(words)).encode() for words in decisive)]
    return hashlib.sha256(b"\x1e".join(part.hex().encode() for part in parts)).digest()


def find_comparison(key: bytes) -> ComparisonRow | None:
    return db.session.scalar(_comparison_query(), {"key": key})


@cache
def _comparison_query() -> Select[ComparisonRow]:
    return select(ComparisonRow).where(ComparisonRow.key == bindparam("key"))


def save_comparison(key: bytes, changes: Iterable[Change], now: datetime) -> ComparisonRow:
    """Write the changes under their key; if another worker just did, theirs are the same."""
    changes = list(changes)
    counts = Counter(change.kind for change in changes)
    values = {kind: counts[kind] for kind in ("new", "changed", "unlisted", "relisted")}
    statement = insert(ComparisonRow).on_conflict_do_nothing().returning(ComparisonRow.id)
    made = db.session.scalar(statement, {"key": key, "created_at": now, **values})
    if made and changes:
        db.session.connection().execute(insert(ChangeRow), [_change_values(made, change) for change in changes])
    row = find_comparison(key)
    if row is None:  # inserted by another transaction that was rolled back since: impossible under either database
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
