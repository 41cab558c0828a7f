"""Ask one public catalog what is new: fetch → read → check → compare → keep → build, or leave all as it was.

No transaction is open while we are on the network. Whatever goes wrong, the last good answer stays in force, and the
attempt is in the history with the reason. The claims, the catalog they make and the history's row are written in one
transaction: another process sees all of it or nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from app.catalog.differences import Difference
from app.catalog.sources import SOURCES, CatalogSource
from app.catalog.sources.claims import ParsedSource, SourceFault, SourceRejected, SourceShrunk, check, retain_claims
from app.extensions import db
from app.providers import PROVIDERS
from app.providers.parsing import InvalidResponse
from app.store import catalog, sources
from app.store.sources import KnownSource
from app.sync.catalog.rebuild import rebuild, to_json
from app.sync.http import errors
from app.sync.http.fetch import MAX_BYTES, Client, HttpDocument, get_document

log = logging.getLogger(__name__)

MAX_CHANGES = 500
_MAX_TRIES = 3
_INTERNAL_ERROR = "Modelsync itself failed on this catalog. Nothing was changed; the server's log has the details."


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What came of an attempt."""

    source: str
    outcome: str
    """updated · unchanged · refused · failed, as in the history."""
    message: str
    """Why it was refused or failed, or what was left out; empty where there is nothing to tell."""
    model_count: int = 0
    """Of the source."""
    changes: Sequence[Difference] = ()
    """Of the canonical catalog, all of them."""

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(kind for kind, _, _ in self.changes)
        return {kind: found[kind] for kind in ("added", "changed", "removed")}


@dataclass(frozen=True, slots=True)
class _RefreshAttempt:
    source: CatalogSource
    trigger: str
    url: str
    now: Callable[[], datetime]
    started_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "started_at", self.now())


def refresh(
    name: str,
    trigger: str,
    *,
    client: Client,
    now: Callable[[], datetime],
    url: str = "",
    accept_shrunk: bool = False,
) -> RefreshResult:
    """Ask source `name` what it says now, and settle what comes of it.

    trigger: schedule, button or cli. url: an address or the path of a file, empty for the source's own address.
    accept_shrunk: believe it though a fifth or more is missing. Commits. A known failure is a stored sentence; an
    unknown one is stored and raised.
    """
    url = url or SOURCES[name].url
    attempt = _RefreshAttempt(SOURCES[name], trigger, url, now)
    known = sources.load_known(name, url)
    db.session.rollback()
    try:
        document = _load_document(client, url, known)
        if document.body is None:
            return _run_locked(lambda: _save_unchanged(attempt, known))
        reading = _parse(attempt.source, document.body)
        left_out = check(reading, known.model_count, accept_shrunk=accept_shrunk)
        return _run_locked(lambda: _save_claims(attempt, document, reading, left_out))
    except errors.SyncError as error:
        failure = "failed", error.code, _source_message(attempt.source, error)
    except SourceRejected as error:
        failure = "refused", error.code, _refusal_message(attempt.source, error)
    except Exception:
        db.session.rollback()
        _run_locked(lambda: _save_failure(attempt, "failed", "internal_error", _INTERNAL_ERROR))
        raise
    return _run_locked(lambda: _save_failure(attempt, *failure))


# ------------------------------------------------------------------ asking


def _load_document(client: Client, url: str, known: KnownSource) -> HttpDocument:
    if url.startswith(("http://", "https://")):
        return get_document(client, url, known.etag, known.last_modified)
    path = Path(url)
    if not path.is_file():
        raise errors.Unreachable(f"There is no file {path}")
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise errors.Unreachable(f"The file {path} cannot be read ({error.strerror})") from None
    if len(body) > MAX_BYTES:
        raise errors.TooLarge
    return HttpDocument(body)


def _parse(source: CatalogSource, body: bytes) -> ParsedSource:
    """Raises Refused."""
    if source.read:
        return source.read(body, PROVIDERS)
    if source.read_listed is None:
        raise TypeError(f"source {source.name} has no reader")
    try:
        page = PROVIDERS[source.name].read(body)
    except InvalidResponse as bad:
        raise SourceRejected(str(bad)) from None
    left_out = [SourceFault(entry.entry, entry.reason) for entry in (*page.skipped, *page.remarks)]
    return source.read_listed(body, page.models, left_out)


def _source_message(source: CatalogSource, error: errors.SyncError) -> str:
    """The sentence about providers as one about this source."""
    said = error.message.replace("The provider", source.title).replace("the provider", source.title)
    return f"{said} What it told last stays in force."


def _refusal_message(source: CatalogSource, error: SourceRejected) -> str:
    remedy = f" If that is right: `flask catalog refresh {source.name} --accept-shrunk`."
    return f"{source.title} {error}. Nothing was changed.{remedy if isinstance(error, SourceShrunk) else ''}"


# ------------------------------------------------------------------ settling, each in one transaction


def _save_unchanged(attempt: _RefreshAttempt, known: KnownSource) -> RefreshResult:
    ended_at = attempt.now()
    sources.confirm(attempt.source.name, ended_at)
    # What it says may be older than a seed that came with an update, and is now confirmed to be newer.
    return _save_history(attempt, "unchanged", "", known.model_count, rebuild(ended_at, attempt.source.name), ended_at)


def _save_claims(
    attempt: _RefreshAttempt, document: HttpDocument, reading: ParsedSource, left_out: str
) -> RefreshResult:
    ended_at, name = attempt.now(), attempt.source.name
    is_new = sources.save(
        name,
        attempt.url,
        retain_claims(reading.claims, sources.load_claims(name), ended_at.date().isoformat()),
        len(reading.claims),
        ended_at,
        etag=document.etag,
        last_modified=document.last_modified,
    )
    changes = rebuild(ended_at, name)
    outcome = "updated" if is_new else "unchanged"
    return _save_history(attempt, outcome, left_out, len(reading.claims), changes, ended_at)


def _save_failure(attempt: _RefreshAttempt, outcome: str, code: str, message: str) -> RefreshResult:
    ended_at = attempt.now()
    sources.record_failure(attempt.source.name, attempt.url, code, message, ended_at)
    log.info("catalog source %s: %s (%s)", attempt.source.name, outcome, code)
    return _save_history(attempt, outcome, message, 0, [], ended_at)


def _save_history(
    attempt: _RefreshAttempt,
    outcome: str,
    message: str,
    model_count: int,
    changes: Sequence[Difference],
    ended_at: datetime,
) -> RefreshResult:
    done = RefreshResult(attempt.source.name, outcome, message, model_count, changes)
    facts: dict[str, Any] = {
        "source": done.source,
        "trigger": attempt.trigger,
        "outcome": outcome,
        "message": message,
        "model_count": model_count,
        "changes": to_json(changes, MAX_CHANGES),
        "started_at": attempt.started_at,
        "ended_at": ended_at,
    }
    sources.record_refresh(facts | done.counts)
    return done


def _run_locked(settle: Callable[[], RefreshResult]) -> RefreshResult:
    """Under the catalog's lock, and again where a sync that wrote the same rows crossed our way."""
    for tries_left in reversed(range(_MAX_TRIES)):
        try:
            catalog.lock()
            done = settle()
            db.session.commit()
            return done
        except OperationalError:
            db.session.rollback()
            if not tries_left:
                raise
    raise AssertionError("unreachable")
