"""Refresh one public catalog: fetch → parse → check → save → rebuild, or change nothing.

No transaction is open while we are on the network. If anything fails, the last good answer stays in force and the
history notes the reason. Claims, the catalog built from them and the history's row are saved in one transaction.
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
from app.sync.http.client import Client
from app.sync.http.request import MAX_BYTES, HttpDocument, get_document

log = logging.getLogger(__name__)

MAX_CHANGES = 500
_MAX_TRIES = 3
_INTERNAL_ERROR = "Modelsync itself failed on this catalog. Nothing was changed; the server's log has the details."


@dataclass(frozen=True, slots=True)
class RefreshResult:
    source: str
    outcome: str
    """updated · unchanged · refused · failed, as stored in the history."""
    message: str
    """Reason for a refusal or failure, or what was omitted; else empty."""
    model_count: int = 0
    """Of the source."""
    changes: Sequence[Difference] = ()
    """All changes of the canonical catalog."""

    @property
    def counts(self) -> dict[str, int]:
        kinds = Counter(kind for kind, _, _ in self.changes)
        return {kind: kinds[kind] for kind in ("added", "changed", "removed")}


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
    name: str, trigger: str, *, client: Client, now: Callable[[], datetime], url: str = "", accept_shrunk: bool = False
) -> RefreshResult:
    """Fetch source `name` and save the outcome; commits.

    trigger: schedule, button or cli. url: an address or the path of a file; empty: the source's own address.
    accept_shrunk: accept an answer with a fifth or more missing. Known failures become a stored sentence; unknown ones
    are stored and raised.
    """
    url = url or SOURCES[name].url
    attempt = _RefreshAttempt(SOURCES[name], trigger, url, now)
    known = sources.load_known(name, url)
    db.session.rollback()
    try:
        document = _load_document(client, url, known)
        if document.body is None:
            return _run_locked(lambda: _save_unchanged(attempt, known))
        parsed = _parse(attempt.source, document.body)
        left_out = check(parsed, known.model_count, accept_shrunk=accept_shrunk)
        return _run_locked(lambda: _save_claims(attempt, document, parsed, left_out))
    except errors.SyncError as error:
        failure = "failed", error.code, _source_message(attempt.source, error)
    except SourceRejected as error:
        failure = "refused", error.code, _refusal_message(attempt.source, error)
    except Exception:
        db.session.rollback()
        _run_locked(lambda: _save_failure(attempt, "failed", "internal_error", _INTERNAL_ERROR))
        raise
    return _run_locked(lambda: _save_failure(attempt, *failure))


# ------------------------------------------------------------------ fetching


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
    """Raises SourceRejected."""
    if source.read:
        return source.read(body, PROVIDERS)
    if source.read_listed is None:
        raise TypeError(f"source {source.name} has no reader")
    try:
        page = PROVIDERS[source.name].read(body)
    except InvalidResponse as error:
        raise SourceRejected(str(error)) from None
    left_out = [SourceFault(entry.entry, entry.reason) for entry in (*page.skipped, *page.remarks)]
    return source.read_listed(body, page.models, left_out)


def _source_message(source: CatalogSource, error: errors.SyncError) -> str:
    """The error's sentence, with the source's name instead of "the provider"."""
    message = error.message.replace("The provider", source.title).replace("the provider", source.title)
    return f"{message} What it told last stays in force."


def _refusal_message(source: CatalogSource, error: SourceRejected) -> str:
    remedy = f" If that is right: `flask catalog refresh {source.name} --accept-shrunk`."
    return f"{source.title} {error}. Nothing was changed.{remedy if isinstance(error, SourceShrunk) else ''}"


# ------------------------------------------------------------------ saving, each in one transaction


def _save_unchanged(attempt: _RefreshAttempt, known: KnownSource) -> RefreshResult:
    ended_at = attempt.now()
    sources.confirm(attempt.source.name, ended_at)
    # An update may have shipped a newer seed than the stored answer, which is now confirmed to be current.
    return _save_history(attempt, "unchanged", "", known.model_count, rebuild(ended_at, attempt.source.name), ended_at)


def _save_claims(
    attempt: _RefreshAttempt, document: HttpDocument, parsed: ParsedSource, left_out: str
) -> RefreshResult:
    ended_at, name = attempt.now(), attempt.source.name
    is_new = sources.save(
        name,
        attempt.url,
        retain_claims(parsed.claims, sources.load_claims(name), ended_at.date().isoformat()),
        len(parsed.claims),
        ended_at,
        etag=document.etag,
        last_modified=document.last_modified,
    )
    changes = rebuild(ended_at, name)
    outcome = "updated" if is_new else "unchanged"
    return _save_history(attempt, outcome, left_out, len(parsed.claims), changes, ended_at)


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
    result = RefreshResult(attempt.source.name, outcome, message, model_count, changes)
    row: dict[str, Any] = {
        "source": result.source,
        "trigger": attempt.trigger,
        "outcome": outcome,
        "message": message,
        "model_count": model_count,
        "changes": to_json(changes, MAX_CHANGES),
        "started_at": attempt.started_at,
        "ended_at": ended_at,
    }
    sources.record_refresh(row | result.counts)
    return result


def _run_locked(save: Callable[[], RefreshResult]) -> RefreshResult:
    """Run under the catalog's lock and commit; retried if a concurrent sync wrote the same rows."""
    for tries_left in reversed(range(_MAX_TRIES)):
        try:
            catalog.lock()
            result = save()
            db.session.commit()
            return result
        except OperationalError:
            db.session.rollback()
            if not tries_left:
                raise
    raise AssertionError("unreachable")
