"""Write what came of asking: the result, and unless it failed the listing, its changes, the models, the key's state.

All within the caller's transaction; nothing here commits.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from app.catalog.changes import Change, compare, detect_renames
from app.catalog.listing import Listing, build_listing
from app.catalog.matching import CatalogIndex
from app.extensions import db
from app.store import catalog, credentials, due, http_cache, listed_models, listings, models, overrides, runs
from app.store.runs import RunItem
from app.store.schema.tables import ComparisonRow, CredentialRow, ListingRow
from app.sync.dispatch import FetchResult
from app.sync.evaluate import Verdict, judge
from app.sync.http import errors
from app.sync.http.fetch import Answer, NotModified
from app.sync.schedule import UNCHANGED, DueAt

_MAX_SKIPPED_ENTRIES = 50
_TOUCH_EVERY = timedelta(minutes=1)
AGREEING_ANSWERS = 3
"""So many suspect answers in a row that are the same are proposed for acceptance."""


def save_result(fetched: FetchResult, due_at: DueAt, now: datetime) -> None:
    """Write one part's outcome: its result, and unless it failed its listing, changes, models, and the key's state.

    due_at: when the key is synced next by itself.
    """
    part, answer = fetched.part, fetched.answer
    credential = credentials.lock(part.credential_id, part.user_id, part.provider_id, part.key_number)
    if credential is None:
        return  # removed or replaced meanwhile: closing the run says so
    state: dict[str, Any] | None
    if isinstance(answer, Answer):
        result, state = _save_listing(credential, part, answer, now)
        state |= cache_fields(fetched, result["outcome"], state.get("listing_id"))
    elif isinstance(answer, NotModified):
        result, state = _save_not_modified(credential, fetched, now)
    else:
        result, state = _save_failure(credential, answer)
    if runs.settle(part.result_id, now, {**result, "requests": fetched.trace or None}):
        if state is not None:
            moved = {} if due_at is UNCHANGED else {"due_at": due_at}
            credentials.settle(part.credential_id, part.key_number, now, {**state, **moved})
        elif due_at is not UNCHANGED:
            due.set_due({part.credential_id: due_at})
        if result["outcome"] not in ("failed", "suspect", "skipped"):
            catalog.mark_synced([part.provider_id], now, now - _TOUCH_EVERY)


def _save_failure(credential: CredentialRow, error: Exception) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What to say of a failure; nothing on the credential where its provider was only spared."""
    outcome = error.outcome if isinstance(error, errors.SyncError) else "failed"
    result = {"outcome": outcome, **failure_fields(error, has_list=credential.listing_id is not None)}
    if outcome == "skipped":
        return result, None
    return result, result | {"put_off_until": error.put_off_until if isinstance(error, errors.SyncError) else None}


def cache_fields(fetched: FetchResult, outcome: str, listing_id: int | None) -> dict[str, Any]:
    """By what to ask next time whether the list changed: of a good answer only, since it is what gets confirmed."""
    memo = fetched.memo if outcome in ("complete", "unchanged") else None
    validators = http_cache.to_validators(memo, fetched.part.key_number, listing_id) if memo and listing_id else None
    return {"put_off_until": None, "validators": validators}


def _save_not_modified(
    credential: CredentialRow, fetched: FetchResult, now: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The provider says that its list is as it was. Nothing is read, compared or matched again."""
    if credential.listing_id is None:
        raise LookupError(f"credential {credential.id}: a list was confirmed that is not there")
    row = db.session.get_one(ListingRow, credential.listing_id)
    skipped = fetched.memo["skipped"] if fetched.memo else 0
    result = {
        "outcome": "unchanged",
        "before_listing_id": row.id,
        "listing_id": row.id,
        "fetched": row.model_count + skipped,
        "chat": row.chat_count,
        "skipped": skipped,
        "uncatalogued": listed_models.count_uncatalogued(row.id) or 0,
    }
    state = cleared_failure() | {"outcome": "unchanged", "listed_at": now, "put_off_until": None}
    return result, state | _cleared_quarantine()


def _save_listing(
    credential: CredentialRow, part: RunItem, answer: Answer, now: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Listing, changes and models written; what to say on the result and on the credential returned."""
    before_row = db.session.get(ListingRow, credential.listing_id) if credential.listing_id else None
    before = listings.load(before_row.id) if before_row else None
    answered = build_listing(part.slug, answer.models)
    answered_row = listings.save(part.provider_id, answered, now)
    verdict = judge(before, answered, complete=answer.complete, trusted=_is_trusted(credential, answered_row))
    catalog_version, index = catalog.load_index()
    unknown = listed_models.count_uncatalogued(
        answered_row.id
    )  # of a list that was seen already nothing is matched again
    result = {
        "outcome": verdict.outcome,
        "before_listing_id": credential.listing_id,
        "listing_id": answered_row.id,
        **counts_of(answered, answer),
        "uncatalogued": uncatalogued(answered, index) if unknown is None else unknown,
    }
    if verdict.outcome == "partial":
        result["error_message"] = answer.caveat  # no failure and so no code, but what a person should know
    state: dict[str, Any] = cleared_failure() | {"outcome": verdict.outcome}
    if verdict.outcome == "suspect":
        times = 1 + (credential.suspect_count if credential.suspect_listing_id == answered_row.id else 0)
        suspicion = quarantine_fields(before, answered, times)
        aside = {"suspect_listing_id": answered_row.id, "suspect_accepted": False, "suspect_count": times}
        return {**result, **suspicion}, state | suspicion | aside
    in_force_row = answered_row
    if verdict.in_force is not None:
        if verdict.in_force != answered:
            in_force_row = listings.save(part.provider_id, verdict.in_force, now)
        comparison = _compared(credential, before_row, before, in_force_row, verdict, index, catalog_version, now)
        result |= _changes_of(comparison)
        _activate_listing(part, credential, before, in_force_row, verdict.in_force, answer, now)
    state |= {
        "listing_id": in_force_row.id,
        "listed_at": now,
        "listed_key_number": part.key_number,
        "listing_is_whole": answer.whole or (before is not None and credential.listing_is_whole),
        **_cleared_quarantine(),
        "model_count": in_force_row.model_count,
        "chat_count": in_force_row.chat_count,
    }
    return result, state


def _is_trusted(credential: CredentialRow, answered: ListingRow) -> bool:
    """Whether a shrunk answer is right: its owner accepted this very one, or another key gave the list before."""
    if credential.suspect_accepted and credential.suspect_listing_id == answered.id:
        return True
    return bool(answered.model_count) and credential.listed_key_number not in (None, credential.key_number)


def counts_of(answered: Listing, answer: Answer) -> dict[str, Any]:
    return {"chat": len(answered.chat()), **fetched_of(len(answered.models), answer)}


def fetched_of(model_count: int, answer: Answer) -> dict[str, Any]:
    """What an answer of so many models held, and what of it could not be read."""
    told = [*answer.skipped, *answer.remarks]
    kept = [[skipped.entry, skipped.reason] for skipped in told[:_MAX_SKIPPED_ENTRIES]]
    return {
        "fetched": model_count + len(answer.skipped),
        "skipped": len(answer.skipped),
        "skipped_entries": kept or None,
    }


def uncatalogued(listing: Listing, index: CatalogIndex) -> int:
    """How many of its chat models the catalog does not know."""
    return sum(index.match(listing.provider, model).canonical_id is None for model in listing.chat())


def _compared(
    credential: CredentialRow,
    before_row: ListingRow | None,
    before: Listing | None,
    after_row: ListingRow,
    verdict: Verdict,
    index: CatalogIndex,
    catalog_version: int,
    now: datetime,
) -> ComparisonRow | None:
    """The changes from the last list to this one: found if anyone went the same way before, computed otherwise."""
    after = verdict.in_force
    if after is None or (before_row and before_row.id == after_row.id):
        return None
    lost = listings.ids_lost_by(credential.id) & listings.model_ids(after) if before else frozenset()
    is_first = before is None or not credential.listing_is_whole
    renamed = {} if is_first or before is None else _renamed(before, after, index, lost)
    decisive = [str(catalog_version)] if is_first else [f"{old} → {new}" for new, old in renamed.items()]
    key = listings.comparison_key(before_row.fingerprint if before_row else None, after_row.fingerprint, lost, decisive)
    found = listings.find_comparison(key)
    if found:
        return found
    return listings.save_comparison(key, changes_between(before, after, index, lost, is_first=is_first), now)


def changes_between(
    before: Listing | None,
    after: Listing,
    index: CatalogIndex,
    lost: frozenset[str] = frozenset(),
    *,
    is_first: bool,
) -> tuple[Change, ...]:
    """is_first: no whole list came before, so "new" is what the catalog does not know and was not told of yet."""
    if before is not None and not is_first:
        return compare(before, after, listed_earlier=lost, renamed=_renamed(before, after, index, lost))
    told = listings.model_ids(before) if before else frozenset()
    unknown = {model.id for model in after.chat() if index.match(after.provider, model).canonical_id is None}
    return compare(None, after, uncatalogued=unknown - told)


def _renamed(before: Listing, after: Listing, index: CatalogIndex, lost: Set[str]) -> dict[str, str]:
    """By the catalog's knowledge: one canonical model, served in one way, at one date."""
    return detect_renames(before, after, partial(index.identity, after.provider), lost)


def _changes_of(comparison: ComparisonRow | None) -> dict[str, Any]:
    if comparison is None:
        return {}
    return {
        "comparison_id": comparison.id if _any(comparison) else None,
        "new": comparison.new,
        "changed": comparison.changed,
        "unlisted": comparison.unlisted,
        "relisted": comparison.relisted,
    }


def _any(comparison: ComparisonRow) -> bool:
    return bool(comparison.new or comparison.changed or comparison.unlisted or comparison.relisted)


def _activate_listing(
    part: RunItem,
    credential: CredentialRow,
    before: Listing | None,
    in_force_row: ListingRow,
    in_force: Listing,
    answer: Answer,
    now: datetime,
) -> None:
    models.lock_provider(part.provider_id)
    _, index = catalog.load_index()  # only now: another catalog may have come into force while this one waited
    if not listings.is_in_force_elsewhere(in_force_row.id, but=credential.id):
        described = {model.id: model for model in answer.models}
        matched = [(described.get(model.id, model), index.match(part.slug, model)) for model in in_force.models]
        models.save(part.provider_id, matched, now)
        overrides.save_auto(part.provider_id, part.slug, matched, index, now)
    shown = (credential.listing_id, before) if credential.listing_id and before else None
    listed_models.materialise(in_force_row.id, part.slug, part.provider_id, in_force, index, shown)
    gone = listings.model_ids(before) - listings.model_ids(in_force) if before else set()
    for listing_id in listings.ids_in_force(part.provider_id, but=credential.id) if gone else ():
        gone = gone - listings.model_ids(listings.load(listing_id))
    if gone:
        models.deactivate(part.provider_id, gone, now)
        overrides.remove_auto(part.provider_id, models.lost_canonical_ids(part.provider_id, gone))


def _cleared_quarantine() -> dict[str, Any]:
    return {"suspect_listing_id": None, "suspect_accepted": False, "suspect_count": 0}


def quarantine_fields(before: Listing | None, answered: Listing, times: int = 1) -> dict[str, Any]:
    """times: how many answers in a row were this one."""
    if before is None:
        message = "The provider answered with an empty list."
        action = "If this key should see models, check its permissions on the provider's site."
    else:
        missing = len(listings.model_ids(before) - listings.model_ids(answered))
        message = f"{missing} of {len(before.models)} models are missing from this answer, so it was kept aside."
        action = "Your last list stays in force. Sync again later to see whether it recovers."
    if times >= AGREEING_ANSWERS:
        message += f" The last {times} answers agree on it."
        action = "It is probably right: accept it, or keep the old list if you know better." if before else action
    return {"error_code": "suspect_list", "error_message": message, "error_action": action}


def failure_fields(error: Exception, *, has_list: bool = True) -> dict[str, Any]:
    """What to store of a failure. has_list: whether there is an earlier list to speak of."""
    if isinstance(error, errors.SyncError):
        action = error.action if has_list else error.action.removeprefix("Your last list is kept. ")
        return {"error_code": error.code, "error_message": error.message, "error_action": action}
    return {
        "error_code": "internal_error",
        "error_message": "Modelsync itself failed on this answer.",
        "error_action": "Your last list is kept. The server's log has the details: please report them.",
    }


def cleared_failure() -> dict[str, Any]:
    return {"error_code": None, "error_message": None, "error_action": None}
