"""Plan, then apply: ask for real and keep the answers; later write exactly these, without asking anybody.

A plan is over the server's own keys. Making one writes nothing but the plan. Applying one starts a run whose results
are written from the kept answers, by the same code as any other's; it is refused if what it was compared with is not
in force any more.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from app.catalog.changes import Change
from app.catalog.listing import ListedModel, Listing, build_listing, canonical_form, fingerprint
from app.catalog.matching import CatalogIndex
from app.extensions import db
from app.providers import PROVIDERS
from app.providers.contract import SkippedEntry
from app.store import audit, catalog, credentials, listings, plans, runs
from app.store.accounts import users
from app.store.audit import Actor
from app.store.http_cache import CacheEntry
from app.store.plans import Plan, PlanPart
from app.store.runs import RunItem
from app.store.schema.tables import CredentialRow, ListingRow, RunRow
from app.sync import persist, server_keys
from app.sync.dispatch import FetchResult, SyncContext, fetch_each, run_item_for
from app.sync.evaluate import Verdict, judge
from app.sync.http import errors
from app.sync.http.fetch import Answer

AUDIT_ACTION = "plan"
"""Of the audit log's entries."""
PLAN_FAILED = "Modelsync itself failed while it made this plan. The server's log has the details: please report them."
_ANSWER_MISSING = "The plan that this sync applies has no answer for this key any more"
_ANSWER_CORRUPT = "The answer that the plan kept for this key cannot be read any more"


class StalePlan(ValueError):
    """A plan that cannot be applied. Its text is a sentence that says why, and what to do."""


class _CorruptAnswer(Exception):
    """A kept answer that does not decode: its bytes were damaged, or another version wrote them."""


class SyncInProgress(Exception):
    """Another sync with the server's own keys is under way."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        super().__init__(f"Sync {run_id} with the server's own keys is under way. Try again when it is over.")


class _SavedAnswer(msgspec.Struct, omit_defaults=True):
    """An answer with all that is needed to write it later as if it had just come in."""

    models: list[ListedModel]
    complete: bool
    pages: int
    skipped: list[tuple[str, str]] = []
    remarks: list[tuple[str, str]] = []
    caveat: str = ""
    whole: bool = True
    memo: CacheEntry | None = None
    trace: list[tuple[int, int, int, int, str]] = []


# ------------------------------------------------------------------ making one


def request_plan(providers: Collection[str], actor: Actor, now: datetime) -> int:
    """A plan to be made, over these providers or all that are enabled; the caller commits."""
    server = users.server_account(now)
    if server is None:
        raise RuntimeError("the installation's own account could not be made")
    credentials.create_for_server(server.id, list(providers or server_keys.SYNCABLE), now)
    row = plans.create(actor, providers, now)
    subject = server_keys.audit_subject(providers)
    audit.record(actor, AUDIT_ACTION, subject, {"plan": "none"}, {"plan": str(row.id)}, "", now)
    return row.id


def make_plan(plan_id: int, means: SyncContext) -> bool:
    """Ask the providers and write the plan; commits. False if it is made already, or another worker is at it."""
    providers = plans.claim(plan_id, means.now())
    waiting = _items_to_fetch(providers, means.now()) if providers is not None else {}
    db.session.commit()
    if providers is None:
        return False
    try:
        fetched = _fetch(waiting, means)
        version, index = catalog.load_index()
        parts = [_part_fields(one, index) for one in fetched]
        db.session.rollback()
        done = plans.settle(plan_id, parts, version, means.now())
        db.session.commit()
    except Exception:
        db.session.rollback()
        plans.mark_failed(plan_id, PLAN_FAILED, means.now())
        db.session.commit()
        raise
    _raise_unknown(fetched)
    return done


def _items_to_fetch(providers: Collection[str], now: datetime) -> dict[int, tuple[RunItem, datetime | None]]:
    """Credential → what to ask, and until when its provider wants to be left alone."""
    server = users.server_account(now, make=False)
    rows = credentials.providers_by_slug()
    enabled = {slug for slug, row in rows.items() if row.is_active} & set(providers or server_keys.SYNCABLE)
    mine = credentials.list_for_user(server.id) if server else []
    return {
        row.id: (replace(run_item_for(row, slug), is_server=True), row.put_off_until)
        for row, slug in mine
        if row.is_active and slug in enabled
    }


def _fetch(waiting: Mapping[int, tuple[RunItem, datetime | None]], means: SyncContext) -> list[FetchResult]:
    now = means.now()
    spared = []
    for part, until in waiting.values():
        if until is not None and now < until:
            title = PROVIDERS[part.slug].title if part.slug in PROVIDERS else part.slug
            sentence = f"{title} asked to wait until {errors.format_clock_time(until, now)}, so it was not asked"
            spared.append(FetchResult(part, errors.RetryLater(sentence)))
    left_alone = {one.part.credential_id for one in spared}
    asked = fetch_each([part for part, _ in waiting.values() if part.credential_id not in left_alone], means)
    return [*asked, *spared]


def _part_fields(fetched: FetchResult, index: CatalogIndex) -> dict[str, Any]:
    """The columns of one part."""
    part, answer = fetched.part, fetched.answer
    found = credentials.find(part.credential_id)
    row = found[0] if found else None
    before_id = row.listing_id if row else None
    facts: dict[str, Any] = {
        "provider_id": part.provider_id,
        "credential_id": part.credential_id,
        "key_number": part.key_number,
        "before_listing_id": before_id,
        "duration_s": fetched.duration_s,
        "changes": (),
        "answer": None,
        **dict.fromkeys(plans.COUNTS, 0),
        **persist.cleared_failure(),
    }
    if isinstance(answer, Answer) and row is not None:
        return facts | _answered(row, part, answer, index) | {"answer": _encode_answer(fetched, answer)}
    error = answer if isinstance(answer, Exception) else errors.RequestRejected("This key was removed meanwhile")
    outcome = error.outcome if isinstance(error, errors.SyncError) else "failed"
    return facts | {"outcome": outcome, **persist.failure_fields(error, has_list=before_id is not None)}


def _answered(row: CredentialRow, part: RunItem, answer: Answer, index: CatalogIndex) -> dict[str, Any]:
    """What writing this answer now would come to."""
    before = listings.load(row.listing_id) if row.listing_id else None
    answered = build_listing(part.slug, answer.models)
    verdict = judge(before, answered, complete=answer.complete, trusted=_is_trusted(row, answered))
    changes = _changes(row, before, verdict, index)
    kinds = Counter(change.kind for change in changes)
    counts = persist.counts_of(answered, answer)
    told = {name: counts[name] for name in ("fetched", "chat", "skipped")}
    facts = {
        "outcome": verdict.outcome,
        **told,
        **{kind: kinds[kind] for kind in ("new", "changed", "unlisted", "relisted")},
        "uncatalogued": persist.uncatalogued(answered, index),
        "changes": changes,
    }
    if verdict.outcome == "partial":
        facts["error_message"] = answer.caveat or None
    if verdict.outcome == "suspect":
        facts |= persist.quarantine_fields(before, answered)
    return facts


def _changes(row: CredentialRow, before: Listing | None, verdict: Verdict, index: CatalogIndex) -> tuple[Change, ...]:
    if verdict.in_force is None:
        return ()
    lost = listings.ids_lost_by(row.id) if before else frozenset()
    is_first = before is None or not row.listing_is_whole
    return persist.changes_between(before, verdict.in_force, index, lost, is_first=is_first)


def _is_trusted(row: CredentialRow, answered: Listing) -> bool:
    """As `record` decides it, of an answer that has no row yet."""
    if row.suspect_accepted and row.suspect_listing_id:
        aside = db.session.get(ListingRow, row.suspect_listing_id)
        if aside is not None and aside.fingerprint == fingerprint(canonical_form(answered)):
            return True
    return bool(answered.models) and row.listed_key_number not in (None, row.key_number)


def _raise_unknown(fetched: Sequence[FetchResult]) -> None:
    """What nobody foresaw belongs into the log; the plan says "internal error" of it, and holds the rest."""
    for one in fetched:
        if not isinstance(one.answer, Answer | errors.SyncError):
            raise one.answer


# ------------------------------------------------------------------ applying one


def start(plan_id: int, actor: Actor, trigger: str, now: datetime) -> RunRow:
    """A queued run that writes the plan; the caller commits, or rolls back what is raised.

    Raises LookupError, Stale with the sentence why, or Busy.
    """
    plan = plans.get(plan_id)
    if plan is None:
        raise LookupError(f"There is no plan {plan_id}.")
    parts = [part for part in plan.parts if part.has_answer]
    _require_ready(plan, parts, now)
    _require_current(plan, parts)
    server = users.server_account(now)
    if server is None:
        raise RuntimeError("the installation's own account could not be made")
    started = runs.start(server.id, trigger, now, providers=[part.provider for part in parts])
    if started is None:
        raise StalePlan(_suggest_new_plan("None of its providers can be synced any more."))
    if not started.is_new:
        raise SyncInProgress(started.run.id)
    if not plans.mark_applied(plan_id, started.run.id, now):  # somebody else was quicker
        raise StalePlan(_suggest_new_plan("This plan was applied already."))
    subject = server_keys.audit_subject([part.provider for part in parts])
    audit.record(actor, AUDIT_ACTION, subject, {"plan": str(plan_id)}, {"plan": f"{plan_id}, applied"}, "", now)
    return started.run


def rejection_reason(plan: Plan, now: datetime) -> str | None:
    """Why a plan cannot be applied, as a sentence; None if it can."""
    parts = [part for part in plan.parts if part.has_answer]
    try:
        _require_ready(plan, parts, now)
        _require_current(plan, parts)
    except StalePlan as stale:
        return str(stale)
    return None


def load_saved_answers(waiting: Sequence[RunItem]) -> dict[int, FetchResult]:
    """Result → its kept answer, of those parts whose run writes a plan: they are not asked."""
    of_plans = plans.ids_by_run({part.run_id for part in waiting})
    if not of_plans:
        return {}
    found = {(one.run_id, one.credential_id): one for one in plans.load_run_answers(of_plans)}
    ready = {}
    for part in (part for part in waiting if part.run_id in of_plans):
        one = found.get((part.run_id, part.credential_id))
        if one is None or one.key_number != part.key_number:
            ready[part.result_id] = FetchResult(part, errors.RequestRejected(_ANSWER_MISSING))
        else:
            try:
                ready[part.result_id] = _decode_answer(part, one.answer, one.duration_s)
            except _CorruptAnswer:
                ready[part.result_id] = FetchResult(part, errors.RequestRejected(_ANSWER_CORRUPT))
    return ready


def _require_ready(plan: Plan, parts: Sequence[PlanPart], now: datetime) -> None:
    state = plan.state(now)
    sentences = {
        "applied": f"This plan was applied already{f', by sync {plan.run_id}' if plan.run_id else ''}.",
        "failed": "This plan could not be made, so there is nothing to apply.",
        "expired": "This plan is older than 24 hours, so providers may list something else by now.",
        "waiting": "",
    }
    if state == "waiting":
        raise StalePlan("This plan is still being made. Try again in a moment.")
    if state != "ready":
        raise StalePlan(_suggest_new_plan(sentences[state]))
    if not parts:
        raise StalePlan(_suggest_new_plan("No provider answered, so there is nothing to apply."))


def _require_current(plan: Plan, parts: Sequence[PlanPart]) -> None:
    """Whether what would be written is what the plan shows."""
    current = plans.load_current([part.credential_id for part in parts if part.credential_id is not None])
    for part in parts:
        title = PROVIDERS[part.provider].title if part.provider in PROVIDERS else part.provider
        listing_id, key_number = current.get(part.credential_id or 0, (None, None))
        if key_number is None:
            raise StalePlan(_suggest_new_plan(f"{title} was disabled or removed since this plan was made."))
        if key_number != part.key_number:
            raise StalePlan(_suggest_new_plan(f"The key for {title} was replaced since this plan was made."))
        if listing_id != part.before_listing_id:
            raise StalePlan(_suggest_new_plan(f"The list of {title} changed since this plan was made."))
    version, index = catalog.load_index()
    if version != plan.catalog_version:
        _require_same_changes(plan, parts, index)


def _require_same_changes(plan: Plan, parts: Sequence[PlanPart], index: CatalogIndex) -> None:
    """Another catalog may see other changes in the same answers."""
    answers = plans.load_answers(plan.id)
    for part in parts:
        found = credentials.find(part.credential_id or 0)
        if found is None:
            continue
        row, slug = found
        asked = run_item_for(row, slug)
        try:
            answer = _decode_answer(asked, answers[part.id], 0.0).answer
        except _CorruptAnswer:
            raise StalePlan(_suggest_new_plan(f"{_ANSWER_CORRUPT}.")) from None
        if isinstance(answer, Answer) and _answered(row, asked, answer, index)["changes"] != part.changes:
            raise StalePlan(_suggest_new_plan("The catalog changed since this plan was made, and with it what is new."))


def _suggest_new_plan(sentence: str) -> str:
    return f"{sentence} Make another plan by a dry run."


# ------------------------------------------------------------------ keeping an answer


def _encode_answer(fetched: FetchResult, answer: Answer) -> bytes:
    kept_answer = _SavedAnswer(
        models=answer.models,
        complete=answer.complete,
        pages=answer.pages,
        skipped=[(one.entry, one.reason) for one in answer.skipped],
        remarks=[(one.entry, one.reason) for one in answer.remarks],
        caveat=answer.caveat,
        whole=answer.whole,
        memo=fetched.memo,
        trace=list(fetched.trace),
    )
    return zlib.compress(msgspec.msgpack.encode(kept_answer), 6)


def _decode_answer(part: RunItem, content: bytes, duration_s: float) -> FetchResult:
    """Raises _Damaged."""
    try:
        one = msgspec.msgpack.decode(zlib.decompress(content), type=_SavedAnswer)
    except (zlib.error, ValueError) as error:  # the decoder's errors are ValueErrors
        raise _CorruptAnswer from error
    answer = Answer(
        models=one.models,
        skipped=[SkippedEntry(*each) for each in one.skipped],
        complete=one.complete,
        pages=one.pages,
        caveat=one.caveat,
        remarks=[SkippedEntry(*each) for each in one.remarks],
        whole=one.whole,
    )
    return FetchResult(part, answer, duration_s, one.memo, one.trace)
