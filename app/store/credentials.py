"""API keys: added, replaced, disabled, removed; sealed before they touch the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.attributes import flag_modified

from app.extensions import db
from app.store.engine.dialect import insert
from app.store.runs import RunItem
from app.store.schema.tables import CredentialRow, ListingRow, ProviderRow, UserRow
from app.vault import ApiKey, PublicKey, SealContext

SERVER_LABEL = "server"
_FIRST_SYNC_AFTER = timedelta(days=1)
"""After it was added, unless a check or a sync sets another moment before."""
MAX_KEYS = 200
"""Of one user: each is asked by itself in every run, and a run has its bounds."""
CredentialWithSlug = tuple[CredentialRow, str]
"""A credential with its provider's slug."""


class TooManyKeys(ValueError):
    """The user has as many as one may have. Its text is a sentence for them."""

    def __init__(self) -> None:
        super().__init__(f"An account holds {MAX_KEYS} API keys at most. Delete one that you do not need any more.")


def add(
    user_id: int,
    provider: ProviderRow,
    label: str,
    key: ApiKey | None,
    sealer: PublicKey,
    now: datetime,
    base_url: str | None = None,
) -> CredentialRow | None:
    """Seal and keep a key. None if the user has one of this provider under this label already. Raises TooManyKeys."""
    mine = select(func.count(CredentialRow.id)).where(CredentialRow.user_id == user_id)
    if (db.session.scalar(mine) or 0) >= MAX_KEYS:
        raise TooManyKeys
    row_id = db.session.scalar(
        insert(CredentialRow)
        .values(
            user_id=user_id,
            provider_id=provider.id,
            label=label,
            base_url=base_url,
            created_at=now,
            check_asked_at=now,
            due_at=now + _FIRST_SYNC_AFTER,
        )
        .on_conflict_do_nothing()
        .returning(CredentialRow.id)
    )
    if row_id is None:
        return None
    row = db.session.get_one(CredentialRow, row_id)  # the key is sealed to the row's id
    _seal(row, provider.slug, key, sealer)
    return row


def replace(row: CredentialRow, slug: str, key: ApiKey | None, sealer: PublicKey, now: datetime) -> None:
    """Another key in the same place. Its list stays in force until the new key was asked."""
    row.key_number += 1
    row.suspect_listing_id, row.suspect_accepted, row.suspect_count = None, False, 0
    row.check_asked_at = now
    row.outcome = row.error_code = row.error_message = row.error_action = None
    row.checked_at = row.put_off_until = row.validators = None
    _seal(row, slug, key, sealer)


def rename(row: CredentialRow, label: str) -> bool:
    """Another label. False if another key of this provider has it: the caller then rolls back."""
    row.label = label
    try:
        db.session.flush()
    except IntegrityError:
        return False
    return True


def accept_quarantined(row: CredentialRow) -> bool:
    """The answer kept aside is right: the next equal one is taken. False if none is kept aside."""
    row.suspect_accepted = row.suspect_listing_id is not None
    return row.suspect_accepted


def reject_quarantined(row: CredentialRow) -> bool:
    """The list in force is right: drop the answer kept aside. False if none is kept aside."""
    if row.suspect_listing_id is None:
        return False
    row.suspect_listing_id, row.suspect_accepted, row.suspect_count = None, False, 0
    row.error_code = row.error_message = row.error_action = None
    row.outcome = "unchanged" if row.listing_id else None
    return True


def remove(row: CredentialRow) -> None:
    db.session.execute(delete(CredentialRow).where(CredentialRow.id == row.id))


def find_own(user_id: int, credential_id: int) -> CredentialWithSlug | None:
    """One of the user's own, or None: a stranger's credential does not exist for them."""
    return _find_one(CredentialRow.id == credential_id, CredentialRow.user_id == user_id)


def find(credential_id: int) -> CredentialWithSlug | None:
    return _find_one(CredentialRow.id == credential_id)


def load_schedule(credential_id: int) -> tuple[str | None, datetime | None]:
    """What decides when it is due: the frequency that an admin set, if one did, and when its owner was last here."""
    query = (
        select(ProviderRow.admin_update_frequency, func.coalesce(UserRow.last_sign_in_at, UserRow.created_at))
        .select_from(CredentialRow)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(CredentialRow.id == credential_id)
    )
    found = db.session.execute(query).first()
    return (found[0], found[1]) if found else (None, None)


def list_for_user(user_id: int) -> list[CredentialWithSlug]:
    query = (
        select(CredentialRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == user_id)
        .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
    )
    return [(row, slug) for row, slug in db.session.execute(query)]


def seal_context(row: CredentialRow, slug: str) -> SealContext:
    return SealContext(row.user_id, row.id, slug)


def lock(credential_id: int, user_id: int, provider_id: int, key_number: int) -> CredentialRow | None:
    """The row of this very key, held until the transaction ends; None if it was removed or replaced.

    Locked before its results are written, in the order in which deleting a key goes: two that cross would deadlock.
    """
    very_key = {
        "credential_id": credential_id,
        "user_id": user_id,
        "provider_id": provider_id,
        "key_number": key_number,
    }
    return db.session.scalar(_lock_query(), very_key)


@cache
def _lock_query() -> Select[CredentialRow]:
    query = select(CredentialRow).where(
        CredentialRow.id == bindparam("credential_id"),
        CredentialRow.user_id == bindparam("user_id"),
        CredentialRow.provider_id == bindparam("provider_id"),
        CredentialRow.key_number == bindparam("key_number"),
    )
    return query.with_for_update().execution_options(populate_existing=True)


@dataclass(frozen=True, slots=True)
class LockedCredential:
    """What is known of a credential's last good list, while its row is held."""

    credential_id: int
    listing_id: int | None
    listing_is_whole: bool
    fingerprint: bytes | None
    model_count: int
    chat_count: int
    due_at: datetime | None


def lock_many(parts: Sequence[RunItem]) -> dict[int, LockedCredential]:
    """Lock the rows of these very keys until the transaction ends, by id; those removed or replaced are left out."""
    # The listings are read without a lock: on PostgreSQL an outer join's other side cannot be locked anyway.
    query = (
        select(
            CredentialRow.id,
            CredentialRow.listing_id,
            CredentialRow.listing_is_whole,
            ListingRow.fingerprint,
            func.coalesce(ListingRow.model_count, 0),
            func.coalesce(ListingRow.chat_count, 0),
            CredentialRow.due_at,
            CredentialRow.user_id,
            CredentialRow.provider_id,
            CredentialRow.key_number,
        )
        .outerjoin(ListingRow, ListingRow.id == CredentialRow.listing_id)
        .where(CredentialRow.id.in_({part.credential_id for part in parts}))
        .order_by(CredentialRow.id)
        .with_for_update(of=CredentialRow)
    )
    wanted = {part.credential_id: (part.user_id, part.provider_id, part.key_number) for part in parts}
    return {row[0]: LockedCredential(*row[:7]) for row in db.session.execute(query) if wanted[row[0]] == tuple(row[7:])}


def settle_many(states: Sequence[Mapping[str, Any]]) -> None:
    """Write what came of asking with keys that are held; each state names its `of_credential`, all the same columns."""
    if states:
        columns: dict[str, Any] = {name: bindparam(name) for name in states[0] if name != "of_credential"}
        table = CredentialRow.__table__
        statement = update(table).where(table.c.id == bindparam("of_credential")).values(columns)  # type: ignore[arg-type]
        db.session.connection().execute(statement, list(states))


def settle(credential_id: int, key_number: int, now: datetime, facts: Mapping[str, Any]) -> bool:
    """Write what came of asking with this very key; False if it was replaced or removed meanwhile."""
    done = db.session.execute(
        update(CredentialRow)
        .where(CredentialRow.id == credential_id, CredentialRow.key_number == key_number)
        .values(checked_at=now, check_asked_at=None, **facts)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def cancel_check(credential_id: int) -> None:
    db.session.execute(update(CredentialRow).where(CredentialRow.id == credential_id).values(check_asked_at=None))


def has_active(user_id: int) -> bool:
    """Whether there is anything to sync."""
    mine = select(CredentialRow.id).where(CredentialRow.user_id == user_id, CredentialRow.is_active)
    return db.session.scalar(select(mine.exists())) or False


def count_users_to_sync() -> int:
    """How many users have a key to sync."""
    query = (
        select(func.count(CredentialRow.user_id.distinct()))
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(CredentialRow.is_active, UserRow.disabled_at.is_(None), UserRow.is_server.is_(False))
    )
    return db.session.scalar(query) or 0


def create_for_server(server_id: int, slugs: Sequence[str], now: datetime) -> None:
    """A credential of the installation's own account at each of these providers, without a key and never due."""
    new = select(
        literal(server_id), ProviderRow.id, literal(SERVER_LABEL), literal(now, type_=CredentialRow.created_at.type)
    ).where(ProviderRow.slug.in_(slugs))
    columns = ["user_id", "provider_id", "label", "created_at"]
    db.session.execute(insert(CredentialRow).from_select(columns, new).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class ServerKey:
    """What the installation's credential says of the key that its environment holds."""

    hint: str
    number: int
    """Tells it from every other: the `key_number` of its credential."""
    latest: datetime | None
    """The latest moment for which it may be due; None: it is never due."""


NO_SERVER_KEY = ServerKey("", 1, None)


def sync_server_keys(server_id: int, keys: Mapping[str, ServerKey], now: datetime) -> None:
    """Make the installation's credentials say which keys its environment holds: provider → key.

    One that came, changed, or is to be synced by itself again is due now. One that went is never due, and keeps what
    it brought.
    """
    mine = {slug: row for row, slug in list_for_user(server_id)}
    if missing := [slug for slug in keys if slug not in mine]:
        create_for_server(server_id, missing, now)
        mine = {slug: row for row, slug in list_for_user(server_id)}
    for slug, row in mine.items():
        key = keys.get(slug, NO_SERVER_KEY)
        is_other = (row.key_hint, row.key_number) != (key.hint, key.number)
        if is_other:
            # Its list and validators are another key's.
            row.key_hint, row.key_number, row.validators, row.put_off_until = key.hint, key.number, None, None
        if key.latest is None:
            row.due_at = None
        elif is_other or row.due_at is None or row.due_at > max(key.latest, row.put_off_until or now):
            row.due_at = now


def providers_by_slug() -> dict[str, ProviderRow]:
    return {row.slug: row for row in db.session.scalars(select(ProviderRow))}


def _find_one(*conditions: ColumnElement[bool]) -> CredentialWithSlug | None:
    query = (
        select(CredentialRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(*conditions)
    )
    # Another process may have replaced the key since this session last looked.
    found = db.session.execute(query.execution_options(populate_existing=True)).first()
    return (found[0], found[1]) if found else None


def _seal(row: CredentialRow, slug: str, key: ApiKey | None, sealer: PublicKey) -> None:
    row.key_hint = key.hint if key else ""
    row.sealed_key = sealer.seal(key, seal_context(row, slug)) if key else None
    row.vault_version = sealer.version if key else None
    # Both are written even where one looks unchanged: a rotation may have moved the row on since it was read.
    for column in ("sealed_key", "vault_version"):
        flag_modified(row, column)
