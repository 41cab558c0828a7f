"""Values from requests that several pages read alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

from flask import abort, request
from flask_login import current_user

from app.store.audit import Actor

T = TypeVar("T")


def current_actor() -> Actor:
    """The user, for the audit log."""
    return Actor(current_user.id, current_user.email)


def require(row: T | None) -> T:
    """The row that was looked up; 404 for None."""
    return abort(404) if row is None else row


def parse_id(text: str) -> int | None:
    """None if the text is no number, or one beyond any id."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def parse_time(text: str) -> datetime | None:
    """In UTC; None if it is no ISO 8601 time with an offset."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, OverflowError):  # OverflowError: not representable in UTC
        return None


def cursor() -> int | None:
    """`?before=` of keyset pagination; None if absent or malformed."""
    return parse_id(request.args.get("before", ""))
