"""The page of models: what a person's keys may use, searched, filtered, sorted and cut into pages by SQL."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Literal, TypeVarTuple, get_args

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Row,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.catalog.listing import CAPABILITIES
from app.extensions import db
from app.store.accounts import favorites
from app.store.accounts.favorites import Mark, ModelKey
from app.store.schema.columns import UsdPerMillion, UtcDateTime
from app.store.schema.tables import (
    ChangeRow,
    CredentialRow,
    ListedModelRow,
    ListingRow,
    ModelRow,
    ProviderRow,
    ResultRow,
    UserRow,
)

PAGE_SIZE = 50
NEW_MODEL_AGE = timedelta(days=30)
"""A model stays "new" for this long after a sync told of it, and until its person has seen it."""
_MAX_UNLISTED = 200
_MAX_UNION_PARTS = 100  # SQLite joins no more than 500 selects
_CACHED_STATEMENTS = 256  # of each kind are kept: to build one takes longer than to answer it
_RARE_HITS = 500
"""A search that finds no more than so many is sorted as a whole."""
_MAX_CURSOR_LENGTH = 3_600
_OTHER_ROW = aliased(ListedModelRow)
_STORED_COUNTS = {"": ListingRow.model_count, "chat": ListingRow.chat_count}
Columns = TypeVarTuple("Columns")
Query = Select[ListedModelRow, str]
"""A line's row with its provider's slug."""

Sort = Literal["name", "price", "-price", "-context"]
SORTS: tuple[str, ...] = get_args(Sort)
MarkFilter = Literal["any", "shown", "starred", "hidden"]
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
    marks: MarkFilter = "any"


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key whose models the page shows."""

    credential_id: int
    provider: str
    label: str
    listing_id: int
    listed_at: datetime | None
    base_url: str | None


@dataclass(frozen=True, slots=True)
class ModelView:
    provider: str
    keys: tuple[KeyRef, ...]
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

    @property
    def shared(self) -> ModelView:
        """The same without the keys: all that a page shows of it which is nobody's own."""
        return replace(self, keys=())

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the keys that have one."""
        return tuple(key.label for key in self.keys if key.label)

    @property
    def listed_at(self) -> datetime | None:
        """When the key that was synced last told of it."""
        return self.keys[0].listed_at if self.keys else None


@dataclass(frozen=True, slots=True)
class ModelSearchPage:
    lines: list[ModelView]
    following: str | None
    """The cursor of the next page."""
    total: int
    keys: list[KeyRef]
    hidden: int = 0
    """How many more fit but are hidden by their person; counted only where hidden ones are left out."""


@dataclass(frozen=True, slots=True)
class UnlistedModel:
    """A chat model that a key listed once and its provider no longer lists for it."""

    provider: str
    label: str
    provider_model_id: str
    name: str
    canonical_id: str | None
    gone_at: datetime
    missed: int
    """Complete syncs without it, the first one included."""


def search(
    user_id: int, wanted: ModelFilter, now: datetime, cursor: str | None = None, size: int = PAGE_SIZE
) -> ModelSearchPage:
    """One page of what the user's active keys may use. A cursor that is none is passed over."""
    keys = active_keys(user_id)
    if not keys:
        return ModelSearchPage([], None, 0, [])
    asked = _bind([key for key in keys if wanted.provider in ("", key.provider)], wanted, user_id, now)
    marked = None if wanted.marks == "any" else favorites.load_all_marks(user_id)
    lines, is_wanted = _load_marked(wanted.marks, marked or {}, asked)
    hidden = 0 if is_wanted else len(lines)
    total = len(lines) if is_wanted else _count(asked) - hidden
    after = _decode_cursor(cursor, wanted.sort)
    of_marks = "in" if is_wanted else "out" if lines else ""
    shape = _PageQuery(asked.shape, wanted.sort, _cursor_kind(after), of_marks, is_rare=total <= _RARE_HITS)
    values = asked.values | _cursor_values(after) | {"lines": lines, "size": size + 1}
    found = db.session.execute(_page_query(shape), values).all() if total else []
    following = _encode_cursor(found[size - 1][0], wanted.sort) if len(found) > size else None
    return ModelSearchPage(_to_views(found[:size], keys, user_id, now, marked), following, total, keys, hidden)


def by_name(user_id: int, named: Sequence[ModelKey], now: datetime) -> list[ModelView]:
    """The lines of these (provider, model id) among what the user's active keys may use, as they were named.

    Where two servers of one kind call two models alike, the one of the last synced key.
    """
    keys = active_keys(user_id)
    if not keys or not named:
        return []
    asked = _bind(keys, ModelFilter(kind=""), user_id, now)
    found = db.session.execute(_by_name_query(asked.shape), asked.values | {"named": list(named)}).all()
    latest = {key.listing_id: place for place, key in reversed(list(enumerate(keys)))}
    lines: dict[ModelKey, ModelView] = {}
    for line in _to_views(sorted(found, key=lambda pair: latest[pair[0].listing_id]), keys, user_id, now):
        lines.setdefault((line.provider, line.provider_model_id), line)
    return [lines[name] for name in named if name in lines]


def _load_marked(
    wanted: MarkFilter, marked: dict[ModelKey, Mark], asked: _BoundQuery
) -> tuple[list[tuple[int, str]], bool]:
    """The fitting lines that are starred or hidden, whichever matters, as (listing, the provider's id), and whether
    they are wanted or left out. Found from the marks, which are few, and not from the lines, which may be many."""
    if wanted == "any":
        return [], False
    mark: Mark = "starred" if wanted == "starred" else "hidden"
    of_mark = [name for name, word in marked.items() if word == mark]
    ids = {
        "provider_model_id": [model_id for provider, model_id in of_mark if provider],
        "canonical_id": [model_id for provider, model_id in of_mark if not provider],
    }
    lines = {
        (listing_id, model_id)
        for column, named in ids.items()
        if named
        for listing_id, model_id, canonical_id, slug in db.session.execute(
            _marked_query(asked.shape, column), asked.values | {"named": named}
        )
        if marked.get((slug, model_id), marked.get(("", canonical_id or ""))) == mark
    }
    return sorted(lines), wanted != "shown"


@lru_cache(_CACHED_STATEMENTS)
def _marked_query(shape: _QueryShape, column: str) -> Select[int, str, str | None, str]:
    named: BindParameter[Sequence[str]] = bindparam("named", expanding=True)
    return (
        select(
            ListedModelRow.listing_id, ListedModelRow.provider_model_id, ListedModelRow.canonical_id, ProviderRow.slug
        )
        .join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
        .where(getattr(ListedModelRow, column).in_(named), _listings_clause(shape), *_conditions(shape, kind=_ANY_KIND))
    )


def _count(asked: _BoundQuery) -> int:
    if asked.shape.is_whole and asked.values["kind"] in _STORED_COUNTS:
        return db.session.scalar(_stored_count_query(asked.values["kind"]), asked.values) or 0
    return db.session.scalar(_count_query(asked.shape), asked.values) or 0


@cache
def _stored_count_query(kind: str) -> Select[int]:
    """What each listing knows of itself, so that nothing has to be counted."""
    listings: BindParameter[Sequence[int]] = bindparam("listings", expanding=True)
    return select(func.sum(_STORED_COUNTS[kind])).where(ListingRow.id.in_(listings))


@lru_cache(_CACHED_STATEMENTS)
def _count_query(shape: _QueryShape) -> Select[int]:
    return select(func.count(ListedModelRow.listing_id)).where(_listings_clause(shape), *_conditions(shape))


@lru_cache(_CACHED_STATEMENTS)
def _page_query(wanted: _PageQuery) -> Query:
    """The first lines behind the cursor. Each listing gives its own first ones, which its index has in order: were
    all of them sorted together, a page would take the longer the more models there are.

    What a search finds rarely is sorted together: it is looked up in the index of what is searched, whereas on the
    way through the others' each model would have to be read.
    """
    shape = wanted.shape
    conditions = [*_conditions(shape), *_mark_conditions(wanted.of_marks)]
    query = select(ListedModelRow, ProviderRow.slug).join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
    size = bindparam("size", type_=Integer)
    # Of the table's own columns: those of the class take several times as long to be put together.
    table = ListedModelRow.__table__
    line = select(table.c.listing_id, table.c.provider_model_id)
    if shape.words and wanted.is_rare:
        # So few: a planner that knows it looks them up, instead of reading the whole table.
        heads = line.where(_listings_clause(shape), *conditions).limit(_RARE_HITS).subquery()
        return _order(query.join(heads, _is_in_head(heads)), wanted.sort, wanted.after).limit(size)
    places = _per_listing_clauses(shape)
    if not 0 < len(places) <= _MAX_UNION_PARTS:
        return _order(query.where(_listings_clause(shape), *conditions), wanted.sort, wanted.after).limit(size)
    parts = [_order(line.where(place, *conditions), wanted.sort, wanted.after).limit(size) for place in places]
    subqueries = [part.subquery() for part in parts]
    heads = union_all(*(select(part.c.listing_id, part.c.provider_model_id) for part in subqueries)).subquery()
    return _order(query.join(heads, _is_in_head(heads)), wanted.sort, "").limit(size)


def _is_in_head(heads: Subquery) -> ColumnElement[bool]:
    return and_(
        heads.c.listing_id == ListedModelRow.listing_id, heads.c.provider_model_id == ListedModelRow.provider_model_id
    )


def _mark_conditions(which: str) -> Sequence[ColumnElement[bool]]:
    lines: BindParameter[Sequence[tuple[int, str]]] = bindparam("lines", expanding=True)
    of_them = tuple_(ListedModelRow.listing_id, ListedModelRow.provider_model_id).in_(lines)
    return {"": [], "in": [of_them], "out": [~of_them]}[which]


def is_cursor(text: str, sort: Sort) -> bool:
    """Whether this is a cursor of this order, which `models` would go by."""
    return _decode_cursor(text, sort) is not None


def active_keys(user_id: int) -> list[KeyRef]:
    """The active keys of a user that have a list, the most recently listed first."""
    return [KeyRef(*tuple(row)) for row in db.session.execute(_active_keys_query(), {"user_id": user_id})]


@cache
def _active_keys_query() -> Select[*tuple[Any, ...]]:
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


def unlisted(user_id: int, provider: str = "") -> list[UnlistedModel]:
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
        .limit(_MAX_UNLISTED)
    )
    if provider:
        query = query.where(ProviderRow.slug == provider)
    latest: dict[tuple[int, str], UnlistedModel] = {}
    for *facts, credential_id in db.session.execute(query):
        line = UnlistedModel(*facts)
        latest.setdefault((credential_id, line.provider_model_id), line)
    return list(latest.values())


@lru_cache(_CACHED_STATEMENTS)
def _by_name_query(shape: _QueryShape) -> Query:
    named: BindParameter[Sequence[ModelKey]] = bindparam("named", expanding=True)
    return (
        select(ListedModelRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
        .where(_listings_clause(shape), tuple_(ProviderRow.slug, ListedModelRow.provider_model_id).in_(named))
    )


# ------------------------------------------------------------------ what is asked for


@dataclass(frozen=True, slots=True)
class _QueryShape:
    """What a statement looks like, whatever its values are: one is built for each, and kept."""

    places: tuple[bool, ...]
    """For each listing, whether there are earlier ones of the same provider at one address."""
    words: int
    kind: bool
    capabilities: tuple[str, ...]
    price: bool
    context: bool
    only_new: bool
    dialect: str
    """Of SQL."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing but the kind is asked for, of listings that have no model in common."""
        return not (any(self.places) or self.words or self.capabilities or self.price or self.context or self.only_new)


@dataclass(frozen=True, slots=True)
class _PageQuery:
    """The statement of a page's first lines."""

    shape: _QueryShape
    sort: Sort
    after: Literal["", "unknown", "known"]
    """Whether there is a cursor, and whether the value it stands at is known."""
    of_marks: str
    """"in": only the marked lines · "out": all but them · empty: all."""
    is_rare: bool


@dataclass(frozen=True, slots=True)
class _BoundQuery:
    shape: _QueryShape
    values: dict[str, Any]


def _bind(keys: Sequence[KeyRef], wanted: ModelFilter, user_id: int, now: datetime) -> _BoundQuery:
    """What is wanted of the listings of these keys, of each once."""
    values: dict[str, Any] = {"user_id": user_id, "since": now - NEW_MODEL_AGE, "kind": wanted.kind}
    values |= {"most_price": wanted.most_input_price, "least_context": wanted.least_context}
    words = wanted.search.lower().split()
    values |= {f"word_{number}": word for number, word in enumerate(words)}
    places: list[bool] = []
    listings: list[int] = []
    groups: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for key in keys:
        earlier = groups[key.provider, key.base_url]
        if key.listing_id not in earlier:
            values |= {f"listing_{len(places)}": key.listing_id, f"earlier_{len(places)}": list(earlier)}
            places.append(bool(earlier))
            listings.append(key.listing_id)
            earlier.append(key.listing_id)
    values["listings"] = listings
    shape = _QueryShape(
        places=tuple(places),
        words=len(words),
        kind=bool(wanted.kind),
        capabilities=tuple(sorted(wanted.capabilities & set(CAPABILITIES))),
        price=wanted.most_input_price is not None,
        context=wanted.least_context is not None,
        only_new=wanted.only_new,
        dialect=db.engine.dialect.name,
    )
    return _BoundQuery(shape, values)


def _listings_clause(shape: _QueryShape) -> ColumnElement[bool]:
    if not any(shape.places):  # PostgreSQL reads this from an index alone, and alternatives never
        listings: BindParameter[Sequence[int]] = bindparam("listings", expanding=True)
        return ListedModelRow.listing_id.in_(listings)
    return or_(*_per_listing_clauses(shape))


def _per_listing_clauses(shape: _QueryShape) -> list[ColumnElement[bool]]:
    """A condition for each listing: its lines, but not those that an earlier one at that place has."""
    places: list[ColumnElement[bool]] = []
    for number, has_earlier in enumerate(shape.places):
        place: ColumnElement[bool] = ListedModelRow.listing_id == bindparam(f"listing_{number}", type_=BigInteger)
        if has_earlier:
            earlier: BindParameter[Sequence[int]] = bindparam(f"earlier_{number}", expanding=True)
            seen = exists().where(
                _OTHER_ROW.listing_id.in_(earlier), _OTHER_ROW.provider_model_id == ListedModelRow.provider_model_id
            )
            place = and_(place, ~seen)
        places.append(place)
    return places


_ANY_KIND = ListedModelRow.kind.concat("")
"""The kind where it must not lead the planner to an index: the few names that are asked for find their lines sooner."""


def _conditions(shape: _QueryShape, kind: ColumnElement[str] = ListedModelRow.kind) -> list[ColumnElement[bool]]:  # type: ignore[assignment]
    conditions: list[ColumnElement[bool]] = [
        _contains_word(f"word_{number}", shape.dialect) for number in range(shape.words)
    ]
    if shape.kind:
        conditions.append(kind == bindparam("kind"))
    conditions += [getattr(ListedModelRow, name).is_(True) for name in shape.capabilities]
    if shape.price:
        conditions.append(ListedModelRow.input_per_million <= bindparam("most_price", type_=UsdPerMillion))
    if shape.context:
        conditions.append(ListedModelRow.context_length >= bindparam("least_context", type_=BigInteger))
    if shape.only_new:
        news = _new_models(bindparam("user_id"), bindparam("since", type_=UtcDateTime)).where(
            ChangeRow.provider_model_id == ListedModelRow.provider_model_id,
            ResultRow.provider_id == ListedModelRow.provider_id,
        )
        conditions.append(news.exists())
    return conditions


def _contains_word(word: str, dialect: str) -> ColumnElement[bool]:
    """That what is searched holds the word, letter by letter: both are in lower case, and no pattern is read."""
    position = func.instr if dialect == "sqlite" else func.strpos
    return position(ListedModelRow.search, bindparam(word, type_=Text)) > literal_column("0")


@cache
def _new_ids_query() -> Select[int, str]:
    ids: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
    query = _new_models(bindparam("user_id"), bindparam("since", type_=UtcDateTime))
    return query.where(ChangeRow.provider_model_id.in_(ids)).distinct()


def _new_models(user_id: int | BindParameter[int], since: datetime | BindParameter[datetime]) -> Select[int, str]:
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

_SORT_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "name": ListedModelRow.sort_name,
    "price": ListedModelRow.input_per_million,
    "-price": ListedModelRow.input_per_million,
    "-context": ListedModelRow.context_length,
}

Cursor = tuple[Any, str, int]
"""The sorted value, the id and the listing of the last line shown."""


def _order(query: Select[*Columns], sort: Sort, after: str) -> Select[*Columns]:
    column = _SORT_COLUMNS[sort]
    descending = sort.startswith("-")
    ties = (ListedModelRow.provider_model_id, ListedModelRow.listing_id)
    if after:
        query = query.where(_after_condition(column, after, descending=descending))
    direction = column.desc() if descending else column.asc()
    return query.order_by(direction if sort == "name" else direction.nulls_last(), *ties)


def _after_condition(column: InstrumentedAttribute[Any], after: str, *, descending: bool) -> ColumnElement[bool]:
    """What comes behind the cursor; unknown values come last in either direction."""
    at = tuple_(bindparam("after_id", type_=Text), bindparam("after_listing", type_=BigInteger))
    behind = tuple_(ListedModelRow.provider_model_id, ListedModelRow.listing_id) > at
    if after == "unknown":
        return and_(column.is_(None), behind)
    value: BindParameter[Any] = bindparam("after_value", type_=column.type)
    beyond = column < value if descending else column > value
    return or_(beyond, and_(column == value, behind), column.is_(None))


def _cursor_kind(after: Cursor | None) -> Literal["", "unknown", "known"]:
    if after is None:
        return ""
    return "unknown" if after[0] is None else "known"


def _cursor_values(after: Cursor | None) -> dict[str, Any]:
    return dict(zip(("after_value", "after_id", "after_listing"), after or (), strict=False))


def _encode_cursor(row: ListedModelRow, sort: Sort) -> str:
    value = getattr(row, _SORT_COLUMNS[sort].key)
    shown = str(value) if isinstance(value, Decimal) else value
    cursor = json.dumps([sort, shown, row.provider_model_id, row.listing_id], ensure_ascii=False)
    return base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str | None, wanted: Sort) -> Cursor | None:
    """None for anything that `_encoded` did not make for this order."""
    if not cursor or len(cursor) > _MAX_CURSOR_LENGTH:
        return None
    try:
        read = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        sort, value, model_id, listing_id = read
        if sort in ("price", "-price") and value is not None:
            value = Decimal(value)
        model_id.encode()  # a lone surrogate is no text for a database
        str(value).encode()
        fits = sort == wanted and isinstance(model_id, str) and _is_bigint(listing_id) and _is_valid_value(sort, value)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
    return (value, model_id, listing_id) if fits else None


def _is_valid_value(sort: str, value: object) -> bool:
    if value is None:
        return sort != "name"
    if sort == "name":
        return isinstance(value, str)
    return _is_bigint(value) if sort == "-context" else isinstance(value, Decimal) and value.is_finite()


def _is_bigint(value: object) -> bool:
    return type(value) is int and abs(value) < 2**62


# ------------------------------------------------------------------ lines


def _to_views(
    found: Sequence[Row[ListedModelRow, str]],
    keys: Sequence[KeyRef],
    user_id: int,
    now: datetime,
    marked: dict[ModelKey, Mark] | None = None,
) -> list[ModelView]:
    """marked: all marks of the user, if they are known already."""
    ids = {row.provider_model_id for row, _ in found}
    names = {(slug, row.provider_model_id) for row, slug in found}
    names |= {("", row.canonical_id) for row, _ in found if row.canonical_id}
    marked = favorites.load_marks(user_id, names) if marked is None else marked
    news: set[tuple[int, str]] = set()
    holders: dict[tuple[str, str], set[int]] = defaultdict(set)
    if found:
        values = {"user_id": user_id, "since": now - NEW_MODEL_AGE, "ids": list(ids)}
        news = {(provider_id, model_id) for provider_id, model_id in db.session.execute(_new_ids_query(), values)}
        holders = _load_holders(keys, ids)
    return [
        _to_view(
            row,
            slug,
            keys,
            holders[slug, row.provider_model_id],
            is_new=(row.provider_id, row.provider_model_id) in news,
            mark=marked.get((slug, row.provider_model_id)) or marked.get(("", row.canonical_id or ""), "plain"),
        )
        for row, slug in found
    ]


def _load_holders(keys: Sequence[KeyRef], ids: set[str]) -> dict[tuple[str, str], set[int]]:
    """(provider, model id) → the listings of these keys that have it; asked only where there can be several."""
    listing_ids: dict[str, set[int]] = defaultdict(set)
    for key in keys:
        listing_ids[key.provider].add(key.listing_id)
    several = [listing_id for found in listing_ids.values() if len(found) > 1 for listing_id in found]
    holders: dict[tuple[str, str], set[int]] = defaultdict(set)
    if several:
        slugs = {key.listing_id: key.provider for key in keys}
        for listing_id, model_id in db.session.execute(_holders_query(), {"listings": several, "ids": list(ids)}):
            holders[slugs[listing_id], model_id].add(listing_id)
    return holders


@cache
def _holders_query() -> Select[int, str]:
    several: BindParameter[Sequence[int]] = bindparam("listings", expanding=True)
    ids: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
    return select(ListedModelRow.listing_id, ListedModelRow.provider_model_id).where(
        ListedModelRow.listing_id.in_(several), ListedModelRow.provider_model_id.in_(ids)
    )


def _to_view(
    row: ListedModelRow, slug: str, keys: Sequence[KeyRef], held_by: set[int], *, is_new: bool, mark: Mark
) -> ModelView:
    listings = held_by | {row.listing_id}
    # Two servers of one kind may call two models alike: only keys of this very place have this one.
    places = {key.base_url for key in keys if key.listing_id == row.listing_id}
    return ModelView(
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
