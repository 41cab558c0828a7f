"""Keyset pagination: a cursor holds the sort key of the last item, so that pages neither repeat nor skip items."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from app.api.problems import ApiError, FieldProblem

_MAX_CURSOR_LENGTH = 2_000
_MAX_NUMBER = 2**62
Item = TypeVar("Item")


def encode_cursor(kind: str, *position: Any) -> str:
    """An opaque cursor, valid only for lists of this kind."""
    return base64.urlsafe_b64encode(msgspec.json.encode([kind, *position])).decode().rstrip("=")


def decode_cursor(cursor: str, kind: str, *types: type) -> list[Any] | None:
    """The values given to `encode_cursor`; None for an empty cursor. Raises ApiError (400)."""
    if not cursor:
        return None
    try:
        if len(cursor) > _MAX_CURSOR_LENGTH:
            raise ValueError("too long")
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values = msgspec.json.decode(raw, type=list[str | int])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise invalid_cursor() from None
    is_valid = len(values) == len(types) + 1 and values[0] == kind
    if not is_valid or not all(_has_type(value, expected) for value, expected in zip(values[1:], types, strict=True)):
        raise invalid_cursor()
    return values[1:]


def paginate(
    items: Sequence[Item], kind: str, key: Callable[[Item], tuple[Any, ...]], cursor: str, size: int, *types: type
) -> tuple[list[Item], str | None]:
    """One page of an in-memory list sorted by `key`, and the cursor of the next page (None on the last)."""
    after = decode_cursor(cursor, kind, *types)
    ordered = sorted(items, key=key)
    rest = ordered if after is None else [item for item in ordered if key(item) > tuple(after)]
    page = rest[:size]
    return page, encode_cursor(kind, *key(page[-1])) if len(rest) > size else None


def invalid_cursor() -> ApiError:
    message = "Not a cursor of this list: leave it out for the first page, or send the “next” of an answer unchanged."
    return ApiError(
        HTTPStatus.BAD_REQUEST, f"The parameter after is wrong. {message}", (FieldProblem("after", message),)
    )


def _has_type(value: object, expected: type) -> bool:
    return type(value) is expected and (not isinstance(value, int) or abs(value) < _MAX_NUMBER)
