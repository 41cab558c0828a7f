"""Links from subjects of OpenID providers to the accounts they sign in to.

Only the pair of issuer and subject identifies a person (OpenID Connect Core, 5.7). E-mail addresses change owners, so
the one stored here is for display only.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.engine.dialect import insert
from app.store.engine.statements import execute_dml
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

MAX_LENGTH = 255


class IdentityRow(Row):
    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("issuer", "subject"), UniqueConstraint("user_id", "issuer"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    issuer: Mapped[str] = mapped_column(String(MAX_LENGTH))
    subject: Mapped[str] = mapped_column(String(MAX_LENGTH))
    """The provider's permanent id of the person."""
    email: Mapped[str] = mapped_column(String(320))
    """The latest e-mail address from the provider; empty if it sent none."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)


def find(issuer: str, subject: str) -> tuple[IdentityRow, UserRow] | None:
    query = (
        select(IdentityRow, UserRow)
        .join(UserRow, UserRow.id == IdentityRow.user_id)
        .where(IdentityRow.issuer == issuer, IdentityRow.subject == subject)
    )
    row = db.session.execute(query).first()
    return (row[0], row[1]) if row else None


def find_by_user(user_id: int) -> IdentityRow | None:
    """The most recently linked identity."""
    query = select(IdentityRow).where(IdentityRow.user_id == user_id).order_by(IdentityRow.id.desc()).limit(1)
    return db.session.scalar(query)


def link(user_id: int, issuer: str, subject: str, email: str, now: datetime) -> bool:
    """False if the subject is linked to an account already, or the account to another subject of this issuer."""
    statement = (
        insert(IdentityRow)
        .values(user_id=user_id, issuer=issuer, subject=subject, email=email[:320], created_at=now, used_at=now)
        .on_conflict_do_nothing()
        .returning(IdentityRow.id)
    )
    return db.session.scalar(statement) is not None


def unlink(user_id: int) -> None:
    execute_dml(delete(IdentityRow).where(IdentityRow.user_id == user_id))
