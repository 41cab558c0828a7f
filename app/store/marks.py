"""What a person thinks of models: starred, hidden. Kept apart from what syncs write, and named in words.

A mark is of one provider's id, or (with an empty provider) of a canonical model, whoever serves it. The nearer one
decides: a star taken from one provider's line stays taken although the canonical model has one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, Select, and_, func, select, tuple_

from app.extensions import db
from app.store.tables import ListedModelRow, MarkRow, ProviderRow, UserRow

Mark = Literal["starred", "hidden", "plain"]
Named = tuple[str, str]
"""Slug of the provider, or an empty one, and the id of the model there."""
MOST = 5_000
"""Marks of one person: more than anyone makes by hand."""


def put(user_id: int, provider: str, model_id: str, mark: Mark, canonical_id: str | None, now: datetime) -> bool:
    """Mark a model; "plain" takes a mark away. False if there are too many already.

    `canonical_id` is what the provider's id means today: where that one is marked, "plain" has to be said.
    """
    above = mark_of(user_id, "", canonical_id) if provider and canonical_id else "plain"
    row = db.session.scalar(select(MarkRow).where(_is(user_id, provider, model_id)))
    if mark == above:
        if row is not None:
            db.session.delete(row)
        db.session.flush()
        return True
    if row is None:
        if _count(user_id) >= MOST:
            return False
        row = MarkRow(user_id=user_id, provider=provider, model_id=model_id)
        db.session.add(row)
    row.mark, row.marked_at = mark, now
    db.session.flush()
    return True


def mark_of(user_id: int, provider: str, model_id: str) -> Mark:
    """The mark of exactly this name."""
    found = db.session.scalar(select(MarkRow.mark).where(_is(user_id, provider, model_id)))
    return found or "plain"  # type: ignore[return-value]  # the database keeps to MARKS


def marks_of(user_id: int, named: Collection[Named]) -> dict[Named, Mark]:
    """The marks of these names, those without one left out."""
    if not named:
        return {}
    query = select(MarkRow.provider, MarkRow.model_id, MarkRow.mark).where(
        MarkRow.user_id == user_id, tuple_(MarkRow.provider, MarkRow.model_id).in_(list(named))
    )
    return {(provider, model_id): mark for provider, model_id, mark in db.session.execute(query)}  # type: ignore[misc]


def lines_marked(user_id: int, mark: Mark, fitting: Sequence[ColumnElement[bool]]) -> list[tuple[int, str]]:
    """The lines that the user marked so, among those that fit all conditions, as (listing, the provider's id).

    Found from the marks, which are few, and not from the lines, which may be many.
    """
    query = select(MarkRow.provider, MarkRow.model_id, MarkRow.mark).where(MarkRow.user_id == user_id)
    said: dict[Named, str] = {(provider, model_id): word for provider, model_id, word in db.session.execute(query)}
    asked = [name for name, word in said.items() if word == mark]
    columns = {
        ListedModelRow.provider_model_id: {model_id for provider, model_id in asked if provider},
        ListedModelRow.canonical_id: {model_id for provider, model_id in asked if not provider},
    }
    return sorted(
        {
            (listing_id, model_id)
            for column, ids in columns.items()
            if ids
            for listing_id, model_id, canonical_id, slug in db.session.execute(_lines(column.in_(ids), fitting))
            if said.get((slug, model_id), said.get(("", canonical_id or ""))) == mark
        }
    )


def _lines(named: ColumnElement[bool], fitting: Sequence[ColumnElement[bool]]) -> Select[int, str, str | None, str]:
    return (
        select(
            ListedModelRow.listing_id, ListedModelRow.provider_model_id, ListedModelRow.canonical_id, ProviderRow.slug
        )
        .join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
        .where(named, *fitting)
    )


def choose_columns(user_id: int, columns: Collection[str]) -> None:
    """Keep the columns of the user's page of models."""
    row = db.session.get_one(UserRow, user_id)
    row.model_columns = ",".join(columns)


def _is(user_id: int, provider: str, model_id: str) -> ColumnElement[bool]:
    return and_(MarkRow.user_id == user_id, MarkRow.provider == provider, MarkRow.model_id == model_id)


def _count(user_id: int) -> int:
    return db.session.scalar(select(func.count()).select_from(MarkRow).where(MarkRow.user_id == user_id)) or 0
