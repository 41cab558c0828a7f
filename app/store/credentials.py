"""API keys: added, replaced, disabled, removed; sealed before they touch the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update

from app.extensions import db
from app.store.dialect import insert
from app.store.tables import CredentialRow, ProviderRow
from app.vault import Owner, Sealer, SecretKey

Sealed = tuple[CredentialRow, str]
"""A credential with its provider's slug."""


def add(
    user_id: int,
    provider: ProviderRow,
    label: str,
    key: SecretKey | None,
    sealer: Sealer,
    now: datetime,
    base_url: str | None = None,
) -> CredentialRow | None:
    """Seal and keep a key. None if the user has one of this provider under this label already."""
    row_id = db.session.scalar(
        insert(CredentialRow)
        .values(
            user_id=user_id,
            provider_id=provider.id,
            label=label,
            base_url=base_url,
            created_at=now,
            check_asked_at=now,
        )
        .on_conflict_do_nothing()
        .returning(CredentialRow.id)
    )
    if row_id is None:
        return None
    row = db.session.get_one(CredentialRow, row_id)  # the key is sealed to the row's id
    _seal(row, provider.slug, key, sealer)
    return row


def replace(row: CredentialRow, slug: str, key: SecretKey | None, sealer: Sealer, now: datetime) -> None:
    """Another key in the same place. Its list stays in force until the new key was asked."""
    row.key_number += 1
    row.suspect_listing_id, row.suspect_accepted = None, False
    row.check_asked_at = now
    row.outcome = row.error_code = row.error_message = row.error_action = None
    row.checked_at = row.put_off_until = row.validators = None
    _seal(row, slug, key, sealer)


def remove(row: CredentialRow) -> None:
    db.session.execute(delete(CredentialRow).where(CredentialRow.id == row.id))


def of_user(user_id: int, credential_id: int) -> Sealed | None:
    """One of the user's own, or None: a stranger's credential does not exist for them."""
    return _first(CredentialRow.id == credential_id, CredentialRow.user_id == user_id)


def by_id(credential_id: int) -> Sealed | None:
    return _first(CredentialRow.id == credential_id)


def list_of(user_id: int) -> list[Sealed]:
    query = (
        select(CredentialRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == user_id)
        .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
    )
    return [(row, slug) for row, slug in db.session.execute(query)]


def owner(row: CredentialRow, slug: str) -> Owner:
    return Owner(row.user_id, row.id, slug)


def lock(credential_id: int, user_id: int, provider_id: int, key_number: int) -> CredentialRow | None:
    """The row of this very key, held until the transaction ends; None if it was removed or replaced.

    Locked before its results are written, in the order in which deleting a key goes: two that cross would deadlock.
    """
    query = select(CredentialRow).where(
        CredentialRow.id == credential_id,
        CredentialRow.user_id == user_id,
        CredentialRow.provider_id == provider_id,
        CredentialRow.key_number == key_number,
    )
    return db.session.scalar(query.with_for_update().execution_options(populate_existing=True))


def settle(credential_id: int, key_number: int, now: datetime, facts: Mapping[str, Any]) -> bool:
    """Write what came of asking with this very key; False if it was replaced or removed meanwhile."""
    done = db.session.execute(
        update(CredentialRow)
        .where(CredentialRow.id == credential_id, CredentialRow.key_number == key_number)
        .values(checked_at=now, check_asked_at=None, **facts)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def expect_no_check(credential_id: int) -> None:
    db.session.execute(update(CredentialRow).where(CredentialRow.id == credential_id).values(check_asked_at=None))


def has_active(user_id: int) -> bool:
    """Whether there is anything to sync."""
    mine = select(CredentialRow.id).where(CredentialRow.user_id == user_id, CredentialRow.is_active)
    return db.session.scalar(select(mine.exists())) or False


def users_with_active_keys() -> int:
    """How many users have a key to sync: one index-only count, whatever their number."""
    return db.session.scalar(select(func.count(CredentialRow.user_id.distinct())).where(CredentialRow.is_active)) or 0


def providers() -> dict[str, ProviderRow]:
    return {row.slug: row for row in db.session.scalars(select(ProviderRow))}


def _first(*conditions: ColumnElement[bool]) -> Sealed | None:
    query = (
        select(CredentialRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(*conditions)
    )
    # Another process may have replaced the key since this session last looked.
    found = db.session.execute(query.execution_options(populate_existing=True)).first()
    return (found[0], found[1]) if found else None


def _seal(row: CredentialRow, slug: str, key: SecretKey | None, sealer: Sealer) -> None:
    row.key_hint = key.hint if key else ""
    row.sealed_key = sealer.seal(key, owner(row, slug)) if key else None
    row.vault_version = sealer.version if key else None
