"""Decisions of a run, without IO: what an answer is worth, and which listing is in force after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.catalog.changes import has_shrunk_suspiciously, merge_partial
from app.catalog.listing import Listing

Outcome = Literal["complete", "unchanged", "partial", "suspect"]


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    in_force: Listing | None
    """What the key's list is from now on; None keeps the one before."""


def judge(before: Listing | None, answered: Listing, *, complete: bool, trusted: bool = False) -> Verdict:
    """Grade an answer.

    trusted: a shrunk list is right, because its owner said so, or because another key gave the one before.

    suspect: it shrank suspiciously; kept aside, never applied by itself. partial: not every page was read, so
    it can add and change but not take away. unchanged: equal to the last good list, to the byte.
    """
    shrank = has_shrunk_suspiciously(before, answered) and (complete or not answered.models)
    if shrank and not trusted:
        return Verdict("suspect", None)
    if not complete:
        return Verdict("partial", merge_partial(before, answered) if before else answered)
    if before == answered:
        return Verdict("unchanged", None)
    return Verdict("complete", answered)
