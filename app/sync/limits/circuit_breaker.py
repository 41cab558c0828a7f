"""Circuit breaker: leaves a provider that fails for many users alone for a while. Pure functions of a stored state.

Closed: all requests pass, failures are counted. Open: none passes until the rest is over. Half-open: one probe passes;
its success closes the breaker, its failure starts a longer rest. Any success closes the breaker.

One person alone cannot open it for the others, however many of their keys fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from app.sync.http.errors import CircuitOpen, format_clock_time

_MAX_FAILURES_KEPT = 50


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    failures: int = 5
    credentials: int = 3
    users: int = 2
    """This many failures, of this many different keys, of this many different people …"""
    within_s: float = 120.0
    """… within this time and without a success open the breaker."""
    rest_s: float = 300.0
    """The first rest; each failed probe doubles it."""
    max_rest_s: float = 1_800.0
    probe_timeout_s: float = 90.0
    """A probe that has not ended by then is lost, and another may start."""


DEFAULT_POLICY = BreakerPolicy()


@dataclass(frozen=True, slots=True)
class Requester:
    user_id: int
    credential_id: int


class BreakerState(msgspec.Struct, array_like=True):
    """Stored as an array, so the order of the fields must not change. Times are seconds since 1970."""

    failures: list[tuple[float, int, int]]
    """Recent ones: time, user id, credential id."""
    since: float = 0.0
    """The first of the failures that opened the breaker."""
    until: float = 0.0
    """End of the rest; 0 while closed."""
    rest_s: float = 0.0
    probe_until: float = 0.0
    """A probe is running and has until then."""


_decoder = msgspec.msgpack.Decoder(BreakerState)


def decode(raw: bytes | None) -> BreakerState:
    """A closed breaker for bytes that do not decode, such as those of another version."""
    try:
        return _decoder.decode(raw) if raw else BreakerState([])
    except msgspec.MsgspecError:
        return BreakerState([])


def encode(state: BreakerState) -> bytes:
    return msgspec.msgpack.encode(state)


def allows(state: BreakerState, now: float) -> bool:
    """Whether requests pass; of an open breaker whose rest is over: one that calls `start_probe`."""
    return now >= max(state.until, state.probe_until)


def start_probe(state: BreakerState, now: float, policy: BreakerPolicy = DEFAULT_POLICY) -> BreakerState:
    return msgspec.structs.replace(state, probe_until=now + policy.probe_timeout_s)


def end_probe(state: BreakerState) -> BreakerState:
    """After a probe that says nothing about the provider, such as one with an invalid key: another may start."""
    return msgspec.structs.replace(state, probe_until=0.0)


def record_failure(
    state: BreakerState, requester: Requester, now: float, *, is_probe: bool, policy: BreakerPolicy = DEFAULT_POLICY
) -> BreakerState:
    if state.until:
        return _extend_rest(state, now, policy) if is_probe else state
    recent = [failure for failure in state.failures if now - failure[0] <= policy.within_s]
    recent.append((now, requester.user_id, requester.credential_id))
    if not _is_threshold_reached(recent, policy):
        return BreakerState(recent[-_MAX_FAILURES_KEPT:])
    return BreakerState([], since=recent[0][0], until=now + policy.rest_s, rest_s=policy.rest_s)


def circuit_open_error(state: BreakerState, provider: str, now: float) -> CircuitOpen:
    """The error for requests that an open breaker rejects."""
    moment = _to_datetime(now)
    since = format_clock_time(_to_datetime(state.since), moment)
    until = format_clock_time(_to_datetime(max(state.until, state.probe_until)), moment)
    return CircuitOpen(f"{provider} is having trouble since {since}; trying again at {until}")


def _is_threshold_reached(failures: list[tuple[float, int, int]], policy: BreakerPolicy) -> bool:
    users = {user for _, user, _ in failures}
    keys = {credential for _, _, credential in failures}
    return len(failures) >= policy.failures and len(keys) >= policy.credentials and len(users) >= policy.users


def _extend_rest(state: BreakerState, now: float, policy: BreakerPolicy) -> BreakerState:
    rest_s = min(state.rest_s * 2, policy.max_rest_s)
    return BreakerState([], since=state.since, until=now + rest_s, rest_s=rest_s)


def _to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
