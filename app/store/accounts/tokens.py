"""Personal access tokens: let a program read, or sync, as the user who created them.

Only the SHA-256 of a token is stored. A token is 256 random bits, so an unsalted hash cannot be brute-forced.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import ColumnElement, Index, LargeBinary, String, func, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.accounts.token_hash import hash_token
from app.store.engine.statements import execute_dml
from app.store.schema.columns import NO_ID_REUSE, BigId, Json, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

PREFIX = "msk_"
"""Prefix of every token, for secret scanners and for people."""
Scope = Literal["read", "sync"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MAX_NAME_LENGTH, MAX_LIFETIME_DAYS, MAX_TOKENS = 60, 3_650, 50
_TOUCH_EVERY = timedelta(minutes=1)
"""Minimum interval between two updates of `last_used_at`."""
_LIST_AFTER_END = timedelta(days=30)


class TokenRow(Row):
    __tablename__ = "tokens"
    __table_args__ = (Index("ix_tokens_user_id", "user_id"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    name: Mapped[str] = mapped_column(String(MAX_NAME_LENGTH))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 of the token."""
    hint: Mapped[str] = mapped_column(String(20))
    """Its last four characters, to tell tokens apart."""
    scopes: Mapped[list[str]] = mapped_column(Json)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def state(self, now: datetime) -> Literal["live", "revoked", "expired"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "live"


def validation_error(name: str, scopes: tuple[str, ...], days: int | None) -> str | None:
    """Why the token is invalid, as a sentence for display; None if it is valid."""
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        return f"Name the program that will use it, in at most {MAX_NAME_LENGTH} characters on one line."
    if not scopes or not set(scopes) <= set(SCOPES):
        return "Choose what it may do: read, sync, or both."
    if days is not None and not 1 <= days <= MAX_LIFETIME_DAYS:
        return f"Let it live for 1 to {MAX_LIFETIME_DAYS} days, or for ever."
    return None


def create(
    user_id: int, name: str, scopes: Collection[str], now: datetime, days: int | None = None
) -> tuple[TokenRow, str] | None:
    """A new token and its text, which cannot be read again. None if the user has MAX_TOKENS.

    scopes: a subset of SCOPES; days: its lifetime, None for unlimited.
    """
    if count_live(user_id, now) >= MAX_TOKENS:
        return None
    text = PREFIX + secrets.token_urlsafe(32)
    row = TokenRow(
        user_id=user_id,
        name=name,
        digest=hash_token(text),
        hint=f"{PREFIX}…{text[-4:]}",
        scopes=[scope for scope in SCOPES if scope in scopes],
        expires_at=None if days is None else now + timedelta(days=days),
        created_at=now,
    )
    db.session.add(row)
    db.session.flush()
    return row, text


def list_for_user(user_id: int, now: datetime) -> list[TokenRow]:
    """A user's tokens, newest first, without those that ended over a month ago."""
    since = now - _LIST_AFTER_END
    query = (
        select(TokenRow)
        .where(
            TokenRow.user_id == user_id,
            or_(TokenRow.revoked_at.is_(None), TokenRow.revoked_at > since),
            or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > since),
        )
        .order_by(TokenRow.id.desc())
    )
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def revoke(user_id: int, token_id: int, now: datetime) -> bool:
    """Revoke one of the user's own tokens. False if it is not theirs or already revoked."""
    is_own = TokenRow.id == token_id, TokenRow.user_id == user_id, TokenRow.revoked_at.is_(None)
    return execute_dml(update(TokenRow).where(*is_own).values(revoked_at=now)) > 0


def revoke_all(user_id: int, now: datetime) -> int:
    """Revoke all tokens of the user. Returns how many were live."""
    return execute_dml(update(TokenRow).where(TokenRow.user_id == user_id, *_is_live(now)).values(revoked_at=now))


def count_live(user_id: int, now: datetime) -> int:
    """Number of the user's tokens that are neither revoked nor expired."""
    return db.session.scalar(select(func.count(TokenRow.id)).where(TokenRow.user_id == user_id, *_is_live(now))) or 0


def find(text: str) -> tuple[TokenRow, UserRow] | None:
    """The token with this text and its user, in any state. Looked up by hash, so that timing reveals nothing."""
    digest = hash_token(text)
    query = select(TokenRow, UserRow).join(UserRow, UserRow.id == TokenRow.user_id).where(TokenRow.digest == digest)
    row = db.session.execute(query.execution_options(populate_existing=True)).first()
    if row is None or not hmac.compare_digest(row[0].digest, digest):
        return None
    return row[0], row[1]


def touch(row: TokenRow, now: datetime) -> bool:
    """Record that it was used, at most once a minute. True if there is something to commit."""
    due = now - _TOUCH_EVERY
    if row.last_used_at is not None and row.last_used_at > due:
        return False
    is_due = TokenRow.id == row.id, or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at <= due)
    return execute_dml(update(TokenRow).where(*is_due).values(last_used_at=now)) > 0


def _is_live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return TokenRow.revoked_at.is_(None), or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > now)
