"""One run: claim → open keys → fetch all → read → compare → write → tell → close.

No transaction is open while we are on the network: threads ask, and only the thread that called `perform`
touches the database, one short transaction per result. Each of these transactions renews the lease first, so
that a worker which lost it writes nothing. Killed at any moment and run again, the same rows come out.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError, OperationalError

from app.catalog.listing import listing_of
from app.extensions import db
from app.store import asked, catalog, credentials, listings, runs
from app.store.asked import Asked
from app.store.runs import Part
from app.sync import errors, record
from app.sync.asking import Fetched, Means, Tell, ask_all, ask_each, deadline_for, part_of, utc_now
from app.sync.decide import judge
from app.sync.fetch import Answer, NotModified

__all__ = ["LEASE", "Means", "Tell", "check", "perform", "preview", "utc_now"]

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
RENEW_S = 5.0
_TRIES = 4
SAVED_ANYWAY = "The key is saved and will be checked at the next sync."


def perform(run_id: int, means: Means) -> bool:
    """Do the run from claim to close. False if another worker has it, or took it over.

    Known failures become stored sentences. An unknown one is stored as "internal error", the other providers'
    results are written all the same, and then it is raised.
    """
    attempt = runs.claim(run_id, means.now(), LEASE)
    waiting = runs.parts(run_id) if attempt else []
    before = asked.before(waiting, means.now())
    db.session.commit()
    if attempt is None:
        return False
    means.tell(run_id)
    try:
        unknown = _settle_all(run_id, attempt, waiting, before, means)
        _hold(run_id, attempt, means)
        runs.close(run_id, means.now())
        db.session.commit()
    except errors.RunLost:
        db.session.rollback()
        log.warning("run %s: the lease was lost, another worker decides", run_id)
        return False
    means.tell(run_id)
    if unknown:
        raise unknown
    return True


def check(credential_id: int, means: Means) -> None:
    """Ask once with a newly saved key, and note on it what came of it. No listing and no change is recorded."""
    found = credentials.by_id(credential_id)
    db.session.commit()
    if found is None or found[0].check_asked_at is None or not found[0].is_active:
        return
    row, slug = found
    part = part_of(row, slug)
    answer = ask_each([part], means)[0].answer
    if isinstance(answer, Answer):
        listing = listing_of(slug, answer.models)
        facts = record.no_failure() | {
            "outcome": "complete" if answer.complete else "partial",
            "model_count": len(listing.models),
            "chat_count": len(listing.chat()),
        }
    else:
        facts = {"outcome": "failed", **record.failure_of(answer, has_list=row.listing_id is not None)}
        if isinstance(answer, errors.Passing) and row.listing_id is None:
            facts["error_action"] = SAVED_ANYWAY
    credentials.settle(credential_id, part.key_number, means.now(), facts)
    db.session.commit()
    if not isinstance(answer, Answer | errors.SyncError):
        raise answer


def preview(user_id: int, provider: str | None, means: Means) -> list[dict[str, Any]]:
    """What a run would report for each of a user's active keys, asked for real; nothing is written."""
    mine = credentials.list_of(user_id)
    parts = [part_of(row, slug) for row, slug in mine if row.is_active and provider in (None, slug)]
    db.session.rollback()
    previews = [_previewed(fetched, means) for fetched in ask_each(parts, means)]
    return sorted(previews, key=lambda preview: (preview["provider"], preview["label"]))


def _previewed(fetched: Fetched, means: Means) -> dict[str, Any]:
    part, answer = fetched.part, fetched.answer
    told: dict[str, Any] = {"provider": part.slug, "label": part.label}
    zero = dict.fromkeys(("fetched", "chat", "new", "changed", "unlisted", "uncatalogued", "skipped"), 0)
    if not isinstance(answer, Answer):
        failure = record.failure_of(answer)
        error = {"code": failure["error_code"], "message": failure["error_message"]}
        return {
            **told,
            "outcome": "failed",
            **zero,
            "duration_s": round(fetched.duration_s, 3),
            "error": error,
        }
    found = credentials.by_id(part.credential_id)
    before = listings.load(found[0].listing_id) if found and found[0].listing_id else None
    answered = listing_of(part.slug, answer.models)
    verdict = judge(before, answered, complete=answer.complete)
    _, index = catalog.index()
    counts = {**record.counts_of(answered, answer), "uncatalogued": record.uncatalogued(answered, index)}
    lost = listings.lost_by(part.credential_id) if before else frozenset()
    is_first = before is None or not (found and found[0].listing_is_whole)
    changes = (
        record.changes_between(before, verdict.in_force, index, lost, is_first=is_first) if verdict.in_force else ()
    )
    db.session.rollback()
    kinds = Counter(change.kind for change in changes)
    suspicion = record.suspicion_of(before, answered) if verdict.outcome == "suspect" else None
    return {
        **told,
        "outcome": verdict.outcome,
        **zero,
        **{name: counts[name] for name in ("fetched", "chat", "uncatalogued", "skipped")},
        **{kind: kinds[kind] for kind in ("new", "changed", "unlisted")},
        "duration_s": round(fetched.duration_s, 3),
        "error": {"code": suspicion["error_code"], "message": suspicion["error_message"]} if suspicion else None,
    }


def _settle_all(
    run_id: int, attempt: int, parts: Sequence[Part], before: Mapping[int, Asked], means: Means
) -> Exception | None:
    """Fetch everything at once; settle each part as it arrives, and renew the lease meanwhile."""
    arrived: queue.SimpleQueue[Fetched] = queue.SimpleQueue()
    ask_all(parts, means, arrived, before)
    open_parts = {part.result_id: part for part in parts}
    deadline = deadline_for(parts, means)
    unknown: Exception | None = None
    while open_parts:
        try:
            fetched = arrived.get(timeout=RENEW_S)
        except queue.Empty:
            _hold(run_id, attempt, means)
            db.session.commit()
            if time.monotonic() < deadline:
                continue
            fetched = Fetched(next(iter(open_parts.values())), errors.TimedOut())
        if open_parts.pop(fetched.part.result_id, None) is None:
            continue  # it was given up and came in after all
        if not isinstance(fetched.answer, Answer | NotModified | errors.SyncError):
            unknown = fetched.answer
            log.error("run %s: %s failed in an unknown way", run_id, fetched.part.slug, exc_info=fetched.answer)
        _settle_one(run_id, attempt, fetched, means)
        means.tell(run_id)
    return unknown


def _settle_one(run_id: int, attempt: int, fetched: Fetched, means: Means) -> None:
    """One short transaction; tried again where the database lost it to a deadlock or a lock that took too long."""
    for left in range(_TRIES, 0, -1):
        try:
            _hold(run_id, attempt, means)
            record.settle(fetched, means.now())
            db.session.commit()
            return
        except (OperationalError, IntegrityError):  # or a list that is found again while it is pruned for its age
            db.session.rollback()
            if left == 1:
                raise
            time.sleep(0.1 * 2 ** (_TRIES - left))


def _hold(run_id: int, attempt: int, means: Means) -> None:
    if not runs.renew(run_id, attempt, means.now(), LEASE):
        raise errors.RunLost
