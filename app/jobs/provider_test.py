"""Tests of providers that admins asked for: a note in Redis each, gone after a day. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.jobs.queues import redis_connection
from app.sync.provider_test import ProviderTestResult

RESULT_TTL = timedelta(days=1)
_TIMEOUT = timedelta(minutes=2)
"""After so long without an answer none is waited for."""


class ProviderTest(msgspec.Struct, frozen=True):
    asked_at: datetime
    tried: ProviderTestResult | None = None
    """None while it is waited for."""

    def is_awaited(self, now: datetime) -> bool:
        return self.tried is None and now - self.asked_at < _TIMEOUT


def start(slug: str, now: datetime) -> None:
    """Raises redis.RedisError, as the others."""
    _save(slug, ProviderTest(now))


def finish(slug: str, now: datetime, tried: ProviderTestResult) -> None:
    """now: when it was over."""
    _save(slug, ProviderTest(now, tried))


def load_all(slugs: Iterable[str]) -> dict[str, ProviderTest | None]:
    """The last test of each provider."""
    wanted = list(slugs)
    notes: Any = redis_connection().mget([_redis_key(slug) for slug in wanted]) if wanted else []
    return {slug: _decode(note) for slug, note in zip(wanted, notes, strict=True)}


def _decode(note: bytes | None) -> ProviderTest | None:
    try:
        return msgspec.json.decode(note, type=ProviderTest) if note else None
    except msgspec.MsgspecError:  # of another version
        return None


def _save(slug: str, trial: ProviderTest) -> None:
    redis_connection().set(_redis_key(slug), msgspec.json.encode(trial), ex=RESULT_TTL)


def _redis_key(slug: str) -> str:
    return f"modelsync:trial:{slug}"
