"""The public catalogs: what each told last, and the history of asking them. A good answer survives all failures."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update

from app.catalog.sources import SOURCES
from app.catalog.sources.claims import FORMAT, Claim, deserialize, serialize
from app.extensions import db
from app.store.engine.dialect import insert
from app.store.schema.catalog_tables import CatalogRefreshRow, CatalogSourceRow

_FORMAT = bytes([FORMAT])
_MAX_ETAG_LENGTH, _MAX_LAST_MODIFIED_LENGTH, _MAX_URL_LENGTH = 200, 100, 500


@dataclass(frozen=True, slots=True)
class KnownSource:
    """What is at hand of a source before it is asked."""

    etag: str = ""
    last_modified: str = ""
    """Both empty unless the content at hand came from this very address and can be read by this version."""
    model_count: int = 0
    """Of the last good answer."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source as a page shows it."""

    name: str
    title: str
    url: str
    """Where the last good answer came from; empty before the first."""
    model_count: int
    checked_at: datetime | None
    """When it was last asked, whatever came of it."""
    fetched_at: datetime | None
    """When it last gave or confirmed what is in force; None: it never has."""
    error_code: str | None
    error_message: str | None
    """What went wrong when it was last asked."""


@dataclass(frozen=True, slots=True)
class RefreshView:
    """One attempt as a page shows it."""

    id: int
    source: str
    title: str
    trigger: str
    outcome: str
    message: str
    model_count: int
    added: int
    changed: int
    removed: int
    changes: list[Any]
    """`[["added" | "changed" | "removed", canonical id, [[field, before, after], …]], …]`, the first five hundred."""
    started_at: datetime
    ended_at: datetime


# ------------------------------------------------------------------ read


def load_known(name: str, url: str) -> KnownSource:
    columns = (
        CatalogSourceRow.etag,
        CatalogSourceRow.last_modified,
        CatalogSourceRow.model_count,
        CatalogSourceRow.url,
        func.substr(CatalogSourceRow.content, 1, 1),
    )
    row = db.session.execute(select(*columns).where(CatalogSourceRow.name == name)).first()
    if row is None:
        return KnownSource()
    etag, last_modified, model_count, asked, form = row
    is_at_hand = asked == url[:_MAX_URL_LENGTH] and form is not None and bytes(form) == _FORMAT
    return KnownSource(etag if is_at_hand else "", last_modified if is_at_hand else "", model_count)


def content_hashes() -> dict[str, tuple[bytes, datetime]]:
    """Name → hash and date of its last good answer, for those that have one."""
    query = select(CatalogSourceRow.name, CatalogSourceRow.content_hash, CatalogSourceRow.fetched_at)
    return {
        name: (content_hash, fetched_at)
        for name, content_hash, fetched_at in db.session.execute(query)
        if content_hash and fetched_at and name in SOURCES
    }


def fetch_dates() -> dict[str, datetime]:
    return {name: fetched_at for name, (_, fetched_at) in content_hashes().items()}


def load_claims(name: str) -> tuple[Claim, ...]:
    """What a source last told; nothing where that was kept by another version, until it is asked again."""
    content = db.session.scalar(select(CatalogSourceRow.content).where(CatalogSourceRow.name == name))
    return deserialize(zlib.decompress(content[1:])) if content and content[:1] == _FORMAT else ()


def list_sources() -> list[SourceView]:
    """All sources, in the order in which they are believed. One query."""
    rows = {row.name: row for row in db.session.scalars(select(CatalogSourceRow))}
    return [_to_view(source.name, source.title, rows.get(source.name)) for source in SOURCES.values()]


def _to_view(name: str, title: str, row: CatalogSourceRow | None) -> SourceView:
    if row is None:
        return SourceView(name, title, "", 0, None, None, None, None)
    return SourceView(
        name=name,
        title=title,
        url=row.url,
        model_count=row.model_count,
        checked_at=row.checked_at,
        fetched_at=row.fetched_at,
        error_code=row.error_code,
        error_message=row.error_message,
    )


def list_refreshes(limit: int = 50) -> list[RefreshView]:
    """The latest attempts, newest first. One query."""
    query = select(CatalogRefreshRow).order_by(CatalogRefreshRow.id.desc()).limit(limit)
    return [
        RefreshView(
            id=row.id,
            source=row.source,
            title=SOURCES[row.source].title if row.source in SOURCES else row.source,
            trigger=row.trigger,
            outcome=row.outcome,
            message=row.message,
            model_count=row.model_count,
            added=row.added,
            changed=row.changed,
            removed=row.removed,
            changes=row.changes,
            started_at=row.started_at,
            ended_at=row.ended_at,
        )
        for row in db.session.scalars(query)
    ]


def due_sources(now: datetime, every: timedelta, after_failure: timedelta) -> list[str]:
    """Names of the sources that were not asked for so long; one that failed is asked again sooner."""
    rows = {line.name: line for line in list_sources()}
    wait = {name: min(every, after_failure) if rows[name].error_code else every for name in rows}
    return [name for name, line in rows.items() if line.checked_at is None or line.checked_at + wait[name] <= now]


# ------------------------------------------------------------------ write


def save(
    name: str,
    url: str,
    told: Sequence[Claim],
    model_count: int,
    now: datetime,
    *,
    etag: str = "",
    last_modified: str = "",
) -> bool:
    """Keep a good answer in place of the one before; False if it says the same."""
    content = serialize(told)
    content_hash = hashlib.sha256(content).digest()
    before = db.session.scalar(select(CatalogSourceRow.content_hash).where(CatalogSourceRow.name == name))
    _write(
        name,
        url=url[:_MAX_URL_LENGTH],
        etag=etag if len(etag) <= _MAX_ETAG_LENGTH else "",
        last_modified=last_modified if len(last_modified) <= _MAX_LAST_MODIFIED_LENGTH else "",
        content=_FORMAT + zlib.compress(content, 6),
        content_hash=content_hash,
        model_count=model_count,
        checked_at=now,
        fetched_at=now,
        error_code=None,
        error_message=None,
    )
    return before != content_hash


def confirm(name: str, now: datetime) -> None:
    """Note that what is at hand is what the source still says."""
    db.session.execute(
        update(CatalogSourceRow)
        .where(CatalogSourceRow.name == name)
        .values(checked_at=now, fetched_at=now, error_code=None, error_message=None)
    )


def record_failure(name: str, url: str, code: str, message: str, now: datetime) -> None:
    """Note what went wrong; what is at hand stays, with its date."""
    db.session.execute(
        insert(CatalogSourceRow)
        .values(name=name, url=url[:_MAX_URL_LENGTH], etag="", last_modified="", model_count=0)
        .on_conflict_do_nothing()
    )
    db.session.execute(
        update(CatalogSourceRow)
        .where(CatalogSourceRow.name == name)
        .values(checked_at=now, error_code=code, error_message=message)
    )


def record_refresh(facts: Mapping[str, Any]) -> None:
    """Write one attempt into the history. facts: by the columns of `CatalogRefreshRow`."""
    db.session.add(CatalogRefreshRow(**facts))
    db.session.flush()


def _write(name: str, **facts: Any) -> None:
    db.session.execute(
        insert(CatalogSourceRow).values(name=name, **facts).on_conflict_do_update(index_elements=["name"], set_=facts)
    )
