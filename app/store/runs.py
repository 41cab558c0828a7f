"""The life cycle of runs and results: start, claim, renew, settle, close.

Each step is a compare-and-set in one statement, so that of two workers, a double click or a stale worker only one
succeeds. The state that pages show comes from here, never from Redis.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    ScalarSelect,
    Select,
    String,
    and_,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy import insert as plain_insert

from app.extensions import db
from app.store.engine.dialect import insert
from app.store.engine.statements import cached_statement, execute_dml
from app.store.schema.columns import UtcDateTime
from app.store.schema.tables import LIVE_STATES, ChangeRow, CredentialRow, ProviderRow, ResultRow, RunRow, UserRow

RECOMMENDED_INTERVAL = timedelta(days=30)
"""If the last sync is older, pages recommend one."""
UNREAD_OUTCOMES = ("failed", "skipped")
NEW_KEY = "new-key"
"""Trigger of a key's first sync, which starts when the key is saved."""
TOTAL_COLUMNS = {
    "new": "total_new_models",
    "changed": "total_changed",
    "unlisted": "total_unlisted",
    "relisted": "total_relisted",
}
"""Kind of change → column of runs."""
LOST_CODE = "run_lost"
CANCELLED_CODE = "cancelled"
_MAX_LEASE = timedelta(minutes=10)
_MAX_LOST_FIRST_SYNCS = 3
"""A new key whose sync was lost this often is left to the schedule: it may be what stops the worker."""
_KEY_REMOVED_MESSAGE = "This key was removed, replaced or disabled before the sync came to it."
_CANCELLED_MESSAGE = "This sync was cancelled before this key was done."


@dataclass(frozen=True, slots=True)
class RunItem:
    """What a worker needs to fetch one credential's list. The key is sealed."""

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
    """The owner's base URL; None for the provider's default."""
    is_server: bool = False
    """Whether the key is in the server's environment instead of the database."""
    frequency: str | None = None
    """Update frequency set by an admin; None for that of the provider's file."""
    seen_at: datetime | None = None
    """The owner's last visit."""
    run_id: int = 0
    """0: not part of a run."""


@dataclass(frozen=True, slots=True)
class StartedRun:
    run: RunRow
    is_new: bool
    """False if the user already had a live run, which is returned instead."""


def start(
    user_id: int,
    trigger: str,
    now: datetime,
    *,
    provider: str | None = None,
    providers: Collection[str] = (),
    credential_id: int | None = None,
    only_new_keys: bool = False,
) -> StartedRun | None:
    """A new queued run over the user's active keys, or the live one. None if there is no key to sync.

    provider, providers, credential_id, only_new_keys (those not synced since they were saved): limit the run to these.
    They are added to a live run that no worker has claimed, unless it is the installation's own.

    Of two concurrent starts, the partial unique index on live runs lets one succeed.
    """
    close_lost(now)
    is_whole = not (provider or providers or credential_id or only_new_keys)
    filters = [CredentialRow.user_id == user_id, CredentialRow.is_active, ProviderRow.is_active]
    filters.append(select(UserRow.id).where(UserRow.id == user_id, UserRow.disabled_at.is_(None)).exists())
    if provider or providers:
        filters.append(ProviderRow.slug.in_({provider, *providers} - {None}))
    if credential_id:
        filters.append(CredentialRow.id == credential_id)
    if only_new_keys:
        filters.append(_is_new_key())
    if existing := live_run(user_id):
        return _join_live(existing, trigger, filters, is_whole=is_whole)
    run_id = db.session.scalar(
        insert(RunRow)
        .values(user_id=user_id, trigger=trigger, state="queued", is_whole=is_whole, created_at=now)
        .on_conflict_do_nothing()
        .returning(RunRow.id)
    )
    if run_id is None:
        existing = live_run(user_id)
        return _join_live(existing, trigger, filters, is_whole=is_whole) if existing else None
    if _add_results(run_id, filters):
        if not is_whole:
            _mark_whole([run_id])
        return StartedRun(db.session.get_one(RunRow, run_id), True)
    db.session.delete(db.session.get_one(RunRow, run_id))
    db.session.flush()
    return None


def _join_live(run: RunRow, trigger: str, filters: Sequence[Any], *, is_whole: bool) -> StartedRun:
    """The live run, extended to these credentials if no worker has claimed it."""
    # The installation's own run may belong to a plan, which writes what it shows and nothing else.
    is_personal = ~select(UserRow.id).where(UserRow.id == RunRow.user_id, UserRow.is_server).exists()
    locked = execute_dml(
        update(RunRow)
        .where(RunRow.id == run.id, RunRow.state == "queued", is_personal)
        .values(is_whole=or_(RunRow.is_whole, literal(is_whole)))  # locks the row: a worker that claims it waits
    )
    if not locked:
        return StartedRun(run, False)
    added = _add_results(run.id, filters)
    if trigger != NEW_KEY and (added or (is_whole and not run.is_whole)):
        execute_dml(update(RunRow).where(RunRow.id == run.id).values(trigger=trigger))
    db.session.refresh(run)
    return StartedRun(run, False)


def _add_results(run_id: int, filters: Sequence[Any]) -> int:
    """Add a result for each of these credentials without one in the run; returns how many."""
    new = select(
        literal(run_id), CredentialRow.user_id, CredentialRow.id, CredentialRow.provider_id, CredentialRow.label
    )
    new = new.join(ProviderRow, ProviderRow.id == CredentialRow.provider_id).where(*filters)
    columns = ["run_id", "user_id", "credential_id", "provider_id", "label"]
    statement = insert(ResultRow).from_select(columns, new).on_conflict_do_nothing().returning(ResultRow.id)
    return len(list(db.session.scalars(statement)))


def start_many(user_ids: Sequence[int], trigger: str, now: datetime) -> list[int]:
    """Queue runs over all keys of those users who have no live run; returns the ids of the new runs."""
    return _start_many(user_ids, trigger, now, CredentialRow.is_active.is_(True), is_whole=True)


def start_for_keys(credentials: Mapping[int, Sequence[int]], trigger: str, now: datetime) -> list[int]:
    """Queue runs over some keys (user id → credential ids) of users without a live run; the ids of the new runs."""
    ids = [credential_id for credential_ids in credentials.values() for credential_id in credential_ids]
    return _start_many(list(credentials), trigger, now, CredentialRow.id.in_(ids), is_whole=False)


def start_first_syncs(now: datetime, count: int) -> list[int]:
    """Queue runs over the new keys of at most `count` users without a live run; the ids of the new runs.

    A key stays new until a result of it is saved, so that none is forgotten: whoever calls this next starts its sync.
    """
    close_lost(now)
    live = select(RunRow.id).where(RunRow.user_id == CredentialRow.user_id, RunRow.state.in_(LIVE_STATES))
    query = (
        select(CredentialRow.user_id, CredentialRow.id)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(_is_new_key(), CredentialRow.is_active, ProviderRow.is_active, UserRow.disabled_at.is_(None))
        .where(~live.exists())
        .order_by(CredentialRow.user_id)
    )
    by_user: dict[int, list[int]] = defaultdict(list)
    for user_id, credential_id in db.session.execute(query.limit(count * 20)):
        if user_id in by_user or len(by_user) < count:
            by_user[user_id].append(credential_id)
    run_ids = start_for_keys(by_user, NEW_KEY, now) if by_user else []
    if run_ids:
        _mark_whole(run_ids)
    return run_ids


def _is_new_key() -> ColumnElement[bool]:
    """Whether a key has not been synced since it was saved, and did not stop its worker each time it was tried."""
    lost = select(func.count(ResultRow.id)).where(
        ResultRow.credential_id == CredentialRow.id,
        ResultRow.error_code == LOST_CODE,
        ResultRow.ended_at >= CredentialRow.check_asked_at,
    )
    return and_(CredentialRow.check_asked_at.is_not(None), lost.scalar_subquery() < _MAX_LOST_FIRST_SYNCS)


def _mark_whole(run_ids: Collection[int]) -> None:
    """Mark those of these runs that cover all active keys of their user."""
    covered = select(ResultRow.id).where(ResultRow.run_id == RunRow.id, ResultRow.credential_id == CredentialRow.id)
    missing = (
        select(CredentialRow.id)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == RunRow.user_id, CredentialRow.is_active, ProviderRow.is_active)
        .where(~covered.exists().correlate(RunRow, CredentialRow))
    )
    execute_dml(update(RunRow).where(RunRow.id.in_(run_ids), ~missing.exists().correlate(RunRow)).values(is_whole=True))


def _start_many(
    user_ids: Sequence[int], trigger: str, now: datetime, condition: ColumnElement[bool], *, is_whole: bool
) -> list[int]:
    facts = {"trigger": trigger, "state": "queued", "is_whole": is_whole, "created_at": now}
    values = [literal(value, type_=RunRow.__table__.c[name].type) for name, value in facts.items()]
    new = select(UserRow.id, *values).where(UserRow.id.in_(user_ids), UserRow.disabled_at.is_(None))
    new = new.order_by(UserRow.id)  # the same order everywhere, so that concurrent callers cannot deadlock
    statement = insert(RunRow).from_select(["user_id", *facts], new).on_conflict_do_nothing().returning(RunRow.id)
    run_ids = list(db.session.scalars(statement))
    db.session.execute(
        plain_insert(ResultRow).from_select(
            ["run_id", "user_id", "credential_id", "provider_id", "label"],
            select(RunRow.id, CredentialRow.user_id, CredentialRow.id, CredentialRow.provider_id, CredentialRow.label)
            .join(RunRow, RunRow.user_id == CredentialRow.user_id)
            .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
            .where(RunRow.id.in_(run_ids), CredentialRow.is_active, ProviderRow.is_active, condition),
        )
    )
    return run_ids


def users_to_sync(after: int, count: int) -> list[int]:
    """Ids of the next `count` users with an active key, after id `after`."""
    query = (
        select(CredentialRow.user_id)
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(
            CredentialRow.is_active,
            CredentialRow.user_id > after,
            UserRow.disabled_at.is_(None),
            UserRow.is_server.is_(False),
        )
        .group_by(CredentialRow.user_id)
        .order_by(CredentialRow.user_id)
        .limit(count)
    )
    return list(db.session.scalars(query))


def live_run(user_id: int) -> RunRow | None:
    return db.session.scalar(select(RunRow).where(RunRow.user_id == user_id, RunRow.state.in_(LIVE_STATES)))


def get(run_id: int) -> RunRow | None:
    return db.session.get(RunRow, run_id, populate_existing=True)


def last_finished(user_id: int, *, whole: bool = False) -> RunRow | None:
    """The newest finished run in which at least one list was read; `whole`: of those over all keys."""
    return db.session.scalar(_last_finished_query(whole), {"user_id": user_id})


@cached_statement
def _last_finished_query(whole: bool) -> Select[RunRow]:
    read = select(ResultRow.id).where(
        ResultRow.run_id == RunRow.id, ResultRow.outcome.is_not(None), ResultRow.outcome.not_in(UNREAD_OUTCOMES)
    )
    query = select(RunRow).where(RunRow.user_id == bindparam("user_id"), RunRow.state == "done", read.exists())
    if whole:
        query = query.where(RunRow.is_whole)
    return query.order_by(RunRow.id.desc()).limit(1)


def needs_sync(last: RunRow | None, now: datetime) -> bool:
    return last is None or last.ended_at is None or now - last.ended_at > RECOMMENDED_INTERVAL


def claim(run_ids: Collection[int], now: datetime, lease: timedelta) -> dict[int, int]:
    """Claim queued runs: run id → attempt number, without those that another worker claimed or that have ended."""
    claimed = db.session.execute(
        update(RunRow)
        .where(RunRow.id.in_(run_ids), RunRow.state == "queued")
        .values(
            state="running",
            attempt=RunRow.attempt + 1,
            lease_until=now + lease,
            started_at=func.coalesce(RunRow.started_at, now),
        )
        .returning(RunRow.id, RunRow.attempt)
        .execution_options(synchronize_session=False)
    )
    attempts: dict[int, int] = dict(claimed.all())
    if attempts:
        is_open = ResultRow.run_id.in_(attempts), ResultRow.outcome.is_(None)
        execute_dml(update(ResultRow).where(*is_open).values(started_at=now))
    return attempts


def renew(attempts: Mapping[int, int], now: datetime, lease: timedelta) -> set[int]:
    """Extend the leases of runs (run id → attempt). Returns those still held; nothing may be written for the others."""
    held = db.session.scalars(
        update(RunRow)
        .where(RunRow.state == "running", tuple_(RunRow.id, RunRow.attempt).in_(list(attempts.items())))
        .values(lease_until=now + lease)
        .returning(RunRow.id)
        .execution_options(synchronize_session=False)
    )
    return set(held)


def load_items(run_ids: Collection[int]) -> list[RunItem]:
    """The items of these runs that still have to be fetched."""
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
            UserRow.is_server,
            ProviderRow.admin_update_frequency,
            func.coalesce(UserRow.last_sign_in_at, UserRow.created_at),
            ResultRow.run_id,
        )
        .join(CredentialRow, CredentialRow.id == ResultRow.credential_id)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .where(
            ResultRow.run_id.in_(run_ids),
            ResultRow.outcome.is_(None),
            CredentialRow.is_active,
            ProviderRow.is_active,
            UserRow.disabled_at.is_(None),
        )
        .order_by(ResultRow.id)
    )
    return [RunItem(*tuple(row)) for row in db.session.execute(query)]


def settle(result_id: int, now: datetime, facts: Mapping[str, Any]) -> bool:
    """Write a result once; False if it already has an outcome."""
    is_open = ResultRow.id == result_id, ResultRow.outcome.is_(None)
    return execute_dml(update(ResultRow).where(*is_open).values(ended_at=now, **facts)) > 0


def settle_many(results: Sequence[Mapping[str, Any]]) -> None:
    """Write results once each. Each names its result id as `of_result`; all have the same columns."""
    if results:
        columns: dict[str, Any] = {name: bindparam(name) for name in results[0] if name != "of_result"}
        table = ResultRow.__table__
        statement = update(table).where(table.c.id == bindparam("of_result"), table.c.outcome.is_(None))  # type: ignore[arg-type]
        db.session.connection().execute(statement.values(columns), list(results))


def close(run_ids: Collection[int], now: datetime) -> None:
    """End runs whose results are all settled; results whose key was removed during the run become skipped."""
    _skip_rest(list(run_ids), now, "key_removed", _KEY_REMOVED_MESSAGE, "Nothing to do.")
    _close_with_totals(list(run_ids), "done", now)


def cancel(run_id: int, now: datetime, user_id: int | None = None) -> bool:
    """End a live run (of this user, if given) at once; settled results stay. False if it has already ended.

    Its worker notices at its next write that it no longer holds the run, and writes nothing more.
    """
    filters = [RunRow.id == run_id, RunRow.state.in_(LIVE_STATES)]
    if user_id is not None:
        filters.append(RunRow.user_id == user_id)
    if not execute_dml(update(RunRow).where(*filters).values(state="cancelled", ended_at=now, lease_until=None)):
        return False
    # Whoever cancels a new key's sync does not want it again at once.
    unsynced = select(ResultRow.credential_id).where(ResultRow.run_id == run_id, ResultRow.outcome.is_(None))
    execute_dml(update(CredentialRow).where(CredentialRow.id.in_(unsynced)).values(check_asked_at=None))
    _skip_rest(
        [run_id], now, CANCELLED_CODE, _CANCELLED_MESSAGE, "Your last list is kept. Press Sync Now to start again."
    )
    _close_with_totals([run_id], "cancelled", now)
    return True


def close_lost(now: datetime) -> list[int]:
    """Close running runs with an expired lease; returns their ids. Settled results stay, the rest become skipped."""
    far = now + _MAX_LEASE
    lost = []
    for run_id in list(db.session.scalars(_lost_query(), {"now": now, "far": far})):
        still_lost = RunRow.id == run_id, RunRow.state == "running", _is_lease_expired(now, far)
        if execute_dml(update(RunRow).where(*still_lost).values(state="lost", ended_at=now, lease_until=None)):
            lost.append(run_id)
    if lost:
        _skip_rest(
            lost,
            now,
            LOST_CODE,
            "The worker that ran this sync stopped before it came to this key.",
            "Your last list is kept. Press Sync Now again.",
        )
        _close_with_totals(lost, "lost", now)
    return lost


@cached_statement
def _lost_query() -> Select[int]:
    is_expired = _is_lease_expired(bindparam("now", type_=UtcDateTime), bindparam("far", type_=UtcDateTime))
    # ordered against deadlocks, as in `_start_many`
    return select(RunRow.id).where(RunRow.state == "running", is_expired).order_by(RunRow.id).limit(500)


def _is_lease_expired(
    now: datetime | BindParameter[datetime], far: datetime | BindParameter[datetime]
) -> ColumnElement[bool]:
    """A lease that ends too far ahead was written before the clock was set back: its worker would have renewed it."""
    return or_(RunRow.lease_until < now, RunRow.lease_until > far)


def stale_queued(before: datetime, count: int = 500) -> list[int]:
    """Ids of runs queued before `before`, oldest first: their jobs may have been lost with Redis."""
    query = (
        select(RunRow.id).where(RunRow.state == "queued", RunRow.created_at < before).order_by(RunRow.id).limit(count)
    )
    return list(db.session.scalars(query))


def _skip_rest(run_ids: list[int], now: datetime, code: str, message: str, action: str) -> None:
    execute_dml(
        update(ResultRow)
        .where(ResultRow.run_id.in_(run_ids), ResultRow.outcome.is_(None))
        .values(outcome="skipped", error_code=code, error_message=message, error_action=action, ended_at=now)
    )


def _close_with_totals(run_ids: list[int], state: str, now: datetime) -> None:
    values = {"state": state, "ended_at": now, "lease_until": None, **_totals()}
    execute_dml(update(RunRow).where(RunRow.id.in_(run_ids)).values(values))


def _totals() -> dict[str, ScalarSelect[int]]:
    """Column of a run → its number of models, each counted once per kind of change and provider.

    These are the numbers shown everywhere: two keys of one provider that saw the same change count it once.
    """
    model = cast(ResultRow.provider_id, String) + " " + ChangeRow.provider_model_id
    return {
        column: select(func.count(model.distinct()))
        .select_from(ResultRow)
        .join(ChangeRow, and_(ChangeRow.comparison_id == ResultRow.comparison_id, ChangeRow.kind == kind))
        .where(ResultRow.run_id == RunRow.id, ResultRow.comparison_id.is_not(None))
        .scalar_subquery()
        for kind, column in TOTAL_COLUMNS.items()
    }
