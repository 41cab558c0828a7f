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
from app.sync.limits.circuit_breaker import BreakerState, Requester
from app.sync.limits.store import MAX_STARTS_PER_S, LimiterStore, LocalLimiterStore, StoreUnavailable, UpdateState

T = TypeVar("T")

MAX_CONCURRENT = 8
"""Lists asked for at one provider at one address, of all workers together; each with one request at a time."""
_LEASE_GRACE_S = 10.0
"""A worker that dies with a lease gives it back this long after its time was over."""
_POLL_S = (0.05, 0.15)
"""Who waits looks again after a time between these."""
_STATE_TTL_S = 7_200.0

_local_store = LocalLimiterStore()


@dataclass(frozen=True, slots=True)
class Quota:
    """How much of what a provider is asked together one kind of work may take."""

    at_once: int = MAX_CONCURRENT
    per_s: int = MAX_STARTS_PER_S


INTERACTIVE_QUOTA = Quota()
BULK_QUOTA = Quota(at_once=6, per_s=20)
"""The rest is kept free for whoever waits, however much the schedule has to do."""


@dataclass(frozen=True, slots=True)
class Permit:
    """One request that was let through."""

    place: str
    holder: str
    store: LimiterStore
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class Limiter:
    """Before all providers. now: the time of day, which people are told."""

    shared: LimiterStore | None
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    share: Quota = INTERACTIVE_QUOTA

    def ask(self, place: str, title: str, who: Requester, deadline: Deadline, fetch: Callable[[], T]) -> T:
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

    def _enter(self, place: str, title: str, deadline: Deadline) -> Permit:
        holder = uuid.uuid4().hex
        while True:
            store, raw, taken = self._knock(place, holder, deadline)
            allowed = Permit(place, holder, store)
            note = circuit_breaker.decode(raw)
            if note.until:
                return self._as_trial(allowed, title, note, taken)
            if taken:
                return allowed
            if deadline.left_s <= _POLL_S[1]:
                raise errors.ConcurrencyLimited
            self.sleep(random.uniform(*_POLL_S))  # no secret

    def _knock(self, place: str, holder: str, deadline: Deadline) -> tuple[LimiterStore, bytes | None, bool]:
        lease_s = max(0.0, deadline.left_s) + _LEASE_GRACE_S
        if self.shared:
            try:
                return self.shared, *self.shared.enter(place, holder, self.share.at_once, lease_s, self.share.per_s)
            except StoreUnavailable:
                pass
        return _local_store, *_local_store.enter(place, holder, self.share.at_once, lease_s, self.share.per_s)

    def _as_trial(self, allowed: Permit, title: str, note: BreakerState, taken: bool) -> Permit:
        """The first who comes after the rest is let through, to see whether it works again. Raises Troubled."""
        now = self.now().timestamp()
        seen = note

        def begin(raw: bytes | None) -> bytes | None:
            nonlocal seen
            seen = circuit_breaker.decode(raw)
            return (
                circuit_breaker.encode(circuit_breaker.start_probe(seen, now))
                if seen.until and circuit_breaker.allows(seen, now)
                else raw
            )

        if taken and circuit_breaker.allows(note, now):
            self._change(allowed, begin)
            if circuit_breaker.allows(seen, now):
                return Permit(allowed.place, allowed.holder, allowed.store, is_trial=True)
        if taken:
            self._give_back(allowed)
        raise circuit_breaker.circuit_open_error(seen, title, now)

    def _leave(self, allowed: Permit, who: Requester, failure: BaseException | None) -> None:
        works = failure is None or isinstance(failure, NotModified)
        self._give_back(allowed, forget=works)
        if isinstance(failure, errors.SyncError) and failure.tells_of_provider:
            now = self.now().timestamp()
            self._change(
                allowed,
                lambda raw: circuit_breaker.encode(
                    circuit_breaker.record_failure(circuit_breaker.decode(raw), who, now, is_trial=allowed.is_trial)
                ),
            )
        elif allowed.is_trial and not works:
            self._change(
                allowed,
                lambda raw: (
                    circuit_breaker.encode(circuit_breaker.end_probe(circuit_breaker.decode(raw))) if raw else None
                ),
            )

    def _give_back(self, allowed: Permit, *, forget: bool = False) -> None:
        try:
            allowed.store.leave(allowed.place, allowed.holder, forget=forget)
        except StoreUnavailable:
            return  # its lease ends by itself

    def _change(self, allowed: Permit, change: UpdateState) -> None:
        try:
            allowed.store.change(allowed.place, change, _STATE_TTL_S)
        except StoreUnavailable:
            return  # nobody is stopped by what nobody can know
