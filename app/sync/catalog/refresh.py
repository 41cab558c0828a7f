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
from app.catalog.sources import SOURCES, Source
from app.catalog.sources.claims import Fault, Reading, Refused, Shrunk, check, keep
from app.extensions import db
from app.providers import PROVIDERS
from app.providers.parsing import BadAnswer
from app.store import catalog, sources
from app.store.sources import Known
from app.sync.catalog.rebuild import as_json, rebuild
from app.sync.http import errors
from app.sync.http.fetch import MOST_BYTES, Client, Document, get_document

log = logging.getLogger(__name__)

MOST_CHANGES = 500
_TRIES = 3
_OURS = "Modelsync itself failed on this catalog. Nothing was changed; the server's log has the details."


@dataclass(frozen=True, slots=True)
class Refreshed:
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
class _Attempt:
    source: Source
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
) -> Refreshed:
    """Ask source `name` what it says now, and settle what comes of it.

    trigger: schedule, button or cli. url: an address or the path of a file, empty for the source's own address.
    accept_shrunk: believe it though a fifth or more is missing. Commits. A known failure is a stored sentence; an
    unknown one is stored and raised.
    """
    url = url or SOURCES[name].url
    attempt = _Attempt(SOURCES[name], trigger, url, now)
    known = sources.known(name, url)
    db.session.rollback()
    try:
        document = _document(client, url, known)
        if document.body is None:
            return _in_one_transaction(lambda: _confirmed(attempt, known))
        reading = _read(attempt.source, document.body)
        left_out = check(reading, known.model_count, accept_shrunk=accept_shrunk)
        return _in_one_transaction(lambda: _kept(attempt, document, reading, left_out))
    except errors.SyncError as error:
        failure = "failed", error.code, _in_its_name(attempt.source, error)
    except Refused as error:
        failure = "refused", error.code, _refusal(attempt.source, error)
    except Exception:
        db.session.rollback()
        _in_one_transaction(lambda: _not_kept(attempt, "failed", "internal_error", _OURS))
        raise
    return _in_one_transaction(lambda: _not_kept(attempt, *failure))


# ------------------------------------------------------------------ asking


def _document(client: Client, url: str, known: Known) -> Document:
    if url.startswith(("http://", "https://")):
        return get_document(client, url, known.etag, known.last_modified)
    path = Path(url)
    if not path.is_file():
        raise errors.Unreachable(f"There is no file {path}")
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise errors.Unreachable(f"The file {path} cannot be read ({error.strerror})") from None
    if len(body) > MOST_BYTES:
        raise errors.TooLarge
    return Document(body)


def _read(source: Source, body: bytes) -> Reading:
    """Raises Refused."""
    if source.read:
        return source.read(body)
    if source.read_listed is None:
        raise TypeError(f"source {source.name} has no reader")
    try:
        page = PROVIDERS[source.name].read(body)
    except BadAnswer as bad:
        raise Refused(str(bad)) from None
    left_out = [Fault(entry.entry, entry.reason) for entry in (*page.skipped, *page.remarks)]
    return source.read_listed(body, page.models, left_out)


def _in_its_name(source: Source, error: errors.SyncError) -> str:
    """The sentence about providers as one about this source."""
    said = error.message.replace("The provider", source.title).replace("the provider", source.title)
    return f"{said} What it told last stays in force."


def _refusal(source: Source, error: Refused) -> str:
    remedy = f" If that is right: `flask catalog refresh {source.name} --accept-shrunk`."
    return f"{source.title} {error}. Nothing was changed.{remedy if isinstance(error, Shrunk) else ''}"


# ------------------------------------------------------------------ settling, each in one transaction


def _confirmed(attempt: _Attempt, known: Known) -> Refreshed:
    ended_at = attempt.now()
    sources.confirm(attempt.source.name, ended_at)
    # What it says may be older than a seed that came with an update, and is now confirmed to be newer.
    return _noted(attempt, "unchanged", "", known.model_count, rebuild(ended_at, attempt.source.name), ended_at)


def _kept(attempt: _Attempt, document: Document, reading: Reading, left_out: str) -> Refreshed:
    ended_at, name = attempt.now(), attempt.source.name
    is_new = sources.put(
        name,
        attempt.url,
        keep(reading.claims, sources.claims(name), ended_at.date().isoformat()),
        len(reading.claims),
        ended_at,
        etag=document.etag,
        last_modified=document.last_modified,
    )
    changes = rebuild(ended_at, name)
    outcome = "updated" if is_new else "unchanged"
    return _noted(attempt, outcome, left_out, len(reading.claims), changes, ended_at)


def _not_kept(attempt: _Attempt, outcome: str, code: str, message: str) -> Refreshed:
    ended_at = attempt.now()
    sources.note_failure(attempt.source.name, attempt.url, code, message, ended_at)
    log.info("catalog source %s: %s (%s)", attempt.source.name, outcome, code)
    return _noted(attempt, outcome, message, 0, [], ended_at)


def _noted(
    attempt: _Attempt,
    outcome: str,
    message: str,
    model_count: int,
    changes: Sequence[Difference],
    ended_at: datetime,
) -> Refreshed:
    done = Refreshed(attempt.source.name, outcome, message, model_count, changes)
    facts: dict[str, Any] = {
        "source": done.source,
        "trigger": attempt.trigger,
        "outcome": outcome,
        "message": message,
        "model_count": model_count,
        "changes": as_json(changes, MOST_CHANGES),
        "started_at": attempt.started_at,
        "ended_at": ended_at,
    }
    sources.note_refresh(facts | done.counts)
    return done


def _in_one_transaction(settle: Callable[[], Refreshed]) -> Refreshed:
    """Under the catalog's lock, and again where a sync that wrote the same rows crossed our way."""
    for tries_left in reversed(range(_TRIES)):
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
