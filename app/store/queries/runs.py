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
    Integer,
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
from app.store.schema.tables import LIVE_STATES, ChangeRow, CredentialRow, ProviderRow, ResultRow, RunRow, UserRow

PAGE_SIZE = 25
_MAX_CHANGES = 100
_CHECK_TIMEOUT = timedelta(seconds=90)
"""After this long without an answer a check is no longer promised."""


@dataclass(frozen=True, slots=True)
class NavCounters:
    unseen_new: int
    newest: datetime | None = None
    """When the last result ended that brought any of them."""


@dataclass(frozen=True, slots=True)
class BadgeUpdate:
    """The counters as they are now, and what of them somebody has not been told of."""

    nav: NavCounters
    fresh: list[tuple[str, int]]
    """(provider, chat models seen there first since then), those with the most first."""


@dataclass(frozen=True, slots=True)
class KeyView:
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
class ResultView:
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
class RunView:
    id: int
    user_id: int
    email: str
    trigger: str
    state: str
    total_new_models: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    results: list[ResultView] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        return self.state in LIVE_STATES

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

    result: ResultView
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


def load_nav(user_id: int) -> NavCounters:
    """All counters of the navigation, in one query."""
    count, newest = db.session.execute(_counters_query(), {"user_id": user_id}).one()
    return NavCounters(unseen_new=count, newest=newest)


@cache
def _counters_query() -> Select[int, datetime | None]:
    """Built once: every page asks it, and to build it takes ten times as long as to answer it."""
    unseen = _unseen_query(bindparam("user_id", type_=BigInteger)).subquery()
    return select(func.count(), func.max(unseen.c.last_at)).select_from(unseen)


def load_badge_update(user_id: int, since: datetime | None) -> BadgeUpdate:
    """The counters, and where models came up `since` then that are unseen; in one query."""
    unseen = _unseen_query(user_id).subquery()
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
    nav = NavCounters(sum(line[1] for line in lines), max((line[3] for line in lines), default=None))
    fresh = sorted(((line[0], line[2]) for line in lines if line[2]), key=lambda line: -line[1])
    return BadgeUpdate(nav, fresh)


def _unseen_query(user_id: int | BindParameter[int]) -> Select[int, str, datetime | None, datetime | None]:
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


def list_keys(user_id: int, now: datetime, credential_id: int | None = None) -> list[KeyView]:
    """A user's API keys by provider and label; the sealed keys are not even read."""
    values: dict[str, Any] = {"user_id": user_id, "patience": now - _CHECK_TIMEOUT}
    query = _keys_query()
    if credential_id is not None:
        query = query.where(CredentialRow.id == credential_id)
    return [KeyView(*tuple(row)) for row in db.session.execute(query, values)]


@cache
def _keys_query() -> Select[*tuple[Any, ...]]:
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


def load_latest_run(user_id: int) -> RunView | None:
    """The newest run with its results, as the sync status shows it: without what they skipped and asked."""
    return _load_one(_latest_run_query(), {"user_id": user_id})


def load_run(run_id: int, user_id: int | None = None) -> RunView | None:
    """One run with its results and all that they tell; with `user_id` only if it is theirs."""
    return _load_one(_run_query(user_id is not None, True), {"run_id": run_id, "user_id": user_id})


def load_progress(run_id: int, user_id: int) -> RunView | None:
    """One run of this user, as `latest_run` has it: what is committed of it by now.

    Read past the session, without a transaction, by a connection that is given back at once: whoever watches a sync
    asks this at each news. The session must not hold another connection meanwhile.
    """
    with db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        found = connection.execute(_run_query(True, False), {"run_id": run_id, "user_id": user_id})
        lines = _to_views(found)
    return lines[0] if lines else None


def list_runs(
    user_id: int,
    before: int | None = None,
    size: int = PAGE_SIZE,
    *,
    within: tuple[datetime, datetime] | None = None,
) -> tuple[list[RunView], int | None]:
    """A user's runs, newest first, as `latest_run` has them, with the cursor of the next page; `within` this time
    only, if it is given."""
    values: dict[str, Any] = {"user_id": user_id, "before": before, "size": size + 1}
    if within is not None:
        values |= {"since": within[0], "until": within[1]}
    return _load_page(_own_runs_query(before is not None, within is not None), values, size)


@cache
def _own_runs_query(is_later: bool, is_within: bool) -> Select[*tuple[Any, ...]]:
    query = select(RunRow.id).where(RunRow.user_id == bindparam("user_id"))
    if is_within:
        query = query.where(RunRow.created_at >= bindparam("since"), RunRow.created_at < bindparam("until"))
    return _with_results_query(_page_of_ids(query, is_later=is_later))


def list_all_runs(
    wanted: HistoryFilter, before: int | None = None, size: int = PAGE_SIZE
) -> tuple[list[RunView], int | None]:
    """Everyone's runs, newest first, for admins; as `latest_run` has them."""
    values = {"before": before, "size": size + 1}
    if conditions := _conditions(wanted):
        query = select(RunRow.id).join(UserRow, UserRow.id == RunRow.user_id).where(*conditions)
        return _load_page(_with_results_query(_page_of_ids(query, is_later=before is not None)), values, size)
    return _load_page(_all_runs_query(before is not None), values, size)


@cache
def _all_runs_query(is_later: bool) -> Select[*tuple[Any, ...]]:
    return _with_results_query(_page_of_ids(select(RunRow.id), is_later=is_later))


def _page_of_ids(query: Select[int], *, is_later: bool) -> Select[int]:
    """So many of them, `size`; is_later: behind the cursor `before`."""
    if is_later:
        query = query.where(RunRow.id < bindparam("before"))
    return query.order_by(RunRow.id.desc()).limit(bindparam("size", type_=Integer))


def load_changes(results: Iterable[ResultView], most: int = _MAX_CHANGES) -> list[ChangeGroup]:
    """The changes that these results brought, in their order; of each at most `most`, with the number left out."""
    wanted = [result for result in results if result.comparison_id is not None]
    ids = {result.comparison_id for result in wanted}
    by_comparison: dict[int, list[Change]] = defaultdict(list)
    totals: dict[int, int] = {}
    if ids:
        for row, count in db.session.execute(first_changes_query(), {"comparison_ids": list(ids), "most": most}):
            by_comparison[row.comparison_id].append(to_change(row))
            totals[row.comparison_id] = count
    groups = []
    for result in wanted:
        changes = by_comparison.get(result.comparison_id or 0, [])
        groups.append(ChangeGroup(result, changes, totals.get(result.comparison_id or 0, 0) - len(changes)))
    return groups


def first_changes_query(*conditions: ColumnElement[bool]) -> Select[ChangeRow, int]:
    """The first `most` changes of each of `comparison_ids`, with how many it has that fit."""
    return _ranked_query(*conditions) if conditions else _all_changes_query()


@cache
def _all_changes_query() -> Select[ChangeRow, int]:
    return _ranked_query()


def _ranked_query(*conditions: ColumnElement[bool]) -> Select[ChangeRow, int]:
    number = func.row_number().over(partition_by=ChangeRow.comparison_id, order_by=ChangeRow.id).label("number")
    total = func.count().over(partition_by=ChangeRow.comparison_id).label("total")
    ids: BindParameter[Sequence[int]] = bindparam("comparison_ids", expanding=True)
    ranked = select(ChangeRow.id, number, total).where(ChangeRow.comparison_id.in_(ids), *conditions).subquery()
    return (
        select(ChangeRow, ranked.c.total)
        .join(ranked, ranked.c.id == ChangeRow.id)
        .where(ranked.c.number <= bindparam("most", type_=Integer))
        .order_by(ChangeRow.id)
    )


def load_last_change_at(user_id: int) -> datetime | None:
    """Until where someone who looks now has seen."""
    return db.session.scalar(_last_change_query(), {"user_id": user_id})


@cache
def _last_change_query() -> Select[datetime | None]:
    return select(func.max(ResultRow.ended_at)).where(
        ResultRow.user_id == bindparam("user_id"), ResultRow.comparison_id.is_not(None)
    )


def load_listing_of_result(result: ResultView) -> Listing | None:
    """What the provider answered then, or None for a result without an answer."""
    return listings.load_many([result.listing_id])[result.listing_id] if result.listing_id else None


_RUN_COLUMNS = (
    RunRow.id,
    RunRow.user_id,
    UserRow.email,
    RunRow.trigger,
    RunRow.state,
    RunRow.total_new_models,
    RunRow.created_at,
    RunRow.started_at,
    RunRow.ended_at,
)
_RESULT_COLUMNS = (
    ResultRow.id,
    ResultRow.run_id,
    ProviderRow.slug,
    ResultRow.label,
    ResultRow.outcome,
    ResultRow.fetched,
    ResultRow.chat,
    ResultRow.new,
    ResultRow.changed,
    ResultRow.unlisted,
    ResultRow.relisted,
    ResultRow.uncatalogued,
    ResultRow.skipped,
    ResultRow.error_code,
    ResultRow.error_message,
    ResultRow.error_action,
    ResultRow.ended_at,
    ResultRow.listing_id,
    ResultRow.before_listing_id,
    ResultRow.comparison_id,
    ResultRow.credential_id,
    ResultRow.started_at,
)
_DETAIL_COLUMNS = (ResultRow.skipped_entries, ResultRow.requests)
"""What can be long, and is shown of one run alone."""


@cache
def _latest_run_query() -> Select[*tuple[Any, ...]]:
    latest = select(func.max(RunRow.id)).where(RunRow.user_id == bindparam("user_id")).scalar_subquery()
    return _with_results_query(select(RunRow.id).where(RunRow.id == latest))


@cache
def _run_query(is_own: bool, has_details: bool) -> Select[*tuple[Any, ...]]:
    query = select(RunRow.id).where(RunRow.id == bindparam("run_id"))
    if is_own:
        query = query.where(RunRow.user_id == bindparam("user_id"))
    return _with_results_query(query, *(_DETAIL_COLUMNS if has_details else ()))


def _with_results_query(run_ids: Select[int], *details: Any) -> Select[*tuple[Any, ...]]:
    """These runs, newest first, each with a row for every result it has, in one statement: pages ask it all the time,
    and of whole objects a database's answer would take three times as long to be read."""
    wanted = run_ids.subquery()
    return (
        select(*_RUN_COLUMNS, *_RESULT_COLUMNS, *details)
        .join(wanted, wanted.c.id == RunRow.id)
        .join(UserRow, UserRow.id == RunRow.user_id)
        .outerjoin(ResultRow, ResultRow.run_id == RunRow.id)
        .outerjoin(ProviderRow, ProviderRow.id == ResultRow.provider_id)
        .order_by(RunRow.id.desc(), ResultRow.id)
    )


def _load_page(
    query: Select[*tuple[Any, ...]], values: Mapping[str, Any], size: int
) -> tuple[list[RunView], int | None]:
    lines = _to_views(db.session.execute(query, values))
    following = lines[size - 1].id if len(lines) > size else None
    return lines[:size], following


def _load_one(query: Select[*tuple[Any, ...]], values: Mapping[str, Any]) -> RunView | None:
    lines = _to_views(db.session.execute(query, values))
    return lines[0] if lines else None


def _to_views(rows: Iterable[Sequence[Any]]) -> list[RunView]:
    runs: dict[int, RunView] = {}
    width = len(_RUN_COLUMNS)
    for row in rows:
        found = tuple(row)
        run = runs.get(found[0])
        if run is None:
            run = runs[found[0]] = RunView(*found[:width])
        if found[width] is not None:
            run.results.append(_to_result_view(found[width:]))
    return list(runs.values())


def _to_result_view(found: Sequence[Any]) -> ResultView:
    """From the columns in their order, the long ones last and perhaps not at all."""
    result_id, run_id, slug, label, outcome, fetched, chat, new, changed, unlisted, relisted, *rest = found
    uncatalogued, skipped, code, message, action, ended_at, *rest = rest
    listing_id, before_listing_id, comparison_id, credential_id, started_at, *details = rest
    skipped_entries, requests = details or (None, None)
    return ResultView(
        id=result_id,
        run_id=run_id,
        provider=slug,
        label=label,
        state="done" if outcome else "fetching" if started_at else "waiting",
        outcome=outcome,
        fetched=fetched,
        chat=chat,
        new=new,
        changed=changed,
        unlisted=unlisted,
        relisted=relisted,
        uncatalogued=uncatalogued,
        skipped=skipped,
        duration_s=(ended_at - started_at).total_seconds() if ended_at and started_at else None,
        error_code=code,
        error_message=message,
        error_action=action,
        ended_at=ended_at,
        listing_id=listing_id,
        before_listing_id=before_listing_id,
        comparison_id=comparison_id,
        skipped_entries=skipped_entries or (),
        requests=requests or (),
        credential_id=credential_id,
        started_at=started_at,
    )


def to_change(row: ChangeRow) -> Change:
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
