"""Requests for another password: a row for each, whose link works once, for an hour.

The link's token is made by the worker that mails it, so neither the web nor Redis ever holds it; only its SHA-256 is
kept here. An address without an account gets a row too: what the web does for it is the same, and takes as long.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Delete, ForeignKey, Index, LargeBinary, Update, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime
from app.store.schema.tables import UserRow

VALID_FOR = timedelta(hours=1)
_RETRY_FOR = timedelta(minutes=15)
_KEEP_FOR = timedelta(days=1)
MAX_TRIES = 5


class PasswordResetRow(Row):
    __tablename__ = "password_resets"
    __table_args__ = (
        Index("ix_password_resets_user_id", "user_id"),
        Index("ix_password_resets_created_at", "created_at"),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    """Whose password; none where the address has no account, and the address itself is not kept."""
    digest: Mapped[bytes | None] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 of the token in the link."""
    tries: Mapped[int] = mapped_column(default=0)
    """How often a worker began to mail it."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def create(user: UserRow | None, now: datetime) -> int:
    """The number of a new request. What is a day old goes on this occasion."""
    _run(delete(PasswordResetRow).where(PasswordResetRow.created_at < now - _KEEP_FOR))
    row = PasswordResetRow(user_id=user.id if user and user.is_active else None, created_at=now, tries=0)
    db.session.add(row)
    db.session.flush()
    return row.id


def claim(reset_id: int, now: datetime) -> tuple[str, str] | None:
    """The address to mail to and a new token for the link, which the worker that mails it alone ever sees.

    None where there is nothing to mail: no account, sent already, tried too often or too old.
    """
    query = (
        select(PasswordResetRow, UserRow)
        .join(UserRow, UserRow.id == PasswordResetRow.user_id)
        .where(PasswordResetRow.id == reset_id, *_is_unsent(now))
        .with_for_update(of=PasswordResetRow)
    )
    found = db.session.execute(query.execution_options(populate_existing=True)).first()
    if found is None or not found[1].is_active:
        return None
    token = secrets.token_urlsafe(32)
    found[0].digest, found[0].tries = _digest(token), found[0].tries + 1
    return found[1].email, token


def mark_sent(reset_id: int, now: datetime) -> None:
    _run(update(PasswordResetRow).where(PasswordResetRow.id == reset_id).values(sent_at=now))


def stale_requests(now: datetime, after: timedelta) -> list[int]:
    """Requests that nobody mailed within `after`, for their jobs to be queued again."""
    query = select(PasswordResetRow.id).where(
        PasswordResetRow.user_id.is_not(None), PasswordResetRow.created_at < now - after, *_is_unsent(now)
    )
    return list(db.session.scalars(query.order_by(PasswordResetRow.id)))


def find_account(token: str, now: datetime) -> UserRow | None:
    """The account whose password this link may change."""
    query = (
        select(UserRow)
        .join(PasswordResetRow, PasswordResetRow.user_id == UserRow.id)
        .where(PasswordResetRow.digest == _digest(token), PasswordResetRow.created_at > now - VALID_FOR)
    )
    found = db.session.scalar(query)
    return found if found is not None and found.is_active else None


def consume(token: str, now: datetime) -> UserRow | None:
    """Take the link, and every other of its account. Of two at one moment one gets it."""
    user = find_account(token, now)
    if user is None or not _run(delete(PasswordResetRow).where(PasswordResetRow.digest == _digest(token))):
        return None
    delete_all(user.id)
    return user


def delete_all(user_id: int) -> None:
    """No link of the account works any more."""
    _run(delete(PasswordResetRow).where(PasswordResetRow.user_id == user_id))


def _is_unsent(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        PasswordResetRow.sent_at.is_(None),
        PasswordResetRow.tries < MAX_TRIES,
        PasswordResetRow.created_at > now - _RETRY_FOR,
    )


def _run(statement: Delete | Update) -> int:
    """How many rows it met."""
    done = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(done.rowcount)  # type: ignore[attr-defined]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
