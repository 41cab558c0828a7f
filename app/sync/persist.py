"""Save what came of fetching: results, listings, changes, models and the state of credentials.

Everything happens within the caller's transaction; nothing here commits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.catalog.changes import Change
from app.catalog.listing import Listing
from app.catalog.matching import CatalogIndex
from app.extensions import db
from app.store import auto_overrides, catalog, credentials, due, http_cache, listed_models, listings, models, runs
from app.store.credentials import LockedCredential
from app.store.http_cache import FetchHints
from app.store.runs import RunItem
from app.store.schema.tables import CredentialRow, ListingRow
from app.sync.dispatch import FetchResult
from app.sync.evaluate import (
    MAX_SKIPPED_ENTRIES,
    NO_COUNTS,
    PreviousState,
    evaluate,
    failure_fields,
    is_unchanged,
    no_error_fields,
)
from app.sync.http import errors
from app.sync.http.fetch import Answer, NotModified
from app.sync.schedule import UNCHANGED, DueAt

_TOUCH_EVERY = timedelta(minutes=1)
_CLEARED_QUARANTINE = {"suspect_listing_id": None, "suspect_accepted": False, "suspect_count": 0}

Fields = dict[str, Any]
"""Column → value."""


@dataclass(frozen=True, slots=True)
class PendingResult:
    """A result to save."""

    fetched: FetchResult
    due_at: DueAt
    """When the credential is synced next."""


def load_previous(credential: CredentialRow) -> PreviousState:
    """What `evaluate` needs to know about the credential."""
    listing = listings.load(credential.listing_id) if credential.listing_id else None
    quarantined = db.session.get(ListingRow, credential.suspect_listing_id) if credential.suspect_listing_id else None
    return PreviousState(
        listing=listing,
        is_whole=credential.listing_is_whole,
        is_from_other_key=credential.listed_key_number not in (None, credential.key_number),
        lost_ids=listings.ids_lost_by(credential.id) if listing else frozenset(),
        quarantined=quarantined.fingerprint if quarantined else None,
        quarantine_count=credential.suspect_count,
        is_quarantine_accepted=credential.suspect_accepted,
    )


def load_deadlines(items: Sequence[RunItem], now: datetime) -> dict[int, FetchHints]:
    """By credential id: a provider's Retry-After deadline. Without validators, so that a preview reads every list."""
    return {
        credential_id: FetchHints(hints.put_off_until)
        for credential_id, hints in http_cache.load_hints(items, now).items()
    }


def preview_result(
    credential: CredentialRow | None, fetched: FetchResult, index: CatalogIndex
) -> tuple[Fields, tuple[Change, ...]]:
    """What `save_result` would write of a result: outcome, counts and message as columns, and the changes.

    credential: None if it was removed meanwhile.
    """
    answer = fetched.answer
    if credential is None:
        answer = errors.RequestRejected("This key was removed meanwhile")
    elif isinstance(answer, Answer):
        evaluation = evaluate(fetched.item.slug, load_previous(credential), answer, index)
        return evaluation.fields(), evaluation.changes
    has_list = credential is not None and credential.listing_id is not None
    return NO_COUNTS | failure_fields(answer, fetched.item.slug, has_list=has_list), ()


def save_unchanged(batch: Sequence[PendingResult], now: datetime) -> list[PendingResult]:
    """Save the results whose list did not change; returns the others, of which nothing is saved.

    Nearly every result is of this kind, so they are saved in a few statements, and no listing is loaded, compared or
    matched.
    """
    locked = credentials.lock_many([pending.fetched.item for pending in batch])
    unchanged = [
        (pending, before)
        for pending in batch
        if (before := locked.get(pending.fetched.item.credential_id)) and _has_same_list(pending.fetched, before)
    ]
    uncatalogued = listed_models.count_uncatalogued_many({before.listing_id or 0 for _, before in unchanged})
    not_modified = [pair for pair in unchanged if isinstance(pair[0].fetched.answer, NotModified)]
    read_again = [pair for pair in unchanged if isinstance(pair[0].fetched.answer, Answer)]
    runs.settle_many([_unchanged_row(*pair, uncatalogued, now) for pair in unchanged])
    credentials.settle_many([_not_modified_row(*pair, now) for pair in not_modified])
    credentials.settle_many([_read_again_row(*pair, now) for pair in read_again])
    catalog.mark_synced({pending.fetched.item.provider_id for pending, _ in unchanged}, now, now - _TOUCH_EVERY)
    saved = {pending.fetched.item.result_id for pending, _ in unchanged}
    return [pending for pending in batch if pending.fetched.item.result_id not in saved]


def save_result(pending: PendingResult, now: datetime) -> None:
    """Save one result of any outcome, with everything that follows from it."""
    fetched, item, answer = pending.fetched, pending.fetched.item, pending.fetched.answer
    credential = credentials.lock(item.credential_id, item.user_id, item.provider_id, item.key_number)
    if credential is None:
        return  # removed or replaced in the meantime; closing the run records it
    state: Fields | None
    if isinstance(answer, Answer):
        result, state = _save_listing(credential, fetched, answer, now)
    elif isinstance(answer, NotModified):
        result, state = _not_modified_fields(credential, fetched, now)
    else:
        result, state = _failure_fields(credential, fetched.item.slug, answer)
    if not runs.settle(item.result_id, now, {**result, "requests": fetched.trace or None}):
        return
    if state is not None:
        schedule = {} if pending.due_at is UNCHANGED else {"due_at": pending.due_at}
        credentials.settle(item.credential_id, item.key_number, now, {**state, **schedule})
    else:
        credentials.end_first_sync(item.credential_id)
        if pending.due_at is not UNCHANGED:
            due.set_due({item.credential_id: pending.due_at})
    if result["outcome"] not in ("failed", "suspect", "skipped"):
        catalog.mark_synced([item.provider_id], now, now - _TOUCH_EVERY)


def warm_up(pending: PendingResult, now: datetime) -> None:
    """Compile the statements of `save_unchanged`. pending: of a result and a credential that do not exist."""
    save_unchanged([pending], now)
    nothing = LockedCredential(0, 0, True, None, 0, 0, None)
    runs.settle_many([_unchanged_row(pending, nothing, {}, now)])
    credentials.settle_many([_not_modified_row(pending, nothing, now)])
    credentials.settle_many([_read_again_row(pending, nothing, now)])


# ------------------------------------------------------------------ unchanged lists


def _has_same_list(fetched: FetchResult, before: LockedCredential) -> bool:
    if before.listing_id is None:
        return False
    if isinstance(fetched.answer, NotModified):
        return fetched.cache_entry is not None
    return isinstance(fetched.answer, Answer) and is_unchanged(fetched.item.slug, fetched.answer, before.fingerprint)


def _unchanged_row(
    pending: PendingResult, before: LockedCredential, uncatalogued: Mapping[int, int], now: datetime
) -> Fields:
    """Columns of the result."""
    fetched, listing_id = pending.fetched, before.listing_id or 0
    fields = _unchanged_fields(fetched, before.model_count, before.chat_count, uncatalogued.get(listing_id, 0))
    return fields | {
        "of_result": fetched.item.result_id,
        "before_listing_id": before.listing_id,
        "listing_id": before.listing_id,
        "requests": fetched.trace or None,
        "ended_at": now,
    }


def _unchanged_fields(fetched: FetchResult, model_count: int, chat: int, uncatalogued: int) -> Fields:
    """The counts as `evaluate` would have made them; model_count, chat, uncatalogued: of the list in force."""
    answer = fetched.answer
    if isinstance(answer, Answer):
        skipped, entries = len(answer.skipped), _skipped_entries(answer)
    else:
        skipped, entries = fetched.cache_entry["skipped"] if fetched.cache_entry else 0, None
    return {
        "outcome": "unchanged",
        "fetched": model_count + skipped,
        "skipped": skipped,
        "skipped_entries": entries,
        "chat": chat,
        "uncatalogued": uncatalogued,
    }


def _not_modified_row(pending: PendingResult, before: LockedCredential, now: datetime) -> Fields:
    """Columns of the credential; its validators and the key that read the list stay as they are."""
    return _unchanged_state(now) | {
        "of_credential": pending.fetched.item.credential_id,
        "due_at": before.due_at if pending.due_at is UNCHANGED else pending.due_at,
        "checked_at": now,
        "check_asked_at": None,
    }


def _read_again_row(pending: PendingResult, before: LockedCredential, now: datetime) -> Fields:
    """Columns of the credential whose list was read again and found equal."""
    fetched = pending.fetched
    is_whole = isinstance(fetched.answer, Answer) and fetched.answer.whole
    return _not_modified_row(pending, before, now) | {
        "base_url": choose_base_url(fetched),
        "listed_key_number": fetched.item.key_number,
        "listing_is_whole": is_whole or before.listing_is_whole,
        "validators": _validators(fetched, before.listing_id),
    }


def _unchanged_state(now: datetime) -> Fields:
    return {"outcome": "unchanged", "listed_at": now, "put_off_until": None, **no_error_fields(), **_CLEARED_QUARANTINE}


def _not_modified_fields(credential: CredentialRow, fetched: FetchResult, now: datetime) -> tuple[Fields, Fields]:
    """Columns of the result and of the credential: the provider says that the list did not change."""
    if credential.listing_id is None:
        raise LookupError(f"credential {credential.id}: its list was not modified, but there is none")
    row = db.session.get_one(ListingRow, credential.listing_id)
    uncatalogued = listed_models.count_uncatalogued(row.id) or 0
    result = _unchanged_fields(fetched, row.model_count, row.chat_count, uncatalogued)
    return result | {"before_listing_id": row.id, "listing_id": row.id}, _unchanged_state(now)


# ------------------------------------------------------------------ all others


def _failure_fields(credential: CredentialRow, slug: str, error: Exception) -> tuple[Fields, Fields | None]:
    """Columns of the result and of the credential; None: the provider was not queried, so nothing changes there."""
    fields = failure_fields(error, slug, has_list=credential.listing_id is not None)
    if fields["outcome"] == "skipped":
        return fields, None
    return fields, fields | {"put_off_until": error.put_off_until if isinstance(error, errors.SyncError) else None}


def _save_listing(
    credential: CredentialRow, fetched: FetchResult, answer: Answer, now: datetime
) -> tuple[Fields, Fields]:
    """Save the listing, its changes and its models; returns the columns of the result and of the credential."""
    item = fetched.item
    before_row = db.session.get(ListingRow, credential.listing_id) if credential.listing_id else None
    previous = load_previous(credential)
    evaluation = evaluate(item.slug, previous, answer, catalog.load_index()[1])
    if before_row and evaluation.grade == "unchanged":
        answered_row = before_row
    else:
        answered_row = listings.save(item.provider_id, evaluation.answered, now)
    result: Fields = {
        **evaluation.fields(),
        "before_listing_id": credential.listing_id,
        "listing_id": answered_row.id,
        "skipped_entries": _skipped_entries(answer),
    }
    state: Fields = {"outcome": evaluation.grade, "put_off_until": None, **no_error_fields()}
    state["base_url"] = choose_base_url(fetched)
    if quarantine := evaluation.quarantine:
        return result, state | quarantine.error_fields() | {
            "suspect_listing_id": answered_row.id,
            "suspect_accepted": False,
            "suspect_count": quarantine.count,
            "validators": None,
        }
    in_force_row = answered_row
    if evaluation.in_force is not None:
        if evaluation.in_force != evaluation.answered:
            in_force_row = listings.save(item.provider_id, evaluation.in_force, now)
        result["comparison_id"] = _save_changes(before_row, in_force_row, evaluation.changes, now)
        _activate_listing(item, credential, previous.listing, in_force_row, evaluation.in_force, answer, now)
    return result, state | {
        "listing_id": in_force_row.id,
        "listed_at": now,
        "listed_key_number": item.key_number,
        "listing_is_whole": evaluation.is_whole,
        "model_count": in_force_row.model_count,
        "chat_count": in_force_row.chat_count,
        # Only a list that can be confirmed as it is: the next answer to a partial one may be whole.
        "validators": None if evaluation.grade == "partial" else _validators(fetched, in_force_row.id),
        **_CLEARED_QUARANTINE,
    }


def choose_base_url(fetched: FetchResult) -> str | None:
    """The base URL to store with the key: its own, or where on the same server its list was found."""
    found = fetched.answer.base_url if isinstance(fetched.answer, Answer) else ""
    return (found if fetched.item.base_url else "") or fetched.item.base_url


def _skipped_entries(answer: Answer) -> list[list[str]] | None:
    """The first entries that could not be read, or not wholly, each with its reason."""
    entries = [*answer.skipped, *answer.remarks][:MAX_SKIPPED_ENTRIES]
    return [[skipped.entry, skipped.reason] for skipped in entries] or None


def _validators(fetched: FetchResult, listing_id: int | None) -> Fields | None:
    """Validators to store for the next conditional request."""
    if fetched.cache_entry is None or listing_id is None:
        return None
    return http_cache.to_validators(fetched.cache_entry, fetched.item.key_number, listing_id)


def _save_changes(
    before_row: ListingRow | None, after_row: ListingRow, changes: Sequence[Change], now: datetime
) -> int | None:
    """The id of the comparison that holds these changes, shared by all keys that saw the same; None: no change."""
    if not changes:
        return None
    digest = hashlib.sha256(msgspec.msgpack.encode(changes)).hexdigest()
    before = before_row.fingerprint if before_row else None
    key = listings.comparison_key(before, after_row.fingerprint, [digest])
    comparison = listings.find_comparison(key) or listings.save_comparison(key, changes, now)
    return comparison.id


def _activate_listing(
    item: RunItem,
    credential: CredentialRow,
    before: Listing | None,
    in_force_row: ListingRow,
    in_force: Listing,
    answer: Answer,
    now: datetime,
) -> None:
    """Let models, overrides and the projection follow the list that comes into force for this key."""
    models.lock_provider(item.provider_id)
    _, index = catalog.load_index()  # re-read under the lock: the catalog may have changed while we waited
    if not listings.is_in_force_elsewhere(in_force_row.id, excluding=credential.id):
        described = {model.id: model for model in answer.models}
        matched = [(described.get(model.id, model), index.match(item.slug, model)) for model in in_force.models]
        models.save(item.provider_id, matched, now)
        auto_overrides.save(item.provider_id, item.slug, matched, index, now)
    replaced = (credential.listing_id, before) if credential.listing_id and before else None
    listed_models.materialise(in_force_row.id, item.slug, item.provider_id, in_force, index, replaced)
    gone = listings.model_ids(before) - listings.model_ids(in_force) if before else set()
    for listing_id in listings.ids_in_force(item.provider_id, excluding=credential.id) if gone else ():
        gone = gone - listings.model_ids(listings.load(listing_id))
    if gone:
        models.deactivate(item.provider_id, gone, now)
        auto_overrides.remove(item.provider_id, models.lost_canonical_ids(item.provider_id, gone))
