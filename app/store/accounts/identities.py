"""Who somebody is elsewhere: the account that a subject of an OpenID provider signs in to.

The pair of issuer and subject alone says who it is (OpenID Connect Core, 5.7). Addresses change hands, so the one kept
here is only shown.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.engine.dialect import insert
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

MAX_LENGTH = 255


class IdentityRow(Row):
    __tablename__ = "identities"
    __table_args__ = (
        UniqueConstraint("issuer", "subject"),
        UniqueConstraint("user_id", "issuer"),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    issuer: Mapped[str] = mapped_column(String(MAX_LENGTH))
    subject: Mapped[str] = mapped_column(String(MAX_LENGTH))
    """What the provider calls the person, for ever."""
    email: Mapped[str] = mapped_column(String(320))
    """The address the provider named last; empty where it named none."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)


def find(issuer: str, subject: str) -> tuple[IdentityRow, UserRow] | None:
    query = (
        select(IdentityRow, UserRow)
        .join(UserRow, UserRow.id == IdentityRow.user_id)
        .where(IdentityRow.issuer == issuer, IdentityRow.subject == subject)
    )
    found = db.session.execute(query).first()
    return (found[0], found[1]) if found else None


def find_by_user(user_id: int) -> IdentityRow | None:
    """The one linked last."""
    query = select(IdentityRow).where(IdentityRow.user_id == user_id).order_by(IdentityRow.id.desc()).limit(1)
    return db.session.scalar(query)


def link(user_id: int, issuer: str, subject: str, email: str, now: datetime) -> bool:
    """False if the subject signs in to an account already, or the account is linked to another subject there."""
    statement = (
        insert(IdentityRow)
        .values(user_id=user_id, issuer=issuer, subject=subject, email=email[:320], created_at=now, used_at=now)
        .on_conflict_do_nothing()
        .returning(IdentityRow.id)
    )
    return db.session.scalar(statement) is not None


def unlink(user_id: int) -> None:
    statement = delete(IdentityRow).where(IdentityRow.user_id == user_id)
    db.session.execute(statement.execution_options(synchronize_session=False))
