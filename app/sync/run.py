"""Runs: claim → open keys → fetch all → read → compare → write → tell → close. One, or many at once.

No transaction is open while we are on the network: threads ask, and only the thread that called `perform`
touches the database, in short transactions. Each of these renews the leases of its runs first, so that a worker
which lost one writes nothing of it. Killed at any moment and run again, the same rows come out.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from app.catalog.listing import build_listing
from app.extensions import db
from app.providers import PROVIDERS
from app.store import catalog, credentials, http_cache, listings, runs
from app.store.engine.db_errors import classify
from app.store.engine.transaction import run_in_transaction
from app.store.http_cache import FetchHints
from app.store.runs import RunItem
from app.sync import persist, planning, unchanged
from app.sync.dispatch import (
    FetchResult,
    OnProgress,
    SyncContext,
    deadline_for,
    fetch_all,
    fetch_each,
    run_item_for,
    utc_now,
)
from app.sync.evaluate import judge
from app.sync.http import errors
from app.sync.http.fetch import Answer, NotModified
from app.sync.schedule import UNCHANGED, DueAt, next_due, period_of
from app.sync.unchanged import PendingResult

__all__ = ["LEASE", "OnProgress", "SyncContext", "check_key", "dry_run", "execute", "execute_many", "utc_now"]

T = TypeVar("T")

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
RENEW_EVERY_S = 5.0
_MAX_BATCH = 200
"""Results written in one transaction."""
_BATCH_WINDOW_S = 0.1
"""What comes in within this time of another is written with it: nobody sees the difference, and the database does."""
_MAX_LOCK_RETRIES = 3
"""So many times a write is given up for a lock that others hold, and begun again with renewed leases."""
SAVED_UNCHECKED = "The key is saved and will be checked at the next sync."


def execute(run_id: int, means: SyncContext) -> bool:
    """Do one run from claim to close. False if another worker has it or took it over, or if it was cancelled."""
    return run_id in execute_many([run_id], means)


def execute_many(run_ids: Collection[int], means: SyncContext) -> set[int]:
    """Do runs from claim to close, all at once. Returns those that were done: not those another worker has.

    Known failures become stored sentences. An unknown one is stored as "internal error", the other providers'
    results are written all the same, and then it is raised.
    """

    def begin() -> tuple[dict[int, int], list[RunItem], dict[int, FetchHints], dict[int, FetchResult]]:
        attempts = runs.claim(run_ids, means.now(), LEASE)
        waiting = runs.load_items(attempts) if attempts else []
        return attempts, waiting, http_cache.load_hints(waiting, means.now()), planning.load_saved_answers(waiting)

    attempts, waiting, before, kept = run_in_transaction(begin)
    if not attempts:
        return set()
    work = _RunExecutor(means, attempts, waiting)
    means.tell(*attempts)
    work.close(attempts.keys() - {part.run_id for part in waiting})
    work.settle_all(before, kept)
    if work.unknown:
        raise work.unknown
    return work.done


def warm_up(now: datetime) -> None:
    """Have the statements of a run compiled, on rows that do not exist: what forks from here finds them ready."""
    nobody = RunItem(0, 0, 0, 0, "", "", None, None, 0, None)
    nothing = PendingResult(FetchResult(nobody, NotModified(), memo=None), None)
    runs.claim([0], now, LEASE)
    http_cache.load_hints([*runs.load_items([0]), nobody], now)
    runs.renew({0: 0}, now, LEASE)
    unchanged.warm_up(nothing, now)
    runs.close([0], now)
    db.session.rollback()


@dataclass
class _RunExecutor:
    """Runs that this worker holds, until each is closed or lost."""

    means: SyncContext
    attempts: dict[int, int]
    """Run → attempt, of those that are still ours."""
    waiting: list[RunItem]
    open_parts: dict[int, RunItem] = field(init=False)
    done: set[int] = field(default_factory=set)
    unknown: Exception | None = None
    renewed: float = field(default_factory=time.monotonic, init=False)
    """When the leases of all were renewed."""

    def __post_init__(self) -> None:
        self.open_parts = {part.result_id: part for part in self.waiting}

    def settle_all(self, before: Mapping[int, FetchHints], kept: Mapping[int, FetchResult]) -> None:
        """Fetch everything at once; settle what arrives together, and renew the leases meanwhile.

        kept: result → the answer that a plan kept for it; these are not asked.
        """
        arrived: queue.SimpleQueue[FetchResult] = queue.SimpleQueue()
        for fetched in kept.values():
            arrived.put(fetched)
        fetch_all([part for part in self.waiting if part.result_id not in kept], self.means, arrived, before)
        deadline = deadline_for(self.waiting, self.means)
        while self.open_parts:
            together = self._take(arrived, deadline)
            if together:
                self._settle(together)
            self._renew()

    def close(self, run_ids: Collection[int]) -> None:
        """End these runs, as far as they are still ours."""

        def end() -> set[int]:
            ours = self._hold(run_ids)
            runs.close(ours, self.means.now())
            return ours

        if run_ids:
            ours = run_in_transaction(end)
            for run_id in ours:
                del self.attempts[run_id]
            self.done |= ours
            if ours:
                self.means.tell(*ours)

    def _take(self, arrived: queue.SimpleQueue[FetchResult], deadline: float) -> list[FetchResult]:
        """What arrives together, waiting for the first; all that is open once the time is over."""
        together: list[FetchResult] = []
        try:
            together.append(arrived.get(timeout=RENEW_EVERY_S))
            until = time.monotonic() + _BATCH_WINDOW_S
            while len(together) < min(_MAX_BATCH, len(self.open_parts)):
                together.append(arrived.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            if not together and time.monotonic() >= deadline:
                together = [FetchResult(part, errors.TimedOut()) for part in self.open_parts.values()]
        # What was given up, or is of a run that was lost, came in after all.
        return [fetched for fetched in together if self.open_parts.pop(fetched.part.result_id, None)]

    def _settle(self, together: Sequence[FetchResult]) -> None:
        for fetched in together:
            if not isinstance(fetched.answer, Answer | NotModified | errors.SyncError):
                self._note_unknown(fetched.part, fetched.answer)
        batch = [PendingResult(fetched, _next_due_at(fetched, self.means)) for fetched in together]
        for one in self._settle_together(batch):
            self._settle_other(one)
            self._renew()
        touched = {fetched.part.run_id for fetched in together}
        open_runs = {part.run_id for part in self.open_parts.values()}
        ended = (touched - open_runs) & self.attempts.keys()
        if going_on := (touched & self.attempts.keys()) - ended:
            self.means.tell(*going_on)
        self.close(ended)

    def _settle_together(self, batch: Sequence[PendingResult]) -> Sequence[PendingResult]:
        """Those that are still to be settled one by one: all of them if together it fails, for whatever reason."""
        try:
            return self._patiently(lambda: self._settle_unchanged(batch))
        except Exception as error:
            db.session.rollback()
            if isinstance(error, DBAPIError) and classify(error) not in (None, "full"):
                raise
            log.warning("%s results could not be written together", len(batch), exc_info=error)
            return batch

    def _settle_unchanged(self, batch: Sequence[PendingResult]) -> list[PendingResult]:
        ours = self._hold({one.fetched.part.run_id for one in batch})
        return unchanged.settle([one for one in batch if one.fetched.part.run_id in ours], self.means.now())

    def _settle_other(self, one: PendingResult) -> None:
        def write() -> None:
            if self._hold([one.fetched.part.run_id]):
                persist.save_result(one.fetched, one.due_at, self.means.now())

        try:
            self._patiently(write)
        except Exception as error:
            db.session.rollback()
            trouble = classify(error) if isinstance(error, DBAPIError) else None
            if trouble == "full":
                error = errors.DiskFull()  # what little is to say may fit where a whole list did not
            elif trouble:
                raise  # nothing can be said of anyone
            else:
                self._note_unknown(one.fetched.part, error)
            one = PendingResult(replace(one.fetched, answer=error, trace=[]), one.due_at)
            run_in_transaction(write)

    def _patiently(self, act: Callable[[], T]) -> T:
        """Write, as often as it takes while others hold a lock; between two tries the leases are renewed."""
        for _ in range(_MAX_LOCK_RETRIES):
            try:
                return run_in_transaction(act)
            except DBAPIError as error:
                if classify(error) != "busy":
                    raise
                self._renew()
        return run_in_transaction(act)

    def _renew(self) -> None:
        """Renew the leases of all runs, if it is time."""
        if time.monotonic() - self.renewed >= RENEW_EVERY_S:
            self.renewed = time.monotonic()
            run_in_transaction(lambda: self._hold(self.attempts))

    def _note_unknown(self, part: RunItem, error: Exception) -> None:
        self.unknown = error
        log.error("run %s: %s failed in an unknown way", part.run_id, part.slug, exc_info=error)

    def _hold(self, run_ids: Iterable[int]) -> set[int]:
        """Renew the leases of these runs. Those still ours; the others are dropped, with all that is open of them."""
        wanted = {run_id: self.attempts[run_id] for run_id in run_ids if run_id in self.attempts}
        ours = runs.renew(wanted, self.means.now(), LEASE) if wanted else set()
        for run_id in wanted.keys() - ours:
            log.warning("run %s: it was cancelled, or its lease was lost: nothing more is written", run_id)
            del self.attempts[run_id]
            for result_id in [part.result_id for part in self.open_parts.values() if part.run_id == run_id]:
                del self.open_parts[result_id]
        return ours


def _next_due_at(fetched: FetchResult, means: SyncContext) -> DueAt:
    part, answer, now = fetched.part, fetched.answer, means.now()
    provider = PROVIDERS.get(part.slug)
    frequency = part.frequency or (provider.update_frequency if provider else "manual")
    put_off_until = answer.put_off_until if isinstance(answer, errors.SyncError) else None
    if part.is_server and part.slug not in means.server_keys:
        return UNCHANGED  # a shell may lack what the workers have: `server_keys.mirror` looks after these
    interval = means.interval if part.is_server else None
    return next_due(period_of(frequency, now, part.seen_at, interval), now, put_off_until)


def check_key(credential_id: int, means: SyncContext) -> None:
    """Ask once with a newly saved key, and note on it what came of it. No listing and no change is recorded."""
    found = credentials.find(credential_id)
    frequency, seen_at = credentials.load_schedule(credential_id)
    db.session.commit()
    if found is None or found[0].check_asked_at is None or not found[0].is_active:
        return
    row, slug = found
    part = replace(run_item_for(row, slug), frequency=frequency, seen_at=seen_at)
    answer = fetch_each([part], means)[0].answer
    if isinstance(answer, Answer):
        listing = build_listing(slug, answer.models)
        facts = persist.cleared_failure() | {
            "outcome": "complete" if answer.complete else "partial",
            "model_count": len(listing.models),
            "chat_count": len(listing.chat()),
        }
    else:
        facts = {"outcome": "failed", **persist.failure_fields(answer, has_list=row.listing_id is not None)}
        if isinstance(answer, errors.TransientError) and row.listing_id is None:
            facts["error_action"] = SAVED_UNCHECKED
    facts["put_off_until"] = answer.put_off_until if isinstance(answer, errors.SyncError) else None
    facts["due_at"] = _next_due_at(FetchResult(part, answer), means)
    credentials.settle(credential_id, part.key_number, means.now(), facts)
    db.session.commit()
    if not isinstance(answer, Answer | errors.SyncError):
        raise answer


def dry_run(user_id: int, provider: str | None, means: SyncContext) -> list[dict[str, Any]]:
    """What a run would report for each of a user's active keys, asked for real; nothing is written."""
    mine = credentials.list_for_user(user_id)
    parts = [run_item_for(row, slug) for row, slug in mine if row.is_active and provider in (None, slug)]
    db.session.rollback()
    previews = [_previewed(fetched, means) for fetched in fetch_each(parts, means)]
    return sorted(previews, key=lambda preview: (preview["provider"], preview["label"]))


def _previewed(fetched: FetchResult, means: SyncContext) -> dict[str, Any]:
    part, answer = fetched.part, fetched.answer
    told: dict[str, Any] = {"provider": part.slug, "label": part.label}
    zero = dict.fromkeys(("fetched", "chat", "new", "changed", "unlisted", "uncatalogued", "skipped"), 0)
    if not isinstance(answer, Answer):
        failure = persist.failure_fields(answer)
        error = {"code": failure["error_code"], "message": failure["error_message"]}
        return {
            **told,
            "outcome": "failed",
            **zero,
            "duration_s": round(fetched.duration_s, 3),
            "error": error,
        }
    found = credentials.find(part.credential_id)
    before = listings.load(found[0].listing_id) if found and found[0].listing_id else None
    answered = build_listing(part.slug, answer.models)
    verdict = judge(before, answered, complete=answer.complete)
    _, index = catalog.load_index()
    counts = {**persist.counts_of(answered, answer), "uncatalogued": persist.uncatalogued(answered, index)}
    lost = listings.ids_lost_by(part.credential_id) if before else frozenset()
    is_first = before is None or not (found and found[0].listing_is_whole)
    changes = (
        persist.changes_between(before, verdict.in_force, index, lost, is_first=is_first) if verdict.in_force else ()
    )
    db.session.rollback()
    kinds = Counter(change.kind for change in changes)
    suspicion = persist.quarantine_fields(before, answered) if verdict.outcome == "suspect" else None
    return {
        **told,
        "outcome": verdict.outcome,
        **zero,
        **{name: counts[name] for name in ("fetched", "chat", "uncatalogued", "skipped")},
        **{kind: kinds[kind] for kind in ("new", "changed", "unlisted")},
        "duration_s": round(fetched.duration_s, 3),
        "error": {"code": suspicion["error_code"], "message": suspicion["error_message"]} if suspicion else None,
    }
