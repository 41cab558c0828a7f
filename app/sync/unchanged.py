"""Write that lists are as they were: many results in a few statements, since this is what nearly every sync finds.

All within the caller's transaction; nothing here commits. No listing is loaded, compared or matched: a list that the
provider confirmed, or that came again under the hash of its content, says nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.catalog.listing import build_listing, canonical_form, fingerprint
from app.store import catalog, credentials, listed_models, runs
from app.store.credentials import LockedCredential
from app.sync.dispatch import FetchResult
from app.sync.http.fetch import Answer, NotModified
from app.sync.persist import cache_fields, cleared_failure, fetched_of
from app.sync.schedule import UNCHANGED, DueAt

_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PendingResult:
    """One result to write, and when its key is due next."""

    fetched: FetchResult
    due_at: DueAt


def settle(batch: Sequence[PendingResult], now: datetime) -> list[PendingResult]:
    """Write the results of the lists that did not change. Returns the others, of which nothing is written."""
    held = credentials.lock_many([one.fetched.part for one in batch])
    same = [one for one in batch if _is_same(one.fetched, held.get(one.fetched.part.credential_id))]
    unknown = listed_models.count_uncatalogued_many({_listing_id(one, held) for one in same})
    confirmed = [one for one in same if isinstance(one.fetched.answer, NotModified)]
    again = [one for one in same if isinstance(one.fetched.answer, Answer)]
    runs.settle_many([_result(one, held[one.fetched.part.credential_id], unknown, now) for one in same])
    credentials.settle_many([_state(one, held, now) for one in confirmed])
    credentials.settle_many([_state(one, held, now) | _reread(one, held) for one in again])
    catalog.mark_synced({one.fetched.part.provider_id for one in same}, now, now - _NOTED_EVERY)
    written = {one.fetched.part.result_id for one in same}
    return [one for one in batch if one.fetched.part.result_id not in written]


def warm_up(nothing: PendingResult, now: datetime) -> None:
    """Have the statements of `settle` compiled, with a result and a credential that do not exist."""
    settle([nothing], now)
    nobodys = {0: LockedCredential(0, 0, True, None, 0, 0, None)}
    runs.settle_many([_result(nothing, nobodys[0], {}, now)])
    credentials.settle_many([_state(nothing, nobodys, now)])
    credentials.settle_many([_state(nothing, nobodys, now) | _reread(nothing, nobodys)])


def _is_same(fetched: FetchResult, held: LockedCredential | None) -> bool:
    if held is None or held.listing_id is None:
        return False  # removed or replaced meanwhile, or its first list
    answer = fetched.answer
    if isinstance(answer, NotModified):
        return fetched.memo is not None
    if not isinstance(answer, Answer) or not answer.complete or not answer.models:
        return False
    # Another list of an empty or shrunk kind cannot be equal to the good one before, so nothing suspect passes here.
    return fingerprint(canonical_form(build_listing(fetched.part.slug, answer.models))) == held.fingerprint


def _result(one: PendingResult, held: LockedCredential, unknown: dict[int, int], now: datetime) -> dict[str, Any]:
    fetched, answer = one.fetched, one.fetched.answer
    skipped = fetched.memo["skipped"] if fetched.memo else 0
    counts = {"fetched": held.model_count + skipped, "skipped": skipped, "skipped_entries": None}
    if isinstance(answer, Answer):
        counts = fetched_of(held.model_count, answer)
    return {
        "of_result": fetched.part.result_id,
        "outcome": "unchanged",
        "before_listing_id": held.listing_id,
        "listing_id": held.listing_id,
        "chat": held.chat_count,
        "uncatalogued": unknown.get(held.listing_id or 0, 0),
        "requests": fetched.trace or None,
        "ended_at": now,
        **counts,
    }


def _state(one: PendingResult, held: dict[int, LockedCredential], now: datetime) -> dict[str, Any]:
    due_at = held[one.fetched.part.credential_id].due_at if one.due_at is UNCHANGED else one.due_at
    state = cleared_failure() | {"outcome": "unchanged", "listed_at": now, "put_off_until": None, "due_at": due_at}
    state |= {"suspect_listing_id": None, "suspect_accepted": False, "suspect_count": 0}
    return state | {
        "of_credential": one.fetched.part.credential_id,
        "checked_at": now,
        "check_asked_at": None,
    }


def _reread(one: PendingResult, held: dict[int, LockedCredential]) -> dict[str, Any]:
    part, answer = one.fetched.part, one.fetched.answer
    before = held[part.credential_id]
    whole = isinstance(answer, Answer) and answer.whole
    return {
        "listed_key_number": part.key_number,
        "listing_is_whole": whole or before.listing_is_whole,
        "validators": cache_fields(one.fetched, "unchanged", before.listing_id)["validators"],
    }


def _listing_id(one: PendingResult, held: dict[int, LockedCredential]) -> int:
    return held[one.fetched.part.credential_id].listing_id or 0
