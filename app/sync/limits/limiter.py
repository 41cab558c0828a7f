"""Concurrency and rate limiter per endpoint, shared by all workers through Redis.

It also rejects requests while the provider's circuit breaker is open. Without Redis each process limits itself.
"""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TypeVar

from app.sync.http import errors
from app.sync.http.fetch import NotModified
from app.sync.http.retry import Deadline
from app.sync.limits import circuit_breaker
from app.sync.limits.circuit_breaker import BreakerState, Requester
from app.sync.limits.store import LimiterStore, LocalLimiterStore, Quota, Reservation, StoreUnavailable, UpdateState

T = TypeVar("T")

INTERACTIVE_QUOTA = Quota()
BULK_QUOTA = Quota(max_concurrent=6, burst=1, is_bulk=True)
"""Leaves room for interactive syncs, however much the schedule has to do."""
_LEASE_GRACE_S = 10.0
"""A worker that dies with a lease gives it back this long after its deadline."""
_MAX_STARTS_AHEAD = 4
"""Starts that one lane reserves at once. More would save Redis commands, but hold the pace longer than they use it."""
_POLL_S = (0.05, 0.15)
"""Polling interval (min, max), seconds, while waiting for a lease."""
_STATE_TTL_S = 7_200.0

_local_store = LocalLimiterStore()


@dataclass(frozen=True, slots=True)
class Limiter:
    """now: wall-clock time, shown to people."""

    store: LimiterStore | None
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    quota: Quota = INTERACTIVE_QUOTA
    clock: Callable[[], float] = time.monotonic

    def call(self, endpoint: str, title: str, requester: Requester, deadline: Deadline, fetch: Callable[[], T]) -> T:
        """`Lane.call` for a single fetch."""
        with Lane(self) as lane:
            return lane.call(endpoint, title, requester, deadline, fetch)


@dataclass(slots=True)
class Lane:
    """One thread's way to its endpoint: it keeps its lease from one fetch to the next, and reserves starts ahead."""

    limiter: Limiter
    _endpoint: str = ""
    _holder: str = ""
    _store: LimiterStore | None = None
    """Where the lease is held; None: no lease."""
    _leased_until: float = 0.0
    _starts: deque[float] = field(default_factory=deque)
    """Reserved starts, as monotonic times."""
    _state: BreakerState = field(default_factory=lambda: circuit_breaker.decode(None))

    def __enter__(self) -> Lane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def call(
        self,
        endpoint: str,
        title: str,
        requester: Requester,
        deadline: Deadline,
        fetch: Callable[[], T],
        upcoming: int = 1,
    ) -> T:
        """Wait for a start and fetch. Raises CircuitOpen, ConcurrencyLimited, and what `fetch` raises.

        upcoming: how many fetches of this endpoint this lane expects to make, this one included.
        """
        if endpoint != self._endpoint:
            self.release()
            self._endpoint = endpoint
        is_probe = self._wait_for_start(title, deadline, upcoming)
        failure: BaseException | None = None
        try:
            return fetch()
        except BaseException as error:
            failure = error
            raise
        finally:
            self._follow(requester, failure, is_probe=is_probe)

    def _wait_for_start(self, title: str, deadline: Deadline, upcoming: int) -> bool:
        """Whether the fetch that may start now probes an open breaker."""
        is_probe = False
        while not self._starts or self._leased_until < self.limiter.clock() + deadline.remaining_s:
            reservation = self._reserve(deadline, upcoming)
            self._state = circuit_breaker.decode(reservation.state)
            if self._state.until:
                is_probe = self._probe(title)
                break
            if not self._starts:
                if reservation.is_late or deadline.remaining_s <= _POLL_S[1]:
                    raise errors.ConcurrencyLimited
                self.limiter.sleep(random.uniform(*_POLL_S))  # noqa: S311  # no secret
        wait_s = self._starts.popleft() - self.limiter.clock()
        if wait_s > 0:
            self.limiter.sleep(wait_s)
        return is_probe

    def _reserve(self, deadline: Deadline, upcoming: int) -> Reservation:
        """Reserve starts; `_starts` and the lease follow."""
        limiter = self.limiter
        holder = self._holder if self._store else uuid.uuid4().hex
        remaining_s = max(0.0, deadline.remaining_s)
        lease_s = remaining_s + _LEASE_GRACE_S
        store, reservation = self._store or limiter.store or _local_store, None
        while reservation is None:
            try:
                reservation = store.reserve(
                    self._endpoint,
                    holder,
                    limiter.quota,
                    lease_s=lease_s,
                    max_wait_s=remaining_s,
                    wanted=max(1, min(upcoming, _MAX_STARTS_AHEAD)),
                )
            except StoreUnavailable:
                store = _local_store
        now = limiter.clock()
        self._starts = deque(now + wait_s for wait_s in reservation.waits_s)
        if not self._starts:
            self.release()
            return reservation
        self._holder, self._store, self._leased_until = holder, store, now + lease_s
        return reservation

    def _probe(self, title: str) -> bool:
        """Claim the one request that tests, after the rest, whether the provider works again.

        Raises CircuitOpen for all others.
        """
        now = self.limiter.now().timestamp()
        current = self._state

        def start(raw: bytes | None) -> bytes | None:
            nonlocal current
            current = circuit_breaker.decode(raw)
            if current.until and circuit_breaker.allows(current, now):
                return circuit_breaker.encode(circuit_breaker.start_probe(current, now))
            return raw

        if self._starts and circuit_breaker.allows(current, now):
            self._update(start)
            if circuit_breaker.allows(current, now):
                return True
        self.release()
        raise circuit_breaker.circuit_open_error(current, title, now)

    def _follow(self, requester: Requester, failure: BaseException | None, *, is_probe: bool) -> None:
        """Let the circuit breaker and the pace follow the outcome."""
        if failure is None or isinstance(failure, NotModified):
            if self._state.failures or self._state.until:
                self._update(lambda _: None)
                self._state = circuit_breaker.decode(None)
            return
        if isinstance(failure, errors.SyncError) and failure.counts_against_provider:
            now = self.limiter.now().timestamp()

            def record(raw: bytes | None) -> bytes:
                state = circuit_breaker.decode(raw)
                return circuit_breaker.encode(circuit_breaker.record_failure(state, requester, now, is_probe=is_probe))

            self._update(record)
            self._starts.clear()  # the next fetch has to read the state that this made
        elif is_probe:
            self._update(_end_probe)
        if isinstance(failure, errors.RateLimited) and self._store:
            self._starts.clear()
            with contextlib.suppress(StoreUnavailable):
                self._store.slow_down(self._endpoint)

    def _update(self, update: UpdateState) -> None:
        if self._store:
            with contextlib.suppress(StoreUnavailable):  # without Redis there is no breaker
                self._store.update(self._endpoint, update, _STATE_TTL_S)

    def release(self) -> None:
        """Give the lease back; the next call takes another."""
        store, self._store = self._store, None
        self._starts.clear()
        if store:
            with contextlib.suppress(StoreUnavailable):  # the lease expires
                store.release(self._endpoint, self._holder)


def _end_probe(raw: bytes | None) -> bytes | None:
    return circuit_breaker.encode(circuit_breaker.end_probe(circuit_breaker.decode(raw))) if raw else None
