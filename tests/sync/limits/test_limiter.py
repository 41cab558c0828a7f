"""The limiter against a real Redis: how many fetch at once, and what the circuit breaker rejects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.sync.http import errors
from app.sync.http.fetch import NotModified
from app.sync.http.retry import Deadline, RetryPolicy
from app.sync.limits.circuit_breaker import DEFAULT_POLICY, Requester
from app.sync.limits.limiter import BULK_QUOTA, INTERACTIVE_QUOTA, Lane, Limiter
from app.sync.limits.store import Quota, RedisLimiterStore, Reservation, StoreUnavailable, endpoint_id
from tests.conftest import Clock

MAX_CONCURRENT = INTERACTIVE_QUOTA.max_concurrent
ENDPOINT = endpoint_id("groq", "https://api.groq.test/v1")
ALICE, BOB, CAROL = Requester(1, 11), Requester(2, 21), Requester(3, 31)
MANY = [ALICE, BOB, CAROL, ALICE, BOB]


@pytest.fixture
def connection(embedded_redis: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(embedded_redis) as client:
        client.flushdb()
        yield client


@pytest.fixture
def limiter(connection: redis.Redis, clock: Clock) -> Limiter:
    return Limiter(RedisLimiterStore(connection), clock, RetryPolicy().sleep)


def nowhere() -> redis.Redis:
    """A Redis that is away."""
    return redis.Redis(port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))


def take_lease(limiter: Limiter, holder: str, lease_s: float) -> None:
    assert limiter.store
    assert limiter.store.reserve(ENDPOINT, holder, INTERACTIVE_QUOTA, lease_s=lease_s, max_wait_s=9).waits_s


def soon(seconds: float = 5.0) -> Deadline:
    return RetryPolicy().deadline(seconds)


def ask(limiter: Limiter, who: Requester, outcome: BaseException | None = None, place: str = ENDPOINT) -> str:
    def fetch() -> str:
        if outcome:
            raise outcome
        return "asked"

    try:
        return limiter.call(place, "Groq", who, soon(), fetch)
    except (errors.SyncError, NotModified) as error:
        return getattr(error, "code", "confirmed")


def break_down(limiter: Limiter) -> None:
    for who in MANY:
        assert ask(limiter, who, errors.Unavailable(status=503)) == "unavailable"


def test_a_provider_that_fails_for_many_is_left_alone_and_others_notice_nothing(limiter: Limiter) -> None:
    break_down(limiter)
    assert ask(limiter, ALICE) == "provider_trouble"
    assert ask(limiter, Requester(4, 41)) == "provider_trouble"
    assert ask(limiter, ALICE, place=endpoint_id("groq", "http://a.mirror.test/v1")) == "asked"
    assert ask(limiter, ALICE, place=endpoint_id("openai", "https://api.openai.test/v1")) == "asked"


def test_a_success_in_between_keeps_it_open_to_all(limiter: Limiter) -> None:
    for who in MANY[:4]:
        ask(limiter, who, errors.TimedOut())
    assert ask(limiter, CAROL, NotModified()) == "confirmed"
    assert ask(limiter, BOB, errors.TimedOut()) == "timed_out"
    assert ask(limiter, ALICE) == "asked"


@pytest.mark.parametrize("kind", [errors.KeyRejected, errors.QuotaExhausted, errors.UnreadableAnswer, errors.TooLarge])
def test_a_bad_key_never_counts(limiter: Limiter, kind: type[errors.SyncError]) -> None:
    for who in MANY * 4:
        ask(limiter, who, kind())
    assert ask(limiter, ALICE) == "asked"


def test_after_the_rest_one_tries_for_all(limiter: Limiter, clock: Clock) -> None:
    break_down(limiter)
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    during: list[str] = []

    def fetch() -> str:
        during.extend([ask(limiter, BOB), ask(limiter, CAROL)])
        return "asked"

    assert limiter.call(ENDPOINT, "Groq", ALICE, soon(), fetch) == "asked"
    assert during == ["provider_trouble"] * 2
    assert [ask(limiter, who) for who in (ALICE, BOB, CAROL)] == ["asked"] * 3


def test_a_failed_probe_means_a_longer_rest(limiter: Limiter, clock: Clock) -> None:
    break_down(limiter)
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    assert ask(limiter, ALICE, errors.Unavailable()) == "unavailable"
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    assert ask(limiter, BOB) == "provider_trouble"
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    assert ask(limiter, BOB) == "asked"


def test_a_probe_with_an_invalid_key_leaves_it_to_the_next(limiter: Limiter, clock: Clock) -> None:
    break_down(limiter)
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    assert ask(limiter, ALICE, errors.KeyRejected()) == "key_rejected"
    assert ask(limiter, BOB) == "asked"


def test_one_of_many_who_come_at_the_same_moment_tries(limiter: Limiter, clock: Clock) -> None:
    break_down(limiter)
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    moment = clock()
    still = replace(limiter, now=lambda: moment)
    refused = threading.Semaphore(0)

    def fetch() -> str:
        assert all(refused.acquire(timeout=5) for _ in range(5))  # who tries is at it until all others came
        return "asked"

    def one(number: int) -> str:
        try:
            return still.call(ENDPOINT, "Groq", Requester(number, number), soon(), fetch)
        except errors.CircuitOpen as error:
            refused.release()
            return error.code

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(one, range(6)))
    assert outcomes == ["asked"] + ["provider_trouble"] * 5


# ------------------------------------------------------------------ how many at once


def crowd(limiter: Limiter, count: int, until: Callable[..., None]) -> int:
    """How many of `count` are admitted at once, when none leaves before it is full."""
    lock, leave = threading.Lock(), threading.Event()
    now = most = 0

    def fetch() -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        leave.wait(5)
        with lock:
            now -= 1
        return "asked"

    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(limiter.call, ENDPOINT, "Groq", Requester(n, n), soon(10), fetch) for n in range(count)]
        until(lambda: now == min(count, MAX_CONCURRENT))
        leave.set()
        assert {one.result() for one in waiting} == {"asked"}
    return most


def test_no_more_than_eight_ask_at_once_whoever_they_are(
    limiter: Limiter, until: Callable[..., None], connection: redis.Redis
) -> None:
    assert crowd(limiter, 12, until) == MAX_CONCURRENT
    assert connection.zcard(*connection.keys("modelsync:leases:*") or ["none"]) == 0


def test_without_redis_each_process_bounds_itself(clock: Clock, until: Callable[..., None]) -> None:
    for limiter in (
        Limiter(None, clock, RetryPolicy().sleep),
        Limiter(RedisLimiterStore(nowhere()), clock, RetryPolicy().sleep),
    ):
        assert crowd(limiter, 10, until) == MAX_CONCURRENT


def test_without_redis_the_breaker_stays_closed(clock: Clock) -> None:
    limiter = Limiter(RedisLimiterStore(nowhere()), clock, RetryPolicy().sleep)
    break_down(limiter)
    assert ask(limiter, ALICE) == "asked"


def test_a_redis_that_goes_away_meanwhile_does_no_harm(limiter: Limiter, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limiter.store

    def fetch() -> str:
        monkeypatch.setattr(limiter.store, "release", away)
        monkeypatch.setattr(limiter.store, "update", away)
        return "asked"

    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable

    assert limiter.call(ENDPOINT, "Groq", ALICE, soon(), fetch) == "asked"


def test_who_finds_no_place_in_time_is_told_so_and_nobody_blames_the_provider(limiter: Limiter) -> None:
    assert limiter.store
    for number in range(MAX_CONCURRENT):
        take_lease(limiter, f"holder-{number}", 60)
    with pytest.raises(errors.ConcurrencyLimited) as crowded:
        limiter.call(ENDPOINT, "Groq", ALICE, soon(0.2), lambda: "asked")
    assert crowded.value.is_transient and not crowded.value.counts_against_provider


def test_a_worker_that_died_holds_its_place_for_a_while_only(limiter: Limiter) -> None:
    assert limiter.store
    for number in range(MAX_CONCURRENT):
        take_lease(limiter, f"dead-{number}", 0.1)
    assert ask(limiter, ALICE) == "asked"


def test_neither_addresses_nor_keys_are_in_redis(limiter: Limiter, connection: redis.Redis) -> None:
    break_down(limiter)

    def fetch() -> str:
        told = [(name, connection.dump(name)) for name in connection.scan_iter()]
        assert told and b"groq.test" not in repr(told).encode()
        return "asked"

    limiter.call(endpoint_id("openai", "https://user:secret@groq.test"), "OpenAI", ALICE, soon(), fetch)
    for name in connection.scan_iter():
        assert b"secret" not in name and connection.pttl(name) > 0


def test_a_permit_takes_little_more_than_one_attempt_and_few_commands(connection: redis.Redis, clock: Clock) -> None:
    """Two workers with 6 threads each share the 8 leases of an endpoint, as for a scheduled sync of many users."""
    quota = Quota(max_concurrent=8, starts_per_s=1_000.0, burst=5, is_bulk=True)
    store = CountingStore(RedisLimiterStore(connection))
    shared = Limiter(store, clock, RetryPolicy().sleep, quota)  # type: ignore[arg-type]
    before = count_commands(connection)

    def work(thread: int) -> int:
        with Lane(shared) as lane:
            for number in range(20, 0, -1):
                lane.call(ENDPOINT, "Groq", Requester(thread, thread), soon(20), lambda: time.sleep(0.002), number)
        return 20

    with ThreadPoolExecutor(12) as pool:
        fetched = sum(pool.map(work, range(12)))
    commands = count_commands(connection) - before
    assert fetched == 240
    assert store.attempts / fetched <= 1.5 and commands / fetched <= 6, (store.attempts, commands)


def count_commands(connection: redis.Redis) -> int:
    """Those that the server has executed, also inside scripts."""
    return sum(row["calls"] for row in connection.info("commandstats").values())


@dataclass
class CountingStore:
    store: RedisLimiterStore
    attempts: int = 0

    def reserve(self, *args: Any, **limits: Any) -> Reservation:
        self.attempts += 1
        return self.store.reserve(*args, **limits)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.mark.parametrize("is_shared", [True, False])
def test_however_much_the_schedule_asks_there_is_room_for_people(
    limiter: Limiter, clock: Clock, until: Callable[..., None], is_shared: bool
) -> None:
    people = limiter if is_shared else Limiter(None, clock, RetryPolicy().sleep)
    bulk = replace(people, quota=BULK_QUOTA)
    inside, leave = threading.Semaphore(0), threading.Event()

    def fetch() -> str:
        inside.release()
        leave.wait(20)
        return "asked"

    with ThreadPoolExecutor(BULK_QUOTA.max_concurrent + 3) as pool:
        waiting = [
            pool.submit(bulk.call, ENDPOINT, "Groq", Requester(n, n), soon(20), fetch)
            for n in range(BULK_QUOTA.max_concurrent + 3)
        ]
        try:
            assert all(inside.acquire(timeout=10) for _ in range(BULK_QUOTA.max_concurrent))
            with pytest.raises(errors.ConcurrencyLimited):
                bulk.call(ENDPOINT, "Groq", Requester(90, 90), soon(0.3), lambda: "asked")
            assert people.call(ENDPOINT, "Groq", ALICE, soon(10), lambda: "asked") == "asked"
        finally:
            leave.set()
        assert {one.result() for one in waiting} == {"asked"}
    assert BULK_QUOTA.max_concurrent < MAX_CONCURRENT


def test_a_short_lease_does_not_end_the_longer_ones_beside_it(limiter: Limiter, connection: redis.Redis) -> None:
    assert limiter.store
    take_lease(limiter, "long", 60)
    take_lease(limiter, "short", 0.1)
    (name,) = connection.keys("modelsync:leases:*")
    assert connection.pttl(name) > 50_000
    time.sleep(0.2)
    assert connection.zscore(name, "long") is not None
    limiter.store.release(ENDPOINT, "long")
