"""A user's changes: one by one for programs, and as a feed grouped by day and provider, where a change that several
keys saw appears once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

import msgspec
from sqlalchemy import BindParameter, ColumnElement, Integer, Select, and_, bindparam, exists, func, or_, select

from app.catalog.changes import Change, FieldChange, count_by_kind
from app.extensions import db
from app.store.engine.statements import cached_statement
from app.store.schema.tables import ChangeRow, ProviderRow, ResultRow

PAGE_SIZE = 60
"""Maximum results on a page; a page ends at the end of a day, unless one day alone has more."""
MAX_CHANGES = 300
"""Changes listed per comparison; the rest are only counted."""
_MERGE_WINDOW = timedelta(days=2)
"""An equal change seen by another key of the same provider within this time is merged."""


@dataclass(frozen=True, slots=True)
class ChangeView:
    result_id: int
    change_id: int
    """Of the change itself, which other results may share."""
    run_id: int
    credential_id: int | None
    provider: str
    label: str
    at: datetime | None
    change: Change


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Filter of the feed; empty fields do not filter."""

    kind: str = ""
    provider: str = ""
    credential_id: int | None = None
    text: str = ""
    """Part of a model's id or name, case-insensitive."""
    since: datetime | None = None
    """Only changes of results that ended after it."""

    @property
    def is_empty(self) -> bool:
        return self == ChangeFilter()


@dataclass(frozen=True, slots=True)
class ChangeOccurrence:
    """One result with changes."""

    id: int
    run_id: int
    provider: str
    label: str
    credential_id: int | None
    at: datetime
    before_listing_id: int | None
    comparison_id: int

    @property
    def key(self) -> int | str:
        """The credential id, or the label of a deleted credential."""
        return self.label if self.credential_id is None else self.credential_id

    @property
    def is_first(self) -> bool:
        """Whether it is the key's first list: only models unknown to the catalog are "new" in it."""
        return self.before_listing_id is None


@dataclass(slots=True)
class FeedEntry:
    """One change, with all keys that saw it."""

    change: Change
    first: ChangeOccurrence
    keys: dict[int | str, ChangeOccurrence]

    @property
    def labels(self) -> list[str]:
        """Labels of the keys that saw it."""
        return sorted({occurrence.label for occurrence in self.keys.values() if occurrence.label})


@dataclass(slots=True)
class FeedNews:
    """The changes of one provider on one day, before or after the last visit."""

    provider: str
    entries: list[FeedEntry] = field(default_factory=list)
    occurrences: list[ChangeOccurrence] = field(default_factory=list)
    """The results they came from, newest first."""
    left_out: int = 0

    @property
    def at(self) -> datetime:
        return max(occurrence.at for occurrence in self.occurrences)

    @property
    def labels(self) -> list[str]:
        """Labels of the keys that saw any of them."""
        return sorted({label for entry in self.entries for label in entry.labels})

    @property
    def count(self) -> int:
        """Number of changed models, each once per kind of change."""
        return count_by_kind(entry.change for entry in self.entries).total()

    @property
    def changes(self) -> list[Change]:
        return [entry.change for entry in self.entries if not entry.first.is_first]

    @property
    def uncatalogued(self) -> list[Change]:
        """Models of keys' first lists that the catalog does not know."""
        return [entry.change for entry in self.entries if entry.first.is_first]


@dataclass(frozen=True, slots=True)
class FeedDay:
    day: date
    is_unseen: bool
    news: list[FeedNews]


@dataclass(frozen=True, slots=True)
class FeedPage:
    days: list[FeedDay]
    following: int | None
    """The cursor of the next page."""
    follows_unseen: bool
    """Whether the last entry of the previous page is unseen."""


def list_changes(
    user_id: int, *, kind: str = "", provider: str = "", after: tuple[int, int] | None = None, size: int = 50
) -> list[ChangeView]:
    """A user's changes, newest results first. after: (result id, change id) of the last one on the previous page."""
    query = (
        select(ResultRow, ChangeRow, ProviderRow.slug)
        .join(ChangeRow, ChangeRow.comparison_id == ResultRow.comparison_id)
        .join(ProviderRow, ProviderRow.id == ResultRow.provider_id)
        .where(ResultRow.user_id == user_id, ResultRow.comparison_id.is_not(None))
        .order_by(ResultRow.id.desc(), ChangeRow.id)
        .limit(size)
    )
    if kind:
        query = query.where(ChangeRow.kind == kind)
    if provider:
        query = query.where(ProviderRow.slug == provider)
    if after is not None:
        result_id, change_id = after
        behind = and_(ResultRow.id == result_id, ChangeRow.id > change_id)
        query = query.where(or_(ResultRow.id < result_id, behind))
    return [
        ChangeView(
            result_id=result.id,
            change_id=change.id,
            run_id=result.run_id,
            credential_id=result.credential_id,
            provider=slug,
            label=result.label,
            at=result.ended_at,
            change=to_change(change),
        )
        for result, change, slug in db.session.execute(query)
    ]


def load_feed(
    user_id: int, filters: ChangeFilter, *, seen_at: datetime | None, zone: tzinfo, before: int | None = None
) -> FeedPage:
    """A page of a user's changes, newest first; two queries.

    seen_at: newer changes are unseen; None: all are. zone: time zone of the days.
    before: the cursor, the id of the last result of the previous page.
    """
    occurrences = _load_occurrences(user_id, filters, before, PAGE_SIZE + 2)
    above = occurrences.pop(0) if occurrences and occurrences[0].id == before else None
    occurrences, following = _cut_at_day(occurrences, zone)
    entries, left_out = _merge_occurrences(occurrences, filters)
    days = _group_by_day(entries, left_out, seen_at, zone)
    return FeedPage(days, following, above is not None and _is_unseen(above, seen_at))


def load_entries(user_id: int, filters: ChangeFilter, size: int = PAGE_SIZE) -> list[FeedNews]:
    """The newest results' changes per run and provider, newest first: complete once the run has ended."""
    entries, left_out = _merge_occurrences(_load_occurrences(user_id, filters, None, size), filters)
    return sorted(
        _group_entries(entries, left_out, lambda occurrence: (occurrence.run_id, occurrence.provider)).values(),
        key=lambda news: (news.at, news.occurrences[0].id),
        reverse=True,
    )


def _cut_at_day(occurrences: list[ChangeOccurrence], zone: tzinfo) -> tuple[list[ChangeOccurrence], int | None]:
    if len(occurrences) <= PAGE_SIZE:
        return occurrences, None
    cut = occurrences[PAGE_SIZE].at.astimezone(zone).date()
    whole = [occurrence for occurrence in occurrences[:PAGE_SIZE] if occurrence.at.astimezone(zone).date() > cut]
    # a day with more results than a page holds continues on the next page
    page = whole or occurrences[:PAGE_SIZE]
    return page, min(occurrence.id for occurrence in page)


def _load_occurrences(user_id: int, filters: ChangeFilter, before: int | None, size: int) -> list[ChangeOccurrence]:
    query = _OCCURRENCES_QUERY
    if before is not None:
        query = query.where(ResultRow.id <= before)
    if filters.provider:
        query = query.where(ProviderRow.slug == filters.provider)
    if filters.credential_id is not None:
        query = query.where(ResultRow.credential_id == filters.credential_id)
    if filters.since is not None:
        query = query.where(ResultRow.ended_at > filters.since)
    if conditions := _change_conditions(filters):
        query = query.where(exists().where(ChangeRow.comparison_id == ResultRow.comparison_id, *conditions))
    return [ChangeOccurrence(*tuple(row)) for row in db.session.execute(query, {"user_id": user_id, "size": size})]


_OCCURRENCES_QUERY: Select[*tuple[Any, ...]] = (
    select(
        ResultRow.id,
        ResultRow.run_id,
        ProviderRow.slug,
        ResultRow.label,
        ResultRow.credential_id,
        ResultRow.ended_at,
        ResultRow.before_listing_id,
        ResultRow.comparison_id,
    )
    .join(ProviderRow, ProviderRow.id == ResultRow.provider_id)
    .where(
        ResultRow.user_id == bindparam("user_id"), ResultRow.comparison_id.is_not(None), ResultRow.ended_at.is_not(None)
    )
    .order_by(ResultRow.id.desc())
    .limit(bindparam("size", type_=Integer))
)


def _change_conditions(filters: ChangeFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.kind:
        conditions.append(ChangeRow.kind == filters.kind)
    if filters.text:
        columns = (ChangeRow.provider_model_id, ChangeRow.model_name)
        conditions.append(or_(*(column.icontains(filters.text, autoescape=True) for column in columns)))
    return conditions


def _merge_occurrences(
    occurrences: Iterable[ChangeOccurrence], filters: ChangeFilter
) -> tuple[list[FeedEntry], dict[ChangeOccurrence, int]]:
    """Each change once, under its first occurrence; and per occurrence the number of changes left out."""
    occurrences = sorted(occurrences, key=lambda occurrence: (occurrence.at, occurrence.id))
    changes, left_out = _load_changes({occurrence.comparison_id for occurrence in occurrences}, filters)
    entries: list[FeedEntry] = []
    latest: dict[tuple[str, Change], FeedEntry] = {}
    counted: dict[int, ChangeOccurrence] = {}
    for occurrence in occurrences:
        for change in changes.get(occurrence.comparison_id, ()):
            earlier = latest.get((occurrence.provider, change))
            if earlier and occurrence.key not in earlier.keys and occurrence.at - earlier.first.at < _MERGE_WINDOW:
                earlier.keys[occurrence.key] = occurrence
            else:
                latest[occurrence.provider, change] = FeedEntry(change, occurrence, {occurrence.key: occurrence})
                entries.append(latest[occurrence.provider, change])
        counted.setdefault(occurrence.comparison_id, occurrence)
    return entries, {occurrence: left_out[comparison_id] for comparison_id, occurrence in counted.items()}


def _load_changes(
    comparison_ids: set[int], filters: ChangeFilter
) -> tuple[Mapping[int, list[Change]], Mapping[int, int]]:
    """Per comparison the first MAX_CHANGES matching changes, and how many more there are."""
    changes, totals = load_first_changes(comparison_ids, MAX_CHANGES, *_change_conditions(filters))
    return changes, {key: max(0, totals[key] - MAX_CHANGES) for key in comparison_ids}


def _group_entries(
    entries: Iterable[FeedEntry],
    left_out: Mapping[ChangeOccurrence, int],
    group_of: Callable[[ChangeOccurrence], Hashable],
) -> dict[Any, FeedNews]:
    """Entries grouped by `group_of` of their first occurrence."""
    groups: dict[Any, FeedNews] = {}
    for entry in entries:
        news = groups.setdefault(group_of(entry.first), FeedNews(entry.first.provider))
        news.entries.append(entry)
        if entry.first not in news.occurrences[:1]:
            news.occurrences.insert(0, entry.first)
    for occurrence, count in left_out.items():
        if count and group_of(occurrence) in groups:
            groups[group_of(occurrence)].left_out += count
    return groups


def _group_by_day(
    entries: Iterable[FeedEntry], left_out: Mapping[ChangeOccurrence, int], seen_at: datetime | None, zone: tzinfo
) -> list[FeedDay]:
    def group_of(occurrence: ChangeOccurrence) -> tuple[date, bool, str]:
        return occurrence.at.astimezone(zone).date(), _is_unseen(occurrence, seen_at), occurrence.provider

    days: dict[tuple[date, bool], list[FeedNews]] = defaultdict(list)
    for (day, is_unseen, _provider), news in _group_entries(entries, left_out, group_of).items():
        days[day, is_unseen].append(news)
    return [
        FeedDay(day, is_unseen, sorted(days[day, is_unseen], key=lambda news: (news.at, news.provider), reverse=True))
        for day, is_unseen in sorted(days, reverse=True)
    ]


def _is_unseen(occurrence: ChangeOccurrence, seen_at: datetime | None) -> bool:
    return seen_at is None or occurrence.at > seen_at


# ------------------------------------------------------------------ changes of comparisons


def to_change(row: ChangeRow) -> Change:
    return Change(
        row.kind,  # type: ignore[arg-type]  # a check constraint allows only the four kinds
        row.provider_model_id,
        row.model_name,
        msgspec.convert(row.fields, tuple[FieldChange, ...]),
    )


def load_first_changes(
    comparison_ids: Collection[int], most: int, *conditions: ColumnElement[bool]
) -> tuple[dict[int, list[Change]], dict[int, int]]:
    """Comparison id → its first `most` changes that meet the conditions; and → their total number."""
    changes: dict[int, list[Change]] = defaultdict(list)
    totals: dict[int, int] = defaultdict(int)
    if comparison_ids:
        query = _build_first_changes_query(*conditions) if conditions else _first_changes_query()
        for row, total in db.session.execute(query, {"comparison_ids": list(comparison_ids), "most": most}):
            changes[row.comparison_id].append(to_change(row))
            totals[row.comparison_id] = total
    return changes, totals


@cached_statement
def _first_changes_query() -> Select[ChangeRow, int]:
    return _build_first_changes_query()


def _build_first_changes_query(*conditions: ColumnElement[bool]) -> Select[ChangeRow, int]:
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
