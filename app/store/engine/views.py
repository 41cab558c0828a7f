"""Read models: frozen dataclasses built from rows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCounts:
    """Numbers of models in an answer: all, chat models, changes by kind, unknown to the catalog, unreadable."""

    fetched: int
    chat: int
    new: int
    changed: int
    unlisted: int
    relisted: int
    uncatalogued: int
    skipped: int


def build_view(view: type[T], row: Any, **values: Any) -> T:
    """A dataclass whose fields are the row's attributes of the same names, except those given in `values`."""
    names = (field.name for field in fields(view) if field.name not in values)  # type: ignore[arg-type]
    return view(**{name: getattr(row, name) for name in names}, **values)
