"""Two-factor authentication: the sealed TOTP secret of an account, and its recovery codes.

`users.second_factor_at` says whether it is enabled; a secret without it has been shown but not confirmed. A recovery
code is 80 random bits, so its hash, salted with the account's id, cannot be brute-forced.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, UniqueConstraint, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.engine.dialect import upsert
from app.store.engine.statements import execute_dml
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

CODE_COUNT = 10
"""Recovery codes issued at once."""
_CODE_BYTES, _GROUP = 10, 4


class SecondFactorRow(Row):
    __tablename__ = "second_factors"
    __table_args__ = (UniqueConstraint("user_id"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    """See `app.auth.secretbox`."""
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
    """The time step of the last accepted code: codes of it or earlier ones are rejected."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RecoveryCodeRow(Row):
    __tablename__ = "recovery_codes"
    __table_args__ = (UniqueConstraint("user_id", "digest"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 of the account's id and the code."""
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def find_by_user(user_id: int) -> SecondFactorRow | None:
    query = select(SecondFactorRow).where(SecondFactorRow.user_id == user_id)
    return db.session.scalar(query.execution_options(populate_existing=True))


def save_pending(user: UserRow, sealed_secret: bytes, now: datetime) -> None:
    """Save a secret that was shown but not confirmed, in place of an earlier one.

    Does nothing if two-factor authentication is enabled.
    """
    if user.second_factor_at is None:
        row = {"user_id": user.id, "sealed_secret": sealed_secret, "last_step": 0, "created_at": now}
        upsert(SecondFactorRow, [row], ["user_id"], ["sealed_secret", "last_step", "created_at"])


def consume_step(user_id: int, step: int) -> bool:
    """Use up a time step. False if it or a later one was used before; of two concurrent uses one succeeds."""
    is_unused = SecondFactorRow.user_id == user_id, SecondFactorRow.last_step < step
    return execute_dml(update(SecondFactorRow).where(*is_unused).values(last_step=step)) > 0


def enable(user: UserRow, now: datetime) -> list[str]:
    """Enable two-factor authentication; returns the recovery codes, which cannot be read again."""
    user.second_factor_at = now
    return replace_codes(user.id)


def disable(user: UserRow) -> None:
    """Disable two-factor authentication, and delete the secret and the recovery codes."""
    user.second_factor_at = None
    for row in (SecondFactorRow, RecoveryCodeRow):
        execute_dml(delete(row).where(row.user_id == user.id))


def replace_codes(user_id: int) -> list[str]:
    """Ten new recovery codes, as `abcd-efgh-ijkl-mnop`; the previous ones are deleted."""
    execute_dml(delete(RecoveryCodeRow).where(RecoveryCodeRow.user_id == user_id))
    plain = [base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode().lower() for _ in range(CODE_COUNT)]
    db.session.add_all(RecoveryCodeRow(user_id=user_id, digest=_digest(user_id, code)) for code in plain)
    db.session.flush()
    return ["-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP)) for code in plain]


def consume_code(user_id: int, typed: str, now: datetime) -> bool:
    """Use up a recovery code, ignoring case, spaces and dashes. False if it is invalid or was used before."""
    code = "".join(typed.split()).replace("-", "").lower()
    is_unused = (
        RecoveryCodeRow.user_id == user_id,
        RecoveryCodeRow.digest == _digest(user_id, code),
        RecoveryCodeRow.used_at.is_(None),
    )
    return execute_dml(update(RecoveryCodeRow).where(*is_unused).values(used_at=now)) > 0


def count_unused_codes(user_id: int) -> int:
    unused = (RecoveryCodeRow.user_id == user_id, RecoveryCodeRow.used_at.is_(None))
    return db.session.scalar(select(func.count(RecoveryCodeRow.id)).where(*unused)) or 0


def _digest(user_id: int, code: str) -> bytes:
    return hashlib.sha256(f"{user_id}:{code}".encode("utf-8", "surrogateescape")).digest()
