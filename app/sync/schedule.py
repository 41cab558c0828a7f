"""When a key is synced next by itself: the decision, without IO.

A provider's frequency sets the period of its users' keys; the server's own keys have the installation's interval. The
moment is spread, so that keys which were added, or failed, at one moment do not come back at one.
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
"""`update_frequency` of the owner's documents → how often; None: never by itself."""

INACTIVE_PERIOD = timedelta(days=30)
"""Of keys whose owner has not been here for a long time."""
JITTER = 0.1
"""Up to so much of the period earlier or later."""


class Unchanged(enum.Enum):
    """Not a moment: the one that stands is kept."""

    KEPT = enum.auto()


UNCHANGED = Unchanged.KEPT
DueAt = datetime | None | Unchanged
"""When a key is due next; None: never by itself."""


def period_of(frequency: str, now: datetime, seen_at: datetime | None, interval: timedelta | None) -> timedelta | None:
    """How long after a sync the next one is due; None: never by itself.

    interval: of the server's own keys, None for a user's. seen_at: when the key's owner was last here.
    """
    period = PERIODS[frequency]
    if period is None:
        return None
    if interval is not None:
        return interval or None
    is_away = seen_at is None or now - seen_at > INACTIVE_AFTER
    return max(period, INACTIVE_PERIOD) if is_away else period


def next_due(
    period: timedelta | None, now: datetime, put_off_until: datetime | None = None, roll: float | None = None
) -> datetime | None:
    """The next moment, some of the period early or late, and not before the provider wants to be asked again.

    roll: 0 to 1, where in the spread; by chance if None.
    """
    if period is None:
        return None
    share = random.random() if roll is None else roll  # no secret
    due = now + period * (1 + JITTER * (2 * share - 1))
    return max(due, put_off_until) if put_off_until else due


def latest_due(period: timedelta, now: datetime) -> datetime:
    """The last moment that `next_due` may give, unless the provider asked for a later one."""
    return now + period * (1 + JITTER)
