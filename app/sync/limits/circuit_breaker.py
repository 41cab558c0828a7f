"""When a provider fails for many users, leave it alone for a while: the decisions, as plain functions of a note.

Closed: everyone asks; failures are counted. Open: nobody asks until the rest is over. Half-open: one asks, and what
comes of it closes the breaker or begins a longer rest. A success closes it at any time.

A single person cannot open it for the others, however many keys of theirs fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from app.sync.http.errors import CircuitOpen, format_clock_time


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    failures: int = 5
    credentials: int = 3
    users: int = 2
    """So many failures, of so many different keys, of so many different people …"""
    within_s: float = 120.0
    """… within this time and without a success open the breaker."""
    rest_s: float = 300.0
    """The first rest; each trial that fails doubles it."""
    longest_rest_s: float = 1_800.0
    trial_s: float = 90.0
    """A trial that has not ended by then is lost, and another one may be made."""


DEFAULT_POLICY = BreakerPolicy()


@dataclass(frozen=True, slots=True)
class Requester:
    """Whose request it was."""

    user_id: int
    credential_id: int


class BreakerState(msgspec.Struct, array_like=True):
    """What is known of a provider that failed. Times are seconds since 1970."""

    failures: list[tuple[float, int, int]]
    """Moment, user, credential: of the last minutes."""
    since: float = 0.0
    """The first of the failures that opened the breaker."""
    until: float = 0.0
    """The end of its rest; 0 while it is closed."""
    rest_s: float = 0.0
    trial_until: float = 0.0
    """Someone is trying, and has until then."""


_decoder = msgspec.msgpack.Decoder(BreakerState)


def decode(raw: bytes | None) -> BreakerState:
    """Raises nothing: a note that cannot be read, perhaps of another version, is none."""
    try:
        return _decoder.decode(raw) if raw else BreakerState([])
    except msgspec.MsgspecError:
        return BreakerState([])


def encode(note: BreakerState) -> bytes:
    return msgspec.msgpack.encode(note)


def allows(note: BreakerState, now: float) -> bool:
    """Whether anyone may ask, or one may try: the latter has to `begin_trial`."""
    return now >= max(note.until, note.trial_until)


def start_probe(note: BreakerState, now: float, rules: BreakerPolicy = DEFAULT_POLICY) -> BreakerState:
    return msgspec.structs.replace(note, trial_until=now + rules.trial_s)


def end_probe(note: BreakerState) -> BreakerState:
    """It told nothing of the provider, as with a key that is no good: the next one may try."""
    return msgspec.structs.replace(note, trial_until=0.0)


def record_failure(
    note: BreakerState, who: Requester, now: float, *, is_trial: bool, rules: BreakerPolicy = DEFAULT_POLICY
) -> BreakerState:
    if note.until:
        return _extend_rest(note, now, rules) if is_trial else note
    recent = [failure for failure in note.failures if now - failure[0] <= rules.within_s]
    recent.append((now, who.user_id, who.credential_id))
    if not _is_threshold_reached(recent, rules):
        return BreakerState(recent[-50:])
    return BreakerState([], since=recent[0][0], until=now + rules.rest_s, rest_s=rules.rest_s)


def circuit_open_error(note: BreakerState, provider: str, now: float) -> CircuitOpen:
    """What those are told who may not ask."""
    moment = _to_datetime(now)
    since = format_clock_time(_to_datetime(note.since), moment)
    until = format_clock_time(_to_datetime(max(note.until, note.trial_until)), moment)
    return CircuitOpen(f"{provider} is having trouble since {since}; trying again at {until}")


def _is_threshold_reached(failures: list[tuple[float, int, int]], rules: BreakerPolicy) -> bool:
    users = {user for _, user, _ in failures}
    keys = {credential for _, _, credential in failures}
    return len(failures) >= rules.failures and len(keys) >= rules.credentials and len(users) >= rules.users


def _extend_rest(note: BreakerState, now: float, rules: BreakerPolicy) -> BreakerState:
    rest_s = min(note.rest_s * 2, rules.longest_rest_s)
    return BreakerState([], since=note.since, until=now + rest_s, rest_s=rest_s)


def _to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
