"""Concurrency and rate limiter per endpoint, shared by all workers through Redis.

It also rejects requests while the provider's circuit breaker is open. Without Redis each process limits itself.
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
"""Fetches per endpoint, over all workers; each sends one request at a time."""
_LEASE_GRACE_S = 10.0
"""A worker that dies with a permit gives it back this long after its deadline."""
_POLL_S = (0.05, 0.15)
"""Polling interval (min, max), seconds, while waiting for a permit."""
_STATE_TTL_S = 7_200.0

_local_store = LocalLimiterStore()


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of one traffic class at one endpoint; they apply to all classes together."""

    max_concurrent: int = MAX_CONCURRENT
    max_starts_per_s: int = MAX_STARTS_PER_S


INTERACTIVE_QUOTA = Quota()
BULK_QUOTA = Quota(max_concurrent=6, max_starts_per_s=20)
"""Leaves room for interactive syncs, however much the schedule has to do."""


@dataclass(frozen=True, slots=True)
class Permit:
    endpoint: str
    holder: str
    store: LimiterStore
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Limiter:
    """now: wall-clock time, shown to people."""

    store: LimiterStore | None
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    quota: Quota = INTERACTIVE_QUOTA

    def call(self, endpoint: str, title: str, requester: Requester, deadline: Deadline, fetch: Callable[[], T]) -> T:
        """Wait for a permit and fetch. Raises CircuitOpen, ConcurrencyLimited, and what `fetch` raises."""
        permit = self._acquire(endpoint, title, deadline)
        failure: BaseException | None = None
        try:
            return fetch()
        except BaseException as error:
            failure = error
            raise
        finally:
            self._finish(permit, requester, failure)

    def _acquire(self, endpoint: str, title: str, deadline: Deadline) -> Permit:
        holder = uuid.uuid4().hex
        while True:
            store, raw, is_acquired = self._try_acquire(endpoint, holder, deadline)
            permit = Permit(endpoint, holder, store)
            state = circuit_breaker.decode(raw)
            if state.until:
                return self._probe(permit, title, state, is_acquired=is_acquired)
            if is_acquired:
                return permit
            if deadline.remaining_s <= _POLL_S[1]:
                raise errors.ConcurrencyLimited
            self.sleep(random.uniform(*_POLL_S))  # noqa: S311  # no secret

    def _try_acquire(self, endpoint: str, holder: str, deadline: Deadline) -> tuple[LimiterStore, bytes | None, bool]:
        lease_s = max(0.0, deadline.remaining_s) + _LEASE_GRACE_S
        limits = self.quota.max_concurrent, lease_s, self.quota.max_starts_per_s
        if self.store:
            try:
                return self.store, *self.store.acquire(endpoint, holder, *limits)
            except StoreUnavailable:
                pass
        return _local_store, *_local_store.acquire(endpoint, holder, *limits)

    def _probe(self, permit: Permit, title: str, state: BreakerState, *, is_acquired: bool) -> Permit:
        """The permit of the first request after the rest, which tests whether the provider works again.

        Raises CircuitOpen for all others.
        """
        now = self.now().timestamp()
        current = state

        def start(raw: bytes | None) -> bytes | None:
            nonlocal current
            current = circuit_breaker.decode(raw)
            if current.until and circuit_breaker.allows(current, now):
                return circuit_breaker.encode(circuit_breaker.start_probe(current, now))
            return raw

        if is_acquired and circuit_breaker.allows(state, now):
            self._update(permit, start)
            if circuit_breaker.allows(current, now):
                return Permit(permit.endpoint, permit.holder, permit.store, is_probe=True)
        if is_acquired:
            self._release(permit)
        raise circuit_breaker.circuit_open_error(current, title, now)

    def _finish(self, permit: Permit, requester: Requester, failure: BaseException | None) -> None:
        """Give the permit back, and let the circuit breaker follow the outcome."""
        is_success = failure is None or isinstance(failure, NotModified)
        self._release(permit, close_breaker=is_success)
        if isinstance(failure, errors.SyncError) and failure.counts_against_provider:
            now = self.now().timestamp()

            def record(raw: bytes | None) -> bytes:
                state = circuit_breaker.decode(raw)
                return circuit_breaker.encode(
                    circuit_breaker.record_failure(state, requester, now, is_probe=permit.is_probe)
                )

            self._update(permit, record)
        elif permit.is_probe and not is_success:
            self._update(permit, _end_probe)

    def _release(self, permit: Permit, *, close_breaker: bool = False) -> None:
        try:
            permit.store.release(permit.endpoint, permit.holder, close_breaker=close_breaker)
        except StoreUnavailable:
            return  # the lease expires

    def _update(self, permit: Permit, update: UpdateState) -> None:
        try:
            permit.store.update(permit.endpoint, update, _STATE_TTL_S)
        except StoreUnavailable:
            return  # without Redis there is no breaker


def _end_probe(raw: bytes | None) -> bytes | None:
    return circuit_breaker.encode(circuit_breaker.end_probe(circuit_breaker.decode(raw))) if raw else None
