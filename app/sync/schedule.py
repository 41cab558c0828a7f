"""When a credential is synced next. Pure: no IO, no clock.

A provider's frequency sets the period of its users' keys; the server's own keys use the installation's interval. Due
times are jittered, so that keys which were added or failed together do not return together.
"""

from __future__ import annotations

import enum
import random
from datetime import datetime, timedelta

from app.store.due import INACTIVE_AFTER

PERIODS: dict[str, timedelta | None] = {
    "realtime": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(weeks=1),
    "manual": None,
}
"""`update_frequency` → period; None: never automatically."""

INACTIVE_PERIOD = timedelta(days=30)
"""Of keys whose owner has not been here for `INACTIVE_AFTER`."""
JITTER = 0.1
"""Share of the period by which a due time varies in either direction."""


class Unchanged(enum.Enum):
    """Sentinel: keep the stored due time."""

    UNCHANGED = enum.auto()


UNCHANGED = Unchanged.UNCHANGED
DueAt = datetime | None | Unchanged
"""When a credential is due next; None: never automatically."""


def period_of(frequency: str, now: datetime, seen_at: datetime | None, interval: timedelta | None) -> timedelta | None:
    """Time between two syncs; None: never automatically.

    seen_at: when the key's owner was last here. interval: of the server's own keys; None for a user's key.
    """
    period = PERIODS[frequency]
    if period is None:
        return None
    if interval is not None:
        return interval or None
    is_inactive = seen_at is None or now - seen_at > INACTIVE_AFTER
    return max(period, INACTIVE_PERIOD) if is_inactive else period


def next_due(
    period: timedelta | None, now: datetime, put_off_until: datetime | None = None, roll: float | None = None
) -> datetime | None:
    """The next due time, jittered; not before the provider's Retry-After time.

    roll: position within the jitter, 0 to 1; None: random.
    """
    if period is None:
        return None
    share = random.random() if roll is None else roll  # noqa: S311  # no secret
    due = now + period * (1 + JITTER * (2 * share - 1))
    return max(due, put_off_until) if put_off_until else due


def latest_due(period: timedelta, now: datetime) -> datetime:
    """The latest time that `next_due` returns without a Retry-After time."""
    return now + period * (1 + JITTER)
