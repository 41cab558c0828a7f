"""Secret feed URLs, for feed readers, which cannot sign in.

Only the SHA-256 of the secret is stored. It is 256 random bits, so an unsalted hash cannot be brute-forced.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime

from sqlalchemy import LargeBinary, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.accounts.token_hash import hash_token
from app.store.engine.dialect import insert
from app.store.engine.statements import execute_dml
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

_DNS_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_MAX_NAME_LENGTH = 253


class FeedRow(Row):
    __tablename__ = "feeds"
    __table_args__ = (NO_ID_REUSE,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"), unique=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 of the secret in the URL."""
    tag: Mapped[str] = mapped_column(String(320))
    """Prefix of its entries' ids (RFC 4151). It outlives the secret and the server's name, so that a reader with a new
    URL does not show all entries again."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    renewed_at: Mapped[datetime] = mapped_column(UtcDateTime)


def create_secret(user_id: int, host: str, now: datetime) -> str:
    """A new secret, which cannot be read again and replaces an earlier one.

    host: the request's Host, for the entry ids of a first feed.
    """
    secret = secrets.token_urlsafe(32)
    values = {"digest": hash_token(secret), "renewed_at": now}
    tag = f"tag:{_tag_authority(host)},{now:%Y-%m-%d}:{secrets.token_hex(16)}"
    statement = insert(FeedRow).values(user_id=user_id, tag=tag, created_at=now, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=values))
    return secret


def revoke(user_id: int) -> bool:
    """Revoke the user's feed URL. False if there is none."""
    return execute_dml(delete(FeedRow).where(FeedRow.user_id == user_id)) > 0


def find_by_user(user_id: int) -> FeedRow | None:
    query = select(FeedRow).where(FeedRow.user_id == user_id)
    return db.session.scalar(query.execution_options(populate_existing=True))


def find_by_secret(secret: str) -> tuple[FeedRow, UserRow] | None:
    """The feed with this secret and its user; None if unknown or disabled. Looked up by hash: no timing leak."""
    query = (
        select(FeedRow, UserRow)
        .join(UserRow, UserRow.id == FeedRow.user_id)
        .where(FeedRow.digest == hash_token(secret), UserRow.disabled_at.is_(None), UserRow.is_server.is_(False))
    )
    row = db.session.execute(query.execution_options(populate_existing=True)).first()
    return None if row is None else (row[0], row[1])


def _tag_authority(host: str) -> str:
    """A host as a tag URI's authority: without port; "localhost" if it is not a DNS name."""
    name = host.rsplit(":", 1)[0].lower()
    return name if len(name) <= _MAX_NAME_LENGTH and _DNS_NAME.fullmatch(name) else "localhost"
