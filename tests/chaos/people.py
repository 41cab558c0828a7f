"""Those who use the installation while it breaks: they sync, cancel and replace keys, the cron comes, days pass."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import redis
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from app.extensions import db
from app.jobs import enqueue, tasks
from app.store import credentials, runs
from app.store.accounts import users
from app.store.schema.tables import LIVE_STATES, RunRow
from app.vault import ApiKey, PublicKey
from tests.chaos import plan
from tests.chaos.stage import Stage

MARK_LETTERS = "GHJKLMNPQRSTVWXZ"
"""Without those of `bad` and `revoked`, which the simulator refuses."""


@dataclass
class Crowd:
    """All users with their keys, and what they met."""

    app: Flask
    stage: Stage
    public_key: PublicKey
    random: Random
    keys: dict[int, str] = field(default_factory=dict)
    """Tag → the whole key."""
    owners: dict[int, int] = field(default_factory=dict)
    """Tag → credential."""
    user_ids: list[int] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)
    met: list[str] = field(default_factory=list)
    """Errors that came while nothing was away."""

    def move_in(self, count: int, keys: int) -> None:
        """So many users with so many keys each, of as many different providers."""
        slugs = list(plan.SLUGS)
        with self.app.app_context():
            providers = credentials.providers_by_slug()
            for number in range(count):
                user = users.create(f"user-{number}@example.com", "no password opens this account", _now())
                if user is None:
                    raise RuntimeError("chaos needs an empty database")
                user.last_sign_in_at = _now()
                self.user_ids.append(user.id)
                for slug in self.random.sample(slugs, min(keys, len(slugs))):
                    tag = len(self.keys) + 1
                    row = credentials.add(user.id, providers[slug], "", self._key(tag, slug), self.public_key, _now())
                    if row is None:
                        raise RuntimeError("a key is there already")
                    row.check_asked_at = None
                    self.owners[tag] = row.id
            db.session.commit()

    def act(self) -> None:
        """One thing that one of them does."""
        acts = [self.press_sync] * 16 + [self.press_twice] * 2 + [self.cancel] * 4 + [self.replace_key]
        self.try_to(self.random.choice(acts))

    def try_to(self, act: object) -> None:
        name = getattr(act, "__name__", "")
        try:
            with self.app.app_context():
                self.did[name] += 1
                act()  # type: ignore[operator]
        except (DBAPIError, redis.RedisError) as error:
            if time.monotonic() > self.stage.away_until:
                self.met.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
            else:
                self.did[f"{name}, in vain"] += 1

    def press_sync(self) -> None:
        enqueue.start_sync(self.random.choice(self.user_ids), "manual")

    def press_twice(self) -> None:
        user_id = self.random.choice(self.user_ids)
        first, second = enqueue.start_sync(user_id, "manual"), enqueue.start_sync(user_id, "manual")
        if first and second and second.is_new and db.session.get_one(RunRow, first.run_id).state in LIVE_STATES:
            self.met.append(f"user {user_id} has two live runs")

    def cancel(self) -> None:
        live = db.session.execute(
            select(RunRow.id, RunRow.user_id).where(RunRow.state.in_(LIVE_STATES)).limit(100)
        ).all()
        if live:
            run_id, user_id = self.random.choice(live)
            enqueue.cancel_run(run_id, user_id)

    def replace_key(self) -> None:
        key_id = self.random.choice(list(self.owners.values()))
        credential = credentials.find(key_id)
        if credential:
            row, slug = credential
            new = len(self.keys) + 1
            credentials.replace(row, slug, self._key(new, slug), self.public_key, _now())
            row.check_asked_at = None
            self.owners[new] = key_id  # before the commit, which may have happened although it says that it did not
            db.session.commit()

    def cron(self) -> None:
        enqueue.enqueue_full_sync("cron")

    def pass_day(self) -> None:
        """All that waits for a later day comes a day nearer."""
        for column in ("due_at", "put_off_until"):
            db.session.execute(text(f"UPDATE credentials SET {column} = {column} - interval '1 day'"))
        db.session.commit()

    def live(self) -> int:
        with self.app.app_context():
            return db.session.scalar(text("SELECT count(*) FROM runs WHERE state IN ('queued', 'running')")) or 0

    def replaced(self) -> set[int]:
        """Credentials that had more than one key."""
        return {key_id for key_id, times in Counter(self.owners.values()).items() if times > 1}

    def sync_everyone(self) -> list[int]:
        """A run for each user who has none; their ids."""
        with self.app.app_context():
            run_ids = runs.start_many(self.user_ids, "cron", _now())
            db.session.commit()
            tasks.push_runs(run_ids)
            return run_ids

    def _key(self, tag: int, slug: str) -> ApiKey:
        word = plan.TUNED if tag % 3 == 0 else "plain"
        mark = "".join(secrets.choice(MARK_LETTERS) for _ in range(24))
        self.keys[tag] = f"sk-chaos-{word}-t{tag}-{mark}"
        return ApiKey(self.keys[tag])


def mark_of(key: str) -> str:
    """The part of a key that is nowhere else."""
    return key.rpartition("-")[2]


def _now() -> datetime:
    return datetime.now(UTC)
