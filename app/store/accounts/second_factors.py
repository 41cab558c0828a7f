"""What an account asks for beside its password: the sealed secret of an authenticator app, and recovery codes.

`users.second_factor_at` says whether it asks at all: a secret without it is one that was shown, but not confirmed yet.
A recovery code is eighty random bits, so its plain hash, taken with the account's number, cannot be guessed back.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, UniqueConstraint, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.engine.dialect import insert
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

CODE_COUNT = 10
"""Recovery codes that are given out at once."""
_CODE_BYTES, _GROUP = 10, 4


class SecondFactorRow(Row):
    __tablename__ = "second_factors"
    __table_args__ = (UniqueConstraint("user_id"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    """See `app.auth.secretbox`."""
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
    """The time step whose code was used last: neither it nor an earlier one counts again."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RecoveryCodeRow(Row):
    __tablename__ = "recovery_codes"
    __table_args__ = (UniqueConstraint("user_id", "digest"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 of the account's number and the code."""
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def find_by_user(user_id: int) -> SecondFactorRow | None:
    query = select(SecondFactorRow).where(SecondFactorRow.user_id == user_id)
    return db.session.scalar(query.execution_options(populate_existing=True))


def save_pending(user: UserRow, sealed_secret: bytes, now: datetime) -> None:
    """Keep a secret that the person was shown, in the place of one that was not confirmed either.

    It touches nothing where the account asks for codes already.
    """
    if user.second_factor_at is not None:
        return
    statement = insert(SecondFactorRow).values(
        user_id=user.id, sealed_secret=sealed_secret, last_step=0, created_at=now
    )
    new = {name: statement.excluded[name] for name in ("sealed_secret", "last_step", "created_at")}
    db.session.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=new))


def consume_step(user_id: int, step: int) -> bool:
    """Take a time step. False if it, or a later one, was taken before: of two at one moment one gets it."""
    done = db.session.execute(
        update(SecondFactorRow)
        .where(SecondFactorRow.user_id == user_id, SecondFactorRow.last_step < step)
        .values(last_step=step)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)


def enable(user: UserRow, now: datetime) -> list[str]:
    """From now on the account asks for codes. The recovery codes, which nobody can read here again."""
    user.second_factor_at = now
    return replace_codes(user.id)


def disable(user: UserRow) -> None:
    """The account asks for its password alone; the secret and the recovery codes are gone."""
    user.second_factor_at = None
    for row in (SecondFactorRow, RecoveryCodeRow):
        statement = delete(row).where(row.user_id == user.id)
        db.session.execute(statement.execution_options(synchronize_session=False))


def replace_codes(user_id: int) -> list[str]:
    """Ten recovery codes in the place of those before, as `abcd-efgh-ijkl-mnop`."""
    gone = delete(RecoveryCodeRow).where(RecoveryCodeRow.user_id == user_id)
    db.session.execute(gone.execution_options(synchronize_session=False))
    plain = [base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode().lower() for _ in range(CODE_COUNT)]
    db.session.add_all(RecoveryCodeRow(user_id=user_id, digest=_digest(user_id, code)) for code in plain)
    db.session.flush()
    return ["-".join(code[at : at + _GROUP] for at in range(0, len(code), _GROUP)) for code in plain]


def consume_code(user_id: int, typed: str, now: datetime) -> bool:
    """Take a recovery code, however its letters and dashes were typed. False if it is none, or was used before."""
    code = "".join(typed.split()).replace("-", "").lower()
    done = db.session.execute(
        update(RecoveryCodeRow)
        .where(
            RecoveryCodeRow.user_id == user_id,
            RecoveryCodeRow.digest == _digest(user_id, code),
            RecoveryCodeRow.used_at.is_(None),
        )
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)


def count_unused_codes(user_id: int) -> int:
    unused = (RecoveryCodeRow.user_id == user_id, RecoveryCodeRow.used_at.is_(None))
    return db.session.scalar(select(func.count(RecoveryCodeRow.id)).where(*unused)) or 0


def _digest(user_id: int, code: str) -> bytes:
    return hashlib.sha256(f"{user_id}:{code}".encode("utf-8", "surrogateescape")).digest()
