"""What a person thinks of models: starred, hidden. Kept apart from what syncs write, and named in words.

A mark is of one provider's id, or (with an empty provider) of a canonical model, whoever serves it. The nearer one
decides: a star taken from one provider's line stays taken although the canonical model has one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Literal

from sqlalchemy import BindParameter, ColumnElement, Select, and_, bindparam, func, select, tuple_

from app.extensions import db
from app.store.schema.tables import MarkRow, UserRow

Mark = Literal["starred", "hidden", "plain"]
ModelKey = tuple[str, str]
"""Slug of the provider, or an empty one, and the id of the model there."""
MAX_MARKS = 5_000
"""Marks of one person: more than anyone makes by hand."""


def set_mark(user_id: int, provider: str, model_id: str, mark: Mark, canonical_id: str | None, now: datetime) -> bool:
    """Mark a model; "plain" takes a mark away. False if there are too many already.

    `canonical_id` is what the provider's id means today: where that one is marked, "plain" has to be said.
    """
    above = find_mark(user_id, "", canonical_id) if provider and canonical_id else "plain"
    row = db.session.scalar(select(MarkRow).where(_is_mark_of(user_id, provider, model_id)))
    if mark == above:
        if row is not None:
            db.session.delete(row)
        db.session.flush()
        return True
    if row is None:
        if _count_marks(user_id) >= MAX_MARKS:
            return False
        row = MarkRow(user_id=user_id, provider=provider, model_id=model_id)
        db.session.add(row)
    row.mark, row.marked_at = mark, now
    db.session.flush()
    return True


def find_mark(user_id: int, provider: str, model_id: str) -> Mark:
    """The mark of exactly this name."""
    found = db.session.scalar(select(MarkRow.mark).where(_is_mark_of(user_id, provider, model_id)))
    return found or "plain"  # type: ignore[return-value]  # the database keeps to MARKS


def load_marks(user_id: int, named: Collection[ModelKey]) -> dict[ModelKey, Mark]:
    """The marks of these names, those without one left out."""
    if not named:
        return {}
    found = db.session.execute(_marks_query(), {"user_id": user_id, "named": list(named)})
    return {(provider, model_id): mark for provider, model_id, mark in found}  # type: ignore[misc]


def load_all_marks(user_id: int) -> dict[ModelKey, Mark]:
    """Every mark of a person."""
    found = db.session.execute(_all_marks_query(), {"user_id": user_id})
    return {(provider, model_id): mark for provider, model_id, mark in found}  # type: ignore[misc]


@cache
def _all_marks_query() -> Select[str, str, str]:
    """Built once, as the next: to build a statement takes longer than to answer it."""
    return select(MarkRow.provider, MarkRow.model_id, MarkRow.mark).where(MarkRow.user_id == bindparam("user_id"))


@cache
def _marks_query() -> Select[str, str, str]:
    named: BindParameter[Sequence[ModelKey]] = bindparam("named", expanding=True)
    return _all_marks_query().where(tuple_(MarkRow.provider, MarkRow.model_id).in_(named))


def set_columns(user_id: int, columns: Collection[str]) -> None:
    """Keep the columns of the user's page of models."""
    row = db.session.get_one(UserRow, user_id)
    row.model_columns = ",".join(columns)


def _is_mark_of(user_id: int, provider: str, model_id: str) -> ColumnElement[bool]:
    return and_(MarkRow.user_id == user_id, MarkRow.provider == provider, MarkRow.model_id == model_id)


def _count_marks(user_id: int) -> int:
    return db.session.scalar(select(func.count()).select_from(MarkRow).where(MarkRow.user_id == user_id)) or 0
