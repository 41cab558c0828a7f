"""Building and executing SQL statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar, cast

from sqlalchemy import CursorResult, Delete, Insert, Update

from app.extensions import db

P = ParamSpec("P")
T = TypeVar("T")

_CACHED_SHAPES = 256


def cached_statement(build: Callable[P, T]) -> Callable[P, T]:
    """Decorator: builds a statement once per combination of arguments. Building one takes longer than executing it."""
    return cast("Callable[P, T]", lru_cache(_CACHED_SHAPES)(build))


def execute_dml(statement: Insert | Update | Delete) -> int:
    """Execute without synchronising objects in the session; returns the number of rows affected."""
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
