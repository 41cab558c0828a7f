"""Execute runs: claim → open keys → fetch → evaluate → save → publish → close. One, or many at once.

No transaction is open while we are on the network: threads fetch, and only the calling thread uses the database, in
short transactions. Each of these renews the leases of its runs first, so that a worker which lost one writes nothing
of it. A run that is killed at any moment and executed again leaves the same rows.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from app.extensions import db
from app.providers import PROVIDERS
from app.store import catalog, credentials, http_cache, runs
from app.store.engine.db_errors import classify
from app.store.engine.transaction import run_in_transaction
from app.store.http_cache import FetchHints
from app.store.runs import RunItem
from app.sync import persist, planning
from app.sync.dispatch import FetchResult, OnProgress, SyncContext, deadline_for, fetch_all, fetch_each, run_item_for
from app.sync.http import errors
from app.sync.http.fetch import NotModified
from app.sync.persist import PendingResult
from app.sync.schedule import UNCHANGED, DueAt, next_due, period_of

__all__ = ["LEASE", "DryRun", "OnProgress", "SyncContext", "dry_run", "execute", "execute_many"]

T = TypeVar("T")

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
RENEW_EVERY_S = 5.0
_MAX_BATCH = 200
"""Results saved in one transaction."""
_BATCH_WINDOW_S = 0.1
"""Results that arrive within it share one transaction."""
_MAX_LOCK_RETRIES = 3
"""Of a write that lost a lock; leases are renewed between tries."""
_REPORTED_COUNTS = ("fetched", "chat", "new", "changed", "unlisted", "uncatalogued", "skipped")


def execute(run_id: int, context: SyncContext) -> bool:
    """Execute one run. False if another worker has it or took it over, or if it was cancelled."""
    return run_id in execute_many([run_id], context)


def execute_many(run_ids: Collection[int], context: SyncContext) -> set[int]:
    """Execute runs, all at once; returns those that this worker finished.

    Known failures become stored sentences. An unknown one is stored as "internal error", and raised once the results
    of the other providers are saved.
    """

    def claim() -> tuple[dict[int, int], list[RunItem], dict[int, FetchHints], dict[int, FetchResult]]:
        attempts = runs.claim(run_ids, context.now(), LEASE)
        items = runs.load_items(attempts) if attempts else []
        return attempts, items, http_cache.load_hints(items, context.now()), planning.load_saved_answers(items)

    attempts, items, hints, saved_answers = run_in_transaction(claim)
    if not attempts:
        return set()
    executor = _RunExecutor(context, attempts, items)
    context.on_progress(*attempts)
    executor.close(attempts.keys() - {item.run_id for item in items})
    executor.run(hints, saved_answers)
    if executor.internal_error:
        raise executor.internal_error
    return executor.finished


def warm_up(now: datetime) -> None:
    """Compile the statements of a run on rows that do not exist, so that processes forked from here find them ready."""
    item = RunItem(0, 0, 0, 0, "", "", None, None, 0, None)
    pending = PendingResult(FetchResult(item, NotModified(), cache_entry=None), None)
    runs.claim([0], now, LEASE)
    http_cache.load_hints([*runs.load_items([0]), item], now)
    runs.renew({0: 0}, now, LEASE)
    persist.warm_up(pending, now)
    runs.close([0], now)
    db.session.rollback()


@dataclass
class _RunExecutor:
    """Runs whose leases this worker holds, until each is closed or lost."""

    context: SyncContext
    attempts: dict[int, int]
    """Run → attempt, of the runs that are still ours."""
    items: list[RunItem]
    open_items: dict[int, RunItem] = field(init=False)
    """By result id: those without a saved result."""
    finished: set[int] = field(default_factory=set)
    failed_slugs: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By run id, for the log."""
    internal_error: Exception | None = None
    renewed: float = field(default_factory=time.monotonic, init=False)
    """When all leases were last renewed (monotonic)."""

    def __post_init__(self) -> None:
        self.open_items = {item.result_id: item for item in self.items}

    def run(self, hints: Mapping[int, FetchHints], saved_answers: Mapping[int, FetchResult]) -> None:
        """Fetch all items at once, save results in batches as they arrive, and keep renewing the leases.

        saved_answers: by result id, from a plan; these items are not fetched.
        """
        arrivals: queue.SimpleQueue[FetchResult] = queue.SimpleQueue()
        for fetched in saved_answers.values():
            arrivals.put(fetched)
        fetch_all([item for item in self.items if item.result_id not in saved_answers], self.context, arrivals, hints)
        deadline = deadline_for(self.items, self.context)
        while self.open_items:
            batch = self._next_batch(arrivals, deadline)
            if batch:
                self._save(batch)
            self._renew()

    def close(self, run_ids: Collection[int]) -> None:
        """Close those of these runs that are still ours."""

        def close_ours() -> set[int]:
            ours = self._extend_leases(run_ids)
            runs.close(ours, self.context.now())
            return ours

        if run_ids:
            closed = run_in_transaction(close_ours)
            for run_id in closed:
                del self.attempts[run_id]
            self.finished |= closed
            if closed:
                self._log_complete(closed)
                self.context.on_progress(*closed)

    def _log_complete(self, run_ids: Collection[int]) -> None:
        slugs: defaultdict[int, set[str]] = defaultdict(set)
        for item in self.items:
            slugs[item.run_id].add(item.slug)
        for run_id in sorted(run_ids):
            failed = len(self.failed_slugs[run_id])
            log.info("Model sync complete: run %s, %s providers, %s failed", run_id, len(slugs[run_id]), failed)

    def _log_failure(self, item: RunItem, error: Exception) -> None:
        if not isinstance(error, errors.SyncError):
            self._record_internal_error(item, error)
        elif error.outcome == "failed":
            self.failed_slugs[item.run_id].add(item.slug)
            log.error("Model sync failed: run %s, %s: %s", item.run_id, item.slug, error)
        else:
            log.warning("Model sync skipped: run %s, %s: %s", item.run_id, item.slug, error)

    def _next_batch(self, arrivals: queue.SimpleQueue[FetchResult], deadline: float) -> list[FetchResult]:
        """Results that arrive together, once the first is there; after the deadline, TimedOut for all open items."""
        batch: list[FetchResult] = []
        try:
            batch.append(arrivals.get(timeout=RENEW_EVERY_S))
            until = time.monotonic() + _BATCH_WINDOW_S
            while len(batch) < min(_MAX_BATCH, len(self.open_items)):
                batch.append(arrivals.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            if not batch and time.monotonic() >= deadline:
                batch = [FetchResult(item, errors.TimedOut()) for item in self.open_items.values()]
        # Late results of timed-out or lost runs are dropped.
        return [fetched for fetched in batch if self.open_items.pop(fetched.item.result_id, None)]

    def _save(self, batch: Sequence[FetchResult]) -> None:
        for fetched in batch:
            if isinstance(fetched.answer, Exception) and not isinstance(fetched.answer, NotModified):
                self._log_failure(fetched.item, fetched.answer)
        pending = [PendingResult(fetched, _next_due_at(fetched, self.context)) for fetched in batch]
        for one in self._save_together(pending):
            self._save_one(one)
            self._renew()
        touched = {fetched.item.run_id for fetched in batch}
        open_runs = {item.run_id for item in self.open_items.values()}
        complete = (touched - open_runs) & self.attempts.keys()
        if still_open := (touched & self.attempts.keys()) - complete:
            self.context.on_progress(*still_open)
        self.close(complete)

    def _save_together(self, batch: Sequence[PendingResult]) -> Sequence[PendingResult]:
        """Save the unchanged results; returns those to save one by one: the others, or all if this failed."""
        try:
            return self._retry_on_lock(lambda: self._save_unchanged(batch))
        except Exception as error:
            db.session.rollback()
            if isinstance(error, DBAPIError) and classify(error) not in (None, "full"):
                raise
            log.warning("%s results could not be written together", len(batch), exc_info=error)
            return batch

    def _save_unchanged(self, batch: Sequence[PendingResult]) -> list[PendingResult]:
        ours = self._extend_leases({pending.fetched.item.run_id for pending in batch})
        return persist.save_unchanged(
            [pending for pending in batch if pending.fetched.item.run_id in ours], self.context.now()
        )

    def _save_one(self, pending: PendingResult) -> None:
        def save() -> None:
            if self._extend_leases([pending.fetched.item.run_id]):
                persist.save_result(pending, self.context.now())

        try:
            self._retry_on_lock(save)
        except Exception as error:
            db.session.rollback()
            problem = classify(error) if isinstance(error, DBAPIError) else None
            if problem == "full":
                error = errors.DiskFull()  # a short error may still fit on a full disk
            elif problem:
                raise  # the database is away: no result can be saved
            else:
                self._record_internal_error(pending.fetched.item, error)
            pending = PendingResult(replace(pending.fetched, answer=error, trace=[]), pending.due_at)
            run_in_transaction(save)

    def _retry_on_lock(self, write: Callable[[], T]) -> T:
        for _ in range(_MAX_LOCK_RETRIES):
            try:
                return run_in_transaction(write)
            except DBAPIError as error:
                if classify(error) != "busy":
                    raise
                self._renew()
        return run_in_transaction(write)

    def _renew(self) -> None:
        """Renew the leases of all runs every `RENEW_EVERY_S` seconds."""
        if time.monotonic() - self.renewed >= RENEW_EVERY_S:
            self.renewed = time.monotonic()
            run_in_transaction(lambda: self._extend_leases(self.attempts))

    def _record_internal_error(self, item: RunItem, error: Exception) -> None:
        self.internal_error = error
        self.failed_slugs[item.run_id].add(item.slug)
        log.error("Model sync failed: run %s, %s, in an unknown way", item.run_id, item.slug, exc_info=error)

    def _extend_leases(self, run_ids: Iterable[int]) -> set[int]:
        """Renew the leases of these runs and return those still ours; the others are dropped with their open items."""
        attempts = {run_id: self.attempts[run_id] for run_id in run_ids if run_id in self.attempts}
        ours = runs.renew(attempts, self.context.now(), LEASE) if attempts else set()
        for run_id in attempts.keys() - ours:
            log.warning("run %s: it was cancelled, or its lease was lost: nothing more is written", run_id)
            del self.attempts[run_id]
            for result_id in [item.result_id for item in self.open_items.values() if item.run_id == run_id]:
                del self.open_items[result_id]
        return ours


def _next_due_at(fetched: FetchResult, context: SyncContext) -> DueAt:
    item, answer, now = fetched.item, fetched.answer, context.now()
    provider = PROVIDERS.get(item.slug)
    frequency = item.frequency or (provider.update_frequency if provider else "manual")
    put_off_until = answer.put_off_until if isinstance(answer, errors.SyncError) else None
    if item.is_server and item.slug not in context.server_keys:
        return UNCHANGED  # a shell may lack what the workers have; `server_keys.mirror_keys` schedules these
    interval = context.interval if item.is_server else None
    return next_due(period_of(frequency, now, item.seen_at, interval), now, put_off_until)


@dataclass(frozen=True, slots=True)
class DryRun:
    results: list[dict[str, Any]]
    """As the JSON of a run's results, sorted by provider and label."""
    total_new_models: int
    """A model that is new for two keys of one provider counts once."""


def dry_run(user_id: int, provider: str | None, context: SyncContext) -> DryRun:
    """Fetch for each of a user's active keys and report what a run would; nothing is saved."""
    active = {slug for slug, row in credentials.providers_by_slug().items() if row.is_active}
    rows = [(row, slug) for row, slug in credentials.list_for_user(user_id) if row.is_active and slug in active]
    items = [run_item_for(row, slug) for row, slug in rows if provider in (None, slug)]
    hints = persist.load_deadlines(items, context.now())
    db.session.rollback()
    new: set[tuple[str, str]] = set()
    results = []
    for fetched in fetch_each(items, context, hints):
        credential, _ = credentials.find(fetched.item.credential_id) or (None, "")
        fields, changes = persist.preview_result(credential, fetched, catalog.load_index()[1])
        db.session.rollback()
        new |= {(fetched.item.slug, change.model_id) for change in changes if change.kind == "new"}
        results.append(_to_report(fetched, fields))
    return DryRun(sorted(results, key=lambda result: (result["provider"], result["label"])), len(new))


def _to_report(fetched: FetchResult, fields: Mapping[str, Any]) -> dict[str, Any]:
    error = {"code": fields["error_code"], "message": fields["error_message"]} if fields["error_code"] else None
    return {
        "provider": fetched.item.slug,
        "label": fetched.item.label,
        "outcome": fields["outcome"],
        **{name: fields[name] for name in _REPORTED_COUNTS},
        "duration_s": round(fetched.duration_s, 3),
        "error": error,
    }
