"""Tests of providers that admins asked for: a note in Redis each, gone after a day. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.jobs.queues import redis_connection
from app.sync.provider_test import Tried

KEPT = timedelta(days=1)
_PATIENCE = timedelta(minutes=2)
"""After so long without an answer none is waited for."""


class Trial(msgspec.Struct, frozen=True):
    asked_at: datetime
    tried: Tried | None = None
    """None while it is waited for."""

    def is_awaited(self, now: datetime) -> bool:
        return self.tried is None and now - self.asked_at < _PATIENCE


def begin(slug: str, now: datetime) -> None:
    """Raises redis.RedisError, as the others."""
    _write(slug, Trial(now))


def end(slug: str, now: datetime, tried: Tried) -> None:
    """now: when it was over."""
    _write(slug, Trial(now, tried))


def of_all(slugs: Iterable[str]) -> dict[str, Trial | None]:
    """The last test of each provider."""
    wanted = list(slugs)
    notes: Any = redis_connection().mget([_name(slug) for slug in wanted]) if wanted else []
    return {slug: _read(note) for slug, note in zip(wanted, notes, strict=True)}


def _read(note: bytes | None) -> Trial | None:
    try:
        return msgspec.json.decode(note, type=Trial) if note else None
    except msgspec.MsgspecError:  # of another version
        return None


def _write(slug: str, trial: Trial) -> None:
    redis_connection().set(_name(slug), msgspec.json.encode(trial), ex=KEPT)


def _name(slug: str) -> str:
    return f"modelsync:trial:{slug}"
