"""Runs with their results, for pages, the API and exports; the number of queries does not grow with the data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, null, select

from app.catalog.changes import Change
from app.catalog.listing import Listing
from app.extensions import db
from app.store import listings
from app.store.engine.statements import cached_statement
from app.store.engine.views import ResultCounts
from app.store.queries.changes import load_first_changes
from app.store.runs import TOTAL_COLUMNS
from app.store.schema.tables import LIVE_STATES, READ_OUTCOMES, ListingRow, ProviderRow, ResultRow, RunRow, UserRow

PAGE_SIZE = 25
_MAX_CHANGES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultView(ResultCounts):
    id: int
    run_id: int
    provider: str
    label: str
    state: str
    """waiting · fetching · done"""
    outcome: str | None
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
    """Its HTTP requests, as in `ResultRow.requests`; empty if they were not stored."""
    credential_id: int | None = None
    """None once the key was deleted."""
    started_at: datetime | None = None
    """When the fetch started; None while waiting."""
    before_chat: int | None = None
    """Chat models of the list that was in force before; None for a key's first list."""

    @property
    def is_read(self) -> bool:
        return self.outcome in READ_OUTCOMES

    @property
    def is_first(self) -> bool:
        """Whether it brought the key's first list: only models unknown to the catalog are "new" in it."""
        return self.is_read and self.before_listing_id is None


@dataclass(frozen=True, slots=True)
class RunView:
    id: int
    user_id: int
    email: str
    trigger: str
    state: str
    total_new_models: int
    total_changed: int
    total_unlisted: int
    total_relisted: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    previous_at: datetime | None
    """When the user's sync before this one ended; not loaded for lists of runs."""
    results: list[ResultView] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        return self.state in LIVE_STATES

    @property
    def settled(self) -> int:
        return sum(result.state == "done" for result in self.results)

    @property
    def revision(self) -> str:
        """Changes whenever the display does."""
        return f"{self.id}.{self.state}.{self.settled}"

    def total(self, count: str) -> int:
        """A count of all results: changes as they were counted when the run ended, each model once per provider."""
        if column := TOTAL_COLUMNS.get(count):
            return int(getattr(self, column))
        return sum(getattr(result, count) for result in self.results)


@dataclass(frozen=True, slots=True)
class ChangeGroup:
    """The changes of one result."""

    result: ResultView
    changes: list[Change]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Filter of the admin's history; empty fields do not filter."""

    user: str = ""
    provider: str = ""
    outcome: str = ""
    trigger: str = ""
    state: str = ""
    since: date | None = None
    until: date | None = None


# ------------------------------------------------------------------ one run


def load_latest_run(user_id: int) -> RunView | None:
    """The newest run with its results, without details (skipped entries, requests)."""
    return _load_one(_latest_run_query(), {"user_id": user_id})


def load_run(run_id: int, user_id: int | None = None) -> RunView | None:
    """One run with its results and their details; with `user_id` only if it is theirs."""
    return _load_one(_run_query(user_id is not None, True), {"run_id": run_id, "user_id": user_id})


def load_progress(run_id: int, user_id: int) -> RunView | None:
    """The committed state of one of the user's runs, without details.

    Read outside the session, without a transaction, on a connection that is returned at once: event streams call this
    at each update. The session must not hold a second connection meanwhile.
    """
    with db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        rows = connection.execute(_run_query(True, False), {"run_id": run_id, "user_id": user_id})
        runs = _to_views(rows)
    return runs[0] if runs else None


def load_listing_of_result(result: ResultView) -> Listing | None:
    """The provider's answer, or None for a result without one."""
    return listings.load_many([result.listing_id])[result.listing_id] if result.listing_id else None


def count_chat_models(results: Iterable[ResultView]) -> int:
    """Chat models of these results' lists, each once per provider."""
    by_provider: dict[str, dict[int, int]] = defaultdict(dict)
    for result in results:
        if result.listing_id is not None:
            by_provider[result.provider][result.listing_id] = result.chat
    # Lists are loaded only where two keys of one provider got different ones.
    several = [listing_id for lists in by_provider.values() if len(lists) > 1 for listing_id in lists]
    loaded = listings.load_many(several) if several else {}
    return sum(
        len({model.id for listing_id in lists for model in loaded[listing_id].chat()})
        if len(lists) > 1
        else sum(lists.values())
        for lists in by_provider.values()
    )


def load_changes(results: Iterable[ResultView], most: int = _MAX_CHANGES) -> list[ChangeGroup]:
    """The changes of these results, in order: at most `most` of each, with the number left out."""
    with_changes = [result for result in results if result.comparison_id is not None]
    changes, totals = load_first_changes({result.comparison_id or 0 for result in with_changes}, most)
    return [
        ChangeGroup(result, changes[key], totals[key] - len(changes[key]))
        for result in with_changes
        for key in [result.comparison_id or 0]
    ]


# ------------------------------------------------------------------ history


def list_runs(
    user_id: int, before: int | None = None, size: int = PAGE_SIZE, *, within: tuple[datetime, datetime] | None = None
) -> tuple[list[RunView], int | None]:
    """A user's runs (created in the period `within`, if given), newest first, and the cursor of the next page."""
    values: dict[str, Any] = {"user_id": user_id, "before": before, "size": size + 1}
    if within is not None:
        values |= {"since": within[0], "until": within[1]}
    return _load_page(_own_runs_query(before is not None, within is not None), values, size)


def list_all_runs(
    filters: HistoryFilter, before: int | None = None, size: int = PAGE_SIZE
) -> tuple[list[RunView], int | None]:
    """All users' runs, newest first, and the cursor of the next page."""
    values = {"before": before, "size": size + 1}
    if conditions := _conditions(filters):
        query = select(RunRow.id).join(UserRow, UserRow.id == RunRow.user_id).where(*conditions)
        return _load_page(_build_results_query(_page_of_ids(query, is_later=before is not None)), values, size)
    return _load_page(_all_runs_query(before is not None), values, size)


# ------------------------------------------------------------------ statements

_RUN_COLUMNS = (
    RunRow.id,
    RunRow.user_id,
    UserRow.email,
    RunRow.trigger,
    RunRow.state,
    RunRow.total_new_models,
    RunRow.total_changed,
    RunRow.total_unlisted,
    RunRow.total_relisted,
    RunRow.created_at,
    RunRow.started_at,
    RunRow.ended_at,
)
_EARLIER, _BEFORE = RunRow.__table__.alias("earlier"), ListingRow.__table__.alias("before")
_PREVIOUS_AT = (
    select(_EARLIER.c.ended_at)
    .where(_EARLIER.c.user_id == RunRow.user_id, _EARLIER.c.id < RunRow.id, _EARLIER.c.state == "done")
    .order_by(_EARLIER.c.id.desc())
    .limit(1)
    .correlate(RunRow)
    .scalar_subquery()
)
_RESULT_FIELDS = (
    *("id", "run_id", "label", "outcome"),
    *("fetched", "chat", "new", "changed", "unlisted", "relisted", "uncatalogued", "skipped"),
    *("error_code", "error_message", "error_action", "started_at", "ended_at"),
    *("listing_id", "before_listing_id", "comparison_id", "credential_id"),
)
_DETAIL_FIELDS = ("skipped_entries", "requests")
"""Possibly long; loaded for a single run only."""


@cached_statement
def _latest_run_query() -> Select[*tuple[Any, ...]]:
    latest = select(func.max(RunRow.id)).where(RunRow.user_id == bindparam("user_id")).scalar_subquery()
    return _build_results_query(select(RunRow.id).where(RunRow.id == latest), _PREVIOUS_AT)


@cached_statement
def _run_query(is_own: bool, has_details: bool) -> Select[*tuple[Any, ...]]:
    query = select(RunRow.id).where(RunRow.id == bindparam("run_id"))
    if is_own:
        query = query.where(RunRow.user_id == bindparam("user_id"))
    return _build_results_query(query, _PREVIOUS_AT, *(_DETAIL_FIELDS if has_details else ()))


@cached_statement
def _own_runs_query(is_later: bool, is_within: bool) -> Select[*tuple[Any, ...]]:
    query = select(RunRow.id).where(RunRow.user_id == bindparam("user_id"))
    if is_within:
        query = query.where(RunRow.created_at >= bindparam("since"), RunRow.created_at < bindparam("until"))
    return _build_results_query(_page_of_ids(query, is_later=is_later))


@cached_statement
def _all_runs_query(is_later: bool) -> Select[*tuple[Any, ...]]:
    return _build_results_query(_page_of_ids(select(RunRow.id), is_later=is_later))


def _page_of_ids(query: Select[int], *, is_later: bool) -> Select[int]:
    """The newest `size` ids; is_later: below the cursor `before`."""
    if is_later:
        query = query.where(RunRow.id < bindparam("before"))
    return query.order_by(RunRow.id.desc()).limit(bindparam("size", type_=Integer))


def _build_results_query(
    run_ids: Select[int], previous_at: ColumnElement[datetime | None] | None = None, *details: str
) -> Select[*tuple[Any, ...]]:
    """These runs, newest first, one row per result. Columns instead of entities load three times as fast."""
    ids = run_ids.subquery()
    columns = [getattr(ResultRow, name) for name in (*_RESULT_FIELDS, *details)]
    return (
        select(
            *_RUN_COLUMNS,
            null() if previous_at is None else previous_at,
            ProviderRow.slug,
            _BEFORE.c.chat_count,
            *columns,
        )
        .join(ids, ids.c.id == RunRow.id)
        .join(UserRow, UserRow.id == RunRow.user_id)
        .outerjoin(ResultRow, ResultRow.run_id == RunRow.id)
        .outerjoin(ProviderRow, ProviderRow.id == ResultRow.provider_id)
        .outerjoin(_BEFORE, _BEFORE.c.id == ResultRow.before_listing_id)
        .order_by(RunRow.id.desc(), ResultRow.id)
    )


def _load_page(
    query: Select[*tuple[Any, ...]], values: Mapping[str, Any], size: int
) -> tuple[list[RunView], int | None]:
    runs = _to_views(db.session.execute(query, values))
    return runs[:size], runs[size - 1].id if len(runs) > size else None


def _load_one(query: Select[*tuple[Any, ...]], values: Mapping[str, Any]) -> RunView | None:
    runs = _to_views(db.session.execute(query, values))
    return runs[0] if runs else None


def _to_views(rows: Iterable[Sequence[Any]]) -> list[RunView]:
    runs: dict[int, RunView] = {}
    width = len(_RUN_COLUMNS) + 1
    for row in rows:
        values = tuple(row)
        run = runs.get(values[0])
        if run is None:
            run = runs[values[0]] = RunView(*values[:width])
        if values[width] is not None:
            run.results.append(_to_result_view(values[width], values[width + 1], values[width + 2 :]))
    return list(runs.values())


def _to_result_view(provider: str, before_chat: int | None, values: Sequence[Any]) -> ResultView:
    """values: of _RESULT_FIELDS and, if loaded, of _DETAIL_FIELDS."""
    fields = dict(zip((*_RESULT_FIELDS, *_DETAIL_FIELDS), values, strict=False))
    outcome, started_at, ended_at = fields["outcome"], fields["started_at"], fields["ended_at"]
    return ResultView(
        provider=provider,
        before_chat=before_chat,
        state="done" if outcome else "fetching" if started_at else "waiting",
        duration_s=(ended_at - started_at).total_seconds() if ended_at and started_at else None,
        skipped_entries=fields.pop("skipped_entries", None) or (),
        requests=fields.pop("requests", None) or (),
        **fields,
    )


def _conditions(filters: HistoryFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.user:
        conditions.append(UserRow.email.contains(filters.user.strip().lower(), autoescape=True))
    if filters.trigger:
        conditions.append(RunRow.trigger == filters.trigger)
    if filters.state:
        conditions.append(RunRow.state == filters.state)
    if filters.since:
        conditions.append(RunRow.created_at >= midnight(filters.since))
    if filters.until and filters.until < date.max:
        conditions.append(RunRow.created_at < midnight(filters.until + timedelta(days=1)))
    if filters.provider or filters.outcome:
        conditions.append(_has_result(filters.provider, filters.outcome))
    return conditions


def _has_result(provider: str, outcome: str) -> ColumnElement[bool]:
    query = select(ResultRow.id).where(ResultRow.run_id == RunRow.id)
    if outcome:
        query = query.where(ResultRow.outcome == outcome)
    if provider:
        query = query.join(ProviderRow, ProviderRow.id == ResultRow.provider_id).where(ProviderRow.slug == provider)
    return query.exists()


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
