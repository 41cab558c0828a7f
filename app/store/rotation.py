"""Rotation of the vault key: counts sealed API keys, reads them in batches, and writes them resealed.

For each public vault key in use a known answer is sealed too: whether it opens tells whether the configured private
keys are the right ones, without opening a user's key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, bindparam, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.engine.dialect import insert
from app.store.engine.statements import execute_dml
from app.store.schema.columns import UtcDateTime
from app.store.schema.tables import CredentialRow, ProviderRow, UserRow
from app.vault import ApiKey, PublicKey, SealContext

_KNOWN_ANSWER = "modelsync known answer"
_KNOWN_ANSWER_CONTEXT = SealContext(0, 0, "known answer")
_BATCH_SIZE = 200


class KnownAnswerRow(Row):
    __tablename__ = "known_answers"

    public_key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    """SHA-256 of the public vault key: two keys may have the same version by mistake."""
    version: Mapped[int]
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    version: int
    fingerprint: bytes
    sealed: bytes

    owner = _KNOWN_ANSWER_CONTEXT

    def is_right(self, opened: ApiKey) -> bool:
        return opened.reveal() == _KNOWN_ANSWER


@dataclass(frozen=True, slots=True)
class SealedKey:
    """One sealed API key and its owner."""

    credential_id: int
    owner: SealContext
    email: str
    label: str
    key_number: int
    version: int
    sealed: bytes
    error_code: str | None

    def __repr__(self) -> str:
        return f"<key {self.credential_id}, sealed by version {self.version}>"


def save_known_answer(public_key: PublicKey, now: datetime) -> None:
    """Seal the known answer to this public key, unless it exists."""
    known = select(KnownAnswerRow.version).where(KnownAnswerRow.public_key == public_key.fingerprint)
    if db.session.scalar(known) is None:
        sealed = public_key.seal(ApiKey(_KNOWN_ANSWER), _KNOWN_ANSWER_CONTEXT)
        row = {"public_key": public_key.fingerprint, "version": public_key.version, "sealed": sealed, "created_at": now}
        db.session.execute(insert(KnownAnswerRow).values(row).on_conflict_do_nothing())


def load_known_answers() -> list[KnownAnswer]:
    query = select(KnownAnswerRow).order_by(KnownAnswerRow.version, KnownAnswerRow.created_at)
    return [KnownAnswer(row.version, row.public_key, row.sealed) for row in db.session.scalars(query)]


def delete_known_answers(fingerprints: Collection[bytes]) -> None:
    db.session.execute(delete(KnownAnswerRow).where(KnownAnswerRow.public_key.in_(fingerprints)))


def count_by_version() -> dict[int, int]:
    """Vault key version → number of API keys sealed with it."""
    query = (
        select(CredentialRow.vault_version, func.count())
        .where(CredentialRow.vault_version.is_not(None))
        .group_by(CredentialRow.vault_version)
        .order_by(CredentialRow.vault_version)
    )
    return {version: count for version, count in db.session.execute(query) if version is not None}


def has_unopenable(code: str) -> bool:
    """Whether some key has this error code, which an earlier failed attempt to open it set."""
    query = select(CredentialRow.id).where(CredentialRow.error_code == code, CredentialRow.sealed_key.is_not(None))
    return db.session.scalar(select(query.exists())) or False


def load_older_than(version: int, after: int) -> list[SealedKey]:
    """The next API keys sealed with an older vault key, by id, after id `after`."""
    query = _SEALED_QUERY.where(CredentialRow.vault_version < version, CredentialRow.id > after)
    return _load(query.limit(_BATCH_SIZE))


def iter_batches() -> Iterator[list[SealedKey]]:
    """All sealed API keys, by id, in batches; the caller ends the transaction between two."""
    last = 0
    while batch := _load(_SEALED_QUERY.where(CredentialRow.id > last).limit(_BATCH_SIZE)):
        last = batch[-1].credential_id
        yield batch


def save_resealed(resealed: Sequence[tuple[SealedKey, bytes]], version: int) -> int:
    """Replace sealed keys by resealed ones. Returns how many; keys replaced or deleted concurrently are left out."""
    table = CredentialRow.__table__
    statement = (
        update(table)  # type: ignore[arg-type]
        .where(
            table.c.id == bindparam("of_credential"),
            table.c.key_number == bindparam("of_key"),
            table.c.vault_version == bindparam("of_version"),
            table.c.sealed_key == bindparam("before"),
        )
        .values(sealed_key=bindparam("after"), vault_version=version)
    )
    # ordered by id, as writers of results lock them, against deadlocks
    rows = [
        {
            "of_credential": key.credential_id,
            "of_key": key.key_number,
            "of_version": key.version,
            "before": key.sealed,
            "after": after,
        }
        for key, after in sorted(resealed, key=lambda pair: pair[0].credential_id)
    ]
    return db.session.connection().execute(statement, rows).rowcount if rows else 0


def save_check(key: SealedKey, facts: Mapping[str, Any]) -> bool:
    """Save the result of trying to open a key. False if it was replaced or resealed concurrently."""
    is_same = (
        CredentialRow.id == key.credential_id,
        CredentialRow.key_number == key.key_number,
        CredentialRow.vault_version == key.version,
    )
    return execute_dml(update(CredentialRow).where(*is_same).values(**facts)) > 0


_SEALED_QUERY = (
    select(
        CredentialRow.id,
        CredentialRow.user_id,
        ProviderRow.slug,
        UserRow.email,
        CredentialRow.label,
        CredentialRow.key_number,
        CredentialRow.vault_version,
        CredentialRow.sealed_key,
        CredentialRow.error_code,
    )
    .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
    .join(UserRow, UserRow.id == CredentialRow.user_id)
    .where(CredentialRow.sealed_key.is_not(None))
    .order_by(CredentialRow.id)
)


def _load(query: Any) -> list[SealedKey]:
    return [
        SealedKey(row[0], SealContext(row[1], row[0], row[2]), row[3], row[4], row[5], row[6], row[7], row[8])
        for row in db.session.execute(query)
    ]
