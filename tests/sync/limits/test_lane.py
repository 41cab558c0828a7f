"""Lanes of the limiter and its stores, with a store that records calls and a clock that a test moves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from app.sync.http import errors
from app.sync.http.fetch import NotModified
from app.sync.http.retry import Deadline
from app.sync.limits import circuit_breaker, limiter, store
from app.sync.limits.circuit_breaker import BreakerState, Requester
from app.sync.limits.limiter import BULK_QUOTA, INTERACTIVE_QUOTA, Lane, Limiter
from app.sync.limits.store import (
    LocalLimiterStore,
    Quota,
    RedisLimiterStore,
    Reservation,
    StoreUnavailable,
    UpdateState,
    endpoint_id,
)

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECONDS = NOON.timestamp()
ALICE = Requester(1, 11)


@dataclass
class FakeStore:
    """One endpoint. `grants` are the waits of each reservation; none means that no lease is free."""

    grants: list[tuple[float, ...]] = field(default_factory=lambda: [(0.0,)])
    state: BreakerState | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    is_away: bool = False
    is_late: bool = False
    holders: set[str] = field(default_factory=set)

    def reserve(
        self, endpoint: str, holder: str, quota: Quota, *, lease_s: float, max_wait_s: float, wanted: int = 1
    ) -> Reservation:
        self.calls.append(("reserve", endpoint, quota, lease_s, max_wait_s, wanted))
        if self.is_away:
            raise StoreUnavailable
        waits = self.grants.pop(0) if len(self.grants) > 1 else self.grants[0]
        self.holders |= {holder} if waits else set()
        state = circuit_breaker.encode(self.state) if self.state else None
        return Reservation(state, waits, is_late=self.is_late and not waits)

    def release(self, endpoint: str, holder: str) -> None:
        self.calls.append(("release", endpoint))
        self.holders.remove(holder)

    def slow_down(self, endpoint: str) -> None:
        self.calls.append(("slow down", endpoint))

    def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
        before = circuit_breaker.encode(self.state) if self.state else None
        after = update(before)
        self.calls.append(("update", endpoint, ttl_s, after != before))
        self.state = circuit_breaker.decode(after) if after else None

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


@dataclass
class Stage:
    store: FakeStore
    seconds: float = 0.0
    now: datetime = NOON
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    def limiter(self, quota: Quota = INTERACTIVE_QUOTA) -> Limiter:
        return Limiter(self.store, lambda: self.now, self.sleep, quota, lambda: self.seconds)

    def deadline(self, seconds: float = 5.0) -> Deadline:
        return Deadline(self.seconds + seconds, lambda: self.seconds)

    def call(
        self, fetch: Callable[[], str] = lambda: "fetched", *, seconds: float = 5.0, quota: Quota = INTERACTIVE_QUOTA
    ) -> str:
        return self.limiter(quota).call("endpoint", "Groq", ALICE, self.deadline(seconds), fetch)

    def call_in(self, lane: Lane, upcoming: int = 1, endpoint: str = "endpoint", error: Exception | None = None) -> str:
        fetch = raising(error) if error else lambda: "fetched"
        return lane.call(endpoint, "Groq", ALICE, self.deadline(), fetch, upcoming)


def raising(error: Exception) -> Callable[[], str]:
    def fetch() -> str:
        raise error

    return fetch


def open_state(**facts: float) -> BreakerState:
    """Since noon, resting until 12:05."""
    return BreakerState([], **{"since": SECONDS, "until": SECONDS + 300, "rest_s": 300, **facts})


# ------------------------------------------------------------------ leases and starts


def test_a_lease_lasts_until_ten_seconds_after_the_deadline_and_is_given_back() -> None:
    stage = Stage(FakeStore())
    assert stage.call(seconds=7.0) == "fetched"
    assert stage.store.calls == [("reserve", "endpoint", INTERACTIVE_QUOTA, 17.0, 7.0, 1), ("release", "endpoint")]
    assert stage.slept == [] and not stage.store.holders


def test_the_quota_is_that_of_the_traffic_class() -> None:
    stage = Stage(FakeStore())
    stage.call(quota=BULK_QUOTA)
    assert stage.store.calls[0][2] == BULK_QUOTA == Quota(6, 20.0, 1, is_bulk=True)
    assert Quota(8, 20.0, 5, is_bulk=False) == INTERACTIVE_QUOTA


def test_a_start_in_the_future_is_waited_for_once() -> None:
    stage = Stage(FakeStore(grants=[(0.4,)]))
    assert stage.call() == "fetched"
    assert stage.slept == [0.4] and stage.store.names == ["reserve", "release"]


def test_a_lane_keeps_its_lease_and_reserves_four_starts_at_once() -> None:
    stage = Stage(FakeStore(grants=[(0.0, 0.1, 0.2, 0.3), (0.0,)]))
    with Lane(stage.limiter()) as lane:
        for upcoming in range(5, 0, -1):
            assert stage.call_in(lane, upcoming) == "fetched"
    assert [call[5] for call in stage.store.calls if call[0] == "reserve"] == [4, 1]
    assert stage.store.names == ["reserve", "reserve", "release"] and not stage.store.holders
    assert stage.slept == pytest.approx([0.1, 0.1, 0.1])


def test_a_lane_that_moves_to_another_endpoint_gives_its_lease_back_first() -> None:
    stage = Stage(FakeStore(grants=[(0.0, 0.1)]))
    with Lane(stage.limiter()) as lane:
        stage.call_in(lane, 2)
        stage.call_in(lane, 2, endpoint="another")
    assert [call[:2] for call in stage.store.calls] == [
        ("reserve", "endpoint"),
        ("release", "endpoint"),
        ("reserve", "another"),
        ("release", "another"),
    ]


def test_a_lease_that_would_end_before_the_deadline_is_extended() -> None:
    stage = Stage(FakeStore(grants=[(0.0, 0.1)]))
    with Lane(stage.limiter()) as lane:
        stage.call_in(lane, 2)
        stage.seconds += 11
        stage.call_in(lane, 1)
    assert stage.store.names == ["reserve", "reserve", "release"]


def test_while_no_lease_is_free_it_polls_every_tenth_of_a_second_or_so() -> None:
    stage = Stage(FakeStore(grants=[(), (), (), (0.0,)]))
    assert stage.call() == "fetched"
    assert len(stage.slept) == 3 and all(0.05 <= seconds <= 0.15 for seconds in stage.slept)
    assert stage.store.names == ["reserve"] * 4 + ["release"]


def test_a_lane_that_lost_its_lease_to_others_waits_for_another() -> None:
    stage = Stage(FakeStore(grants=[(0.0,), (), (0.0,)]))
    with Lane(stage.limiter()) as lane:
        stage.call_in(lane)
        stage.call_in(lane)
    assert stage.store.names == ["reserve", "reserve", "release", "reserve", "release"] and len(stage.slept) == 1


@pytest.mark.parametrize(("seconds", "polls"), [(0.15, 0), (0.151, 1)])
def test_without_time_for_another_poll_it_gives_up(seconds: float, polls: int) -> None:
    stage = Stage(FakeStore(grants=[()]))
    with pytest.raises(errors.ConcurrencyLimited):
        stage.call(seconds=seconds)
    assert len(stage.slept) == polls and "release" not in stage.store.names


def test_a_start_beyond_the_deadline_is_not_waited_for() -> None:
    stage = Stage(FakeStore(grants=[()], is_late=True))
    with pytest.raises(errors.ConcurrencyLimited):
        stage.call(seconds=60.0)
    assert stage.slept == []


def test_without_its_store_the_process_limits_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    local = FakeStore()
    monkeypatch.setattr(limiter, "_local_store", local)
    stage = Stage(FakeStore(is_away=True))
    assert stage.call(seconds=7.0, quota=BULK_QUOTA) == "fetched"
    assert local.calls == [("reserve", "endpoint", BULK_QUOTA, 17.0, 7.0, 1), ("release", "endpoint")]


# ------------------------------------------------------------------ the circuit breaker around a call


@pytest.mark.parametrize(
    ("error", "is_recorded"),
    [(errors.Unavailable(), True), (errors.KeyRejected(), False), (RuntimeError("unknown"), False)],
)
def test_only_what_counts_against_the_provider_is_recorded(error: Exception, is_recorded: bool) -> None:
    stage = Stage(FakeStore())
    with pytest.raises(type(error)):
        stage.call(raising(error))
    assert stage.store.names == ["reserve"] + ["update"] * is_recorded + ["release"]
    if is_recorded:
        assert stage.store.calls[1] == ("update", "endpoint", 7_200.0, True)
        assert stage.store.state == BreakerState([(SECONDS, 1, 11)])


def test_a_success_forgets_the_failures_before_it_and_costs_no_command_otherwise() -> None:
    for fetch in (lambda: "fetched", raising(NotModified())):
        stage = Stage(FakeStore(state=BreakerState([(SECONDS, 1, 11)])))
        with contextlib.suppress(NotModified):
            stage.call(fetch)
        assert stage.store.names == ["reserve", "update", "release"] and stage.store.state is None
    stage = Stage(FakeStore())
    stage.call()
    assert stage.store.names == ["reserve", "release"]


def test_after_a_failure_the_next_fetch_reads_the_state_again() -> None:
    stage = Stage(FakeStore(grants=[(0.0, 0.0, 0.0, 0.0)]))
    with Lane(stage.limiter()) as lane:
        with pytest.raises(errors.Unavailable):
            stage.call_in(lane, 4, error=errors.Unavailable())
        stage.call_in(lane, 3)
    assert stage.store.names == ["reserve", "update", "reserve", "update", "release"]


def test_too_many_requests_slow_the_endpoint_down() -> None:
    stage = Stage(FakeStore())
    with pytest.raises(errors.RateLimited):
        stage.call(raising(errors.RateLimited()))
    assert stage.store.names == ["reserve", "update", "slow down", "release"]


def test_during_the_rest_no_request_passes_and_the_lease_goes_back() -> None:
    stage = Stage(FakeStore(state=open_state()), now=NOON + timedelta(seconds=299))
    with pytest.raises(errors.CircuitOpen) as raised:
        stage.call()
    assert str(raised.value) == "Groq is having trouble since 12:00 UTC; trying again at 12:05 UTC."
    assert stage.store.names == ["reserve", "release"]


def test_an_open_breaker_without_a_free_lease_is_not_waited_for() -> None:
    stage = Stage(FakeStore(grants=[()], state=open_state()), now=NOON + timedelta(seconds=300))
    with pytest.raises(errors.CircuitOpen):
        stage.call()
    assert stage.store.names == ["reserve"] and stage.slept == []


def test_the_first_after_the_rest_probes() -> None:
    stage = Stage(FakeStore(state=open_state()), now=NOON + timedelta(seconds=300))
    probes: list[float] = []

    def fetch() -> str:
        assert stage.store.state is not None
        probes.append(stage.store.state.probe_until)
        return "fetched"

    assert stage.call(fetch) == "fetched"
    assert probes == [SECONDS + 390]
    assert stage.store.names == ["reserve", "update", "update", "release"] and stage.store.state is None
    assert not stage.store.holders


def test_a_probe_that_fails_doubles_the_rest_and_one_that_says_nothing_ends() -> None:
    moment = NOON + timedelta(seconds=300)
    stage = Stage(FakeStore(state=open_state()), now=moment)
    with pytest.raises(errors.Unavailable):
        stage.call(raising(errors.Unavailable()))
    assert stage.store.state == open_state(until=SECONDS + 900, rest_s=600)
    assert stage.store.names == ["reserve", "update", "update", "release"]
    stage = Stage(FakeStore(state=open_state()), now=moment)
    with pytest.raises(errors.KeyRejected):
        stage.call(raising(errors.KeyRejected()))
    assert stage.store.state == open_state(probe_until=0.0)


def test_of_two_who_see_the_end_of_the_rest_the_second_finds_a_probe_running() -> None:
    class Overtaken(FakeStore):
        def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
            self.state = open_state(probe_until=SECONDS + 390)  # another worker was faster
            super().update(endpoint, update, ttl_s)

    stage = Stage(Overtaken(state=open_state()), now=NOON + timedelta(seconds=300))
    with pytest.raises(errors.CircuitOpen) as raised:
        stage.call()
    assert "trying again at 12:06 UTC" in str(raised.value)
    assert stage.store.names == ["reserve", "update", "release"]
    assert stage.store.calls[1] == ("update", "endpoint", 7_200.0, False), "the probe of the other goes on"


def test_a_breaker_that_closed_meanwhile_stays_closed() -> None:
    class Closed(FakeStore):
        def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
            self.state = None
            super().update(endpoint, update, ttl_s)

    for fetch in (lambda: "fetched", raising(errors.KeyRejected())):
        stage = Stage(Closed(state=open_state()), now=NOON + timedelta(seconds=300))
        with contextlib.suppress(errors.KeyRejected):
            assert stage.call(fetch) == "fetched"
        assert stage.store.state is None


# ------------------------------------------------------------------ the store of one process


ONE_A_SECOND = Quota(max_concurrent=2, starts_per_s=1.0, burst=1)


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of the stores, as a list of one number to change."""
    ticks = [100.0]
    monkeypatch.setattr(store.time, "monotonic", lambda: ticks[0])
    return ticks


def reserve(target: Any, endpoint: str, holder: str, quota: Quota, wanted: int = 1, max_wait_s: float = 60.0) -> Any:
    return target.reserve(endpoint, holder, quota, lease_s=60.0, max_wait_s=max_wait_s, wanted=wanted)


def test_one_process_gives_out_its_leases_once(ticks: list[float]) -> None:
    local, quota = LocalLimiterStore(), Quota(max_concurrent=2)
    assert reserve(local, "one", "a", quota).waits_s and reserve(local, "one", "b", quota).waits_s
    assert reserve(local, "one", "c", quota) == Reservation(None)
    assert reserve(local, "one", "a", quota).waits_s, "a holder may ask again"
    assert reserve(local, "two", "c", quota).waits_s, "each endpoint has its own"
    local.release("one", "a")
    assert reserve(local, "one", "c", quota).waits_s
    for holder in ("b", "c"):
        local.release("one", holder)
    assert "one" not in local._holders, "nothing is left of an idle endpoint"


def test_many_threads_share_the_leases_of_one_process() -> None:
    local, quota, granted = LocalLimiterStore(), Quota(max_concurrent=5), []
    threads = [
        threading.Thread(target=lambda number=number: granted.append(reserve(local, "one", str(number), quota).waits_s))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(bool, granted)) == 5


@pytest.fixture(params=["local", "redis"])
def any_store(request: pytest.FixtureRequest) -> Any:
    return LocalLimiterStore() if request.param == "local" else request.getfixturevalue("remote")


def test_starts_are_spaced_after_a_burst(any_store: Any) -> None:
    quota = Quota(max_concurrent=9, starts_per_s=10.0, burst=3)
    waits = [reserve(any_store, "one", str(number), quota).waits_s[0] for number in range(6)]
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits[3:] == pytest.approx([0.1, 0.2, 0.3], abs=0.09)


def test_several_starts_are_reserved_at_once_as_far_as_the_deadline_reaches(any_store: Any) -> None:
    quota = Quota(max_concurrent=9, starts_per_s=10.0, burst=1)
    assert reserve(any_store, "one", "a", quota, wanted=4, max_wait_s=0.25).waits_s == pytest.approx([0, 0.1, 0.2])
    late = reserve(any_store, "one", "b", quota, max_wait_s=0.1)
    assert late == Reservation(None, is_late=True)
    any_store.release("one", "a")


# ------------------------------------------------------------------ the store in Redis


class Lost:
    """A Redis that does not answer, and counts the attempts."""

    def __init__(self) -> None:
        self.asked = 0

    def register_script(self, _script: str) -> None:
        pass

    def zrem(self, *_: Any) -> None:
        self.asked += 1
        raise redis.ConnectionError


def test_a_redis_that_did_not_answer_is_left_alone_for_five_seconds(ticks: list[float]) -> None:
    lost = Lost()
    remote = RedisLimiterStore(lost)  # type: ignore[arg-type]
    # From the first moment of the clock: nothing is known of Redis yet.
    for moment, asked in [(0.0, 1), (4.999, 1), (5.0, 2), (9.9, 2)]:
        ticks[0] = moment
        with pytest.raises(StoreUnavailable):
            remote.release("one", "a")
        assert lost.asked == asked, moment


@pytest.fixture
def remote(embedded_redis: str) -> Any:
    with redis.Redis.from_url(embedded_redis) as client:
        client.flushdb()
        yield RedisLimiterStore(client)


def test_a_state_in_redis_is_set_left_deleted_and_ends(remote: RedisLimiterStore) -> None:
    (before,) = store.load_states(remote._redis, ["one"])
    assert before is None
    remote.update("one", lambda raw: b"noted" if raw is None else raw, 7.0)
    assert store.load_states(remote._redis, ["two", "one"]) == [None, b"noted"]
    assert 6_000 < remote._redis.pttl(store._state_key("one")) <= 7_000
    remote.update("one", lambda raw: raw, 600.0)
    assert remote._redis.pttl(store._state_key("one")) <= 7_000, "what is left as it was keeps its time"
    one = Quota(max_concurrent=1)
    assert reserve(remote, "one", "a", one) == Reservation(b"noted", (0.0,))
    assert reserve(remote, "one", "b", one) == Reservation(b"noted")
    remote.release("one", "a")
    assert store.load_states(remote._redis, ["one"]) == [b"noted"]
    remote.update("one", lambda _: b"noted", 7.0)
    remote.update("one", lambda _: None, 7.0)
    assert store.load_states(remote._redis, ["one"]) == [None]


def test_in_redis_each_endpoint_has_leases_and_a_pace_of_its_own(remote: RedisLimiterStore) -> None:
    assert reserve(remote, "one", "a", ONE_A_SECOND).waits_s == (0.0,)
    assert reserve(remote, "two", "b", ONE_A_SECOND).waits_s == (0.0,)
    remote.release("one", "a")
    assert reserve(remote, "one", "c", ONE_A_SECOND).waits_s[0] > 0.5, "one has started within this second"


def test_scheduled_starts_give_way_to_those_of_people(remote: RedisLimiterStore) -> None:
    bulk = Quota(max_concurrent=9, starts_per_s=10.0, burst=1, is_bulk=True)
    people = Quota(max_concurrent=9, starts_per_s=10.0, burst=1)
    assert len(reserve(remote, "one", "bulk", bulk, wanted=4).waits_s) == 4
    assert reserve(remote, "one", "alice", people).waits_s == (0.0,), "what the schedule reserved delays nobody"
    assert reserve(remote, "one", "bulk", bulk).waits_s[0] == pytest.approx(0.5, abs=0.1), "but she delays the schedule"


def test_a_holder_yields_its_lease_to_those_who_wait(remote: RedisLimiterStore) -> None:
    bulk, people = Quota(max_concurrent=1, is_bulk=True), Quota(max_concurrent=1)
    assert reserve(remote, "one", "alice", people).waits_s
    assert not reserve(remote, "one", "scheduled", bulk).waits_s
    assert reserve(remote, "one", "alice", people).waits_s, "the schedule waits for people"
    assert not reserve(remote, "one", "bob", people).waits_s
    assert not reserve(remote, "one", "alice", people).waits_s, "people take turns"
    assert reserve(remote, "one", "bob", people).waits_s


def test_too_many_requests_halve_the_pace_for_a_while(remote: RedisLimiterStore) -> None:
    quota = Quota(max_concurrent=9, starts_per_s=10.0, burst=1)
    remote.slow_down("one")
    remote.slow_down("one")
    waits = reserve(remote, "one", "a", quota, wanted=3).waits_s
    assert waits == pytest.approx([0, 0.4, 0.8], rel=0.05)
    for _ in range(20):
        remote.slow_down("one")
    assert reserve(remote, "two", "a", quota, wanted=2).waits_s == pytest.approx([0, 0.1]), "of this endpoint only"
    assert float(remote._redis.get(store._pace_key("one")).split()[2]) == pytest.approx(0.05)  # type: ignore[union-attr]
    text = remote._redis.get(store._pace_key("one")).split()  # type: ignore[union-attr]
    two_minutes_ago = float(text[3]) - 120
    remote._redis.set(store._pace_key("one"), b"0 0 0.05 %f" % two_minutes_ago)
    assert reserve(remote, "one", "b", quota, wanted=2).waits_s == pytest.approx([0, 0.1]), "it recovered"


def test_a_state_that_others_change_meanwhile_is_read_again(remote: RedisLimiterStore) -> None:
    seen: list[bytes | None] = []

    def update(raw: bytes | None) -> bytes:
        seen.append(raw)
        if len(seen) < 3:
            remote._redis.set(store._state_key("one"), f"by another, {len(seen)}")
        return b"ours"

    remote.update("one", update, 60.0)
    assert seen == [None, b"by another, 1", b"by another, 2"]
    assert store.load_states(remote._redis, ["one"]) == [b"ours"]


def test_after_twenty_tries_it_is_left_to_the_others(remote: RedisLimiterStore) -> None:
    seen = 0

    def update(_raw: bytes | None) -> bytes:
        nonlocal seen
        seen += 1
        remote._redis.set(store._state_key("one"), str(seen))
        return b"ours"

    remote.update("one", update, 60.0)
    assert seen == 20 and store.load_states(remote._redis, ["one"]) == [b"20"]


def test_the_name_of_an_endpoint_tells_its_provider_and_hides_its_address() -> None:
    name = endpoint_id("groq", "https://user:secret@groq.test")
    assert name.startswith("groq:") and len(name) == 5 + 24 and "secret" not in name
    assert name != endpoint_id("groq", "https://groq.test") and name == endpoint_id(
        "groq", "https://user:secret@groq.test"
    )
    keys = {store._leases_key(name), store._pace_key(name), store._waiting_key(name), store._state_key(name)}
    assert keys == {f"modelsync:{kind}:{name}" for kind in ("leases", "pace", "waiting", "trouble")}
