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
from app.catalog.listing import ListedModel, Listing, canonical_form, fingerprint, listing_of
from app.catalog.matching import CatalogIndex
from app.extensions import db
from app.providers import PROVIDERS
from app.providers.contract import Skipped
from app.store import audit, catalog, credentials, listings, plans, runs
from app.store.accounts import users
from app.store.audit import Actor
from app.store.http_cache import Memo
from app.store.plans import Plan, PlanPart
from app.store.runs import Part
from app.store.schema.tables import CredentialRow, ListingRow, RunRow
from app.sync import persist, server_keys
from app.sync.dispatch import Fetched, Means, ask_each, part_of
from app.sync.evaluate import Verdict, judge
from app.sync.http import errors
from app.sync.http.fetch import Answer

ACTION = "plan"
"""Of the audit log's entries."""
BROKEN = "Modelsync itself failed while it made this plan. The server's log has the details: please report them."
_LOST = "The plan that this sync applies has no answer for this key any more"
_DAMAGED = "The answer that the plan kept for this key cannot be read any more"


class Stale(ValueError):
    """A plan that cannot be applied. Its text is a sentence that says why, and what to do."""


class _Damaged(Exception):
    """A kept answer that does not decode: its bytes were damaged, or another version wrote them."""


class Busy(Exception):
    """Another sync with the server's own keys is under way."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        super().__init__(f"Sync {run_id} with the server's own keys is under way. Try again when it is over.")


class _Kept(msgspec.Struct, omit_defaults=True):
    """An answer with all that is needed to write it later as if it had just come in."""

    models: list[ListedModel]
    complete: bool
    pages: int
    skipped: list[tuple[str, str]] = []
    remarks: list[tuple[str, str]] = []
    caveat: str = ""
    whole: bool = True
    memo: Memo | None = None
    trace: list[tuple[int, int, int, int, str]] = []


# ------------------------------------------------------------------ making one


def ask_for(providers: Collection[str], actor: Actor, now: datetime) -> int:
    """A plan to be made, over these providers or all that are enabled; the caller commits."""
    server = users.server(now)
    if server is None:
        raise RuntimeError("the installation's own account could not be made")
    credentials.make_for_server(server.id, list(providers or server_keys.SYNCABLE), now)
    row = plans.add(actor, providers, now)
    subject = server_keys.subject_of(providers)
    audit.note(actor, ACTION, subject, {"plan": "none"}, {"plan": str(row.id)}, "", now)
    return row.id


def make(plan_id: int, means: Means) -> bool:
    """Ask the providers and write the plan; commits. False if it is made already, or another worker is at it."""
    providers = plans.begin(plan_id, means.now())
    waiting = _waiting(providers, means.now()) if providers is not None else {}
    db.session.commit()
    if providers is None:
        return False
    try:
        fetched = _ask(waiting, means)
        version, index = catalog.index()
        parts = [_part(one, index) for one in fetched]
        db.session.rollback()
        done = plans.settle(plan_id, parts, version, means.now())
        db.session.commit()
    except Exception:
        db.session.rollback()
        plans.fail(plan_id, BROKEN, means.now())
        db.session.commit()
        raise
    _raise_unknown(fetched)
    return done


def _waiting(providers: Collection[str], now: datetime) -> dict[int, tuple[Part, datetime | None]]:
    """Credential → what to ask, and until when its provider wants to be left alone."""
    server = users.server(now, make=False)
    rows = credentials.providers()
    enabled = {slug for slug, row in rows.items() if row.is_active} & set(providers or server_keys.SYNCABLE)
    mine = credentials.list_of(server.id) if server else []
    return {
        row.id: (replace(part_of(row, slug), is_server=True), row.put_off_until)
        for row, slug in mine
        if row.is_active and slug in enabled
    }


def _ask(waiting: Mapping[int, tuple[Part, datetime | None]], means: Means) -> list[Fetched]:
    now = means.now()
    spared = []
    for part, until in waiting.values():
        if until is not None and now < until:
            title = PROVIDERS[part.slug].title if part.slug in PROVIDERS else part.slug
            sentence = f"{title} asked to wait until {errors.at_clock(until, now)}, so it was not asked"
            spared.append(Fetched(part, errors.PutOff(sentence)))
    left_alone = {one.part.credential_id for one in spared}
    asked = ask_each([part for part, _ in waiting.values() if part.credential_id not in left_alone], means)
    return [*asked, *spared]


def _part(fetched: Fetched, index: CatalogIndex) -> dict[str, Any]:
    """The columns of one part."""
    part, answer = fetched.part, fetched.answer
    found = credentials.by_id(part.credential_id)
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
        **persist.no_failure(),
    }
    if isinstance(answer, Answer) and row is not None:
        return facts | _answered(row, part, answer, index) | {"answer": _kept(fetched, answer)}
    error = answer if isinstance(answer, Exception) else errors.Refused("This key was removed meanwhile")
    outcome = error.outcome if isinstance(error, errors.SyncError) else "failed"
    return facts | {"outcome": outcome, **persist.failure_of(error, has_list=before_id is not None)}


def _answered(row: CredentialRow, part: Part, answer: Answer, index: CatalogIndex) -> dict[str, Any]:
    """What writing this answer now would come to."""
    before = listings.load(row.listing_id) if row.listing_id else None
    answered = listing_of(part.slug, answer.models)
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
        facts |= persist.suspicion_of(before, answered)
    return facts


def _changes(row: CredentialRow, before: Listing | None, verdict: Verdict, index: CatalogIndex) -> tuple[Change, ...]:
    if verdict.in_force is None:
        return ()
    lost = listings.lost_by(row.id) if before else frozenset()
    is_first = before is None or not row.listing_is_whole
    return persist.changes_between(before, verdict.in_force, index, lost, is_first=is_first)


def _is_trusted(row: CredentialRow, answered: Listing) -> bool:
    """As `record` decides it, of an answer that has no row yet."""
    if row.suspect_accepted and row.suspect_listing_id:
        aside = db.session.get(ListingRow, row.suspect_listing_id)
        if aside is not None and aside.fingerprint == fingerprint(canonical_form(answered)):
            return True
    return bool(answered.models) and row.listed_key_number not in (None, row.key_number)


def _raise_unknown(fetched: Sequence[Fetched]) -> None:
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
    _refuse_unready(plan, parts, now)
    _refuse_stale(plan, parts)
    server = users.server(now)
    if server is None:
        raise RuntimeError("the installation's own account could not be made")
    started = runs.start(server.id, trigger, now, providers=[part.provider for part in parts])
    if started is None:
        raise Stale(_again("None of its providers can be synced any more."))
    if not started.is_new:
        raise Busy(started.run.id)
    if not plans.mark_applied(plan_id, started.run.id, now):  # somebody else was quicker
        raise Stale(_again("This plan was applied already."))
    subject = server_keys.subject_of([part.provider for part in parts])
    audit.note(actor, ACTION, subject, {"plan": str(plan_id)}, {"plan": f"{plan_id}, applied"}, "", now)
    return started.run


def objection(plan: Plan, now: datetime) -> str | None:
    """Why a plan cannot be applied, as a sentence; None if it can."""
    parts = [part for part in plan.parts if part.has_answer]
    try:
        _refuse_unready(plan, parts, now)
        _refuse_stale(plan, parts)
    except Stale as stale:
        return str(stale)
    return None


def kept(waiting: Sequence[Part]) -> dict[int, Fetched]:
    """Result → its kept answer, of those parts whose run writes a plan: they are not asked."""
    of_plans = plans.of_runs({part.run_id for part in waiting})
    if not of_plans:
        return {}
    found = {(one.run_id, one.credential_id): one for one in plans.kept_answers(of_plans)}
    ready = {}
    for part in (part for part in waiting if part.run_id in of_plans):
        one = found.get((part.run_id, part.credential_id))
        if one is None or one.key_number != part.key_number:
            ready[part.result_id] = Fetched(part, errors.Refused(_LOST))
        else:
            try:
                ready[part.result_id] = _fetched(part, one.answer, one.duration_s)
            except _Damaged:
                ready[part.result_id] = Fetched(part, errors.Refused(_DAMAGED))
    return ready


def _refuse_unready(plan: Plan, parts: Sequence[PlanPart], now: datetime) -> None:
    state = plan.state(now)
    sentences = {
        "applied": f"This plan was applied already{f', by sync {plan.run_id}' if plan.run_id else ''}.",
        "failed": "This plan could not be made, so there is nothing to apply.",
        "expired": "This plan is older than 24 hours, so providers may list something else by now.",
        "waiting": "",
    }
    if state == "waiting":
        raise Stale("This plan is still being made. Try again in a moment.")
    if state != "ready":
        raise Stale(_again(sentences[state]))
    if not parts:
        raise Stale(_again("No provider answered, so there is nothing to apply."))


def _refuse_stale(plan: Plan, parts: Sequence[PlanPart]) -> None:
    """Whether what would be written is what the plan shows."""
    current = plans.in_force([part.credential_id for part in parts if part.credential_id is not None])
    for part in parts:
        title = PROVIDERS[part.provider].title if part.provider in PROVIDERS else part.provider
        listing_id, key_number = current.get(part.credential_id or 0, (None, None))
        if key_number is None:
            raise Stale(_again(f"{title} was disabled or removed since this plan was made."))
        if key_number != part.key_number:
            raise Stale(_again(f"The key for {title} was replaced since this plan was made."))
        if listing_id != part.before_listing_id:
            raise Stale(_again(f"The list of {title} changed since this plan was made."))
    version, index = catalog.index()
    if version != plan.catalog_version:
        _refuse_other_changes(plan, parts, index)


def _refuse_other_changes(plan: Plan, parts: Sequence[PlanPart], index: CatalogIndex) -> None:
    """Another catalog may see other changes in the same answers."""
    answers = plans.answers(plan.id)
    for part in parts:
        found = credentials.by_id(part.credential_id or 0)
        if found is None:
            continue
        row, slug = found
        asked = part_of(row, slug)
        try:
            answer = _fetched(asked, answers[part.id], 0.0).answer
        except _Damaged:
            raise Stale(_again(f"{_DAMAGED}.")) from None
        if isinstance(answer, Answer) and _answered(row, asked, answer, index)["changes"] != part.changes:
            raise Stale(_again("The catalog changed since this plan was made, and with it what is new."))


def _again(sentence: str) -> str:
    return f"{sentence} Make another plan by a dry run."


# ------------------------------------------------------------------ keeping an answer


def _kept(fetched: Fetched, answer: Answer) -> bytes:
    kept_answer = _Kept(
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


def _fetched(part: Part, content: bytes, duration_s: float) -> Fetched:
    """Raises _Damaged."""
    try:
        one = msgspec.msgpack.decode(zlib.decompress(content), type=_Kept)
    except (zlib.error, ValueError) as error:  # the decoder's errors are ValueErrors
        raise _Damaged from error
    answer = Answer(
        models=one.models,
        skipped=[Skipped(*each) for each in one.skipped],
        complete=one.complete,
        pages=one.pages,
        caveat=one.caveat,
        remarks=[Skipped(*each) for each in one.remarks],
        whole=one.whole,
    )
    return Fetched(part, answer, duration_s, one.memo, one.trace)
