"""What changed for a person, as a feed: by day, then by provider, each change told once however many keys saw it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, exists, or_, select

from app.catalog.changes import Change
from app.extensions import db
from app.store.queries.runs import first_changes_query, to_change
from app.store.schema.tables import ChangeRow, ProviderRow, ResultRow

PAGE_SIZE = 60
"""Results on a page, at most; a page ends where a day does, unless one day alone has more."""
MAX_CHANGES = 300
"""Of one comparison so many changes are told one by one; the rest are counted."""
_MERGE_WINDOW = timedelta(days=2)
"""What another key of the same provider sees within this time is not told again."""


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Of the feed; empty fields do not filter."""

    kind: str = ""
    provider: str = ""
    credential_id: int | None = None
    text: str = ""
    """Part of a model's id or name, in any case."""
    since: datetime | None = None
    """Only what results brought that ended after it."""

    @property
    def is_empty(self) -> bool:
        return self == ChangeFilter()


@dataclass(frozen=True, slots=True)
class ChangeOccurrence:
    """One result that brought changes."""

    id: int
    run_id: int
    provider: str
    label: str
    key: int | str
    """The credential, or the label of one that was deleted."""
    at: datetime
    is_first: bool
    """The key's first list: what is "new" in it, the catalog does not know."""
    comparison_id: int


@dataclass(slots=True)
class FeedEntry:
    """One change, with everyone who saw it."""

    change: Change
    first: ChangeOccurrence
    keys: dict[int | str, ChangeOccurrence]

    @property
    def labels(self) -> list[str]:
        """Of the keys that saw it and have one."""
        return sorted({sighting.label for sighting in self.keys.values() if sighting.label})


@dataclass(slots=True)
class FeedNews:
    """What one provider brought on one day, before or after the last visit."""

    provider: str
    told: list[FeedEntry] = field(default_factory=list)
    sightings: list[ChangeOccurrence] = field(default_factory=list)
    """The results that brought it, the newest first."""
    left_out: int = 0

    @property
    def at(self) -> datetime:
        return max(sighting.at for sighting in self.sightings)

    @property
    def labels(self) -> list[str]:
        """Of the keys that saw any of it and have one."""
        return sorted({label for told in self.told for label in told.labels})

    @property
    def changes(self) -> list[Change]:
        return [told.change for told in self.told if not told.first.is_first]

    @property
    def uncatalogued(self) -> list[Change]:
        """What a key's first list had that the catalog does not know."""
        return [told.change for told in self.told if told.first.is_first]


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
    """Whether what stands right above, at the end of the page before, is unseen."""


def load_feed(
    user_id: int, wanted: ChangeFilter, *, seen_at: datetime | None, zone: tzinfo, before: int | None = None
) -> FeedPage:
    """A page of a user's changes, newest first; two queries.

    seen_at: what is newer is unseen; None: everything is. zone: whose calendar the days are of.
    before: the cursor, which is the id of the last result of the page before.
    """
    found = _load_occurrences(user_id, wanted, before, PAGE_SIZE + 2)
    above = found.pop(0) if found and found[0].id == before else None
    sightings, following = _cut_at_day(found, zone)
    told, left_out = _merge_occurrences(sightings, wanted)
    days = _group_by_day(told, left_out, seen_at, zone)
    return FeedPage(days, following, above is not None and _is_unseen(above, seen_at))


def load_entries(user_id: int, wanted: ChangeFilter, size: int = PAGE_SIZE) -> list[FeedNews]:
    """The newest results' changes, one entry a run and provider, newest first: an entry never grows after its run."""
    told, left_out = _merge_occurrences(_load_occurrences(user_id, wanted, None, size), wanted)
    return sorted(
        _group_entries(told, left_out, lambda sighting: (sighting.run_id, sighting.provider)).values(),
        key=lambda news: (news.at, news.sightings[0].id),
        reverse=True,
    )


def _cut_at_day(found: list[ChangeOccurrence], zone: tzinfo) -> tuple[list[ChangeOccurrence], int | None]:
    if len(found) <= PAGE_SIZE:
        return found, None
    cut = found[PAGE_SIZE].at.astimezone(zone).date()
    whole = [sighting for sighting in found[:PAGE_SIZE] if sighting.at.astimezone(zone).date() > cut]
    # One day with more results than a page holds goes on on the next page.
    kept = whole or found[:PAGE_SIZE]
    return kept, min(sighting.id for sighting in kept)


def _load_occurrences(user_id: int, wanted: ChangeFilter, before: int | None, size: int) -> list[ChangeOccurrence]:
    query = _occurrences_query()
    if before is not None:
        query = query.where(ResultRow.id <= before)
    if wanted.provider:
        query = query.where(ProviderRow.slug == wanted.provider)
    if wanted.credential_id is not None:
        query = query.where(ResultRow.credential_id == wanted.credential_id)
    if wanted.since is not None:
        query = query.where(ResultRow.ended_at > wanted.since)
    if conditions := _change_conditions(wanted):
        query = query.where(exists().where(ChangeRow.comparison_id == ResultRow.comparison_id, *conditions))
    return [_to_occurrence(*tuple(row)) for row in db.session.execute(query, {"user_id": user_id, "size": size})]


@cache
def _occurrences_query() -> Select[*tuple[Any, ...]]:
    """Built once: to build it takes longer than to answer it. What filters is added to it."""
    return (
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
            ResultRow.user_id == bindparam("user_id"),
            ResultRow.comparison_id.is_not(None),
            ResultRow.ended_at.is_not(None),
        )
        .order_by(ResultRow.id.desc())
        .limit(bindparam("size", type_=Integer))
    )


def _to_occurrence(
    result_id: int,
    run_id: int,
    slug: str,
    label: str,
    credential_id: int | None,
    ended_at: datetime,
    before_listing_id: int | None,
    comparison_id: int,
) -> ChangeOccurrence:
    return ChangeOccurrence(
        id=result_id,
        run_id=run_id,
        provider=slug,
        label=label,
        key=label if credential_id is None else credential_id,
        at=ended_at,
        is_first=before_listing_id is None,
        comparison_id=comparison_id,
    )


def _change_conditions(wanted: ChangeFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.kind:
        conditions.append(ChangeRow.kind == wanted.kind)
    if wanted.text:
        columns = (ChangeRow.provider_model_id, ChangeRow.model_name)
        conditions.append(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    return conditions


def _merge_occurrences(
    sightings: Iterable[ChangeOccurrence], wanted: ChangeFilter
) -> tuple[list[FeedEntry], dict[ChangeOccurrence, int]]:
    """Each change once, as the first that saw it, and how many of each result's are counted only."""
    sightings = sorted(sightings, key=lambda sighting: (sighting.at, sighting.id))
    changes, left_out = _load_changes({sighting.comparison_id for sighting in sightings}, wanted)
    told: list[FeedEntry] = []
    latest: dict[tuple[str, Change], FeedEntry] = {}
    counted: dict[int, ChangeOccurrence] = {}
    for sighting in sightings:
        for change in changes.get(sighting.comparison_id, ()):
            earlier = latest.get((sighting.provider, change))
            if earlier and sighting.key not in earlier.keys and sighting.at - earlier.first.at < _MERGE_WINDOW:
                earlier.keys[sighting.key] = sighting
            else:
                latest[sighting.provider, change] = FeedEntry(change, sighting, {sighting.key: sighting})
                told.append(latest[sighting.provider, change])
        counted.setdefault(sighting.comparison_id, sighting)
    return told, {sighting: left_out[comparison_id] for comparison_id, sighting in counted.items()}


def _load_changes(
    comparison_ids: set[int], wanted: ChangeFilter
) -> tuple[Mapping[int, list[Change]], Mapping[int, int]]:
    """The fitting changes of each comparison, at most MOST of each, and how many more there are."""
    found: dict[int, list[Change]] = defaultdict(list)
    left_out: dict[int, int] = defaultdict(int)
    if not comparison_ids:
        return found, left_out
    query = first_changes_query(*_change_conditions(wanted))
    for row, count in db.session.execute(query, {"comparison_ids": list(comparison_ids), "most": MAX_CHANGES}):
        found[row.comparison_id].append(to_change(row))
        left_out[row.comparison_id] = max(0, count - MAX_CHANGES)
    return found, left_out


def _group_entries(
    told: Iterable[FeedEntry],
    left_out: Mapping[ChangeOccurrence, int],
    group_of: Callable[[ChangeOccurrence], Hashable],
) -> dict[Any, FeedNews]:
    """Told changes in groups, by whatever `group_of` says of the result that brought each first."""
    groups: dict[Any, FeedNews] = {}
    for one in told:
        news = groups.setdefault(group_of(one.first), FeedNews(one.first.provider))
        news.told.append(one)
        if one.first not in news.sightings[:1]:
            news.sightings.insert(0, one.first)
    for sighting, count in left_out.items():
        if count and group_of(sighting) in groups:
            groups[group_of(sighting)].left_out += count
    return groups


def _group_by_day(
    told: Iterable[FeedEntry], left_out: Mapping[ChangeOccurrence, int], seen_at: datetime | None, zone: tzinfo
) -> list[FeedDay]:
    def group_of(sighting: ChangeOccurrence) -> tuple[date, bool, str]:
        return sighting.at.astimezone(zone).date(), _is_unseen(sighting, seen_at), sighting.provider

    days: dict[tuple[date, bool], list[FeedNews]] = defaultdict(list)
    for (day, is_unseen, _provider), news in _group_entries(told, left_out, group_of).items():
        days[day, is_unseen].append(news)
    return [
        FeedDay(day, is_unseen, sorted(days[day, is_unseen], key=lambda news: (news.at, news.provider), reverse=True))
        for day, is_unseen in sorted(days, reverse=True)
    ]


def _is_unseen(sighting: ChangeOccurrence, seen_at: datetime | None) -> bool:
    return seen_at is None or sighting.at > seen_at
