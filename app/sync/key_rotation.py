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
from app.store.engine.transaction import written
from app.store.rotation import SealedKey
from app.sync import persist
from app.sync.http import errors
from app.vault import CannotOpen, Opener, Sealer

T = TypeVar("T")

_PATIENCE_S = 60.0
_OPENABLE = {"outcome": None, **persist.no_failure()}

Tell = Callable[[int], None]
"""How many keys were dealt with since it was last told."""


@dataclass
class Rotated:
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


def rotate(vault: Opener, now: Callable[[], datetime], tell: Tell = lambda _count: None) -> Rotated:
    """Reseal what older vault keys sealed to the newest of `vault`. Commits after each batch.

    Raises DBAPIError if the database is away for long; what was done until then is done.
    """
    sealer = Sealer(vault.public)
    done = Rotated(sealer.version)
    _written(lambda: rotation.keep_known_answer(sealer, now()))
    # Another round finds what somebody saved with the old public key meanwhile.
    while _round(vault, sealer, done, now, tell):
        pass
    done.removable = _written(lambda: _removable(vault, sealer))
    return done


def _round(vault: Opener, sealer: Sealer, done: Rotated, now: Callable[[], datetime], tell: Tell) -> int:
    """Go through the keys once, by number. How many were resealed, or have to be looked at again."""
    after, moved = 0, 0
    done.shut = []
    while batch := _written(lambda after=after: rotation.older_than(sealer.version, after)):  # type: ignore[misc]
        after = batch[-1].credential_id
        resealed, shut = _resealed(batch, vault, sealer)
        count = _written(lambda resealed=resealed: rotation.write(resealed, sealer.version))  # type: ignore[misc]
        _written(lambda shut=shut: _say_shut(shut, now()))  # type: ignore[misc]
        done.resealed += count
        done.overtaken += len(resealed) - count
        done.shut += shut
        moved += len(resealed)
        tell(len(batch))
    return moved


def _resealed(
    batch: Sequence[SealedKey], vault: Opener, sealer: Sealer
) -> tuple[list[tuple[SealedKey, bytes]], list[SealedKey]]:
    resealed, shut = [], []
    for key in batch:
        try:
            resealed.append((key, vault.reseal(key.sealed, key.version, key.owner, sealer)))
        except CannotOpen:
            shut.append(key)
    return resealed, shut


def _removable(vault: Opener, sealer: Sealer) -> list[int]:
    """The older private keys at hand that seal nothing; the answers sealed to what is unused are taken away."""
    used = rotation.counts()
    unused = [one.fingerprint for one in rotation.known_answers() if one.version not in used]
    rotation.forget_known_answers([one for one in unused if one != sealer.fingerprint])
    return [version for version in vault.versions if version < sealer.version and version not in used]


@dataclass(frozen=True, slots=True)
class Tried:
    total: int
    shut: tuple[int, ...]
    """Numbers of those that do not open."""


def answers_open(vault: Opener) -> bool:
    """Whether the private keys at hand open every known answer. One look, however many API keys there are."""
    return all(answer_opens(vault, answer) for answer in rotation.known_answers())


def answer_opens(vault: Opener, answer: rotation.KnownAnswer) -> bool:
    try:
        return answer.is_right(vault.open(answer.sealed, answer.version, answer.owner))
    except CannotOpen:
        return False


def has_doubts(vault: Opener) -> bool:
    """Whether there is a reason to try every key; a few small reads, however many API keys there are."""
    missing = rotation.counts().keys() - set(vault.versions)
    return bool(missing) or not answers_open(vault) or rotation.said_shut(errors.KeyUnopenable.code)


def forget_stale_answers(vault: Opener) -> None:
    """Where every API key opens, an answer that does not is of a vault key nobody needs. Commits."""
    stale = [answer.fingerprint for answer in rotation.known_answers() if not answer_opens(vault, answer)]
    _written(lambda: rotation.forget_known_answers(stale))


def try_keys(vault: Opener, now: datetime) -> Tried:
    """Try every key, and let its owner's page say where one does not open, or no longer that it does not. Commits.

    Nothing is destroyed: with the right private key back at hand, the next try says so.
    """
    total, shut = 0, []
    for batch in rotation.everything():
        db.session.rollback()  # nothing is held while keys are tried
        does_not = [key for key in batch if not _opens(vault, key)]
        mended = [key for key in batch if key.error_code == errors.KeyUnopenable.code and key not in does_not]
        _written(lambda does_not=does_not, mended=mended: _note(does_not, mended, now))  # type: ignore[misc]
        total += len(batch)
        shut += [key.credential_id for key in does_not]
    return Tried(total, tuple(shut))


def _opens(vault: Opener, key: SealedKey) -> bool:
    try:
        vault.open(key.sealed, key.version, key.owner)
    except CannotOpen:
        return False
    return True


def _note(shut: Sequence[SealedKey], mended: Sequence[SealedKey], now: datetime) -> None:
    _say_shut(shut, now)
    for key in mended:
        rotation.note(key, _OPENABLE)


def _say_shut(keys: Sequence[SealedKey], now: datetime) -> None:
    for key in keys:
        if key.error_code != errors.KeyUnopenable.code:
            failure = persist.failure_of(errors.KeyUnopenable())
            facts: dict[str, Any] = {"outcome": "failed", "checked_at": now, "check_asked_at": None, **failure}
            rotation.note(key, facts)


def _written(act: Callable[[], T]) -> T:
    return written(act, _PATIENCE_S)
