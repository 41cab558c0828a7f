"""API keys: create, replace, rename, delete. Keys are sealed before they reach the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, bindparam, delete, func, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.attributes import flag_modified

from app.extensions import db
from app.store.engine.dialect import insert
from app.store.runs import RunItem
from app.store.schema.tables import CredentialRow, ListingRow, ProviderRow, UserRow
from app.vault import ApiKey, PublicKey, SealContext

SERVER_LABEL = "server"
_FIRST_SYNC_AFTER = timedelta(days=1)
"""Time from creation to the first scheduled sync, unless a sync sets another time."""
MAX_KEYS = 200
"""Keys of one user: each is fetched separately in every run, and a run is bounded."""
CredentialWithSlug = tuple[CredentialRow, str]
"""A credential and its provider's slug."""


MAX_LABEL_LENGTH = 60


class TooManyKeys(ValueError):
    """The user has reached MAX_KEYS. The text is shown to them."""

    def __init__(self) -> None:
        super().__init__(f"An account holds {MAX_KEYS} API keys at most. Delete one that you do not need any more.")


def label_error(label: str) -> str | None:
    if len(label) > MAX_LABEL_LENGTH or not (label.isprintable() or not label):
        return f"Choose a label of at most {MAX_LABEL_LENGTH} characters on one line."
    return None


def add(
    user_id: int,
    provider: ProviderRow,
    label: str,
    key: ApiKey | None,
    public_key: PublicKey,
    now: datetime,
    base_url: str | None = None,
) -> CredentialRow | None:
    """Seal and save a key. None if the user already has one of this provider and label. Raises TooManyKeys."""
    count = select(func.count(CredentialRow.id)).where(CredentialRow.user_id == user_id)
    if (db.session.scalar(count) or 0) >= MAX_KEYS:
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
    row = db.session.get_one(CredentialRow, row_id)  # sealing binds the key to the row's id
    _seal(row, provider.slug, key, public_key)
    return row


def replace(row: CredentialRow, slug: str, key: ApiKey | None, public_key: PublicKey, now: datetime) -> None:
    """Replace the key. The list stays in force until the new key's first sync."""
    _forget_answers(row, now)
    _seal(row, slug, key, public_key)


def change_address(row: CredentialRow, base_url: str | None, now: datetime) -> None:
    """Ask at another address from now on. The list stays in force until an answer from there, as with a new key."""
    if row.base_url != base_url:
        row.base_url = base_url
        _forget_answers(row, now)


def _forget_answers(row: CredentialRow, now: datetime) -> None:
    """Forget the state that belongs to the key or address so far; a running fetch with them is not saved."""
    row.key_number += 1
    _clear_quarantine(row)
    row.check_asked_at = now
    row.outcome = row.error_code = row.error_message = row.error_action = None
    row.checked_at = row.put_off_until = row.validators = None


def rename(row: CredentialRow, label: str) -> bool:
    """Change the label. False if another key of this provider has it: the caller then rolls back."""
    row.label = label
    try:
        db.session.flush()
    except IntegrityError:
        return False
    return True


def accept_quarantined(row: CredentialRow) -> bool:
    """Accept the answer held for review: the next equal one is applied. False if there is none."""
    row.suspect_accepted = row.suspect_listing_id is not None
    return row.suspect_accepted


def reject_quarantined(row: CredentialRow) -> bool:
    """Keep the list in force and drop the answer held for review. False if there is none."""
    if row.suspect_listing_id is None:
        return False
    _clear_quarantine(row)
    row.error_code = row.error_message = row.error_action = None
    row.outcome = "unchanged" if row.listing_id else None
    return True


def remove(row: CredentialRow) -> None:
    db.session.execute(delete(CredentialRow).where(CredentialRow.id == row.id))


def find_own(user_id: int, credential_id: int) -> CredentialWithSlug | None:
    """One of the user's own credentials; None for anyone else's."""
    return _find_one(CredentialRow.id == credential_id, CredentialRow.user_id == user_id)


def find(credential_id: int) -> CredentialWithSlug | None:
    return _find_one(CredentialRow.id == credential_id)


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
    """The row of this key, locked until the transaction ends; None if it was deleted or replaced.

    Locked before its results are written, in the order in which deleting a key locks: otherwise both could deadlock.
    """
    values = {"credential_id": credential_id, "user_id": user_id, "provider_id": provider_id, "key_number": key_number}
    return db.session.scalar(_LOCK_QUERY, values)


_LOCK_QUERY = (
    select(CredentialRow)
    .where(
        CredentialRow.id == bindparam("credential_id"),
        CredentialRow.user_id == bindparam("user_id"),
        CredentialRow.provider_id == bindparam("provider_id"),
        CredentialRow.key_number == bindparam("key_number"),
    )
    .with_for_update()
    .execution_options(populate_existing=True)
)


@dataclass(frozen=True, slots=True)
class LockedCredential:
    """A credential's last good list, while its row is locked."""

    credential_id: int
    listing_id: int | None
    listing_is_whole: bool
    fingerprint: bytes | None
    model_count: int
    chat_count: int
    due_at: datetime | None


def lock_many(items: Sequence[RunItem]) -> dict[int, LockedCredential]:
    """Lock the rows of these keys until the transaction ends, by id; deleted or replaced keys are left out."""
    # The listings are not locked: PostgreSQL cannot lock the nullable side of an outer join.
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
        .where(CredentialRow.id.in_({item.credential_id for item in items}))
        .order_by(CredentialRow.id)
        .with_for_update(of=CredentialRow)
    )
    keys = {item.credential_id: (item.user_id, item.provider_id, item.key_number) for item in items}
    return {row[0]: LockedCredential(*row[:7]) for row in db.session.execute(query) if keys[row[0]] == tuple(row[7:])}


def settle_many(states: Sequence[Mapping[str, Any]]) -> None:
    """Write the results of locked keys. Each names its credential id as `of_credential`; all have the same columns."""
    if states:
        columns: dict[str, Any] = {name: bindparam(name) for name in states[0] if name != "of_credential"}
        table = CredentialRow.__table__
        statement = update(table).where(table.c.id == bindparam("of_credential")).values(columns)  # type: ignore[arg-type]
        db.session.connection().execute(statement, list(states))


def settle(credential_id: int, key_number: int, now: datetime, facts: Mapping[str, Any]) -> bool:
    """Write the result of a fetch with this key; False if it was replaced or deleted in the meantime."""
    result = db.session.execute(
        update(CredentialRow)
        .where(CredentialRow.id == credential_id, CredentialRow.key_number == key_number)
        .values(checked_at=now, check_asked_at=None, **facts)
    )
    return bool(cast("CursorResult[Any]", result).rowcount)


def end_first_sync(credential_id: int) -> None:
    """Leave a new key whose provider was not queried to the schedule."""
    db.session.execute(update(CredentialRow).where(CredentialRow.id == credential_id).values(check_asked_at=None))


def count_active(user_id: int) -> tuple[int, int]:
    """Number of the user's active keys, and of those among them that wait for their first sync."""
    query = select(func.count(), func.count(CredentialRow.check_asked_at))
    active, new = db.session.execute(query.where(CredentialRow.user_id == user_id, CredentialRow.is_active)).one()
    return active, new


def count_users_to_sync() -> int:
    """Number of enabled users with an active key."""
    query = (
        select(func.count(CredentialRow.user_id.distinct()))
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(CredentialRow.is_active, UserRow.disabled_at.is_(None), UserRow.is_server.is_(False))
    )
    return db.session.scalar(query) or 0


def create_for_server(server_id: int, slugs: Sequence[str], now: datetime) -> None:
    """Create a credential of the installation's own account at each of these providers, without a key and never due."""
    new = select(
        literal(server_id), ProviderRow.id, literal(SERVER_LABEL), literal(now, type_=CredentialRow.created_at.type)
    ).where(ProviderRow.slug.in_(slugs))
    columns = ["user_id", "provider_id", "label", "created_at"]
    db.session.execute(insert(CredentialRow).from_select(columns, new).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class ServerKey:
    """The installation's credential for a key in the environment."""

    hint: str
    number: int
    """Identifies the key: the `key_number` of its credential."""
    latest: datetime | None
    """The latest time at which it becomes due; None: never."""


NO_SERVER_KEY = ServerKey("", 1, None)


def sync_server_keys(server_id: int, keys: Mapping[str, ServerKey], now: datetime) -> None:
    """Make the installation's credentials match the keys in its environment (provider slug → key).

    A new or changed key, or one whose scheduled sync was enabled again, is due now. A removed one is never due; its
    lists stay.
    """
    rows = {slug: row for row, slug in list_for_user(server_id)}
    if missing := [slug for slug in keys if slug not in rows]:
        create_for_server(server_id, missing, now)
        rows = {slug: row for row, slug in list_for_user(server_id)}
    for slug, row in rows.items():
        key = keys.get(slug, NO_SERVER_KEY)
        is_changed = (row.key_hint, row.key_number) != (key.hint, key.number)
        if is_changed:
            # the validators belong to the previous key
            row.key_hint, row.key_number, row.validators, row.put_off_until = key.hint, key.number, None, None
        if key.latest is None:
            row.due_at = None
        elif is_changed or row.due_at is None or row.due_at > max(key.latest, row.put_off_until or now):
            row.due_at = now


def providers_by_slug() -> dict[str, ProviderRow]:
    return {row.slug: row for row in db.session.scalars(select(ProviderRow))}


def _find_one(*conditions: ColumnElement[bool]) -> CredentialWithSlug | None:
    query = (
        select(CredentialRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(*conditions)
    )
    # another process may have replaced the key since this session loaded it
    row = db.session.execute(query.execution_options(populate_existing=True)).first()
    return (row[0], row[1]) if row else None


def _clear_quarantine(row: CredentialRow) -> None:
    row.suspect_listing_id, row.suspect_accepted, row.suspect_count = None, False, 0


def _seal(row: CredentialRow, slug: str, key: ApiKey | None, public_key: PublicKey) -> None:
    row.key_hint = key.hint if key else ""
    row.sealed_key = public_key.seal(key, seal_context(row, slug)) if key else None
    row.vault_version = public_key.version if key else None
    # Always written both: a key rotation may have changed the row since it was read.
    for column in ("sealed_key", "vault_version"):
        flag_modified(row, column)
