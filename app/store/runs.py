"""Runs and results: started, claimed, renewed, settled, closed.

Each step is a compare-and-set in one statement, so that two workers, a double click and a dead worker's ghost
cannot both have it. State shown to people comes from here, never from Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, and_, cast, func, literal, select, update
from sqlalchemy import insert as plain_insert

from app.extensions import db
from app.store.dialect import insert
from app.store.tables import LIVE, ChangeRow, CredentialRow, ProviderRow, ResultRow, RunRow

RECOMMENDED_EVERY = timedelta(days=30)
"""A last sync older than this brings the "sync recommended" banner."""
NOTHING_READ = ("failed", "skipped")
LOST_CODE = "run_lost"
_GONE = "This key was removed, replaced or disabled before the sync came to it."


@dataclass(frozen=True, slots=True)
class Part:
    """What a worker needs to ask for one credential. The key in it is sealed."""

    result_id: int
    credential_id: int
    user_id: int
    provider_id: int
    slug: str
    label: str
    sealed_key: bytes | None
    vault_version: int | None
    key_number: int
    base_url: str | None
    """Where its owner wants it asked, if not at the provider's own address."""


@dataclass(frozen=True, slots=True)
class Started:
    run: RunRow
    is_new: bool
    """False if the user had a live run already: that one is given."""


def start(
    user_id: int,
    trigger: str,
    now: datetime,
    *,
    provider: str | None = None,
    credential_id: int | None = None,
) -> Started | None:
    """A new queued run over the user's active keys, or the live one. None if there is no key to sync.

    The partial unique index on live runs decides between two who start at one moment.
    """
    close_lost(now)
    if live_run := live(user_id):
        return Started(live_run, False)
    run_id = db.session.scalar(
        insert(RunRow)
        .values(
            user_id=user_id,
            trigger=trigger,
            state="queued",
            is_whole=not (provider or credential_id),
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(RunRow.id)
    )
    if run_id is None:
        live_run = live(user_id)
        return Started(live_run, False) if live_run else None
    wanted = [CredentialRow.user_id == user_id, CredentialRow.is_active, ProviderRow.is_active]
    if provider:
        wanted.append(ProviderRow.slug == provider)
    if credential_id:
        wanted.append(CredentialRow.id == credential_id)
    db.session.execute(
        plain_insert(ResultRow).from_select(
            ["run_id", "user_id", "credential_id", "provider_id", "label"],
            select(
                literal(run_id),
                CredentialRow.user_id,
                CredentialRow.id,
                CredentialRow.provider_id,
                CredentialRow.label,
            )
            .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
            .where(*wanted),
        )
    )
    run = db.session.get_one(RunRow, run_id)
    # Asked, not counted: PostgreSQL's driver gives no row count for INSERT … SELECT.
    if db.session.scalar(select(ResultRow.id).where(ResultRow.run_id == run_id).limit(1)):
        return Started(run, True)
    db.session.delete(run)
    db.session.flush()
    return None


def start_many(user_ids: Sequence[int], trigger: str, now: datetime) -> list[int]:
    """Queued runs for all of these users who have no live one; the ids of the new runs."""
    if not user_ids:
        return []
    statement = (
        insert(RunRow)
        .values(
            [{"user_id": user_id, "trigger": trigger, "state": "queued", "created_at": now} for user_id in user_ids]
        )
        .on_conflict_do_nothing()
        .returning(RunRow.id)
    )
    run_ids = list(db.session.scalars(statement))
    db.session.execute(
        plain_insert(ResultRow).from_select(
            ["run_id", "user_id", "credential_id", "provider_id", "label"],
            select(
                RunRow.id,
                CredentialRow.user_id,
                CredentialRow.id,
                CredentialRow.provider_id,
                CredentialRow.label,
            )
            .join(RunRow, RunRow.user_id == CredentialRow.user_id)
            .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
            .where(RunRow.id.in_(run_ids), CredentialRow.is_active, ProviderRow.is_active),
        )
    )
    return run_ids


def users_to_sync(after: int, count: int) -> list[int]:
    """The next `count` users with an active key, by id, beyond `after`."""
    query = (
        select(CredentialRow.user_id)
        .where(CredentialRow.is_active, CredentialRow.user_id > after)
        .group_by(CredentialRow.user_id)
        .order_by(CredentialRow.user_id)
        .limit(count)
    )
    return list(db.session.scalars(query))


def live(user_id: int) -> RunRow | None:
    return db.session.scalar(select(RunRow).where(RunRow.user_id == user_id, RunRow.state.in_(LIVE)))


def get(run_id: int) -> RunRow | None:
    return db.session.get(RunRow, run_id, populate_existing=True)


def last_done(user_id: int, *, whole: bool = False) -> RunRow | None:
    """The newest finished run in which at least one provider's list was read; `whole`: one over all keys."""
    read = select(ResultRow.id).where(
        ResultRow.run_id == RunRow.id, ResultRow.outcome.is_not(None), ResultRow.outcome.not_in(NOTHING_READ)
    )
    query = (
        select(RunRow)
        .where(RunRow.user_id == user_id, RunRow.state == "done", read.exists(), RunRow.is_whole.in_({True, whole}))
        .order_by(RunRow.id.desc())
        .limit(1)
    )
    return db.session.scalar(query)


def needs_sync(last: RunRow | None, now: datetime) -> bool:
    return last is None or last.ended_at is None or now - last.ended_at > RECOMMENDED_EVERY


def claim(run_id: int, now: datetime, lease: timedelta) -> int | None:
    """Take a queued run. The number of the attempt, or None if another worker has it or it is over."""
    taken = db.session.scalar(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.state == "queued")
        .values(
            state="running",
            attempt=RunRow.attempt + 1,
            lease_until=now + lease,
            started_at=func.coalesce(RunRow.started_at, now),
        )
        .returning(RunRow.attempt)
        .execution_options(synchronize_session=False)
    )
    if taken is not None:
        db.session.execute(
            update(ResultRow)
            .where(ResultRow.run_id == run_id, ResultRow.outcome.is_(None))
            .values(started_at=now)
            .execution_options(synchronize_session=False)
        )
    return taken


def renew(run_id: int, attempt: int, now: datetime, lease: timedelta) -> bool:
    """Prolong the lease. False if it is no longer ours: then nothing more may be written."""
    done = db.session.execute(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.state == "running", RunRow.attempt == attempt)
        .values(lease_until=now + lease)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def parts(run_id: int) -> list[Part]:
    """What is still to be asked in this run."""
    query = (
        select(
            ResultRow.id,
            CredentialRow.id,
            CredentialRow.user_id,
            CredentialRow.provider_id,
            ProviderRow.slug,
            CredentialRow.label,
            CredentialRow.sealed_key,
            CredentialRow.vault_version,
            CredentialRow.key_number,
            CredentialRow.base_url,
        )
        .join(CredentialRow, CredentialRow.id == ResultRow.credential_id)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(
            ResultRow.run_id == run_id,
            ResultRow.outcome.is_(None),
            CredentialRow.is_active,
            ProviderRow.is_active,
        )
        .order_by(ResultRow.id)
    )
    return [Part(*tuple(row)) for row in db.session.execute(query)]


def settle(result_id: int, now: datetime, facts: Mapping[str, Any]) -> bool:
    """Write a result once; False if it has its outcome already."""
    done = db.session.execute(
        update(ResultRow)
        .where(ResultRow.id == result_id, ResultRow.outcome.is_(None))
        .values(ended_at=now, **facts)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def close(run_id: int, now: datetime) -> None:
    """End a run whose results are all settled; parts whose key was removed meanwhile are skipped."""
    _skip_rest([run_id], now, "key_removed", _GONE, "Nothing to do.")
    _total([run_id], "done", now)


def close_lost(now: datetime) -> list[int]:
    """Close running runs whose lease is over. What they settled stays; the rest is skipped, and says so."""
    lost = list(
        db.session.scalars(select(RunRow.id).where(RunRow.state == "running", RunRow.lease_until < now).limit(500))
    )
    taken = []
    for run_id in lost:
        done = db.session.execute(
            update(RunRow)
            .where(RunRow.id == run_id, RunRow.state == "running", RunRow.lease_until < now)
            .values(state="lost", ended_at=now, lease_until=None)
            .execution_options(synchronize_session=False)
        )
        if done.rowcount:  # type: ignore[attr-defined]
            taken.append(run_id)
    if taken:
        _skip_rest(
            taken,
            now,
            LOST_CODE,
            "The worker that ran this sync stopped before it came to this key.",
            "Your last list is kept. Press Sync Now again.",
        )
        _total(taken, "lost", now)
    return taken


def waiting(before: datetime, count: int = 500) -> list[int]:
    """Queued runs older than `before`, the oldest first: their job may have been lost with Redis."""
    query = (
        select(RunRow.id).where(RunRow.state == "queued", RunRow.created_at < before).order_by(RunRow.id).limit(count)
    )
    return list(db.session.scalars(query))


def _skip_rest(run_ids: list[int], now: datetime, code: str, message: str, action: str) -> None:
    db.session.execute(
        update(ResultRow)
        .where(ResultRow.run_id.in_(run_ids), ResultRow.outcome.is_(None))
        .values(outcome="skipped", error_code=code, error_message=message, error_action=action, ended_at=now)
        .execution_options(synchronize_session=False)
    )


def _total(run_ids: list[int], state: str, now: datetime) -> None:
    # A model that is new for two keys of one provider is one new model.
    told = cast(ResultRow.provider_id, String) + " " + ChangeRow.provider_model_id
    new = (
        select(func.count(told.distinct()))
        .select_from(ResultRow)
        .join(ChangeRow, and_(ChangeRow.comparison_id == ResultRow.comparison_id, ChangeRow.kind == "new"))
        .where(ResultRow.run_id == RunRow.id, ResultRow.new > 0)
        .scalar_subquery()
    )
    db.session.execute(
        update(RunRow)
        .where(RunRow.id.in_(run_ids))
        .values(state=state, ended_at=now, lease_until=None, total_new_models=new)
        .execution_options(synchronize_session=False)
    )
