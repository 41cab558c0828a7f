"""Password reset requests: one row each, whose link works once, for an hour.

The worker that sends the e-mail creates the link's token, so neither the web nor Redis ever holds it; only its SHA-256
is stored. An address without an account gets a row too, so that the response takes as long.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, ForeignKey, Index, LargeBinary, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.accounts.token_hash import hash_token
from app.store.engine.statements import execute_dml
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
    """None if the address has no account; the address itself is not stored."""
    digest: Mapped[bytes | None] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 of the token in the link."""
    tries: Mapped[int] = mapped_column(default=0)
    """How often a worker has started to send it."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def create(user: UserRow | None, now: datetime) -> int:
    """Create a request and return its id. Also deletes requests older than a day."""
    execute_dml(delete(PasswordResetRow).where(PasswordResetRow.created_at < now - _KEEP_FOR))
    row = PasswordResetRow(user_id=user.id if user and user.is_active else None, created_at=now, tries=0)
    db.session.add(row)
    db.session.flush()
    return row.id


def claim(reset_id: int, now: datetime) -> tuple[str, str] | None:
    """(e-mail address, new token for the link), which only the sending worker ever sees.

    None if there is nothing to send: no account, already sent, tried too often or too old.
    """
    query = (
        select(PasswordResetRow, UserRow)
        .join(UserRow, UserRow.id == PasswordResetRow.user_id)
        .where(PasswordResetRow.id == reset_id, *_is_unsent(now))
        .with_for_update(of=PasswordResetRow)
    )
    row = db.session.execute(query.execution_options(populate_existing=True)).first()
    if row is None or not row[1].is_active:
        return None
    request, user = row
    token = secrets.token_urlsafe(32)
    request.digest, request.tries = hash_token(token), request.tries + 1
    return user.email, token


def mark_sent(reset_id: int, now: datetime) -> None:
    execute_dml(update(PasswordResetRow).where(PasswordResetRow.id == reset_id).values(sent_at=now))


def stale_requests(now: datetime, after: timedelta) -> list[int]:
    """Ids of requests not sent within `after`, whose jobs are to be queued again."""
    query = select(PasswordResetRow.id).where(
        PasswordResetRow.user_id.is_not(None), PasswordResetRow.created_at < now - after, *_is_unsent(now)
    )
    return list(db.session.scalars(query.order_by(PasswordResetRow.id)))


def find_account(token: str, now: datetime) -> UserRow | None:
    """The account whose password this link may reset; None if the link is invalid or expired."""
    query = (
        select(UserRow)
        .join(PasswordResetRow, PasswordResetRow.user_id == UserRow.id)
        .where(PasswordResetRow.digest == hash_token(token), PasswordResetRow.created_at > now - VALID_FOR)
    )
    user = db.session.scalar(query)
    return user if user is not None and user.is_active else None


def consume(token: str, now: datetime) -> UserRow | None:
    """Use up the link, and all others of its account. Of two concurrent uses only one succeeds."""
    user = find_account(token, now)
    if user is None or not execute_dml(delete(PasswordResetRow).where(PasswordResetRow.digest == hash_token(token))):
        return None
    delete_all(user.id)
    return user


def delete_all(user_id: int) -> None:
    """Invalidate all links of the account."""
    execute_dml(delete(PasswordResetRow).where(PasswordResetRow.user_id == user_id))


def _is_unsent(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        PasswordResetRow.sent_at.is_(None),
        PasswordResetRow.tries < MAX_TRIES,
        PasswordResetRow.created_at > now - _RETRY_FOR,
    )
