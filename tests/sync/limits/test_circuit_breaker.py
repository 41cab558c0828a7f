"""When the circuit breaker opens, when it allows a probe, and its error message: pure functions, no Redis."""

from __future__ import annotations

import time
from datetime import UTC

import pytest

from app.sync.limits import circuit_breaker
from app.sync.limits.circuit_breaker import DEFAULT_POLICY, BreakerState, Requester, allows, record_failure, start_probe

NOON = 1_793_534_400.0  # 1 November 2026, 12:00 UTC


def failed(*who: tuple[int, int], every_s: float = 1.0, state: BreakerState | None = None) -> BreakerState:
    state = state or BreakerState([])
    for number, (user, credential) in enumerate(who):
        state = record_failure(state, Requester(user, credential), NOON + number * every_s, is_probe=False)
    return state


MANY = [(1, 1), (2, 2), (3, 3), (1, 1), (2, 2)]


def test_it_opens_when_it_fails_for_many() -> None:
    assert not failed(*MANY[:4]).until
    state = failed(*MANY)
    assert (state.since, state.until) == (NOON, NOON + 4 + DEFAULT_POLICY.rest_s)


@pytest.mark.parametrize(
    "who",
    [
        pytest.param([(1, 1)] * 50, id="one key"),
        pytest.param([(1, key) for key in range(50)], id="all the keys of one person"),
        pytest.param([(1, 1), (2, 2)] * 25, id="two keys"),
    ],
)
def test_few_cannot_open_it_for_the_others(who: list[tuple[int, int]]) -> None:
    assert not failed(*who).until


def test_failures_that_are_long_ago_do_not_count() -> None:
    assert not failed(*MANY * 3, every_s=DEFAULT_POLICY.within_s / 3).until


def test_after_its_rest_one_may_try() -> None:
    state = failed(*MANY)
    assert not allows(state, state.until - 1)
    assert allows(state, state.until)
    trying = start_probe(state, state.until)
    assert not allows(trying, state.until + 1)
    assert allows(trying, state.until + DEFAULT_POLICY.probe_timeout_s)  # who tried never came back
    assert allows(circuit_breaker.end_probe(trying), state.until + 1)


def test_a_failed_probe_doubles_the_rest_up_to_a_limit() -> None:
    state, rests = failed(*MANY), []
    for _ in range(5):
        now = state.until
        state = record_failure(start_probe(state, now), Requester(9, 9), now, is_probe=True)
        rests.append(state.until - now)
        assert state.since == NOON
    assert rests == [600, 1_200, 1_800, 1_800, 1_800]


def test_who_was_under_way_when_it_opened_changes_nothing() -> None:
    state = failed(*MANY)
    assert record_failure(state, Requester(7, 7), NOON + 60, is_probe=False) == state


def test_people_are_told_since_when_and_until_when() -> None:
    state = BreakerState([], since=NOON + 120, until=NOON + 1_200, rest_s=300)
    error = circuit_breaker.circuit_open_error(state, "Groq", NOON + 900)
    assert error.message == "Groq is having trouble since 12:02 UTC; trying again at 12:20 UTC."
    assert error.action.startswith("We kept your last list.")
    assert not error.key_at_fault and not error.counts_against_provider


def test_a_state_survives_encoding_and_invalid_bytes_are_a_closed_breaker() -> None:
    state = failed(*MANY)
    assert circuit_breaker.decode(circuit_breaker.encode(state)) == state
    assert (
        circuit_breaker.decode(None)
        == circuit_breaker.decode(b"nonsense")
        == circuit_breaker.decode(b"")
        == BreakerState([])
    )


def test_a_state_stays_small() -> None:
    assert len(circuit_breaker.encode(failed(*[(1, 1)] * 5_000, every_s=0.001))) < 1_500


# ------------------------------------------------------------------ the edges of each rule


def test_failures_count_up_to_and_including_the_end_of_their_time() -> None:
    first = BreakerState([(NOON, 1, 1), (NOON, 2, 2), (NOON, 3, 3), (NOON, 1, 1)])
    edge = NOON + DEFAULT_POLICY.within_s
    assert record_failure(first, Requester(2, 2), edge, is_probe=False).until == edge + DEFAULT_POLICY.rest_s
    later = record_failure(first, Requester(2, 2), edge + 0.001, is_probe=False)
    assert (later.until, len(later.failures)) == (0.0, 1)


@pytest.mark.parametrize(
    ("who", "opens"),
    [
        pytest.param([(1, 1), (1, 2), (1, 3), (2, 4)], False, id="one failure too few"),
        pytest.param([(1, 1), (1, 2), (1, 3), (1, 2), (2, 3)], True, id="just enough of each"),
        pytest.param([(1, 1), (2, 2), (1, 1), (2, 2), (2, 2)], False, id="one key too few"),
        pytest.param([(1, 1), (1, 2), (1, 3), (1, 1), (1, 2)], False, id="one person too few"),
    ],
)
def test_it_opens_at_five_failures_of_three_keys_of_two_people(who: list[tuple[int, int]], opens: bool) -> None:
    state = failed(*who)
    assert bool(state.until) is opens
    assert (state.rest_s, state.failures) == ((300.0, []) if opens else (0.0, state.failures))
    assert len(state.failures) == (0 if opens else len(who))


def test_the_newest_fifty_failures_are_kept() -> None:
    state = failed(*[(1, 1)] * 60, every_s=0.1)
    assert [failure[0] for failure in state.failures] == [NOON + number * 0.1 for number in range(10, 60)]
    assert state.failures[-1] == (NOON + 5.9, 1, 1)


def test_a_closed_breaker_lets_everyone_ask() -> None:
    assert allows(BreakerState([]), 0.0)
    assert allows(BreakerState([(NOON, 1, 1)]), NOON)


def test_a_probe_has_ninety_seconds_and_nobody_else_tries_meanwhile() -> None:
    probing = start_probe(failed(*MANY), NOON + 1_000)
    assert probing.probe_until == NOON + 1_090
    assert not allows(probing, NOON + 1_089.9)
    assert allows(probing, NOON + 1_090)
    assert circuit_breaker.end_probe(probing).probe_until == 0.0
    assert circuit_breaker.end_probe(probing).until == probing.until


def test_a_failed_probe_leaves_no_probe_running() -> None:
    state = failed(*MANY)
    again = record_failure(start_probe(state, state.until), Requester(9, 9), state.until, is_probe=True)
    assert (again.probe_until, again.failures, again.rest_s) == (0.0, [], 600.0)


def test_people_are_told_the_later_of_rest_and_probe() -> None:
    state = BreakerState([], since=NOON, until=NOON + 300, rest_s=300, probe_until=NOON + 390)
    assert circuit_breaker.circuit_open_error(state, "Groq", NOON).message.endswith("trying again at 12:06 UTC.")
    state = BreakerState([], since=NOON - 86_400, until=NOON + 300, rest_s=300)
    error = circuit_breaker.circuit_open_error(state, "Groq", NOON)
    assert error.message == "Groq is having trouble since 31 October 12:00 UTC; trying again at 12:05 UTC."


def test_people_are_told_utc_wherever_the_server_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        state = BreakerState([], since=NOON, until=NOON + 300, rest_s=300)
        error = circuit_breaker.circuit_open_error(state, "Groq", NOON)
        assert circuit_breaker._to_datetime(NOON).tzinfo is UTC
    finally:
        monkeypatch.undo()
        time.tzset()
    assert error.message == "Groq is having trouble since 12:00 UTC; trying again at 12:05 UTC."


def test_the_policy_is_what_the_manual_says() -> None:
    policy = DEFAULT_POLICY
    assert (policy.failures, policy.credentials, policy.users, policy.within_s) == (5, 3, 2, 120.0)
    assert (policy.rest_s, policy.max_rest_s, policy.probe_timeout_s) == (300.0, 1_800.0, 90.0)
