"""Plans: fetch and keep the answers, show what would change, and later save exactly these answers.

A plan is over the server's own keys. Making one writes nothing but the plan. Applying one starts a run whose results
are saved from the kept answers, by the same code as any other's; it is refused if a list it was compared with is no
longer in force.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex
from app.extensions import db
from app.providers import PROVIDERS, SYNCABLE
from app.providers.contract import ListScope, SkippedEntry
from app.store import audit, catalog, credentials, plans, runs
from app.store.accounts import users
from app.store.audit import Actor
from app.store.http_cache import CacheEntry
from app.store.plans import Plan, PlanPart
from app.store.runs import RunItem
from app.store.schema.tables import RunRow
from app.sync import persist, server_keys
from app.sync.dispatch import FetchResult, SyncContext, fetch_each, run_item_for
from app.sync.http import errors
from app.sync.http.fetch import Answer

AUDIT_ACTION = "plan"
"""Action in the audit log."""
PLAN_FAILED = "Modelsync itself failed while it made this plan. The server's log has the details: please report them."
_ANSWER_MISSING = "The plan that this sync applies has no answer for this key any more"
_ANSWER_CORRUPT = "The answer that the plan kept for this key cannot be read any more"


class StalePlan(ValueError):
    """A plan that cannot be applied. Its text is a sentence for people: why, and what to do."""


class _CorruptAnswer(Exception):
    """A saved answer that does not decode: its bytes were damaged, or another version wrote them."""


class SyncInProgress(Exception):
    """Another sync with the server's own keys is running."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        super().__init__(f"Sync {run_id} with the server's own keys is under way. Try again when it is over.")


class _SavedAnswer(msgspec.Struct, omit_defaults=True):
    """An answer with everything needed to save it later as if it had just arrived."""

    models: list[ListedModel]
    complete: bool
    pages: int
    skipped: list[tuple[str, str]] = []
    remarks: list[tuple[str, str]] = []
    caveat: str = ""
    whole: bool = True
    scope: ListScope = "provider"
    base_url: str = ""
    cache_entry: CacheEntry | None = msgspec.field(default=None, name="memo")
    trace: list[tuple[int, int, int, int, str]] = []


# ------------------------------------------------------------------ making one


def request_plan(providers: Collection[str], actor: Actor, now: datetime) -> int:
    """Request a plan over these providers, or all that are enabled; returns its id. The caller commits."""
    server = users.server_account(now)
    if server is None:
        raise RuntimeError("the installation's own account could not be made")
    credentials.create_for_server(server.id, list(providers or SYNCABLE), now)
    row = plans.create(actor, providers, now)
    subject = server_keys.audit_subject(providers)
    audit.record(actor, AUDIT_ACTION, subject, {"plan": "none"}, {"plan": str(row.id)}, "", now)
    return row.id


def make_plan(plan_id: int, context: SyncContext) -> bool:
    """Fetch the lists and save the plan; commits. False if it is made already, or another worker is at it."""
    providers = plans.claim(plan_id, context.now())
    items = _items_to_fetch(providers, context.now()) if providers is not None else []
    hints = persist.load_deadlines(items, context.now())
    db.session.commit()
    if providers is None:
        return False
    try:
        results = fetch_each(items, context, hints)
        version, index = catalog.load_index()
        parts = [_part_fields(fetched, index) for fetched in results]
        db.session.rollback()
        is_made = plans.settle(plan_id, parts, version, context.now())
        db.session.commit()
    except Exception:
        db.session.rollback()
        plans.mark_failed(plan_id, PLAN_FAILED, context.now())
        db.session.commit()
        raise
    _raise_unknown(results)
    return is_made


def _items_to_fetch(providers: Collection[str], now: datetime) -> list[RunItem]:
    server = users.server_account(now, create=False)
    rows = credentials.providers_by_slug()
    enabled = {slug for slug, row in rows.items() if row.is_active} & set(providers or SYNCABLE)
    server_credentials = credentials.list_for_user(server.id) if server else []
    return [
        replace(run_item_for(row, slug), is_server=True)
        for row, slug in server_credentials
        if row.is_active and slug in enabled
    ]


def _part_fields(fetched: FetchResult, index: CatalogIndex) -> dict[str, Any]:
    """The columns of one part."""
    item, answer = fetched.item, fetched.answer
    credential, _ = credentials.find(item.credential_id) or (None, "")
    fields, changes = persist.preview_result(credential, fetched, index)
    return fields | {
        "provider_id": item.provider_id,
        "credential_id": item.credential_id,
        "key_number": item.key_number,
        "before_listing_id": credential.listing_id if credential else None,
        "duration_s": fetched.duration_s,
        "changes": changes,
        "answer": _encode_answer(fetched, answer) if isinstance(answer, Answer) and credential else None,
    }


def _raise_unknown(results: Sequence[FetchResult]) -> None:
    """Raise the first unknown error, for the log; in the plan it is an "internal error" beside the other parts."""
    for fetched in results:
        if not isinstance(fetched.answer, Answer | errors.SyncError):
            raise fetched.answer


# ------------------------------------------------------------------ applying one


def start(plan_id: int, actor: Actor, trigger: str, now: datetime) -> RunRow:
    """Queue a run that saves the plan; the caller commits, or rolls back if this raises.

    Raises LookupError, StalePlan with the sentence why, or SyncInProgress.
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
    if not plans.mark_applied(plan_id, started.run.id, now):  # another request was faster
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
    except StalePlan as error:
        return str(error)
    return None


def load_saved_answers(items: Sequence[RunItem]) -> dict[int, FetchResult]:
    """Result id → saved answer, of the items whose run applies a plan; these are not fetched."""
    plan_ids = plans.ids_by_run({item.run_id for item in items})
    if not plan_ids:
        return {}
    answers = {(answer.run_id, answer.credential_id): answer for answer in plans.load_run_answers(plan_ids)}
    results = {}
    for item in (item for item in items if item.run_id in plan_ids):
        saved = answers.get((item.run_id, item.credential_id))
        if saved is None or saved.key_number != item.key_number:
            results[item.result_id] = FetchResult(item, errors.RequestRejected(_ANSWER_MISSING))
        else:
            try:
                results[item.result_id] = _decode_answer(item, saved.answer, saved.duration_s)
            except _CorruptAnswer:
                results[item.result_id] = FetchResult(item, errors.RequestRejected(_ANSWER_CORRUPT))
    return results


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
    """Raises StalePlan unless applying the plan would save what it shows."""
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
    """Raises StalePlan where another catalog version sees other changes in the same answers."""
    answers = plans.load_answers(plan.id)
    for part in parts:
        credential, slug = credentials.find(part.credential_id or 0) or (None, "")
        if credential is None:
            continue
        try:
            fetched = _decode_answer(run_item_for(credential, slug), answers[part.id], 0.0)
        except _CorruptAnswer:
            raise StalePlan(_suggest_new_plan(f"{_ANSWER_CORRUPT}.")) from None
        if persist.preview_result(credential, fetched, index)[1] != part.changes:
            raise StalePlan(_suggest_new_plan("The catalog changed since this plan was made, and with it what is new."))


def _suggest_new_plan(sentence: str) -> str:
    return f"{sentence} Make another plan by a dry run."


# ------------------------------------------------------------------ saved answers


def _encode_answer(fetched: FetchResult, answer: Answer) -> bytes:
    saved = _SavedAnswer(
        models=answer.models,
        complete=answer.complete,
        pages=answer.pages,
        skipped=[(skipped.entry, skipped.reason) for skipped in answer.skipped],
        remarks=[(remark.entry, remark.reason) for remark in answer.remarks],
        caveat=answer.caveat,
        whole=answer.whole,
        scope=answer.scope,
        base_url=answer.base_url,
        cache_entry=fetched.cache_entry,
        trace=list(fetched.trace),
    )
    return zlib.compress(msgspec.msgpack.encode(saved), 6)


def _decode_answer(item: RunItem, content: bytes, duration_s: float) -> FetchResult:
    """Raises _CorruptAnswer."""
    try:
        saved = msgspec.msgpack.decode(zlib.decompress(content), type=_SavedAnswer)
    except (zlib.error, ValueError) as error:  # msgspec's errors are ValueErrors
        raise _CorruptAnswer from error
    answer = Answer(
        models=saved.models,
        skipped=[SkippedEntry(*pair) for pair in saved.skipped],
        complete=saved.complete,
        pages=saved.pages,
        caveat=saved.caveat,
        remarks=[SkippedEntry(*pair) for pair in saved.remarks],
        whole=saved.whole,
        scope=saved.scope,
        base_url=saved.base_url,
    )
    return FetchResult(item, answer, duration_s, saved.cache_entry, saved.trace)
