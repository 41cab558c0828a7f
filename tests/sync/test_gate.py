"""One gate for all workers, with a real Redis: how many ask at once, and what a provider in trouble is spared."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.sync.http import errors
from app.sync.http.fetch import NotModified
from app.sync.http.retry import Deadline, RetryPolicy
from app.sync.limits.circuit_breaker import DEFAULT_POLICY, Requester
from app.sync.limits.limiter import BULK_QUOTA, MAX_CONCURRENT, Limiter
from app.sync.limits.store import MAX_STARTS_PER_S, LocalLimiterStore, RedisLimiterStore, StoreUnavailable, endpoint_id
from tests.conftest import Clock

PLACE = endpoint_id("groq", "https://api.groq.test/v1")
ALICE, BOB, CAROL = Requester(1, 11), Requester(2, 21), Requester(3, 31)
MANY = [ALICE, BOB, CAROL, ALICE, BOB]


@pytest.fixture
def connection(embedded_redis: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(embedded_redis) as client:
        client.flushdb()
        yield client


@pytest.fixture
def gate(connection: redis.Redis, clock: Clock) -> Limiter:
    return Limiter(RedisLimiterStore(connection), clock, RetryPolicy().sleep)


def nowhere() -> redis.Redis:
    """A Redis that is away."""
    return redis.Redis(port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))


def soon(seconds: float = 5.0) -> Deadline:
    return RetryPolicy().deadline(seconds)


def ask(gate: Limiter, who: Requester, outcome: BaseException | None = None, place: str = PLACE) -> str:
    def fetch() -> str:
        if outcome:
            raise outcome
        return "asked"

    try:
        return gate.ask(place, "Groq", who, soon(), fetch)
    except (errors.SyncError, NotModified) as error:
        return getattr(error, "code", "confirmed")


def break_down(gate: Limiter) -> None:
    for who in MANY:
        assert ask(gate, who, errors.Unavailable(status=503)) == "unavailable"


def test_a_provider_that_fails_for_many_is_left_alone_and_others_notice_nothing(gate: Limiter) -> None:
    break_down(gate)
    assert ask(gate, ALICE) == "provider_trouble"
    assert ask(gate, Requester(4, 41)) == "provider_trouble"
    assert ask(gate, ALICE, place=endpoint_id("groq", "http://a.mirror.test/v1")) == "asked"
    assert ask(gate, ALICE, place=endpoint_id("openai", "https://api.openai.test/v1")) == "asked"


def test_a_success_in_between_keeps_it_open_to_all(gate: Limiter) -> None:
    for who in MANY[:4]:
        ask(gate, who, errors.TimedOut())
    assert ask(gate, CAROL, NotModified()) == "confirmed"
    assert ask(gate, BOB, errors.TimedOut()) == "timed_out"
    assert ask(gate, ALICE) == "asked"


@pytest.mark.parametrize("kind", [errors.KeyRejected, errors.QuotaExhausted, errors.UnreadableAnswer, errors.TooLarge])
def test_a_bad_key_never_counts(gate: Limiter, kind: type[errors.SyncError]) -> None:
    for who in MANY * 4:
        ask(gate, who, kind())
    assert ask(gate, ALICE) == "asked"


def test_after_the_rest_one_tries_for_all(gate: Limiter, clock: Clock) -> None:
    break_down(gate)
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    during: list[str] = []

    def fetch() -> str:
        during.extend([ask(gate, BOB), ask(gate, CAROL)])
        return "asked"

    assert gate.ask(PLACE, "Groq", ALICE, soon(), fetch) == "asked"
    assert during == ["provider_trouble"] * 2
    assert [ask(gate, who) for who in (ALICE, BOB, CAROL)] == ["asked"] * 3


def test_a_trial_that_fails_means_a_longer_rest(gate: Limiter, clock: Clock) -> None:
    break_down(gate)
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    assert ask(gate, ALICE, errors.Unavailable()) == "unavailable"
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    assert ask(gate, BOB) == "provider_trouble"
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    assert ask(gate, BOB) == "asked"


def test_a_trial_with_a_bad_key_leaves_it_to_the_next(gate: Limiter, clock: Clock) -> None:
    break_down(gate)
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    assert ask(gate, ALICE, errors.KeyRejected()) == "key_rejected"
    assert ask(gate, BOB) == "asked"


def test_one_of_many_who_come_at_the_same_moment_tries(gate: Limiter, clock: Clock) -> None:
    break_down(gate)
    clock.forward(seconds=DEFAULT_POLICY.rest_s)
    moment = clock()
    still = replace(gate, now=lambda: moment)
    refused = threading.Semaphore(0)

    def fetch() -> str:
        assert all(refused.acquire(timeout=5) for _ in range(5))  # who tries is at it until all others came
        return "asked"

    def one(number: int) -> str:
        try:
            return still.ask(PLACE, "Groq", Requester(number, number), soon(), fetch)
        except errors.CircuitOpen as error:
            refused.release()
            return error.code

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(one, range(6)))
    assert outcomes == ["asked"] + ["provider_trouble"] * 5


# ------------------------------------------------------------------ how many at once


def crowd(gate: Limiter, count: int, until: Callable[..., None]) -> int:
    """How many of `count` are in at once, when nobody leaves before it is full."""
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
        waiting = [pool.submit(gate.ask, PLACE, "Groq", Requester(n, n), soon(10), fetch) for n in range(count)]
        until(lambda: now == min(count, MAX_CONCURRENT))
        leave.set()
        assert {one.result() for one in waiting} == {"asked"}
    return most


def test_no_more_than_eight_ask_at_once_whoever_they_are(
    gate: Limiter, until: Callable[..., None], connection: redis.Redis
) -> None:
    assert crowd(gate, 12, until) == MAX_CONCURRENT
    assert connection.keys("modelsync:asking:*") == []


def test_without_redis_each_process_bounds_itself(clock: Clock, until: Callable[..., None]) -> None:
    for gate in (
        Limiter(None, clock, RetryPolicy().sleep),
        Limiter(RedisLimiterStore(nowhere()), clock, RetryPolicy().sleep),
    ):
        assert crowd(gate, 10, until) == MAX_CONCURRENT


def test_without_redis_the_breaker_stays_closed(clock: Clock) -> None:
    gate = Limiter(RedisLimiterStore(nowhere()), clock, RetryPolicy().sleep)
    break_down(gate)
    assert ask(gate, ALICE) == "asked"


def test_a_redis_that_goes_away_meanwhile_does_no_harm(gate: Limiter, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gate.shared

    def fetch() -> str:
        monkeypatch.setattr(gate.shared, "leave", away)
        monkeypatch.setattr(gate.shared, "change", away)
        return "asked"

    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable

    assert gate.ask(PLACE, "Groq", ALICE, soon(), fetch) == "asked"


def test_who_finds_no_place_in_time_is_told_so_and_nobody_blames_the_provider(gate: Limiter) -> None:
    assert gate.shared
    for number in range(MAX_CONCURRENT):
        gate.shared.enter(PLACE, f"holder-{number}", MAX_CONCURRENT, 60)
    with pytest.raises(errors.ConcurrencyLimited) as crowded:
        gate.ask(PLACE, "Groq", ALICE, soon(0.2), lambda: "asked")
    assert crowded.value.passing and not crowded.value.tells_of_provider


def test_a_worker_that_died_holds_its_place_for_a_while_only(gate: Limiter) -> None:
    assert gate.shared
    for number in range(MAX_CONCURRENT):
        gate.shared.enter(PLACE, f"dead-{number}", MAX_CONCURRENT, 0.1)
    assert ask(gate, ALICE) == "asked"


def test_neither_addresses_nor_keys_are_in_redis(gate: Limiter, connection: redis.Redis) -> None:
    break_down(gate)

    def fetch() -> str:
        told = [(name, connection.dump(name)) for name in connection.scan_iter()]
        assert told and b"groq.test" not in repr(told).encode()
        return "asked"

    gate.ask(endpoint_id("openai", "https://user:secret@groq.test"), "OpenAI", ALICE, soon(), fetch)
    for name in connection.scan_iter():
        assert b"secret" not in name and connection.pttl(name) > 0


@pytest.mark.parametrize("is_shared", [True, False])
def test_no_more_than_so_many_begin_within_one_second(gate: Limiter, is_shared: bool) -> None:
    store = gate.shared if is_shared else LocalLimiterStore()
    assert store is not None
    begun = time.monotonic()
    taken = 0
    for number in range(12):
        if store.enter(PLACE, f"holder-{number}", 100, 60, per_s=5)[1]:
            taken += 1
    assert taken == 5 or time.monotonic() - begun > 1.0
    deadline = time.monotonic() + 5
    while not store.enter(PLACE, "the-next", 100, 60, per_s=5)[1]:
        assert time.monotonic() < deadline, "a second later others may begin"
        time.sleep(0.05)
    assert time.monotonic() - begun >= 0.9
    assert store.enter(endpoint_id("openai", "https://api.openai.test"), "other", 100, 60, per_s=5)[1]


@pytest.mark.parametrize("is_shared", [True, False])
def test_however_much_the_schedule_asks_there_is_room_for_people(
    gate: Limiter, clock: Clock, until: Callable[..., None], is_shared: bool
) -> None:
    people = gate if is_shared else Limiter(None, clock, RetryPolicy().sleep)
    bulk = replace(people, share=BULK_QUOTA)
    inside, leave = threading.Semaphore(0), threading.Event()

    def fetch() -> str:
        inside.release()
        leave.wait(20)
        return "asked"

    with ThreadPoolExecutor(BULK_QUOTA.at_once + 3) as pool:
        waiting = [
            pool.submit(bulk.ask, PLACE, "Groq", Requester(n, n), soon(20), fetch)
            for n in range(BULK_QUOTA.at_once + 3)
        ]
        try:
            assert all(inside.acquire(timeout=10) for _ in range(BULK_QUOTA.at_once))
            with pytest.raises(errors.ConcurrencyLimited):
                bulk.ask(PLACE, "Groq", Requester(90, 90), soon(0.3), lambda: "asked")
            assert people.ask(PLACE, "Groq", ALICE, soon(10), lambda: "asked") == "asked"
        finally:
            leave.set()
        assert {one.result() for one in waiting} == {"asked"}
    assert BULK_QUOTA.at_once < MAX_CONCURRENT and BULK_QUOTA.per_s < MAX_STARTS_PER_S


def test_a_short_lease_does_not_end_the_longer_ones_beside_it(gate: Limiter, connection: redis.Redis) -> None:
    assert gate.shared
    gate.shared.enter(PLACE, "long", MAX_CONCURRENT, 60)
    gate.shared.enter(PLACE, "short", MAX_CONCURRENT, 0.1)
    (name,) = connection.keys("modelsync:asking:*")
    assert connection.pttl(name) > 50_000
    time.sleep(0.2)
    assert connection.zscore(name, "long") is not None
    gate.shared.leave(PLACE, "long")
