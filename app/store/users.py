"""Accounts."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import delete, func, select, update

from app.extensions import db
from app.store.dialect import insert
from app.store.tables import UserRow


def by_session(identity: str) -> UserRow | None:
    """The account of a session's identity `<id>.<stamp>`; None once the password was changed."""
    number, _, stamp = identity.partition(".")
    if not (number.isascii() and number.isdigit()) or len(number) > 18:
        return None
    row = db.session.get(UserRow, int(number))
    return row if row and secrets.compare_digest(row.auth_stamp, stamp) else None


def by_email(email: str) -> UserRow | None:
    return db.session.scalar(select(UserRow).where(UserRow.email == normal(email)))


def create(email: str, password_hash: str, now: datetime, *, is_admin: bool = False) -> UserRow | None:
    """A new account; the first of all is an admin. None if the address is taken.

    Whether it is the first is decided by the insert itself, under PostgreSQL behind a lock that two first
    sign-ups at one moment have to queue for.
    """
    if db.engine.dialect.name == "postgresql" and not db.session.scalar(select(func.count(UserRow.id))):
        db.session.execute(select(func.pg_advisory_xact_lock(0x6D6F64656C)))
    statement = (
        insert(UserRow)
        .values(
            email=normal(email),
            password_hash=password_hash,
            auth_stamp=_stamp(),
            is_admin=True if is_admin else ~select(UserRow.id).exists(),
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(UserRow.id)
    )
    user_id = db.session.scalar(statement)
    return db.session.get(UserRow, user_id) if user_id else None


def set_password(user: UserRow, password_hash: str) -> None:
    """The new stamp ends every session of the account but the one that is given it."""
    user.password_hash = password_hash
    user.auth_stamp = _stamp()


def everyone() -> list[UserRow]:
    return list(db.session.scalars(select(UserRow).order_by(UserRow.id)))


def remove(user: UserRow) -> None:
    """The account and everything of its: keys, runs, results."""
    db.session.execute(delete(UserRow).where(UserRow.id == user.id))


def see_changes(user_id: int, until: datetime) -> None:
    """Move the cursor forward, never back."""
    db.session.execute(
        update(UserRow)
        .where(UserRow.id == user_id, func.coalesce(UserRow.changes_seen_at < until, True))
        .values(changes_seen_at=until)
    )


def normal(email: str) -> str:
    return email.strip().lower()


def _stamp() -> str:
    return secrets.token_urlsafe(32)
