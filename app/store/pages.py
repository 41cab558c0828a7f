"""One read per page: frozen lines that templates and the API get, in a number of queries that does not grow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    true,
)

from app.catalog.changes import Change, FieldChange
from app.catalog.listing import Listing
from app.extensions import db
from app.store import listings
from app.store.tables import (
    LIVE,
    ChangeRow,
    CredentialRow,
    ProviderRow,
    ResultRow,
    RunRow,
    UserRow,
)

PAGE_SIZE = 25
_MOST_CHANGES = 100
_CHECK_PATIENCE = timedelta(seconds=90)
"""After this long without an answer a check is no longer promised."""


@dataclass(frozen=True, slots=True)
class Nav:
    unseen_new: int
    newest: datetime | None = None
    """When the last result ended that brought any of them."""


@dataclass(frozen=True, slots=True)
class News:
    """The counters as they are now, and what of them somebody has not been told of."""

    nav: Nav
    fresh: list[tuple[str, int]]
    """(provider, chat models seen there first since then), those with the most first."""


@dataclass(frozen=True, slots=True)
class KeyLine:
    id: int
    provider: str
    label: str
    hint: str
    has_key: bool
    is_active: bool
    is_checking: bool
    outcome: str | None
    model_count: int | None
    chat_count: int | None
    error_message: str | None
    error_action: str | None
    checked_at: datetime | None
    listed_at: datetime | None
    base_url: str | None
    can_accept: bool
    put_off_until: datetime | None
    """The provider asked to wait until then; None, or in the past, where it did not."""


@dataclass(frozen=True, slots=True)
class ResultLine:
    id: int
    run_id: int
    provider: str
    label: str
    state: str
    """waiting · fetching · done"""
    outcome: str | None
    fetched: int
    chat: int
    new: int
    changed: int
    unlisted: int
    relisted: int
    uncatalogued: int
    skipped: int
    duration_s: float | None
    error_code: str | None
    error_message: str | None
    error_action: str | None
    ended_at: datetime | None
    listing_id: int | None
    before_listing_id: int | None
    comparison_id: int | None
    skipped_entries: Sequence[Sequence[str]]
    requests: Sequence[Sequence[Any]] = ()
    """What was asked for it, as `ResultRow.requests`; empty where that was not kept."""
    credential_id: int | None = None
    """None once the key was deleted."""
    started_at: datetime | None = None
    """When the provider was asked; None while it waits for its turn."""


@dataclass(frozen=True, slots=True)
class RunLine:
    id: int
    user_id: int
    email: str
    trigger: str
    state: str
    total_new_models: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    results: list[ResultLine] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def settled(self) -> int:
        return sum(result.state == "done" for result in self.results)

    @property
    def revision(self) -> str:
        """Changes whenever the page has something else to show."""
        return f"{self.id}.{self.state}.{self.settled}"

    def total(self, count: str) -> int:
        return sum(getattr(result, count) for result in self.results)


@dataclass(frozen=True, slots=True)
class ChangeGroup:
    """What one result brought: the changes of one key at one moment."""

    result: ResultLine
    changes: list[Change]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Of the admin's history; empty fields do not filter."""

    user: str = ""
    provider: str = ""
    outcome: str = ""
    trigger: str = ""
    state: str = ""
    since: date | None = None
    until: date | None = None


def nav(user_id: int) -> Nav:
    """All counters of the navigation, in one query."""
    count, newest = db.session.execute(_counters(), {"user_id": user_id}).one()
    return Nav(unseen_new=count, newest=newest)


@cache
def _counters() -> Select[int, datetime | None]:
    """Built once: every page asks it, and to build it takes ten times as long as to answer it."""
    unseen = _unseen(bindparam("user_id", type_=BigInteger)).subquery()
    return select(func.count(), func.max(unseen.c.last_at)).select_from(unseen)


def news(user_id: int, since: datetime | None) -> News:
    """The counters, and where models came up `since` then that are unseen; in one query."""
    unseen = _unseen(user_id).subquery()
    is_fresh = true() if since is None else unseen.c.first_at > since
    query = (
        select(
            ProviderRow.slug,
            func.count(),
            func.count().filter(is_fresh),
            func.max(unseen.c.last_at),
        )
        .join(unseen, unseen.c.provider_id == ProviderRow.id)
        .group_by(ProviderRow.slug)
        .order_by(ProviderRow.slug)
    )
    lines = db.session.execute(query).all()
    nav = Nav(sum(line[1] for line in lines), max((line[3] for line in lines), default=None))
    fresh = sorted(((line[0], line[2]) for line in lines if line[2]), key=lambda line: -line[1])
    return News(nav, fresh)


def _unseen(user_id: int | BindParameter[int]) -> Select[int, str, datetime | None, datetime | None]:
    """New models in results that the user has not looked at, each once, with its first and last sighting."""
    return (
        select(
            ResultRow.provider_id,
            ChangeRow.provider_model_id,
            func.min(ResultRow.ended_at).label("first_at"),
            func.max(ResultRow.ended_at).label("last_at"),
        )
        .join(ChangeRow, and_(ChangeRow.comparison_id == ResultRow.comparison_id, ChangeRow.kind == "new"))
        .join(UserRow, UserRow.id == ResultRow.user_id)
        .where(
            ResultRow.user_id == user_id,
            ResultRow.new > literal_column("0"),  # not a parameter: only so it is the index's own condition
            func.coalesce(ResultRow.ended_at > UserRow.changes_seen_at, True),
        )
        .group_by(ResultRow.provider_id, ChangeRow.provider_model_id)
    )


def keys(user_id: int, now: datetime, credential_id: int | None = None) -> list[KeyLine]:
    """A user's API keys by provider and label; the sealed keys are not even read."""
    values: dict[str, Any] = {"user_id": user_id, "patience": now - _CHECK_PATIENCE}
    query = _keys()
    if credential_id is not None:
        query = query.where(CredentialRow.id == credential_id)
    return [KeyLine(*tuple(row)) for row in db.session.execute(query, values)]


@cache
def _keys() -> Select[*tuple[Any, ...]]:
    return (
        select(
            CredentialRow.id,
            ProviderRow.slug,
            CredentialRow.label,
            CredentialRow.key_hint,
            CredentialRow.vault_version.is_not(None),
            CredentialRow.is_active,
            func.coalesce(CredentialRow.check_asked_at > bindparam("patience"), False),
            CredentialRow.outcome,
            CredentialRow.model_count,
            CredentialRow.chat_count,
            CredentialRow.error_message,
            CredentialRow.error_action,
            CredentialRow.checked_at,
            CredentialRow.listed_at,
            CredentialRow.base_url,
            CredentialRow.suspect_listing_id.is_not(None) & (CredentialRow.outcome == "suspect"),
            CredentialRow.put_off_until,
        )
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == bindparam("user_id"))
        .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
    )


def latest_run(user_id: int) -> RunLine | None:
    """The newest run with its results: what the sync status shows."""
    return _one(_latest_run(), {"user_id": user_id})


def run(run_id: int, user_id: int | None = None) -> RunLine | None:
    """One run with its results; with `user_id` only if it is theirs."""
    if user_id is None:
        return _one(_runs().where(RunRow.id == run_id))
    return _one(_own_run(), {"run_id": run_id, "user_id": user_id})


def history(
    user_id: int,
    before: int | None = None,
    size: int = PAGE_SIZE,
    *,
    within: tuple[datetime, datetime] | None = None,
) -> tuple[list[RunLine], int | None]:
    """A user's runs, newest first, with the cursor of the next page; `within` this time only, if it is given."""
    query = _runs().where(RunRow.user_id == user_id)
    if within is not None:
        query = query.where(RunRow.created_at >= within[0], RunRow.created_at < within[1])
    return _page(query, before, size)


def all_history(
    wanted: HistoryFilter, before: int | None = None, size: int = PAGE_SIZE
) -> tuple[list[RunLine], int | None]:
    """Everyone's runs, newest first, for admins."""
    query = _runs()
    for condition in _conditions(wanted):
        query = query.where(condition)
    return _page(query, before, size)


def changes_of(results: Iterable[ResultLine], most: int = _MOST_CHANGES) -> list[ChangeGroup]:
    """The changes that these results brought, in their order; of each at most `most`, with the number left out."""
    wanted = [result for result in results if result.comparison_id is not None]
    ids = {result.comparison_id for result in wanted}
    by_comparison: dict[int, list[Change]] = defaultdict(list)
    totals: dict[int, int] = {}
    if ids:
        number = func.row_number().over(partition_by=ChangeRow.comparison_id, order_by=ChangeRow.id).label("number")
        total = func.count().over(partition_by=ChangeRow.comparison_id).label("total")
        ranked = select(ChangeRow.id, number, total).where(ChangeRow.comparison_id.in_(ids)).subquery()
        query = (
            select(ChangeRow, ranked.c.total)
            .join(ranked, ranked.c.id == ChangeRow.id)
            .where(ranked.c.number <= most)
            .order_by(ChangeRow.id)
        )
        for row, count in db.session.execute(query):
            by_comparison[row.comparison_id].append(change_of(row))
            totals[row.comparison_id] = count
    groups = []
    for result in wanted:
        changes = by_comparison.get(result.comparison_id or 0, [])
        groups.append(ChangeGroup(result, changes, totals.get(result.comparison_id or 0, 0) - len(changes)))
    return groups


def last_change_at(user_id: int) -> datetime | None:
    """Until where someone who looks now has seen."""
    query = select(func.max(ResultRow.ended_at)).where(
        ResultRow.user_id == user_id, ResultRow.comparison_id.is_not(None)
    )
    return db.session.scalar(query)


def listing_of_result(result: ResultLine) -> Listing | None:
    """What the provider answered then, or None for a result without an answer."""
    return listings.load_many([result.listing_id])[result.listing_id] if result.listing_id else None


@cache
def _latest_run() -> Select[RunRow, str]:
    return _runs().where(RunRow.user_id == bindparam("user_id")).order_by(RunRow.id.desc()).limit(1)


@cache
def _own_run() -> Select[RunRow, str]:
    return _runs().where(RunRow.id == bindparam("run_id"), RunRow.user_id == bindparam("user_id"))


def _runs() -> Select[RunRow, str]:
    query = select(RunRow, UserRow.email).join(UserRow, UserRow.id == RunRow.user_id)
    return query.execution_options(populate_existing=True)


@cache
def _results_of_runs() -> Select[ResultRow, str]:
    """Built once, as `_counters`: whoever watches a sync has it asked every few seconds."""
    run_ids: BindParameter[Sequence[int]] = bindparam("run_ids", expanding=True)
    query = select(ResultRow, ProviderRow.slug).join(ProviderRow, ProviderRow.id == ResultRow.provider_id)
    return query.where(ResultRow.run_id.in_(run_ids)).order_by(ResultRow.id).execution_options(populate_existing=True)


def _page(query: Select[RunRow, str], before: int | None, size: int) -> tuple[list[RunLine], int | None]:
    if before is not None:
        query = query.where(RunRow.id < before)
    lines = _with_results(query.order_by(RunRow.id.desc()).limit(size + 1))
    following = lines[size - 1].id if len(lines) > size else None
    return lines[:size], following


def _one(query: Select[RunRow, str], values: Mapping[str, int] | None = None) -> RunLine | None:
    lines = _with_results(query, values)
    return lines[0] if lines else None


def _with_results(query: Select[RunRow, str], values: Mapping[str, int] | None = None) -> list[RunLine]:
    found = db.session.execute(query, values).all()
    by_run: dict[int, list[ResultLine]] = defaultdict(list)
    if found:
        for row in db.session.execute(_results_of_runs(), {"run_ids": [row.id for row, _ in found]}):
            line = _result(row)
            by_run[line.run_id].append(line)
    return [_run(row, email, by_run[row.id]) for row, email in found]


def _run(row: RunRow, email: str, results: list[ResultLine]) -> RunLine:
    return RunLine(
        id=row.id,
        user_id=row.user_id,
        email=email,
        trigger=row.trigger,
        state=row.state,
        total_new_models=row.total_new_models,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        results=results,
    )


def _result(found: Sequence[object]) -> ResultLine:
    row, slug = found
    if not isinstance(row, ResultRow):
        raise TypeError("expected a result row")
    return ResultLine(
        id=row.id,
        run_id=row.run_id,
        provider=str(slug),
        label=row.label,
        state="done" if row.outcome else "fetching" if row.started_at else "waiting",
        outcome=row.outcome,
        fetched=row.fetched,
        chat=row.chat,
        new=row.new,
        changed=row.changed,
        unlisted=row.unlisted,
        relisted=row.relisted,
        uncatalogued=row.uncatalogued,
        skipped=row.skipped,
        duration_s=(row.ended_at - row.started_at).total_seconds() if row.ended_at and row.started_at else None,
        error_code=row.error_code,
        error_message=row.error_message,
        error_action=row.error_action,
        ended_at=row.ended_at,
        listing_id=row.listing_id,
        before_listing_id=row.before_listing_id,
        comparison_id=row.comparison_id,
        skipped_entries=row.skipped_entries or (),
        requests=row.requests or (),
        credential_id=row.credential_id,
        started_at=row.started_at,
    )


def change_of(row: ChangeRow) -> Change:
    return Change(
        row.kind,  # type: ignore[arg-type]  # the check constraint holds it to the four words
        row.provider_model_id,
        row.model_name,
        msgspec.convert(row.fields, tuple[FieldChange, ...]),
    )


def _conditions(wanted: HistoryFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.user:
        conditions.append(UserRow.email.contains(wanted.user.strip().lower(), autoescape=True))
    if wanted.trigger:
        conditions.append(RunRow.trigger == wanted.trigger)
    if wanted.state:
        conditions.append(RunRow.state == wanted.state)
    if wanted.since:
        conditions.append(RunRow.created_at >= _midnight(wanted.since))
    if wanted.until and wanted.until < date.max:
        conditions.append(RunRow.created_at < _midnight(wanted.until + timedelta(days=1)))
    if wanted.provider or wanted.outcome:
        conditions.append(_has_result(wanted.provider, wanted.outcome))
    return conditions


def _has_result(provider: str, outcome: str) -> ColumnElement[bool]:
    part = select(ResultRow.id).where(ResultRow.run_id == RunRow.id)
    if outcome:
        part = part.where(ResultRow.outcome == outcome)
    if provider:
        part = part.join(ProviderRow, ProviderRow.id == ResultRow.provider_id).where(ProviderRow.slug == provider)
    return part.exists()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
