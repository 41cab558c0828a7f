"""The public catalogs: each one's last good answer, which survives all failures, and the history of refreshes."""

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
from app.store.engine.views import build_view
from app.store.schema.catalog_tables import CatalogRefreshRow, CatalogSourceRow

_FORMAT = bytes([FORMAT])
_MAX_ETAG_LENGTH, _MAX_LAST_MODIFIED_LENGTH, _MAX_URL_LENGTH = 200, 100, 500


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A source's stored answer, for a conditional request."""

    etag: str = ""
    last_modified: str = ""
    """Both empty unless the stored content came from the same URL and is readable by this version."""
    model_count: int = 0
    """Models of the last good answer."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source for display."""

    name: str
    title: str
    url: str = ""
    """Where the last good answer came from; empty before the first."""
    model_count: int = 0
    checked_at: datetime | None = None
    """When it was last fetched, successfully or not."""
    fetched_at: datetime | None = None
    """When it last sent or confirmed the content in force; None: never."""
    error_code: str | None = None
    error_message: str | None = None
    """The error of the last fetch."""


@dataclass(frozen=True, slots=True)
class RefreshView:
    """One refresh attempt for display."""

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
    etag, last_modified, model_count, stored_url, format_byte = row
    is_usable = stored_url == url[:_MAX_URL_LENGTH] and format_byte is not None and bytes(format_byte) == _FORMAT
    return KnownSource(etag if is_usable else "", last_modified if is_usable else "", model_count)


def content_hashes() -> dict[str, tuple[bytes, datetime]]:
    """Name → (hash, date) of its last good answer, for sources that have one."""
    query = select(CatalogSourceRow.name, CatalogSourceRow.content_hash, CatalogSourceRow.fetched_at)
    return {
        name: (content_hash, fetched_at)
        for name, content_hash, fetched_at in db.session.execute(query)
        if content_hash and fetched_at and name in SOURCES
    }


def fetch_dates() -> dict[str, datetime]:
    return {name: fetched_at for name, (_, fetched_at) in content_hashes().items()}


def load_claims(name: str) -> tuple[Claim, ...]:
    """The claims of a source's last answer; empty if another version stored it, until it is fetched again."""
    content = db.session.scalar(select(CatalogSourceRow.content).where(CatalogSourceRow.name == name))
    return deserialize(zlib.decompress(content[1:])) if content and content[:1] == _FORMAT else ()


def list_sources() -> list[SourceView]:
    """All sources, in order of trust. One query."""
    rows = {row.name: row for row in db.session.scalars(select(CatalogSourceRow))}
    return [
        build_view(SourceView, rows[source.name], title=source.title)
        if source.name in rows
        else SourceView(source.name, source.title)
        for source in SOURCES.values()
    ]


def list_refreshes(limit: int = 50) -> list[RefreshView]:
    """The latest attempts, newest first. One query."""
    query = select(CatalogRefreshRow).order_by(CatalogRefreshRow.id.desc()).limit(limit)
    titles = {source.name: source.title for source in SOURCES.values()}
    return [build_view(RefreshView, row, title=titles.get(row.source, row.source)) for row in db.session.scalars(query)]


def due_sources(now: datetime, every: timedelta, after_failure: timedelta) -> list[str]:
    """Names of the sources not fetched for `every`, or for `after_failure` if the last fetch failed."""
    return [
        source.name
        for source in list_sources()
        if source.checked_at is None
        or source.checked_at + (min(every, after_failure) if source.error_code else every) <= now
    ]


# ------------------------------------------------------------------ write


def save(
    name: str,
    url: str,
    claims: Sequence[Claim],
    model_count: int,
    now: datetime,
    *,
    etag: str = "",
    last_modified: str = "",
) -> bool:
    """Save a good answer in place of the previous one; False if their claims are equal."""
    content = serialize(claims)
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
    """Record that the source's stored answer is still current."""
    db.session.execute(
        update(CatalogSourceRow)
        .where(CatalogSourceRow.name == name)
        .values(checked_at=now, fetched_at=now, error_code=None, error_message=None)
    )


def record_failure(name: str, url: str, code: str, message: str, now: datetime) -> None:
    """Record a failed fetch; the stored answer stays, with its date."""
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
    """Add one attempt to the history. facts: columns of `CatalogRefreshRow`."""
    db.session.add(CatalogRefreshRow(**facts))
    db.session.flush()


def _write(name: str, **facts: Any) -> None:
    db.session.execute(
        insert(CatalogSourceRow).values(name=name, **facts).on_conflict_do_update(index_elements=["name"], set_=facts)
    )
