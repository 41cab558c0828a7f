"""Who may ask a provider now: one gate before each address, shared by all workers.

It bounds how many ask at once, and it is shut while the provider fails for many (see `breaker`). Where Redis is away
it is open, and each process bounds itself.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from app.sync.http import errors
from app.sync.http.fetch import NotModified
from app.sync.http.retry import Deadline
from app.sync.limits import circuit_breaker
from app.sync.limits.circuit_breaker import Note, Who
from app.sync.limits.store import MOST_PER_S, Alone, Away, Change, Store

T = TypeVar("T")

MOST_AT_ONCE = 8
"""Lists asked for at one provider at one address, of all workers together; each with one request at a time."""
_LEASE_S = 10.0
"""A worker that dies with a lease gives it back this long after its time was over."""
_LOOK_S = (0.05, 0.15)
"""Who waits looks again after a time between these."""
_KEEP_S = 7_200.0

_alone = Alone()


@dataclass(frozen=True, slots=True)
class Share:
    """How much of what a provider is asked together one kind of work may take."""

    at_once: int = MOST_AT_ONCE
    per_s: int = MOST_PER_S


FOR_PEOPLE = Share()
FOR_BULK = Share(at_once=6, per_s=20)
"""The rest is kept free for whoever waits, however much the schedule has to do."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One request that was let through."""

    place: str
    holder: str
    store: Store
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """Before all providers. now: the time of day, which people are told."""

    shared: Store | None
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    share: Share = FOR_PEOPLE

    def ask(self, place: str, title: str, who: Who, deadline: Deadline, fetch: Callable[[], T]) -> T:
        """Wait for a turn and fetch. Raises Troubled, Crowded, and what `fetch` raises."""
        allowed = self._enter(place, title, deadline)
        failure: BaseException | None = None
        try:
            return fetch()
        except BaseException as error:
            failure = error
            raise
        finally:
            self._leave(allowed, who, failure)

    def _enter(self, place: str, title: str, deadline: Deadline) -> Pass:
        holder = uuid.uuid4().hex
        while True:
            store, raw, taken = self._knock(place, holder, deadline)
            allowed = Pass(place, holder, store)
            note = circuit_breaker.read(raw)
            if note.until:
                return self._as_trial(allowed, title, note, taken)
            if taken:
                return allowed
            if deadline.left_s <= _LOOK_S[1]:
                raise errors.Crowded
            self.sleep(random.uniform(*_LOOK_S))  # noqa: S311  # no secret

    def _knock(self, place: str, holder: str, deadline: Deadline) -> tuple[Store, bytes | None, bool]:
        lease_s = max(0.0, deadline.left_s) + _LEASE_S
        if self.shared:
            try:
                return self.shared, *self.shared.enter(place, holder, self.share.at_once, lease_s, self.share.per_s)
            except Away:
                pass
        return _alone, *_alone.enter(place, holder, self.share.at_once, lease_s, self.share.per_s)

    def _as_trial(self, allowed: Pass, title: str, note: Note, taken: bool) -> Pass:
        """The first who comes after the rest is let through, to see whether it works again. Raises Troubled."""
        now = self.now().timestamp()
        seen = note

        def begin(raw: bytes | None) -> bytes | None:
            nonlocal seen
            seen = circuit_breaker.read(raw)
            return (
                circuit_breaker.write(circuit_breaker.begin_trial(seen, now))
                if seen.until and circuit_breaker.may_ask(seen, now)
                else raw
            )

        if taken and circuit_breaker.may_ask(note, now):
            self._change(allowed, begin)
            if circuit_breaker.may_ask(seen, now):
                return Pass(allowed.place, allowed.holder, allowed.store, is_trial=True)
        if taken:
            self._give_back(allowed)
        raise circuit_breaker.refusal(seen, title, now)

    def _leave(self, allowed: Pass, who: Who, failure: BaseException | None) -> None:
        works = failure is None or isinstance(failure, NotModified)
        self._give_back(allowed, forget=works)
        if isinstance(failure, errors.SyncError) and failure.tells_of_provider:
            now = self.now().timestamp()
            self._change(
                allowed,
                lambda raw: circuit_breaker.write(
                    circuit_breaker.after_failure(circuit_breaker.read(raw), who, now, is_trial=allowed.is_trial)
                ),
            )
        elif allowed.is_trial and not works:
            self._change(
                allowed,
                lambda raw: (
                    circuit_breaker.write(circuit_breaker.end_trial(circuit_breaker.read(raw))) if raw else None
                ),
            )

    def _give_back(self, allowed: Pass, *, forget: bool = False) -> None:
        try:
            allowed.store.leave(allowed.place, allowed.holder, forget=forget)
        except Away:
            return  # its lease ends by itself

    def _change(self, allowed: Pass, change: Change) -> None:
        try:
            allowed.store.change(allowed.place, change, _KEEP_S)
        except Away:
            return  # nobody is stopped by what nobody can know
