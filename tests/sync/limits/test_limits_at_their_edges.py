"""The limiter and its stores at their edges, with a store that remembers calls and a clock that a test moves."""

from __future__ import annotations

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
from app.sync.limits.limiter import BULK_QUOTA, INTERACTIVE_QUOTA, Limiter, Quota
from app.sync.limits.store import LocalLimiterStore, RedisLimiterStore, StoreUnavailable, UpdateState, endpoint_id

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECONDS = NOON.timestamp()
ALICE = Requester(1, 11)


@dataclass
class FakeStore:
    """One endpoint, whose permits are given out as the test says."""

    grants: list[bool] = field(default_factory=lambda: [True])
    state: BreakerState | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    is_away: bool = False
    holders: set[str] = field(default_factory=set)

    def acquire(self, *args: Any) -> tuple[bytes | None, bool]:
        self.calls.append(("acquire", args[0], *args[2:]))
        if self.is_away:
            raise StoreUnavailable
        grant = self.grants.pop(0) if len(self.grants) > 1 else self.grants[0]
        self.holders |= {args[1]} if grant else set()
        return circuit_breaker.encode(self.state) if self.state else None, grant

    def release(self, endpoint: str, holder: str, *, close_breaker: bool = False) -> None:
        self.calls.append(("release", endpoint, close_breaker))
        self.holders.remove(holder)
        if close_breaker:
            self.state = None

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

    def call(
        self, fetch: Callable[[], str] = lambda: "fetched", *, seconds: float = 5.0, quota: Quota = INTERACTIVE_QUOTA
    ) -> str:
        deadline = Deadline(self.seconds + seconds, lambda: self.seconds)
        return Limiter(self.store, lambda: self.now, self.sleep, quota).call("endpoint", "Groq", ALICE, deadline, fetch)


def raising(error: Exception) -> Callable[[], str]:
    def fetch() -> str:
        raise error

    return fetch


def open_state(**facts: float) -> BreakerState:
    """Since noon, resting until 12:05."""
    return BreakerState([], **{"since": SECONDS, "until": SECONDS + 300, "rest_s": 300, **facts})


# ------------------------------------------------------------------ permits


def test_a_permit_lasts_until_ten_seconds_after_the_deadline_and_is_given_back() -> None:
    stage = Stage(FakeStore())
    assert stage.call(seconds=7.0) == "fetched"
    assert stage.store.calls == [("acquire", "endpoint", 8, 17.0, 25), ("release", "endpoint", True)]
    assert stage.slept == []


def test_a_deadline_that_is_over_still_has_the_grace() -> None:
    stage = Stage(FakeStore())
    assert stage.call(seconds=-3.0) == "fetched"
    assert stage.store.calls[0] == ("acquire", "endpoint", 8, 10.0, 25)


def test_the_quota_decides_what_is_asked_of_the_store() -> None:
    stage = Stage(FakeStore())
    stage.call(quota=BULK_QUOTA)
    assert stage.store.calls[0] == ("acquire", "endpoint", 6, 15.0, 20)
    assert (Quota(), INTERACTIVE_QUOTA) == (Quota(8, 25), Quota(8, 25))


def test_who_waits_looks_again_every_tenth_of_a_second_or_so() -> None:
    stage = Stage(FakeStore(grants=[False, False, False, True]))
    assert stage.call() == "fetched"
    assert len(stage.slept) == 3 and all(0.05 <= seconds <= 0.15 for seconds in stage.slept)
    assert stage.store.names == ["acquire"] * 4 + ["release"]


@pytest.mark.parametrize(("seconds", "waits"), [(0.15, 0), (0.151, 1)])
def test_who_has_no_time_for_another_look_is_told_so(seconds: float, waits: int) -> None:
    stage = Stage(FakeStore(grants=[False]))
    with pytest.raises(errors.ConcurrencyLimited):
        stage.call(seconds=seconds)
    assert len(stage.slept) == waits
    assert "release" not in stage.store.names, "there is no permit to give back"


def test_each_call_is_a_holder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    holders: list[str] = []

    class Remembering(FakeStore):
        def acquire(self, *args: Any) -> tuple[bytes | None, bool]:
            holders.append(args[1])
            return super().acquire(*args)

        def release(self, endpoint: str, holder: str, *, close_breaker: bool = False) -> None:
            holders.append(holder)

    stage = Stage(Remembering())
    stage.call()
    stage.call()
    assert holders[0] == holders[1] != holders[2] == holders[3]


def test_without_its_store_the_process_limits_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    local = FakeStore()
    monkeypatch.setattr(limiter, "_local_store", local)
    stage = Stage(FakeStore(is_away=True))
    assert stage.call(seconds=7.0, quota=BULK_QUOTA) == "fetched"
    assert local.calls == [("acquire", "endpoint", 6, 17.0, 20), ("release", "endpoint", True)]


# ------------------------------------------------------------------ the circuit breaker around a call


@pytest.mark.parametrize(
    ("error", "is_recorded"),
    [(errors.Unavailable(), True), (errors.KeyRejected(), False), (RuntimeError("unknown"), False)],
)
def test_only_what_counts_against_the_provider_is_recorded(error: Exception, is_recorded: bool) -> None:
    stage = Stage(FakeStore())
    with pytest.raises(type(error)):
        stage.call(raising(error))
    assert stage.store.calls[1] == ("release", "endpoint", False), "a failure closes no breaker"
    assert stage.store.names == ["acquire", "release"] + ["update"] * is_recorded
    if is_recorded:
        assert stage.store.calls[2] == ("update", "endpoint", 7_200.0, True)
        assert stage.store.state == BreakerState([(SECONDS, 1, 11)])


def test_a_list_that_was_not_modified_is_a_success() -> None:
    stage = Stage(FakeStore())
    with pytest.raises(NotModified):
        stage.call(raising(NotModified()))
    assert stage.store.calls[1:] == [("release", "endpoint", True)]


def test_while_it_rests_nobody_asks_and_the_permit_goes_back() -> None:
    stage = Stage(FakeStore(state=open_state()), now=NOON + timedelta(seconds=299))
    with pytest.raises(errors.CircuitOpen) as raised:
        stage.call()
    assert str(raised.value) == "Groq is having trouble since 12:00 UTC; trying again at 12:05 UTC."
    assert stage.store.names == ["acquire", "release"] and stage.store.calls[1] == ("release", "endpoint", False)


def test_who_gets_no_permit_of_an_open_breaker_does_not_wait_and_gives_nothing_back() -> None:
    stage = Stage(FakeStore(grants=[False], state=open_state()), now=NOON + timedelta(seconds=300))
    with pytest.raises(errors.CircuitOpen):
        stage.call()
    assert stage.store.names == ["acquire"] and stage.slept == []


def test_the_first_after_the_rest_probes() -> None:
    stage = Stage(FakeStore(state=open_state()), now=NOON + timedelta(seconds=300))
    seen: list[float] = []

    def fetch() -> str:
        assert stage.store.state is not None
        seen.append(stage.store.state.probe_until)
        return "fetched"

    assert stage.call(fetch) == "fetched"
    assert seen == [SECONDS + 390]
    assert stage.store.names == ["acquire", "update", "release"] and stage.store.state is None
    assert stage.store.calls[-1] == ("release", "endpoint", True) and not stage.store.holders


def test_a_probe_that_fails_doubles_the_rest_and_one_that_says_nothing_ends() -> None:
    moment = NOON + timedelta(seconds=300)
    stage = Stage(FakeStore(state=open_state()), now=moment)
    with pytest.raises(errors.Unavailable):
        stage.call(raising(errors.Unavailable()))
    assert stage.store.state == open_state(until=SECONDS + 900, rest_s=600)
    assert stage.store.calls[1:] == [
        ("update", "endpoint", 7_200.0, True),
        ("release", "endpoint", False),
        ("update", "endpoint", 7_200.0, True),
    ]
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
    assert stage.store.names == ["acquire", "update", "release"]
    assert stage.store.calls[1] == ("update", "endpoint", 7_200.0, False), "the probe of the other goes on"


def test_a_breaker_that_closed_meanwhile_stays_closed() -> None:
    class Closed(FakeStore):
        def update(self, endpoint: str, update: UpdateState, ttl_s: float) -> None:
            self.state = None
            super().update(endpoint, update, ttl_s)

    stage = Stage(Closed(state=open_state()), now=NOON + timedelta(seconds=300))
    assert stage.call() == "fetched"
    assert stage.store.calls[1] == ("update", "endpoint", 7_200.0, False)
    stage = Stage(Closed(state=open_state()), now=NOON + timedelta(seconds=300))
    with pytest.raises(errors.KeyRejected):
        stage.call(raising(errors.KeyRejected()))
    assert stage.store.state is None


# ------------------------------------------------------------------ the store of one process


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of the stores, as a list of one number to change."""
    ticks = [100.0]
    monkeypatch.setattr(store.time, "monotonic", lambda: ticks[0])
    return ticks


def test_one_process_gives_out_so_many_permits_and_each_once(ticks: list[float]) -> None:
    local = LocalLimiterStore()
    assert local.acquire("one", "a", 2, 60.0, 9) == (None, True)
    assert local.acquire("one", "b", 2, 60.0, 9) == (None, True)
    assert local.acquire("one", "c", 2, 60.0, 9) == (None, False)
    assert local.acquire("two", "c", 2, 60.0, 9) == (None, True), "each endpoint has its own"
    local.release("one", "a")
    assert local.acquire("one", "c", 2, 60.0, 9) == (None, True)
    for holder in ("b", "c"):
        local.release("one", holder)
    assert "one" not in local._holders, "nothing is left of an idle endpoint"


def test_one_process_starts_so_many_a_second(ticks: list[float]) -> None:
    local = LocalLimiterStore()
    for moment, holder, is_acquired in [
        (100.0, "a", True),
        (100.5, "b", True),
        (100.999, "c", False),
        (101.0, "d", True),
        (101.25, "e", False),
        (101.5, "f", True),
    ]:
        ticks[0] = moment
        assert local.acquire("one", holder, 99, 60.0, 2)[1] is is_acquired, holder
    assert [local.acquire("two", str(number), 99, 60.0)[1] for number in range(26)] == [True] * 25 + [False]
    local.update("one", lambda _: b"noted", 60.0)
    assert local.acquire("two", "x", 99, 60.0) == (None, False), "it keeps no breaker state"


def test_many_threads_share_the_permits_of_one_process() -> None:
    local, taken = LocalLimiterStore(), []
    threads = [
        threading.Thread(target=lambda number=number: taken.append(local.acquire("one", str(number), 5, 60.0, 99)[1]))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 5


# ------------------------------------------------------------------ the store in Redis


class Lost:
    """A Redis that does not answer, and counts the attempts."""

    def __init__(self) -> None:
        self.asked = 0

    def register_script(self, _script: str) -> Callable[..., Any]:
        def run(**_: Any) -> Any:
            self.asked += 1
            raise redis.ConnectionError

        return run


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
    assert remote.acquire("one", "a", 1, 60.0) == (b"noted", True)
    assert remote.acquire("one", "b", 1, 60.0) == (b"noted", False)
    remote.release("one", "a")
    assert store.load_states(remote._redis, ["one"]) == [b"noted"]
    assert remote.acquire("one", "b", 1, 60.0) == (b"noted", True)
    remote.release("one", "b", close_breaker=True)
    assert store.load_states(remote._redis, ["one"]) == [None]
    remote.update("one", lambda _: b"noted", 7.0)
    remote.update("one", lambda _: None, 7.0)
    assert store.load_states(remote._redis, ["one"]) == [None]


def test_in_redis_each_endpoint_has_permits_and_starts_of_its_own(remote: RedisLimiterStore) -> None:
    assert remote.acquire("one", "a", 1, 60.0, 1) == (None, True)
    assert remote.acquire("two", "b", 1, 60.0, 1) == (None, True)
    remote.release("one", "a")
    assert remote.acquire("one", "c", 1, 60.0, 1) == (None, False), "one has started within this second"


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
    keys = {store._leases_key(name), store._starts_key(name), store._state_key(name)}
    assert keys == {f"modelsync:{kind}:{name}" for kind in ("asking", "begun", "trouble")}
