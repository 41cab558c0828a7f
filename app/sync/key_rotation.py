"""Move every API key to the newest vault key, and find those that the vault keys at hand cannot open.

Both go by number, in short transactions, while people replace keys and syncs run. Killed at any moment, a rotation
has lost nothing: what it wrote is sealed by the new key, the rest by the old, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from app.extensions import db
from app.store import rotation
from app.store.engine.transaction import run_in_transaction
from app.store.rotation import SealedKey
from app.sync import persist
from app.sync.http import errors
from app.vault import Keyring, PublicKey, UnsealError

T = TypeVar("T")

_PATIENCE_S = 60.0
_CLEARED_FAILURE = {"outcome": None, **persist.cleared_failure()}

OnBatch = Callable[[int], None]
"""How many keys were dealt with since it was last told."""


@dataclass
class RotationResult:
    """What became of a rotation."""

    version: int
    resealed: int = 0
    overtaken: int = 0
    """Replaced or removed by their owners while they were at hand: theirs is the newer word."""
    shut: list[SealedKey] = field(default_factory=list)
    """Those that do not open; they are as they were."""
    removable: list[int] = field(default_factory=list)
    """Versions that seal nothing any more: their private keys are not needed."""

    @property
    def is_whole(self) -> bool:
        return not self.shut


def rotate(vault: Keyring, now: Callable[[], datetime], tell: OnBatch = lambda _count: None) -> RotationResult:
    """Reseal what older vault keys sealed to the newest of `vault`. Commits after each batch.

    Raises DBAPIError if the database is away for long; what was done until then is done.
    """
    sealer = PublicKey(vault.public)
    done = RotationResult(sealer.version)
    _run_in_transaction(lambda: rotation.save_known_answer(sealer, now()))
    # Another round finds what somebody saved with the old public key meanwhile.
    while _rotate_once(vault, sealer, done, now, tell):
        pass
    done.removable = _run_in_transaction(lambda: _delete_unused_answers(vault, sealer))
    return done


def _rotate_once(
    vault: Keyring, sealer: PublicKey, done: RotationResult, now: Callable[[], datetime], tell: OnBatch
) -> int:
    """Go through the keys once, by number. How many were resealed, or have to be looked at again."""
    after, moved = 0, 0
    done.shut = []
    while batch := _run_in_transaction(lambda after=after: rotation.load_older_than(sealer.version, after)):  # type: ignore[misc]
        after = batch[-1].credential_id
        resealed, shut = _reseal(batch, vault, sealer)
        count = _run_in_transaction(lambda resealed=resealed: rotation.save_resealed(resealed, sealer.version))  # type: ignore[misc]
        _run_in_transaction(lambda shut=shut: _save_unopenable(shut, now()))  # type: ignore[misc]
        done.resealed += count
        done.overtaken += len(resealed) - count
        done.shut += shut
        moved += len(resealed)
        tell(len(batch))
    return moved


def _reseal(
    batch: Sequence[SealedKey], vault: Keyring, sealer: PublicKey
) -> tuple[list[tuple[SealedKey, bytes]], list[SealedKey]]:
    resealed, shut = [], []
    for key in batch:
        try:
            resealed.append((key, vault.reseal(key.sealed, key.version, key.owner, sealer)))
        except UnsealError:
            shut.append(key)
    return resealed, shut


def _delete_unused_answers(vault: Keyring, sealer: PublicKey) -> list[int]:
    """The older private keys at hand that seal nothing; the answers sealed to what is unused are taken away."""
    used = rotation.count_by_version()
    unused = [one.fingerprint for one in rotation.load_known_answers() if one.version not in used]
    rotation.delete_known_answers([one for one in unused if one != sealer.fingerprint])
    return [version for version in vault.versions if version < sealer.version and version not in used]


@dataclass(frozen=True, slots=True)
class KeyCheck:
    total: int
    shut: tuple[int, ...]
    """Numbers of those that do not open."""


def all_known_answers_open(vault: Keyring) -> bool:
    """Whether the private keys at hand open every known answer. One look, however many API keys there are."""
    return all(opens_known_answer(vault, answer) for answer in rotation.load_known_answers())


def opens_known_answer(vault: Keyring, answer: rotation.KnownAnswer) -> bool:
    try:
        return answer.is_right(vault.open(answer.sealed, answer.version, answer.owner))
    except UnsealError:
        return False


def needs_key_check(vault: Keyring) -> bool:
    """Whether there is a reason to try every key; a few small reads, however many API keys there are."""
    missing = rotation.count_by_version().keys() - set(vault.versions)
    return bool(missing) or not all_known_answers_open(vault) or rotation.has_unopenable(errors.KeyUnopenable.code)


def delete_stale_answers(vault: Keyring) -> None:
    """Where every API key opens, an answer that does not is of a vault key nobody needs. Commits."""
    stale = [answer.fingerprint for answer in rotation.load_known_answers() if not opens_known_answer(vault, answer)]
    _run_in_transaction(lambda: rotation.delete_known_answers(stale))


def check_keys(vault: Keyring, now: datetime) -> KeyCheck:
    """Try every key, and let its owner's page say where one does not open, or no longer that it does not. Commits.

    Nothing is destroyed: with the right private key back at hand, the next try says so.
    """
    total, shut = 0, []
    for batch in rotation.iter_batches():
        db.session.rollback()  # nothing is held while keys are tried
        does_not = [key for key in batch if not _can_open(vault, key)]
        mended = [key for key in batch if key.error_code == errors.KeyUnopenable.code and key not in does_not]
        _run_in_transaction(lambda does_not=does_not, mended=mended: _save_check(does_not, mended, now))  # type: ignore[misc]
        total += len(batch)
        shut += [key.credential_id for key in does_not]
    return KeyCheck(total, tuple(shut))


def _can_open(vault: Keyring, key: SealedKey) -> bool:
    try:
        vault.open(key.sealed, key.version, key.owner)
    except UnsealError:
        return False
    return True


def _save_check(shut: Sequence[SealedKey], mended: Sequence[SealedKey], now: datetime) -> None:
    _save_unopenable(shut, now)
    for key in mended:
        rotation.save_check(key, _CLEARED_FAILURE)


def _save_unopenable(keys: Sequence[SealedKey], now: datetime) -> None:
    for key in keys:
        if key.error_code != errors.KeyUnopenable.code:
            failure = persist.failure_fields(errors.KeyUnopenable())
            facts: dict[str, Any] = {"outcome": "failed", "checked_at": now, "check_asked_at": None, **failure}
            rotation.save_check(key, facts)


def _run_in_transaction(act: Callable[[], T]) -> T:
    return run_in_transaction(act, _PATIENCE_S)
