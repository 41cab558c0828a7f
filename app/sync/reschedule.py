"""Reschedule a provider's keys when an admin changes its frequency."""

from __future__ import annotations

import random
from datetime import datetime
from functools import partial

from app.providers import PROVIDERS
from app.store import due
from app.store.engine.transaction import run_in_transaction
from app.store.schema.tables import ProviderRow
from app.sync.schedule import PERIODS

_BATCH = 1_000


def reschedule(provider: ProviderRow, now: datetime) -> None:
    """Spread all keys of users over one period of the current frequency, or unschedule them. Commits each batch.

    The frequency itself must be committed before: workers lock a key first and its provider's row second, so holding
    the provider's row here would deadlock with them.
    """
    provider_id = provider.id
    period = PERIODS[provider.admin_update_frequency or PROVIDERS[provider.slug].update_frequency]

    def move(after: int) -> int | None:
        ids = due.ids_at_provider(provider_id, after, _BATCH)
        due.set_due({key_id: None if period is None else now + period * random.random() for key_id in ids})  # noqa: S311
        return ids[-1] if ids else None

    last: int | None = 0
    while last is not None:
        last = run_in_transaction(partial(move, last))
