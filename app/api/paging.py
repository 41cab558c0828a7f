"""Pages by keyset: a cursor holds where its page ended, so that nothing is shown twice or left out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from app.api.problems import FieldProblem, Refused

_LONGEST = 2_000
_LARGEST = 2**62
Item = TypeVar("Item")


def cursor_of(kind: str, *where: Any) -> str:
    """An opaque cursor of one kind of list: it means nothing to another."""
    return base64.urlsafe_b64encode(msgspec.json.encode([kind, *where])).decode().rstrip("=")


def where_of(cursor: str, kind: str, *types: type) -> list[Any] | None:
    """What `cursor_of` put into it; None for the empty cursor of the first page. Raises Refused (400)."""
    if not cursor:
        return None
    try:
        if len(cursor) > _LONGEST:
            raise ValueError("too long")
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found = msgspec.json.decode(raw, type=list[str | int])
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise not_a_cursor() from None
    fits = len(found) == len(types) + 1 and found[0] == kind
    if not fits or not all(_is(value, of) for value, of in zip(found[1:], types, strict=True)):
        raise not_a_cursor()
    return found[1:]


def cut(
    items: Sequence[Item], kind: str, key: Callable[[Item], tuple[Any, ...]], cursor: str, size: int, *types: type
) -> tuple[list[Item], str | None]:
    """One page of a list that is short enough to be at hand, in the order of `key`, and the next page's cursor."""
    after = where_of(cursor, kind, *types)
    ordered = sorted(items, key=key)
    rest = ordered if after is None else [item for item in ordered if key(item) > tuple(after)]
    page = rest[:size]
    return page, cursor_of(kind, *key(page[-1])) if len(rest) > size else None


def not_a_cursor() -> Refused:
    message = "Not a cursor of this list: leave it out for the first page, or send the “next” of an answer unchanged."
    return Refused(
        HTTPStatus.BAD_REQUEST, f"The parameter after is wrong. {message}", (FieldProblem("after", message),)
    )


def _is(value: object, of: type) -> bool:
    return type(value) is of and (not isinstance(value, int) or abs(value) < _LARGEST)
