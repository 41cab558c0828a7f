"""Starred and hidden models. Stored apart from what syncs write, by id text.

A mark applies to one provider's model, or (with an empty provider) to a canonical model at all providers. The more
specific one wins: an unstarred offer stays unstarred although its canonical model is starred.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, func, select, tuple_

from app.extensions import db
from app.store.schema.tables import MarkRow, UserRow

Mark = Literal["starred", "hidden", "plain"]
ModelKey = tuple[str, str]
"""(provider slug or empty, model id)"""
MAX_MARKS = 5_000
"""Marks of one user: more than anyone sets by hand."""


def set_mark(user_id: int, provider: str, model_id: str, mark: Mark, canonical_id: str | None, now: datetime) -> bool:
    """Mark a model; "plain" removes its mark. False if the user has MAX_MARKS.

    canonical_id: the provider's model's current canonical id; if that one is marked, "plain" is stored explicitly.
    """
    inherited = find_mark(user_id, "", canonical_id) if provider and canonical_id else "plain"
    row = db.session.scalar(select(MarkRow).where(_is_mark_of(user_id, provider, model_id)))
    if mark == inherited:
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
    """The mark of exactly this key."""
    mark = db.session.scalar(select(MarkRow.mark).where(_is_mark_of(user_id, provider, model_id)))
    return mark or "plain"  # type: ignore[return-value]  # a check constraint allows only MARKS


def load_marks(user_id: int, models: Collection[ModelKey]) -> dict[ModelKey, Mark]:
    """The marks of these models; those without one are left out."""
    if not models:
        return {}
    rows = db.session.execute(_MARKS_QUERY, {"user_id": user_id, "models": list(models)})
    return {(provider, model_id): mark for provider, model_id, mark in rows}  # type: ignore[misc]


def load_all_marks(user_id: int) -> dict[ModelKey, Mark]:
    """All marks of a user."""
    rows = db.session.execute(_ALL_MARKS_QUERY, {"user_id": user_id})
    return {(provider, model_id): mark for provider, model_id, mark in rows}  # type: ignore[misc]


_ALL_MARKS_QUERY = select(MarkRow.provider, MarkRow.model_id, MarkRow.mark).where(
    MarkRow.user_id == bindparam("user_id")
)
_MODELS: BindParameter[Sequence[ModelKey]] = bindparam("models", expanding=True)
_MARKS_QUERY = _ALL_MARKS_QUERY.where(tuple_(MarkRow.provider, MarkRow.model_id).in_(_MODELS))


def set_columns(user_id: int, columns: Collection[str]) -> None:
    """Save the columns of the user's models page."""
    row = db.session.get_one(UserRow, user_id)
    row.model_columns = ",".join(columns)


def _is_mark_of(user_id: int, provider: str, model_id: str) -> ColumnElement[bool]:
    return and_(MarkRow.user_id == user_id, MarkRow.provider == provider, MarkRow.model_id == model_id)


def _count_marks(user_id: int) -> int:
    return db.session.scalar(select(func.count()).select_from(MarkRow).where(MarkRow.user_id == user_id)) or 0
