"""Secret addresses under which a feed reader, which cannot sign in, finds one person's changes.

Only the SHA-256 of the secret is kept. It is 256 random bits, so its plain hash cannot be guessed back.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime

from sqlalchemy import LargeBinary, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.engine.dialect import insert
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
    """SHA-256 of the secret in the address."""
    tag: Mapped[str] = mapped_column(String(320))
    """What the ids of its entries begin with (RFC 4151). It outlives the secret and the server's name, so that a
    reader which was given a new address does not show everything again."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    renewed_at: Mapped[datetime] = mapped_column(UtcDateTime)


def create_secret(user_id: int, host: str, now: datetime) -> str:
    """A new secret, which nobody can show again; an earlier one ends with it.

    host: the name this server is asked by now, for the ids of a first feed.
    """
    secret = secrets.token_urlsafe(32)
    values = {"digest": _digest(secret), "renewed_at": now}
    tag = f"tag:{_tag_authority(host)},{now:%Y-%m-%d}:{secrets.token_hex(16)}"
    statement = insert(FeedRow).values(user_id=user_id, tag=tag, created_at=now, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=values))
    return secret


def revoke(user_id: int) -> bool:
    """End the user's address. False if there is none."""
    return bool(db.session.execute(delete(FeedRow).where(FeedRow.user_id == user_id)).rowcount)  # type: ignore[attr-defined]


def find_by_user(user_id: int) -> FeedRow | None:
    query = select(FeedRow).where(FeedRow.user_id == user_id)
    return db.session.scalar(query.execution_options(populate_existing=True))


def find_by_secret(secret: str) -> tuple[FeedRow, UserRow] | None:
    """Whose feed it is; None if nobody's, or of an account that is disabled. Found by the hash, so that the time it
    takes tells nothing of any secret."""
    query = (
        select(FeedRow, UserRow)
        .join(UserRow, UserRow.id == FeedRow.user_id)
        .where(FeedRow.digest == _digest(secret), UserRow.disabled_at.is_(None), UserRow.is_server.is_(False))
    )
    found = db.session.execute(query.execution_options(populate_existing=True)).first()
    return None if found is None else (found[0], found[1])


def _tag_authority(host: str) -> str:
    """A host as a tag may name it: without its port, and nothing that is no name."""
    name = host.rsplit(":", 1)[0].lower()
    return name if len(name) <= _MAX_NAME_LENGTH and _DNS_NAME.fullmatch(name) else "localhost"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
