"""Reseal every API key with the newest vault key, and find those that the available vault keys cannot open.

Both walk the credentials by id in short transactions, while people replace keys and syncs run. A rotation can be
killed at any moment and run again: what it saved is sealed with the new key, the rest with the old.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from app.extensions import db
from app.store import rotation
from app.store.engine.dump import DumpedKey
from app.store.engine.transaction import run_in_transaction
from app.store.rotation import SealedKey
from app.sync.evaluate import failure_fields, no_error_fields
from app.sync.http import errors
from app.vault import Keyring, PublicKey, UnsealError

T = TypeVar("T")

_RETRY_FOR_S = 60.0
_CLEARED_FAILURE = {"outcome": None, **no_error_fields()}

OnBatch = Callable[[int], None]
"""Called with the number of keys in the batch that was just handled."""


@dataclass
class RotationResult:
    version: int
    """Of the newest vault key."""
    resealed: int = 0
    superseded: int = 0
    """Keys that their owners replaced or removed during the rotation."""
    unopenable: list[SealedKey] = field(default_factory=list)
    """Left as they are."""
    removable: list[int] = field(default_factory=list)
    """Versions that seal nothing any more: their private keys are not needed."""

    @property
    def is_whole(self) -> bool:
        return not self.unopenable


def rotate(vault: Keyring, now: Callable[[], datetime], on_batch: OnBatch = lambda _count: None) -> RotationResult:
    """Reseal every key of an older version with the newest vault key. Commits after each batch.

    Raises DBAPIError if the database stays unreachable; what was resealed until then is saved.
    """
    public_key = PublicKey(vault.public)
    result = RotationResult(public_key.version)
    _run_in_transaction(lambda: rotation.save_known_answer(public_key, now()))
    # Repeated until nothing is left: a process with the old public key may still be saving keys.
    while _rotate_once(vault, public_key, result, now, on_batch):
        pass
    result.removable = _run_in_transaction(lambda: _delete_unused_answers(vault, public_key))
    return result


def _rotate_once(
    vault: Keyring, public_key: PublicKey, result: RotationResult, now: Callable[[], datetime], on_batch: OnBatch
) -> int:
    """Walk all keys of older versions once; returns how many opened."""
    after, opened = 0, 0
    result.unopenable = []
    while batch := _run_in_transaction(lambda after=after: rotation.load_older_than(public_key.version, after)):  # type: ignore[misc]
        after = batch[-1].credential_id
        resealed, unopenable = _reseal(batch, vault, public_key)
        saved = _run_in_transaction(lambda resealed=resealed: rotation.save_resealed(resealed, public_key.version))  # type: ignore[misc]
        _run_in_transaction(lambda unopenable=unopenable: _save_unopenable(unopenable, now()))  # type: ignore[misc]
        result.resealed += saved
        result.superseded += len(resealed) - saved
        result.unopenable += unopenable
        opened += len(resealed)
        on_batch(len(batch))
    return opened


def _reseal(
    batch: Sequence[SealedKey], vault: Keyring, public_key: PublicKey
) -> tuple[list[tuple[SealedKey, bytes]], list[SealedKey]]:
    """The keys with their new sealed form, and those that do not open."""
    resealed, unopenable = [], []
    for key in batch:
        try:
            resealed.append((key, vault.reseal(key.sealed, key.version, key.owner, public_key)))
        except UnsealError:
            unopenable.append(key)
    return resealed, unopenable


def _delete_unused_answers(vault: Keyring, public_key: PublicKey) -> list[int]:
    """Delete known answers of versions that seal no key; returns the older private keys that seal nothing."""
    used = rotation.count_by_version()
    unused = [answer.fingerprint for answer in rotation.load_known_answers() if answer.version not in used]
    rotation.delete_known_answers([fingerprint for fingerprint in unused if fingerprint != public_key.fingerprint])
    return [version for version in vault.versions if version < public_key.version and version not in used]


@dataclass(frozen=True, slots=True)
class KeyCheck:
    total: int
    unopenable: tuple[int, ...]
    """Credential ids."""


def all_known_answers_open(vault: Keyring) -> bool:
    """Whether the available private keys open every known answer; one query, however many API keys there are."""
    return all(opens_known_answer(vault, answer) for answer in rotation.load_known_answers())


def opens_known_answer(vault: Keyring, answer: rotation.KnownAnswer) -> bool:
    try:
        return answer.is_right(vault.open(answer.sealed, answer.version, answer.owner))
    except UnsealError:
        return False


def needs_key_check(vault: Keyring) -> bool:
    """Whether there is a reason to try every key; a few small queries, however many API keys there are."""
    missing = rotation.count_by_version().keys() - set(vault.versions)
    return bool(missing) or not all_known_answers_open(vault) or rotation.has_unopenable(errors.KeyUnopenable.code)


def delete_stale_answers(vault: Keyring) -> None:
    """Delete known answers that do not open, to be called when every API key does: their vault keys seal nothing.

    Commits.
    """
    stale = [answer.fingerprint for answer in rotation.load_known_answers() if not opens_known_answer(vault, answer)]
    _run_in_transaction(lambda: rotation.delete_known_answers(stale))


def check_keys(vault: Keyring, now: datetime) -> KeyCheck:
    """Try to open every key; note on each whether it fails, and clear that note once it opens. Commits.

    Keys are not changed: with the right private key back in place, the next check clears the notes.
    """
    total, unopenable_ids = 0, []
    for batch in rotation.iter_batches():
        db.session.rollback()  # no transaction is open while keys are tried
        unopenable = [key for key in batch if not can_open(vault, key)]
        restored = [key for key in batch if key.error_code == errors.KeyUnopenable.code and key not in unopenable]
        _run_in_transaction(
            lambda unopenable=unopenable, restored=restored: _save_check(unopenable, restored, now)  # type: ignore[misc]
        )
        total += len(batch)
        unopenable_ids += [key.credential_id for key in unopenable]
    return KeyCheck(total, tuple(unopenable_ids))


def can_open(vault: Keyring, key: SealedKey | DumpedKey) -> bool:
    try:
        vault.open(key.sealed, key.version, key.owner)
    except UnsealError:
        return False
    return True


def _save_check(unopenable: Sequence[SealedKey], restored: Sequence[SealedKey], now: datetime) -> None:
    _save_unopenable(unopenable, now)
    for key in restored:
        rotation.save_check(key, _CLEARED_FAILURE)


def _save_unopenable(keys: Sequence[SealedKey], now: datetime) -> None:
    for key in keys:
        if key.error_code != errors.KeyUnopenable.code:
            failure = failure_fields(errors.KeyUnopenable(), "")
            rotation.save_check(key, failure | {"checked_at": now, "check_asked_at": None})


def _run_in_transaction(act: Callable[[], T]) -> T:
    return run_in_transaction(act, _RETRY_FOR_S)
