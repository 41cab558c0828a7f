"""Personal tokens: what a program shows to read, or to sync, as the person who made it.

Only the SHA-256 of a token is kept. A token is 256 random bits, so its plain hash cannot be guessed back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import ColumnElement, Index, LargeBinary, String, func, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.schema.columns import NO_ID_REUSE, BigId, Json, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

PREFIX = "msk_"
"""Every token begins so, for secret scanners and for the eye."""
Scope = Literal["read", "sync"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MAX_NAME_LENGTH, MAX_LIFETIME_DAYS, MAX_TOKENS = 60, 3_650, 50
_TOUCH_EVERY = timedelta(minutes=1)
"""A token's last use is written no more often than this."""
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
    """Its last four characters, to tell several apart."""
    scopes: Mapped[list[str]] = mapped_column(Json)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def state(self, now: datetime) -> Literal["live", "revoked", "expired"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "live"


def create(
    user_id: int, name: str, scopes: Collection[str], now: datetime, days: int | None = None
) -> tuple[TokenRow, str] | None:
    """A new token, and its text, which nobody can show again. None if the user has as many as one may have.

    scopes: some of SCOPES; days: how long it lives, None for ever.
    """
    if count_live(user_id, now) >= MAX_TOKENS:
        return None
    text = PREFIX + secrets.token_urlsafe(32)
    row = TokenRow(
        user_id=user_id,
        name=name,
        digest=_digest(text),
        hint=f"{PREFIX}…{text[-4:]}",
        scopes=[scope for scope in SCOPES if scope in scopes],
        expires_at=None if days is None else now + timedelta(days=days),
        created_at=now,
    )
    db.session.add(row)
    db.session.flush()
    return row, text


def list_for_user(user_id: int, now: datetime) -> list[TokenRow]:
    """A user's tokens, the newest first; what ended over a month ago is left out."""
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
    """End one of the user's own tokens, for good. False if there is none of theirs, or it is revoked already."""
    done = db.session.execute(
        update(TokenRow)
        .where(TokenRow.id == token_id, TokenRow.user_id == user_id, TokenRow.revoked_at.is_(None))
        .values(revoked_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def revoke_all(user_id: int, now: datetime) -> int:
    """End all tokens of the user, for good. Returns how many still counted."""
    done = db.session.execute(
        update(TokenRow)
        .where(TokenRow.user_id == user_id, *_is_live(now))
        .values(revoked_at=now)
        .execution_options(synchronize_session=False)
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


def count_live(user_id: int, now: datetime) -> int:
    """How many of the user's tokens count."""
    return db.session.scalar(select(func.count(TokenRow.id)).where(TokenRow.user_id == user_id, *_is_live(now))) or 0


def find(text: str) -> tuple[TokenRow, UserRow] | None:
    """The token of this text with its user, whatever its state. Found by its hash, so that the time it takes tells
    nothing of any token."""
    digest = _digest(text)
    query = select(TokenRow, UserRow).join(UserRow, UserRow.id == TokenRow.user_id).where(TokenRow.digest == digest)
    found = db.session.execute(query.execution_options(populate_existing=True)).first()
    if found is None or not hmac.compare_digest(found[0].digest, digest):
        return None
    return found[0], found[1]


def touch(row: TokenRow, now: datetime) -> bool:
    """Write that it was used, unless that was written a moment ago. True if there is something to commit."""
    due = now - _TOUCH_EVERY
    if row.last_used_at is not None and row.last_used_at > due:
        return False
    done = db.session.execute(
        update(TokenRow)
        .where(TokenRow.id == row.id, or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at <= due))
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def _is_live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return TokenRow.revoked_at.is_(None), or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > now)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
