"""The state of provider tests that admins start: one key in Redis per provider, for a day. For display only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.jobs.queues import redis_connection
from app.sync.provider_test import ProviderTestResult

RESULT_TTL = timedelta(days=1)
_TIMEOUT = timedelta(minutes=2)
"""A test without a result times out after this time."""


class ProviderTest(msgspec.Struct, frozen=True):
    updated_at: datetime = msgspec.field(name="asked_at")
    """When it was started or, with a result, when it ended."""
    result: ProviderTestResult | None = msgspec.field(name="tried", default=None)

    def is_pending(self, now: datetime) -> bool:
        return self.result is None and now - self.updated_at < _TIMEOUT


def start(slug: str, now: datetime) -> None:
    """Raises redis.RedisError, as do the other functions."""
    _save(slug, ProviderTest(now))


def finish(slug: str, now: datetime, result: ProviderTestResult) -> None:
    _save(slug, ProviderTest(now, result))


def load_all(slugs: Iterable[str]) -> dict[str, ProviderTest | None]:
    """The last test of each of these providers."""
    names = list(slugs)
    values: Any = redis_connection().mget([_redis_key(slug) for slug in names]) if names else []
    return {slug: _decode(value) for slug, value in zip(names, values, strict=True)}


def _decode(value: bytes | None) -> ProviderTest | None:
    try:
        return msgspec.json.decode(value, type=ProviderTest) if value else None
    except msgspec.MsgspecError:  # written by another version
        return None


def _save(slug: str, test: ProviderTest) -> None:
    redis_connection().set(_redis_key(slug), msgspec.json.encode(test), ex=RESULT_TTL)


def _redis_key(slug: str) -> str:
    return f"modelsync:trial:{slug}"
