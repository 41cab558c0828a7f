"""The page of models: what a person's keys may use, searched, filtered, sorted and cut into pages by SQL."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Literal, TypeVarTuple, get_args

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.catalog.listing import CAPABILITIES
from app.extensions import db
from app.store import marks
from app.store.columns import Moment
from app.store.marks import Mark, Named
from app.store.tables import ChangeRow, CredentialRow, ListedModelRow, ModelRow, ProviderRow, ResultRow, UserRow

PAGE_SIZE = 50
NEW_FOR = timedelta(days=30)
"""A model stays "new" for this long after a sync told of it, and until its person has seen it."""
_MOST_GONE = 200
_MOST_PARTS = 100  # SQLite joins no more than 500 selects
_OTHER = aliased(ListedModelRow)
Columns = TypeVarTuple("Columns")
Query = Select[ListedModelRow, str]
"""A line's row with its provider's slug."""

Sort = Literal["name", "price", "-price", "-context"]
SORTS: tuple[str, ...] = get_args(Sort)
Marks = Literal["any", "shown", "starred", "hidden"]
"""Which models by what their person thinks of them: "shown" leaves out the hidden ones."""


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """What of the page of models is wanted; empty fields do not filter."""

    search: str = ""
    """Words, all of which the id, the name or the canonical id holds."""
    provider: str = ""
    capabilities: frozenset[str] = frozenset()
    kind: str = "chat"
    """Empty for every kind: what was filtered out as well."""
    most_input_price: Decimal | None = None
    """USD per million tokens."""
    least_context: int | None = None
    only_new: bool = False
    sort: Sort = "name"
    marks: Marks = "any"


@dataclass(frozen=True, slots=True)
class KeyOf:
    """A key whose models the page shows."""

    credential_id: int
    provider: str
    label: str
    listing_id: int
    listed_at: datetime | None
    base_url: str | None


@dataclass(frozen=True, slots=True)
class ModelLine:
    provider: str
    keys: tuple[KeyOf, ...]
    """Whose keys of this person list it."""
    provider_model_id: str
    name: str
    kind: str
    kind_reason: str
    canonical_id: str | None
    match_rule: str
    variant: str
    snapshot: str
    context_length: int | None
    max_output_tokens: int | None
    capabilities: tuple[str, ...]
    input_per_million: Decimal | None
    output_per_million: Decimal | None
    cache_read_per_million: Decimal | None
    cache_write_per_million: Decimal | None
    documented: str
    deprecated_on: str
    retires_on: str
    successor: str
    is_new: bool
    mark: Mark


@dataclass(frozen=True, slots=True)
class ModelPage:
    lines: list[ModelLine]
    following: str | None
    """The cursor of the next page."""
    total: int
    keys: list[KeyOf]
    hidden: int = 0
    """How many more fit but are hidden by their person; counted only where hidden ones are left out."""


@dataclass(frozen=True, slots=True)
class GoneLine:
    """A chat model that a key listed once and its provider no longer lists for it."""

    provider: str
    label: str
    provider_model_id: str
    name: str
    canonical_id: str | None
    gone_at: datetime
    missed: int
    """Complete syncs without it, the first one included."""


def models(
    user_id: int, wanted: ModelFilter, now: datetime, cursor: str | None = None, size: int = PAGE_SIZE
) -> ModelPage:
    """One page of what the user's active keys may use. A cursor that is none is passed over."""
    keys = keys_of(user_id)
    if not keys:
        return ModelPage([], None, 0, [])
    shown = [key for key in keys if wanted.provider in ("", key.provider)]
    places, conditions = _places(shown), _conditions(wanted, user_id, now)
    fitting = [or_(false(), *places), *conditions]
    lines, is_wanted = _marked(wanted.marks, user_id, fitting)
    hidden = 0 if is_wanted else len(lines)
    total = len(lines) if is_wanted else _count(fitting) - hidden
    of_marks = _of_marks(lines, is_wanted=is_wanted)
    first = _first(places, [*conditions, *of_marks], wanted.sort, _decoded(cursor, wanted.sort), size + 1)
    found = db.session.execute(first).all()
    following = _encoded(found[size - 1][0], wanted.sort) if len(found) > size else None
    return ModelPage(_lines(found[:size], keys, user_id, now), following, total, keys, hidden)


def lines_of(user_id: int, named: Sequence[Named], now: datetime) -> list[ModelLine]:
    """The lines of these (provider, model id) among what the user's active keys may use, as they were named.

    Where two servers of one kind call two models alike, the one of the last synced key.
    """
    keys = keys_of(user_id)
    if not keys or not named:
        return []
    query = _of_keys(keys).where(tuple_(ProviderRow.slug, ListedModelRow.provider_model_id).in_(list(named)))
    found = db.session.execute(query).all()
    latest = {key.listing_id: place for place, key in reversed(list(enumerate(keys)))}
    lines: dict[Named, ModelLine] = {}
    for line in _lines(sorted(found, key=lambda pair: latest[pair[0].listing_id]), keys, user_id, now):
        lines.setdefault((line.provider, line.provider_model_id), line)
    return [lines[name] for name in named if name in lines]


def _marked(wanted: Marks, user_id: int, fitting: Sequence[ColumnElement[bool]]) -> tuple[list[tuple[int, str]], bool]:
    """The fitting lines that are starred or hidden, whichever matters, and whether they are wanted or left out."""
    if wanted == "any":
        return [], False
    mark: Mark = "starred" if wanted == "starred" else "hidden"
    return marks.lines_marked(user_id, mark, fitting), wanted != "shown"


def _of_marks(lines: Sequence[tuple[int, str]], *, is_wanted: bool) -> list[ColumnElement[bool]]:
    of_them = tuple_(ListedModelRow.listing_id, ListedModelRow.provider_model_id).in_(lines)
    if is_wanted:
        return [of_them]
    return [~of_them] if lines else []


def _count(fitting: Sequence[ColumnElement[bool]]) -> int:
    return db.session.scalar(select(func.count(ListedModelRow.listing_id)).where(*fitting)) or 0


def _first(
    places: Sequence[ColumnElement[bool]],
    conditions: Sequence[ColumnElement[bool]],
    sort: Sort,
    after: Cursor | None,
    count: int,
) -> Query:
    """The first lines behind the cursor. Each listing gives its own first ones, which its index has in order: were
    all of them sorted together, a page would take the longer the more models there are."""
    query = select(ListedModelRow, ProviderRow.slug).join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
    if not 0 < len(places) <= _MOST_PARTS:
        return _ordered(query.where(or_(false(), *places), *conditions), sort, after).limit(count)
    # Of the table's own columns: those of the class take several times as long to be put together.
    table = ListedModelRow.__table__
    line = select(table.c.listing_id, table.c.provider_model_id)
    parts = [_ordered(line.where(place, *conditions), sort, after).limit(count).subquery() for place in places]
    heads = union_all(*(select(part.c.listing_id, part.c.provider_model_id) for part in parts)).subquery()
    query = query.join(
        heads,
        and_(
            heads.c.listing_id == ListedModelRow.listing_id,
            heads.c.provider_model_id == ListedModelRow.provider_model_id,
        ),
    )
    return _ordered(query, sort, None).limit(count)


def is_cursor(text: str, sort: Sort) -> bool:
    """Whether this is a cursor of this order, which `models` would go by."""
    return _decoded(text, sort) is not None


def keys_of(user_id: int) -> list[KeyOf]:
    """The active keys of a user that have a list, the most recently listed first."""
    return [KeyOf(*tuple(row)) for row in db.session.execute(_keys(), {"user_id": user_id})]


@cache
def _keys() -> Select[*tuple[Any, ...]]:
    """Built once, as the other statements here that never differ: to build one takes longer than to answer it."""
    return (
        select(
            CredentialRow.id,
            ProviderRow.slug,
            CredentialRow.label,
            CredentialRow.listing_id,
            CredentialRow.listed_at,
            CredentialRow.base_url,
        )
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(
            CredentialRow.user_id == bindparam("user_id"),
            CredentialRow.is_active,
            CredentialRow.listing_id.is_not(None),
        )
        .order_by(CredentialRow.listed_at.desc(), CredentialRow.id)
    )


def gone(user_id: int, provider: str = "") -> list[GoneLine]:
    """What the user's active keys lost and have not got back, the latest first."""
    later = aliased(ResultRow)
    missed = (
        select(func.count())
        .where(
            later.credential_id == ResultRow.credential_id,
            later.id >= ResultRow.id,
            later.outcome.in_(("complete", "unchanged")),
        )
        .scalar_subquery()
    )
    listed_now = exists().where(
        ListedModelRow.listing_id == CredentialRow.listing_id,
        ListedModelRow.provider_model_id == ChangeRow.provider_model_id,
    )
    canonical_id = (
        select(ModelRow.canonical_id)  # of the shared rows: what is private to somebody is not among them
        .where(
            ModelRow.provider_id == ResultRow.provider_id,
            ModelRow.provider_model_id == ChangeRow.provider_model_id,
        )
        .scalar_subquery()
    )
    query = (
        select(
            ProviderRow.slug,
            CredentialRow.label,
            ChangeRow.provider_model_id,
            ChangeRow.model_name,
            canonical_id,
            ResultRow.ended_at,
            missed,
            CredentialRow.id,
        )
        .join(ResultRow, ResultRow.comparison_id == ChangeRow.comparison_id)
        .join(CredentialRow, CredentialRow.id == ResultRow.credential_id)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(
            ChangeRow.kind == "unlisted",
            CredentialRow.user_id == user_id,
            CredentialRow.is_active,
            ResultRow.comparison_id.is_not(None),
            ~listed_now,
        )
        .order_by(ResultRow.id.desc(), ChangeRow.provider_model_id)
        .limit(_MOST_GONE)
    )
    if provider:
        query = query.where(ProviderRow.slug == provider)
    latest: dict[tuple[int, str], GoneLine] = {}
    for *facts, credential_id in db.session.execute(query):
        line = GoneLine(*facts)
        latest.setdefault((credential_id, line.provider_model_id), line)
    return list(latest.values())


def _of_keys(keys: Sequence[KeyOf]) -> Query:
    """Each model of the keys' listings, once where several keys of one provider at one address list it."""
    return (
        select(ListedModelRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
        .where(or_(false(), *_places(keys)))
    )


def _places(keys: Sequence[KeyOf]) -> list[ColumnElement[bool]]:
    """A condition for each listing of the keys: its lines, but not those that an earlier one at that place has."""
    places: list[ColumnElement[bool]] = []
    groups: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for key in keys:
        earlier = groups[key.provider, key.base_url]
        if key.listing_id in earlier:
            continue
        if earlier:
            seen = exists().where(
                _OTHER.listing_id.in_(list(earlier)), _OTHER.provider_model_id == ListedModelRow.provider_model_id
            )
            places.append(and_(ListedModelRow.listing_id == key.listing_id, ~seen))
        else:
            places.append(ListedModelRow.listing_id == key.listing_id)
        earlier.append(key.listing_id)
    return places


def _conditions(wanted: ModelFilter, user_id: int, now: datetime) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_holds(word) for word in wanted.search.lower().split()]
    if wanted.kind:
        conditions.append(ListedModelRow.kind == wanted.kind)
    for name in sorted(wanted.capabilities & set(CAPABILITIES)):
        conditions.append(getattr(ListedModelRow, name).is_(True))
    if wanted.most_input_price is not None:
        conditions.append(ListedModelRow.input_per_million <= wanted.most_input_price)
    if wanted.least_context is not None:
        conditions.append(ListedModelRow.context_length >= wanted.least_context)
    if wanted.only_new:
        news = _news(user_id, now - NEW_FOR).where(
            ChangeRow.provider_model_id == ListedModelRow.provider_model_id,
            ResultRow.provider_id == ListedModelRow.provider_id,
        )
        conditions.append(news.exists())
    return conditions


def _holds(word: str) -> ColumnElement[bool]:
    """SQLite's own LIKE passes over the case of letters as its lower() does, and nothing has to be lowered for it."""
    columns = (ListedModelRow.provider_model_id, ListedModelRow.name, ListedModelRow.canonical_id)
    if db.engine.dialect.name == "sqlite":
        return or_(*(column.contains(word, autoescape=True) for column in columns))
    return or_(*(column.icontains(word, autoescape=True) for column in columns))


@cache
def _news_of_ids() -> Select[int, str]:
    ids: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
    query = _news(bindparam("user_id"), bindparam("since", type_=Moment))
    return query.where(ChangeRow.provider_model_id.in_(ids)).distinct()


def _news(user_id: int | BindParameter[int], since: datetime | BindParameter[datetime]) -> Select[int, str]:
    return (
        select(ResultRow.provider_id, ChangeRow.provider_model_id)
        .join(ChangeRow, and_(ChangeRow.comparison_id == ResultRow.comparison_id, ChangeRow.kind == "new"))
        .join(UserRow, UserRow.id == ResultRow.user_id)
        .where(
            ResultRow.user_id == user_id,
            ResultRow.new > 0,
            or_(
                ResultRow.ended_at > since,
                func.coalesce(ResultRow.ended_at > UserRow.changes_seen_at, True),
            ),
        )
    )


# ------------------------------------------------------------------ order and cursor

_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "name": ListedModelRow.sort_name,
    "price": ListedModelRow.input_per_million,
    "-price": ListedModelRow.input_per_million,
    "-context": ListedModelRow.context_length,
}

Cursor = tuple[Any, str, int]
"""The sorted value, the id and the listing of the last line shown."""


def _ordered(query: Select[*Columns], sort: Sort, after: Cursor | None) -> Select[*Columns]:
    column = _COLUMNS[sort]
    descending = sort.startswith("-")
    ties = (ListedModelRow.provider_model_id, ListedModelRow.listing_id)
    if after is not None:
        query = query.where(_after(column, after, descending=descending))
    direction = column.desc() if descending else column.asc()
    return query.order_by(direction if sort == "name" else direction.nulls_last(), *ties)


def _after(column: InstrumentedAttribute[Any], after: Cursor, *, descending: bool) -> ColumnElement[bool]:
    """What comes behind the cursor; unknown values come last in either direction."""
    value, model_id, listing_id = after
    behind = tuple_(ListedModelRow.provider_model_id, ListedModelRow.listing_id) > (model_id, listing_id)
    if value is None:
        return and_(column.is_(None), behind)
    beyond = column < value if descending else column > value
    return or_(beyond, and_(column == value, behind), column.is_(None))


def _encoded(row: ListedModelRow, sort: Sort) -> str:
    value = getattr(row, _COLUMNS[sort].key)
    shown = str(value) if isinstance(value, Decimal) else value
    cursor = json.dumps([sort, shown, row.provider_model_id, row.listing_id])
    return base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=")


def _decoded(cursor: str | None, wanted: Sort) -> Cursor | None:
    """None for anything that `_encoded` did not make for this order."""
    if not cursor or len(cursor) > 2_000:
        return None
    try:
        read = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        sort, value, model_id, listing_id = read
        if sort in ("price", "-price") and value is not None:
            value = Decimal(value)
        model_id.encode()  # a lone surrogate is no text for a database
        str(value).encode()
        fits = sort == wanted and isinstance(model_id, str) and _is_id(listing_id) and _fits(sort, value)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
    return (value, model_id, listing_id) if fits else None


def _fits(sort: str, value: object) -> bool:
    if value is None:
        return sort != "name"
    if sort == "name":
        return isinstance(value, str)
    return _is_id(value) if sort == "-context" else isinstance(value, Decimal) and value.is_finite()


def _is_id(value: object) -> bool:
    return type(value) is int and abs(value) < 2**62


# ------------------------------------------------------------------ lines


def _lines(
    found: Sequence[Row[ListedModelRow, str]], keys: Sequence[KeyOf], user_id: int, now: datetime
) -> list[ModelLine]:
    ids = {row.provider_model_id for row, _ in found}
    names = {(slug, row.provider_model_id) for row, slug in found}
    names |= {("", row.canonical_id) for row, _ in found if row.canonical_id}
    marked = marks.marks_of(user_id, names)
    news: set[tuple[int, str]] = set()
    holders: dict[tuple[str, str], set[int]] = defaultdict(set)
    if found:
        values = {"user_id": user_id, "since": now - NEW_FOR, "ids": list(ids)}
        news = {(provider_id, model_id) for provider_id, model_id in db.session.execute(_news_of_ids(), values)}
        holders = _holders(keys, ids)
    return [
        _line(
            row,
            slug,
            keys,
            holders[slug, row.provider_model_id],
            is_new=(row.provider_id, row.provider_model_id) in news,
            mark=marked.get((slug, row.provider_model_id)) or marked.get(("", row.canonical_id or ""), "plain"),
        )
        for row, slug in found
    ]


def _holders(keys: Sequence[KeyOf], ids: set[str]) -> dict[tuple[str, str], set[int]]:
    """(provider, model id) → the listings of these keys that have it; asked only where there can be several."""
    listing_ids: dict[str, set[int]] = defaultdict(set)
    for key in keys:
        listing_ids[key.provider].add(key.listing_id)
    several = [listing_id for found in listing_ids.values() if len(found) > 1 for listing_id in found]
    holders: dict[tuple[str, str], set[int]] = defaultdict(set)
    if several:
        slugs = {key.listing_id: key.provider for key in keys}
        query = select(ListedModelRow.listing_id, ListedModelRow.provider_model_id).where(
            ListedModelRow.listing_id.in_(several), ListedModelRow.provider_model_id.in_(ids)
        )
        for listing_id, model_id in db.session.execute(query):
            holders[slugs[listing_id], model_id].add(listing_id)
    return holders


def _line(
    row: ListedModelRow, slug: str, keys: Sequence[KeyOf], held_by: set[int], *, is_new: bool, mark: Mark
) -> ModelLine:
    listings = held_by | {row.listing_id}
    # Two servers of one kind may call two models alike: only keys of this very place have this one.
    places = {key.base_url for key in keys if key.listing_id == row.listing_id}
    return ModelLine(
        provider=slug,
        keys=tuple(
            key for key in keys if key.provider == slug and key.listing_id in listings and key.base_url in places
        ),
        provider_model_id=row.provider_model_id,
        name=row.name,
        kind=row.kind,
        kind_reason=row.kind_reason,
        canonical_id=row.canonical_id,
        match_rule=row.match_rule,
        variant=row.variant,
        snapshot=row.snapshot,
        context_length=row.context_length,
        max_output_tokens=row.max_output_tokens,
        capabilities=tuple(name for name in CAPABILITIES if getattr(row, name)),
        input_per_million=row.input_per_million,
        output_per_million=row.output_per_million,
        cache_read_per_million=row.cache_read_per_million,
        cache_write_per_million=row.cache_write_per_million,
        documented=row.documented,
        deprecated_on=row.deprecated_on,
        retires_on=row.retires_on,
        successor=row.successor,
        is_new=is_new,
        mark=mark,
    )
