"""When a provider fails for many users, leave it alone for a while: the decisions, as plain functions of a note.

Closed: everyone asks; failures are counted. Open: nobody asks until the rest is over. Half-open: one asks, and what
comes of it closes the breaker or begins a longer rest. A success closes it at any time.

A single person cannot open it for the others, however many keys of theirs fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from app.sync.http.errors import Troubled, at_clock


@dataclass(frozen=True, slots=True)
class Rules:
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


RULES = Rules()


@dataclass(frozen=True, slots=True)
class Who:
    """Whose request it was."""

    user_id: int
    credential_id: int


class Note(msgspec.Struct, array_like=True):
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


_decoder = msgspec.msgpack.Decoder(Note)


def read(raw: bytes | None) -> Note:
    """Raises nothing: a note that cannot be read, perhaps of another version, is none."""
    try:
        return _decoder.decode(raw) if raw else Note([])
    except msgspec.MsgspecError:
        return Note([])


def write(note: Note) -> bytes:
    return msgspec.msgpack.encode(note)


def may_ask(note: Note, now: float) -> bool:
    """Whether anyone may ask, or one may try: the latter has to `begin_trial`."""
    return now >= max(note.until, note.trial_until)


def begin_trial(note: Note, now: float, rules: Rules = RULES) -> Note:
    return msgspec.structs.replace(note, trial_until=now + rules.trial_s)


def end_trial(note: Note) -> Note:
    """It told nothing of the provider, as with a key that is no good: the next one may try."""
    return msgspec.structs.replace(note, trial_until=0.0)


def after_failure(note: Note, who: Who, now: float, *, is_trial: bool, rules: Rules = RULES) -> Note:
    if note.until:
        return _rested_longer(note, now, rules) if is_trial else note
    recent = [failure for failure in note.failures if now - failure[0] <= rules.within_s]
    recent.append((now, who.user_id, who.credential_id))
    if not _is_enough(recent, rules):
        return Note(recent[-50:])
    return Note([], since=recent[0][0], until=now + rules.rest_s, rest_s=rules.rest_s)


def refusal(note: Note, provider: str, now: float) -> Troubled:
    """What those are told who may not ask."""
    moment = _moment(now)
    since = at_clock(_moment(note.since), moment)
    until = at_clock(_moment(max(note.until, note.trial_until)), moment)
    return Troubled(f"{provider} is having trouble since {since}; trying again at {until}")


def _is_enough(failures: list[tuple[float, int, int]], rules: Rules) -> bool:
    users = {user for _, user, _ in failures}
    keys = {credential for _, _, credential in failures}
    return len(failures) >= rules.failures and len(keys) >= rules.credentials and len(users) >= rules.users


def _rested_longer(note: Note, now: float, rules: Rules) -> Note:
    rest_s = min(note.rest_s * 2, rules.longest_rest_s)
    return Note([], since=note.since, until=now + rest_s, rest_s=rest_s)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
