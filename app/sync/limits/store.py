"""Where the limiter and the circuit breaker keep their state: Redis, shared by all workers, or this process.

Nothing in here needs to last. It holds no key and no address: endpoints are hashes, holders are random.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import redis
from redis.commands.core import Script

T = TypeVar("T")
UpdateState = Callable[[bytes | None], bytes | None]
"""Returns the new state for the stored one; an equal one leaves it, None deletes it."""

_UNAVAILABLE_S = 5.0
"""How long a Redis that did not answer is left alone; each attempt would cost its whole timeout."""
_MAX_TRIES = 20
MAX_STARTS_PER_S = 25
"""Fetches started per second at one endpoint, over all workers.

Further pages and retries do not count: they follow one another within one permit.
"""


class StoreUnavailable(Exception):
    """The store cannot be reached."""


class LimiterStore(Protocol):
    """Permits and breaker states by endpoint. All methods raise StoreUnavailable."""

    def acquire(
        self, endpoint: str, holder: str, max_concurrent: int, lease_s: float, max_starts_per_s: int = MAX_STARTS_PER_S
    ) -> tuple[bytes | None, bool]:
        """The breaker state, and whether the holder has a permit now.

        There are at most `max_concurrent` permits, and `max_starts_per_s` new ones a second. A permit that is never
        released expires after `lease_s` seconds.
        """

    def release(self, endpoint: str, holder: str, *, close_breaker: bool = False) -> None:
        """Give the permit back. close_breaker: and delete the breaker state."""

    def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
        """Compare and set the breaker state; `update` may be called several times."""


def endpoint_id(slug: str, base_url: str) -> str:
    """The name of a provider at an address; the address cannot be read from it."""
    return f"{slug}:{hashlib.blake2b(base_url.encode(), digest_size=12).hexdigest()}"


def load_states(connection: redis.Redis, endpoints: Sequence[str]) -> list[bytes | None]:
    """The breaker states of these endpoints, in their order. Raises redis.RedisError."""
    states: list[bytes | None] = connection.mget([_state_key(endpoint) for endpoint in endpoints])  # type: ignore[assignment]
    return states


# By the clock of the Redis server: leases of machines whose clocks differ end at the same time.
_ACQUIRE_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local acquired = 0
local started = tonumber(redis.call('GET', KEYS[3]) or '0')
if started < tonumber(ARGV[4]) and redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
    if redis.call('INCR', KEYS[3]) == 1 then
        redis.call('PEXPIRE', KEYS[3], 1000)
    end
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
    local lease = math.ceil(tonumber(ARGV[3]) * 1000)
    redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), lease))
    acquired = 1
end
return {redis.call('GET', KEYS[2]), acquired}
"""

# One script instead of two commands saves a round trip.
_RELEASE_SCRIPT = """
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] == '1' then
    redis.call('DEL', KEYS[2])
end
"""


class RedisLimiterStore:
    """Shared by all workers."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection
        self._acquire: Script = connection.register_script(_ACQUIRE_SCRIPT)
        self._release: Script = connection.register_script(_RELEASE_SCRIPT)
        self._unavailable_until = 0.0

    def acquire(
        self, endpoint: str, holder: str, max_concurrent: int, lease_s: float, max_starts_per_s: int = MAX_STARTS_PER_S
    ) -> tuple[bytes | None, bool]:
        keys = [_leases_key(endpoint), _state_key(endpoint), _starts_key(endpoint)]
        args: list[str | int | float] = [holder, max_concurrent, lease_s, max_starts_per_s]
        state, is_acquired = self._try(lambda: self._acquire(keys=keys, args=args))
        return state, bool(is_acquired)

    def release(self, endpoint: str, holder: str, *, close_breaker: bool = False) -> None:
        keys = [_leases_key(endpoint), _state_key(endpoint)]
        self._try(lambda: self._release(keys=keys, args=[holder, int(close_breaker)]))

    def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
        self._try(lambda: self._compare_and_set(_state_key(endpoint), update, ttl_s))

    def _compare_and_set(self, key: str, update: UpdateState, ttl_s: float) -> None:
        with self._redis.pipeline() as pipe:
            for _ in range(_MAX_TRIES):
                try:
                    pipe.watch(key)  # type: ignore[no-untyped-call]
                    before: bytes | None = pipe.get(key)  # type: ignore[assignment]
                    after = update(before)
                    if after == before:
                        return
                    pipe.multi()
                    if after is None:
                        pipe.delete(key)
                    else:
                        pipe.set(key, after, px=int(ttl_s * 1000))
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue

    def _try(self, act: Callable[[], T]) -> T:
        if time.monotonic() < self._unavailable_until:
            raise StoreUnavailable
        try:
            return act()
        except redis.RedisError:
            self._unavailable_until = time.monotonic() + _UNAVAILABLE_S
            raise StoreUnavailable from None


class LocalLimiterStore:
    """Of this process alone. There is no circuit breaker: one process sees too little to open it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        self._starts: dict[str, list[float]] = {}

    def acquire(
        self, endpoint: str, holder: str, max_concurrent: int, lease_s: float, max_starts_per_s: int = MAX_STARTS_PER_S
    ) -> tuple[bytes | None, bool]:
        now = time.monotonic()
        with self._lock:
            starts = [started_at for started_at in self._starts.get(endpoint, ()) if now - started_at < 1.0]
            if len(self._holders[endpoint]) >= max_concurrent or len(starts) >= max_starts_per_s:
                return None, False
            self._starts[endpoint] = [*starts, now]
            self._holders[endpoint].add(holder)
            return None, True

    def release(self, endpoint: str, holder: str, *, close_breaker: bool = False) -> None:
        with self._lock:
            self._holders[endpoint].discard(holder)
            if not self._holders[endpoint]:
                del self._holders[endpoint]

    def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
        pass


def _leases_key(endpoint: str) -> str:
    return f"modelsync:asking:{endpoint}"


def _starts_key(endpoint: str) -> str:
    return f"modelsync:begun:{endpoint}"


def _state_key(endpoint: str) -> str:
    return f"modelsync:trouble:{endpoint}"
