"""Cursors of the models page: the sort value, id and listing of the last model shown, as opaque text."""

from __future__ import annotations

import base64
import json
from decimal import Decimal

from app.store.queries.model_query import SORT_COLUMNS, Cursor, Sort
from app.store.schema.tables import ListedModelRow

_MAX_CURSOR_LENGTH = 3_600


def is_cursor(text: str, sort: Sort) -> bool:
    """Whether the text is a cursor of this sort order."""
    return decode(text, sort) is not None


def encode(row: ListedModelRow, sort: Sort) -> str:
    value = getattr(row, SORT_COLUMNS[sort].key)
    text = str(value) if isinstance(value, Decimal) else value
    cursor = json.dumps([sort, text, row.provider_model_id, row.listing_id], ensure_ascii=False)
    return base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=")


def decode(cursor: str | None, sort: Sort) -> Cursor | None:
    """None for anything that `_encoded` did not make for this order."""
    if not cursor or len(cursor) > _MAX_CURSOR_LENGTH:
        return None
    try:
        fields = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        cursor_sort, value, model_id, listing_id = fields
        if sort in ("price", "-price") and value is not None:
            value = Decimal(value)
        model_id.encode()  # raises for a lone surrogate, which a database cannot store
        str(value).encode()
        is_valid = (
            cursor_sort == sort
            and isinstance(model_id, str)
            and _is_bigint(listing_id)
            and _is_valid_value(sort, value)
        )
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
    return (value, model_id, listing_id) if is_valid else None


def _is_valid_value(sort: str, value: object) -> bool:
    if value is None:
        return sort != "name"
    if sort == "name":
        return isinstance(value, str)
    return _is_bigint(value) if sort == "-context" else isinstance(value, Decimal) and value.is_finite()


def _is_bigint(value: object) -> bool:
    return type(value) is int and abs(value) < 2**62
