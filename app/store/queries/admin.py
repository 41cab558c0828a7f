"""Read models of the admin's pages, with a constant number of queries each.

Past days are counted once, into `tallies`; only what ended since is counted on each view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Date,
    Engine,
    Integer,
    Select,
    bindparam,
    cast,
    delete,
    func,
    literal,
    select,
    union_all,
)

from app.extensions import db
from app.store.engine.dialect import insert
from app.store.engine.statements import cached_statement
from app.store.queries import runs as run_queries
from app.store.queries.runs import HistoryFilter, RunView, midnight
from app.store.schema.columns import UtcDateTime
from app.store.schema.tables import CredentialRow, ProviderRow, ResultRow, RunRow, TallyRow, UserRow

WHOLE_RUNS = ""
"""Instead of a provider's slug: whole runs, by their state."""
_KEEP_FOR = timedelta(days=92)
_SETTLE_TIME = timedelta(hours=1)
"""Time after midnight until all transactions of the previous day have ended."""
_BATCH_SIZE = 200


class DayCount(NamedTuple):
    """A tuple, as a page reads thousands of them."""

    day: date
    slug: str
    """The provider; WHOLE_RUNS for whole runs."""
    word: str
    """The outcome of results, or the state of runs."""
    number: int


@dataclass(frozen=True, slots=True)
class InstallationTotals:
    users: int
    keys: int
    active_keys: int
    failing_keys: int
    queued: int
    """Runs; so is `running`."""
    running: int


@dataclass(frozen=True, slots=True)
class FailingKeyView:
    """An active key whose last sync failed. The key itself is not read."""

    id: int
    user_id: int
    email: str
    is_server: bool
    """Whether it is the installation's own account."""
    provider: str
    label: str
    since: datetime | None
    """The first stored failure after its last good list, else its last check."""
    checked_at: datetime | None
    listed_at: datetime | None
    error_code: str | None
    error_message: str | None
    error_action: str | None


@dataclass(frozen=True, slots=True)
class UserView:
    id: int
    email: str
    is_admin: bool
    created_at: datetime
    last_sign_in_at: datetime | None
    disabled_at: datetime | None
    keys: int
    last_run_at: datetime | None


@dataclass(frozen=True, slots=True)
class UserDetail:
    """One account, for its admin page."""

    line: UserView
    failing_keys: int
    runs: int
    is_last_admin: bool
    second_factor_at: datetime | None
    """When two-factor authentication was enabled."""


@dataclass(frozen=True, slots=True)
class ProviderView:
    slug: str
    is_active: bool
    base_url: str
    """The provider file's."""
    admin_base_url: str | None
    frequency: str
    """The provider file's."""
    admin_frequency: str | None
    last_synced_at: datetime | None
    keys: int
    """Active keys of all users."""
    failing_keys: int


# ------------------------------------------------------------------ counts


def aggregate_days(now: datetime) -> None:
    """Count past days that were not counted yet. Concurrent calls are harmless."""
    until = (now - _SETTLE_TIME).astimezone(UTC).date()
    since = until - _KEEP_FOR
    last = db.session.scalar(select(func.max(TallyRow.day)))
    if last is not None:
        since = max(since, last + timedelta(days=1))
    if since < until:
        for query in _ended_queries(midnight(since), midnight(until)):
            columns = ["day", "slug", "word", "count"]
            db.session.execute(insert(TallyRow).from_select(columns, query).on_conflict_do_nothing())
    db.session.execute(delete(TallyRow).where(TallyRow.day < until - _KEEP_FOR))


def load_counts(days: int, now: datetime) -> DayCounts:
    """What ended on each of the last `days` days, including today.

    Two queries, and a third if this process has no up-to-date cache of past days.
    """
    first = now.astimezone(UTC).date() - timedelta(days=days - 1)
    last, *sums = db.session.execute(_sums_query(), {"first": first}).one()
    closed = _closed_days.get(db.engine)
    if closed is None or closed.sums != (first, last, *sums):
        rows = db.session.execute(_tallies_query(), {"first": first})
        closed = _closed_days[db.engine] = _ClosedDays((first, last, *sums), [DayCount._make(row) for row in rows])
    # days after the last counted one are counted here
    since = (last or first - timedelta(days=1)) + timedelta(days=1)
    period = {"since": midnight(since), "until": datetime.max.replace(tzinfo=UTC)}
    fresh = _fetch(_fresh_query(db.engine.dialect.name), period)
    return DayCounts(closed, tuple(DayCount(_to_day(day), *rest) for day, *rest in fresh))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _ClosedDays:
    """Cached counts of past days (thousands, unchanging), and the sums that validate the cache."""

    sums: tuple[Any, ...]
    counts: list[DayCount]


@dataclass(frozen=True, slots=True)
class DayCounts:
    """Counts ordered by day; cheap to compare, as a cache key."""

    closed: _ClosedDays
    fresh: tuple[DayCount, ...]

    def __iter__(self) -> Iterator[DayCount]:
        return chain(self.closed.counts, self.fresh)


_closed_days: WeakKeyDictionary[Engine, _ClosedDays] = WeakKeyDictionary()


@cached_statement
def _sums_query() -> Select[date | None, int, int]:
    query = select(func.max(TallyRow.day), func.count(), func.coalesce(func.sum(TallyRow.count), 0))
    return query.where(TallyRow.day >= bindparam("first", type_=Date))


@cached_statement
def _tallies_query() -> Select[date, str, str, int]:
    query = select(TallyRow.day, TallyRow.slug, TallyRow.word, TallyRow.count)
    return query.where(TallyRow.day >= bindparam("first", type_=Date)).order_by(TallyRow.day)


@cached_statement
def _fresh_query(_dialect: str) -> CompoundSelect[Any]:
    return union_all(*_ended_queries(bindparam("since", type_=UtcDateTime), bindparam("until", type_=UtcDateTime)))


def count_last_day(now: datetime) -> Mapping[tuple[str, str], int]:
    """("", state) of runs and ("results", outcome) of results → number that ended in the last 24 hours; one query."""
    rows = _fetch(_last_day_query(), {"since": now - timedelta(days=1)})
    return {(scope, word): count for scope, word, count in rows}


@cached_statement
def _last_day_query() -> CompoundSelect[Any]:
    since = bindparam("since", type_=UtcDateTime)
    runs = (
        select(literal(WHOLE_RUNS), RunRow.state, func.count()).where(RunRow.ended_at >= since).group_by(RunRow.state)
    )
    results = (
        select(literal("results"), ResultRow.outcome, func.count())
        .where(ResultRow.ended_at >= since, ResultRow.outcome.is_not(None))
        .group_by(ResultRow.outcome)
    )
    return union_all(runs, results)


def load_totals() -> InstallationTotals:
    """Totals of the installation, without its own account; one query."""
    return InstallationTotals(*tuple(db.session.execute(_totals_query()).one()))


@cached_statement
def _totals_query() -> Select[*tuple[Any, ...]]:
    people = select(func.count(UserRow.id)).where(~UserRow.is_server)
    keys = select(func.count(CredentialRow.id)).where(_is_personal())
    live = select(func.count(RunRow.id)).where(RunRow.ended_at.is_(None))  # uses the index on ended_at
    return select(
        people.scalar_subquery(),
        keys.scalar_subquery(),
        keys.where(CredentialRow.is_active).scalar_subquery(),
        keys.where(*_is_failing()).scalar_subquery(),
        live.where(RunRow.state == "queued").scalar_subquery(),
        live.where(RunRow.state == "running").scalar_subquery(),
    )


def list_failing_keys(most: int) -> list[FailingKeyView]:
    """Failing active keys, most recently checked first; one query."""
    return [FailingKeyView(*tuple(row)) for row in db.session.execute(_failing_keys_query(), {"most": most})]


@cached_statement
def _failing_keys_query() -> Select[*tuple[Any, ...]]:
    began = (
        select(ResultRow.ended_at)
        .where(
            ResultRow.user_id == CredentialRow.user_id,
            ResultRow.credential_id == CredentialRow.id,
            ResultRow.outcome == "failed",
            ResultRow.ended_at > func.coalesce(CredentialRow.listed_at, CredentialRow.created_at),
        )
        .order_by(ResultRow.ended_at)
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            CredentialRow.id,
            CredentialRow.user_id,
            UserRow.email,
            UserRow.is_server,
            ProviderRow.slug,
            CredentialRow.label,
            func.coalesce(began, CredentialRow.checked_at),
            CredentialRow.checked_at,
            CredentialRow.listed_at,
            CredentialRow.error_code,
            CredentialRow.error_message,
            CredentialRow.error_action,
        )
        .join(UserRow, UserRow.id == CredentialRow.user_id)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(*_is_failing())
        .order_by(CredentialRow.checked_at.desc(), CredentialRow.id.desc())
        .limit(bindparam("most", type_=Integer))
    )


def _is_failing() -> tuple[ColumnElement[bool], ...]:
    return CredentialRow.outcome == "failed", CredentialRow.is_active.is_(True)


def _ended_queries(
    since: datetime | BindParameter[datetime], until: datetime | BindParameter[datetime]
) -> tuple[Select[Any], Select[Any]]:
    """Queries for what ended in this period, as (day, slug, word, count): results, and whole runs."""
    ended_at = ResultRow.ended_at
    day = _utc_day(ended_at).label("day")
    # counted by an index-only scan before joining the slug
    counted = (
        select(day, ResultRow.provider_id, ResultRow.outcome, func.count().label("count"))
        .where(ended_at >= since, ended_at < until, ResultRow.outcome.is_not(None))
        .group_by(day, ResultRow.provider_id, ResultRow.outcome)
        .subquery()
    )
    results = select(counted.c.day, ProviderRow.slug, counted.c.outcome, counted.c["count"]).join(
        counted, ProviderRow.id == counted.c.provider_id
    )
    day = _utc_day(RunRow.ended_at).label("day")
    runs = (
        select(day, literal(WHOLE_RUNS), RunRow.state, func.count())
        .where(RunRow.ended_at >= since, RunRow.ended_at < until)
        .group_by(day, RunRow.state)
    )
    return results, runs


def _utc_day(at: Any) -> ColumnElement[Any]:
    """The UTC day of a time: a date on PostgreSQL, text on SQLite, as each stores dates."""
    if db.engine.dialect.name == "postgresql":
        return cast(func.timezone("UTC", at), Date)
    return func.date(at)


def _fetch(query: Any, values: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    return (tuple(row) for row in db.session.execute(query, values))


def _to_day(value: Any) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


# ------------------------------------------------------------------ users and providers


def list_users(
    search: str = "", before: int | None = None, size: int = run_queries.PAGE_SIZE
) -> tuple[list[UserView], int | None]:
    """Accounts, newest first, and the cursor of the next page. search: part of an e-mail address. One query."""
    query = _users_query()
    if search:
        query = query.where(UserRow.email.contains(search.strip().lower(), autoescape=True))
    if before is not None:
        query = query.where(UserRow.id < before)
    rows = db.session.execute(query.order_by(UserRow.id.desc()).limit(size + 1))
    lines = [UserView(*tuple(row)) for row in rows]
    return lines[:size], lines[size - 1].id if len(lines) > size else None


def load_user(user_id: int) -> UserDetail | None:
    """One account; None for the installation's own and for an unknown id. One query."""
    failing = select(func.count(CredentialRow.id)).where(CredentialRow.user_id == UserRow.id, *_is_failing())
    runs = select(func.count(RunRow.id)).where(RunRow.user_id == UserRow.id)
    other = UserRow.__table__.alias("other")
    others = select(other.c.id).where(
        other.c.is_admin, other.c.disabled_at.is_(None), ~other.c.is_server, other.c.id != UserRow.id
    )
    more = (failing.scalar_subquery(), runs.scalar_subquery(), ~others.exists(), UserRow.second_factor_at)
    row = db.session.execute(_users_query().add_columns(*more).where(UserRow.id == user_id)).first()
    if row is None:
        return None
    *line, failing_count, run_count, has_no_other, second_factor_at = row
    facts = UserView(*line)
    is_last = bool(has_no_other) and facts.is_admin and facts.disabled_at is None
    return UserDetail(facts, failing_count, run_count, is_last, second_factor_at)


def list_providers() -> list[ProviderView]:
    """All providers with admin settings and key counts; one query."""
    keys = (
        select(
            CredentialRow.provider_id,
            func.count().label("key_count"),
            func.count().filter(CredentialRow.outcome == "failed").label("failing_count"),
        )
        .where(CredentialRow.is_active, _is_personal())
        .group_by(CredentialRow.provider_id)
        .subquery()
    )
    query = (
        select(
            ProviderRow.slug,
            ProviderRow.is_active,
            ProviderRow.base_url,
            ProviderRow.admin_base_url,
            ProviderRow.models_api["update_frequency"].as_string(),
            ProviderRow.admin_update_frequency,
            ProviderRow.last_synced_at,
            func.coalesce(keys.c.key_count, 0),
            func.coalesce(keys.c.failing_count, 0),
        )
        .outerjoin(keys, keys.c.provider_id == ProviderRow.id)
        .order_by(ProviderRow.slug)
    )
    return [ProviderView(*tuple(row)) for row in db.session.execute(query)]


def _is_personal() -> ColumnElement[bool]:
    """Excludes the installation's own account, which has a credential at each provider it ever synced."""
    return CredentialRow.user_id.not_in(select(UserRow.id).where(UserRow.is_server))


def _users_query() -> Select[Any]:
    keys = select(func.count(CredentialRow.id)).where(CredentialRow.user_id == UserRow.id)
    last_run = select(RunRow.created_at).where(RunRow.user_id == UserRow.id).order_by(RunRow.id.desc()).limit(1)
    return select(
        UserRow.id,
        UserRow.email,
        UserRow.is_admin,
        UserRow.created_at,
        UserRow.last_sign_in_at,
        UserRow.disabled_at,
        keys.scalar_subquery(),
        last_run.scalar_subquery(),
    ).where(~UserRow.is_server)


# ------------------------------------------------------------------ export


def iter_runs(filters: HistoryFilter, size: int = _BATCH_SIZE) -> Iterator[list[RunView]]:
    """All matching runs, newest first, in batches; no transaction is open between two of them."""
    before = None
    while True:
        lines, before = run_queries.list_all_runs(filters, before, size)
        db.session.rollback()
        db.session.expunge_all()
        yield lines
        if before is None:
            return
