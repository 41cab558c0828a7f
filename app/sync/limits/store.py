"""Where the limiter and the circuit breaker keep their state: Redis, shared by all workers, or this process.

Nothing in here needs to last. It holds no key and no address: endpoints are hashes, holders are random.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import redis
from redis.commands.core import Script

T = TypeVar("T")
UpdateState = Callable[[bytes | None], bytes | None]
"""Returns the new state for the stored one; an equal one leaves it, None deletes it."""

_UNAVAILABLE_S = 5.0
"""How long a Redis that did not answer is left alone; each attempt would cost its whole timeout."""
_MAX_TRIES = 20
_RECOVERY_S = 120.0
"""A pace that was reduced to nothing takes this long to recover."""
_MIN_SCALE = 0.05


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of one traffic class at one endpoint, over all workers."""

    max_concurrent: int = 8
    """Leases of all classes together, up to which this class gets another. A holder sends one request at a time."""
    starts_per_s: float = 20.0
    """Fetches started per second. Further pages and retries do not count: they follow one another within one start."""
    burst: int = 5
    """Starts that need no spacing after a pause."""
    is_bulk: bool = False
    """Bulk starts give way: each interactive start delays the next bulk start, never the reverse."""


@dataclass(frozen=True, slots=True)
class Reservation:
    state: bytes | None
    """The endpoint's breaker state."""
    waits_s: tuple[float, ...] = ()
    """Seconds from now until each reserved start, ascending. Empty: no start was reserved, and no lease is held."""
    is_late: bool = False
    """Nothing was reserved because the next free start is beyond `max_wait_s`."""


class StoreUnavailable(Exception):
    """The store cannot be reached."""


class LimiterStore(Protocol):
    """Leases, pace and breaker states by endpoint. All methods raise StoreUnavailable."""

    def reserve(
        self, endpoint: str, holder: str, quota: Quota, *, lease_s: float, max_wait_s: float, wanted: int = 1
    ) -> Reservation:
        """Take or extend the holder's lease, and reserve up to `wanted` starts within `max_wait_s` seconds.

        A lease that is never released expires after `lease_s`. A holder loses its lease when it asks for another start
        while others wait for a lease.
        """

    def release(self, endpoint: str, holder: str) -> None:
        """Give the lease back."""

    def slow_down(self, endpoint: str) -> None:
        """Halve the pace, which recovers within two minutes: the provider says that it gets too many requests."""

    def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
        """Compare and set the breaker state; `update` may be called several times."""


def endpoint_id(slug: str, base_url: str) -> str:
    """The name of a provider at an address; the address cannot be read from it."""
    return f"{slug}:{hashlib.blake2b(base_url.encode(), digest_size=12).hexdigest()}"


def load_states(connection: redis.Redis, endpoints: Sequence[str]) -> list[bytes | None]:
    """The breaker states of these endpoints, in their order. Raises redis.RedisError."""
    states: list[bytes | None] = connection.mget([_state_key(endpoint) for endpoint in endpoints])  # type: ignore[assignment]
    return states


# By the clock of the Redis server, so that machines whose clocks differ agree.
# The pace is one text: next interactive start, next bulk start, scale, and when it was scaled.
_PACE_LIBRARY = f"""
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local function read_pace(text)
    local interactive, bulk, scale, scaled = string.match(text or '', '(%S+) (%S+) (%S+) (%S+)')
    scale, scaled = tonumber(scale) or 1, tonumber(scaled) or now
    scale = math.min(1, scale + math.max(0, now - scaled) / {_RECOVERY_S})
    return math.max(now, tonumber(interactive) or 0), math.max(now, tonumber(bulk) or 0), scale
end
local function write_pace(key, interactive, bulk, scale)
    redis.call('SET', key, string.format('%.6f %.6f %.4f %.6f', interactive, bulk, scale, now), 'EX', 900)
end
"""
_RESERVE_SCRIPT = (
    _PACE_LIBRARY
    + """
local holder, is_bulk, max_concurrent = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local rate, burst, lease_s = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local max_wait_s, wanted = tonumber(ARGV[7]), tonumber(ARGV[8])
local values = redis.call('MGET', KEYS[2], KEYS[3], KEYS[4])
local state, waiting = values[1], values[3]
if redis.call('ZSCORE', KEYS[1], holder) then
    if waiting == 'interactive' or (waiting and is_bulk) then
        redis.call('ZREM', KEYS[1], holder)
        return {state, 0}
    end
elseif redis.call('ZCOUNT', KEYS[1], now, '+inf') >= max_concurrent then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    if not is_bulk or not waiting then
        redis.call('SET', KEYS[4], is_bulk and 'bulk' or 'interactive', 'PX', 300)
    end
    return {state, 0}
end
local interactive, bulk, scale = read_pace(values[2])
local interval = 1 / (rate * scale)
local offset = (is_bulk and bulk or interactive) - now - (burst - 1) * interval
local count = math.min(wanted, math.floor((max_wait_s - math.max(offset, 0)) / interval) + 1)
if count < 1 then
    return {state, -1}
end
bulk = bulk + count * interval
if not is_bulk then
    interactive = interactive + count * interval
end
write_pace(KEYS[3], interactive, bulk, scale)
redis.call('ZADD', KEYS[1], now + lease_s, holder)
redis.call('EXPIRE', KEYS[1], 900)
return {state, count, tostring(offset), tostring(interval)}
"""
)
_SLOW_DOWN_SCRIPT = (
    _PACE_LIBRARY
    + f"""
local interactive, bulk, scale = read_pace(redis.call('GET', KEYS[1]))
write_pace(KEYS[1], interactive, bulk, math.max({_MIN_SCALE}, scale / 2))
"""
)


class RedisLimiterStore:
    """Shared by all workers."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection
        self._reserve: Script = connection.register_script(_RESERVE_SCRIPT)
        self._slow_down: Script = connection.register_script(_SLOW_DOWN_SCRIPT)
        self._unavailable_until = 0.0

    def reserve(
        self, endpoint: str, holder: str, quota: Quota, *, lease_s: float, max_wait_s: float, wanted: int = 1
    ) -> Reservation:
        keys = [_leases_key(endpoint), _state_key(endpoint), _pace_key(endpoint), _waiting_key(endpoint)]
        limits = [int(quota.is_bulk), quota.max_concurrent, quota.starts_per_s, quota.burst]
        args: list[str | int | float] = [holder, *limits, lease_s, max_wait_s, wanted]
        state, count, *numbers = self._try(lambda: self._reserve(keys=keys, args=args))
        if count < 1:
            return Reservation(state, is_late=count < 0)
        offset_s, interval_s = map(float, numbers)
        return Reservation(state, _waits(offset_s, interval_s, count))

    def release(self, endpoint: str, holder: str) -> None:
        self._try(lambda: self._redis.zrem(_leases_key(endpoint), holder))

    def slow_down(self, endpoint: str) -> None:
        self._try(lambda: self._slow_down(keys=[_pace_key(endpoint)]))

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


def _waits(offset_s: float, interval_s: float, count: int) -> tuple[float, ...]:
    return tuple(max(0.0, offset_s + number * interval_s) for number in range(count))


class LocalLimiterStore:
    """Of this process alone. There is no circuit breaker: one process sees too little to open it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        self._next_starts: dict[str, float] = {}

    def reserve(
        self, endpoint: str, holder: str, quota: Quota, *, lease_s: float, max_wait_s: float, wanted: int = 1
    ) -> Reservation:
        now, interval_s = time.monotonic(), 1 / quota.starts_per_s
        with self._lock:
            holders = self._holders[endpoint]
            if holder not in holders and len(holders) >= quota.max_concurrent:
                return Reservation(None)
            next_start = max(now, self._next_starts.get(endpoint, now))
            offset_s = next_start - now - (quota.burst - 1) * interval_s
            count = min(wanted, int((max_wait_s - max(offset_s, 0.0)) // interval_s) + 1)
            if count < 1:
                return Reservation(None, is_late=True)
            self._next_starts[endpoint] = next_start + count * interval_s
            holders.add(holder)
            return Reservation(None, _waits(offset_s, interval_s, count))

    def release(self, endpoint: str, holder: str) -> None:
        with self._lock:
            self._holders[endpoint].discard(holder)
            if not self._holders[endpoint]:
                del self._holders[endpoint]

    def slow_down(self, endpoint: str) -> None:
        pass

    def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
        pass


def _leases_key(endpoint: str) -> str:
    return f"modelsync:leases:{endpoint}"


def _pace_key(endpoint: str) -> str:
    return f"modelsync:pace:{endpoint}"


def _waiting_key(endpoint: str) -> str:
    return f"modelsync:waiting:{endpoint}"


def _state_key(endpoint: str) -> str:
    return f"modelsync:trouble:{endpoint}"
