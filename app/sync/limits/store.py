"""What the workers of an installation know together while they ask: who asks whom, and who is in trouble.

In Redis, for all of them; where Redis is away, each process bounds itself and knows of nobody's trouble. Nothing in
here needs to last, and no key ever comes near it: places are hashes of addresses, holders are random.
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
"""What is to stand in place of a note: the same one leaves it, None removes it."""

_UNAVAILABLE_S = 5.0
"""For so long a Redis that did not answer is not asked: each try would cost its whole time-out."""
_MAX_TRIES = 20
MAX_STARTS_PER_S = 25
"""Times that asking for a list begins within one second at one place, of all workers together.

The list's further pages, and tries after a failure, are not counted: they come one after the other within their turn.
"""


class StoreUnavailable(Exception):
    """The store cannot be reached."""


class LimiterStore(Protocol):
    """Notes and leases by place. All raise Away."""

    def enter(
        self, place: str, holder: str, most: int, lease_s: float, per_s: int = MAX_STARTS_PER_S
    ) -> tuple[bytes | None, bool]:
        """The note, and whether the holder is now one of at most `most`, and of at most `per_s` in this second.

        A lease that is never given back ends.
        """

    def leave(self, place: str, holder: str, *, forget: bool = False) -> None:
        """Give the lease back. forget: and remove the note."""

    def change(self, place: str, change: UpdateState, ttl_s: float) -> None:
        """Compare and set; `change` may be called several times."""


def endpoint_id(slug: str, base_url: str) -> str:
    """A provider at an address, as a name that tells nothing of the address."""
    return f"{slug}:{hashlib.blake2b(base_url.encode(), digest_size=12).hexdigest()}"


def load_states(connection: redis.Redis, places: Sequence[str]) -> list[bytes | None]:
    """What is noted of these places, in their order. Raises redis.RedisError."""
    found: list[bytes | None] = connection.mget([_state_key(place) for place in places])  # type: ignore[assignment]
    return found


# The server's clock: leases of machines whose clocks differ end at the same time.
_ACQUIRE_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local taken = 0
local begun = tonumber(redis.call('GET', KEYS[3]) or '0')
if begun < tonumber(ARGV[4]) and redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
    if redis.call('INCR', KEYS[3]) == 1 then
        redis.call('PEXPIRE', KEYS[3], 1000)
    end
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
    local lease = math.ceil(tonumber(ARGV[3]) * 1000)
    redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), lease))
    taken = 1
end
return {redis.call('GET', KEYS[2]), taken}
"""

# One script and not two commands: what a request costs beside the provider's answer is mostly Redis round trips.
_RELEASE_SCRIPT = """
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] == '1' then
    redis.call('DEL', KEYS[2])
end
"""


class RedisLimiterStore:
    """In Redis, for all workers."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection
        self._enter: Script = connection.register_script(_ACQUIRE_SCRIPT)
        self._leave: Script = connection.register_script(_RELEASE_SCRIPT)
        self._away_until = 0.0

    def enter(
        self, place: str, holder: str, most: int, lease_s: float, per_s: int = MAX_STARTS_PER_S
    ) -> tuple[bytes | None, bool]:
        keys = [_leases_key(place), _state_key(place), _starts_key(place)]
        note, taken = self._try(lambda: self._enter(keys=keys, args=[holder, most, lease_s, per_s]))
        return note, bool(taken)

    def leave(self, place: str, holder: str, *, forget: bool = False) -> None:
        self._try(lambda: self._leave(keys=[_leases_key(place), _state_key(place)], args=[holder, int(forget)]))

    def change(self, place: str, change: UpdateState, ttl_s: float) -> None:
        self._try(lambda: self._change(_state_key(place), change, ttl_s))

    def _change(self, name: str, change: UpdateState, ttl_s: float) -> None:
        with self._redis.pipeline() as pipe:
            for _ in range(_MAX_TRIES):
                try:
                    pipe.watch(name)  # type: ignore[no-untyped-call]
                    before: bytes | None = pipe.get(name)  # type: ignore[assignment]
                    after = change(before)
                    if after == before:
                        return
                    pipe.multi()
                    if after is None:
                        pipe.delete(name)
                    else:
                        pipe.set(name, after, px=int(ttl_s * 1000))
                    pipe.execute()
                    return
                except redis.WatchError:
                    continue

    def _try(self, act: Callable[[], T]) -> T:
        if time.monotonic() < self._away_until:
            raise StoreUnavailable
        try:
            return act()
        except redis.RedisError:
            self._away_until = time.monotonic() + _UNAVAILABLE_S
            raise StoreUnavailable from None


class LocalLimiterStore:
    """This process by itself: its requests are bounded, and no trouble is remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        self._begun: dict[str, list[float]] = {}

    def enter(
        self, place: str, holder: str, most: int, lease_s: float, per_s: int = MAX_STARTS_PER_S
    ) -> tuple[bytes | None, bool]:
        now = time.monotonic()
        with self._lock:
            begun = [moment for moment in self._begun.get(place, ()) if now - moment < 1.0]
            if len(self._holders[place]) >= most or len(begun) >= per_s:
                return None, False
            self._begun[place] = [*begun, now]
            self._holders[place].add(holder)
            return None, True

    def leave(self, place: str, holder: str, *, forget: bool = False) -> None:
        with self._lock:
            self._holders[place].discard(holder)
            if not self._holders[place]:
                del self._holders[place]

    def change(self, place: str, change: UpdateState, ttl_s: float) -> None:
        """Trouble that one process saw is no reason to stop: it is for many to tell."""


def _leases_key(place: str) -> str:
    return f"modelsync:asking:{place}"


def _starts_key(place: str) -> str:
    return f"modelsync:begun:{place}"


def _state_key(place: str) -> str:
    return f"modelsync:trouble:{place}"
