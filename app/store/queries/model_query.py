"""SQL statements of the models page, one per shape of a search; built once and cached."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeVarTuple, get_args

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
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
from app.store.accounts.favorites import ModelKey
from app.store.engine.statements import cached_statement
from app.store.schema.columns import UsdPerMillion, UtcDateTime
from app.store.schema.tables import (
    ChangeRow,
    CredentialRow,
    ListedModelRow,
    ListingRow,
    ProviderRow,
    ResultRow,
    UserRow,
)

NEW_MODEL_AGE = timedelta(days=30)
"""A model is "new" for this long after a sync found it, and until its user has seen it."""
_MAX_UNION_PARTS = 100  # SQLite joins at most 500 selects
RARE_HITS = 500
"""Below this many hits the whole result is sorted at once."""
_OTHER_ROW = aliased(ListedModelRow)
STORED_COUNTS = {"": ListingRow.model_count, "chat": ListingRow.chat_count}
Columns = TypeVarTuple("Columns")
Query = Select[ListedModelRow, str]
"""A model's row and its provider's slug."""

Sort = Literal["name", "price", "-price", "-context"]
SORTS: tuple[str, ...] = get_args(Sort)
MarkFilter = Literal["any", "shown", "starred", "hidden"]
"""Filter by the user's marks; "shown": all but hidden models."""


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """Filters and order of the models page; empty fields do not filter."""

    search: str = ""
    """Words, all of which must occur in the id, the name or the canonical id."""
    provider: str = ""
    capabilities: frozenset[str] = frozenset()
    kind: str = "chat"
    """Empty: all kinds, not only chat models."""
    most_input_price: Decimal | None = None
    """USD per million tokens."""
    least_context: int | None = None
    only_new: bool = False
    sort: Sort = "name"
    marks: MarkFilter = "any"


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key with a listing in force."""

    credential_id: int
    provider: str
    label: str
    listing_id: int
    listed_at: datetime | None
    base_url: str | None


# ------------------------------------------------------------------ shapes


@dataclass(frozen=True, slots=True)
class QueryShape:
    """All that determines a statement apart from its parameters."""

    listings: tuple[bool, ...]
    """For each listing, whether earlier ones belong to the same provider and base URL."""
    words: int
    kind: bool
    capabilities: tuple[str, ...]
    price: bool
    context: bool
    only_new: bool
    dialect: str

    @property
    def is_unfiltered(self) -> bool:
        """Whether nothing but the kind is filtered, and no listings can have models in common."""
        filters = self.words or self.capabilities or self.price or self.context or self.only_new
        return not (any(self.listings) or filters)


@dataclass(frozen=True, slots=True)
class PageShape:
    """The statement for one page of models."""

    shape: QueryShape
    sort: Sort
    after: Literal["", "unknown", "known"]
    """Whether there is a cursor, and whether its sort value is NULL ("unknown")."""
    marks: str
    """"in": only the marked models · "out": all but them · empty: all."""
    is_rare: bool


@dataclass(frozen=True, slots=True)
class BoundQuery:
    shape: QueryShape
    values: dict[str, Any]


def bind(keys: Sequence[KeyRef], filters: ModelFilter, user_id: int, now: datetime) -> BoundQuery:
    """The search over the distinct listings of these keys."""
    values: dict[str, Any] = {"user_id": user_id, "since": now - NEW_MODEL_AGE, "kind": filters.kind}
    values |= {"most_price": filters.most_input_price, "least_context": filters.least_context}
    words = filters.search.lower().split()
    values |= {f"word_{number}": word for number, word in enumerate(words)}
    has_earlier: list[bool] = []
    listings: list[int] = []
    groups: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for key in keys:
        earlier = groups[key.provider, key.base_url]
        if key.listing_id not in earlier:
            values |= {f"listing_{len(listings)}": key.listing_id, f"earlier_{len(listings)}": list(earlier)}
            has_earlier.append(bool(earlier))
            listings.append(key.listing_id)
            earlier.append(key.listing_id)
    values["listings"] = listings
    shape = QueryShape(
        listings=tuple(has_earlier),
        words=len(words),
        kind=bool(filters.kind),
        capabilities=tuple(sorted(filters.capabilities & set(CAPABILITIES))),
        price=filters.most_input_price is not None,
        context=filters.least_context is not None,
        only_new=filters.only_new,
        dialect=db.engine.dialect.name,
    )
    return BoundQuery(shape, values)


def cursor_kind(after: Cursor | None) -> Literal["", "unknown", "known"]:
    if after is None:
        return ""
    return "unknown" if after[0] is None else "known"


def cursor_values(after: Cursor | None) -> dict[str, Any]:
    return dict(zip(("after_value", "after_id", "after_listing"), after or (), strict=False))


# ------------------------------------------------------------------ statements


@cached_statement
def active_keys_query() -> Select[*tuple[Any, ...]]:
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


@cached_statement
def count_query(shape: QueryShape) -> Select[int]:
    return select(func.count(ListedModelRow.listing_id)).where(_listings_clause(shape), *_conditions(shape))


@cached_statement
def stored_count_query(kind: str) -> Select[int]:
    """Sums the counts stored with the listings."""
    listings: BindParameter[Sequence[int]] = bindparam("listings", expanding=True)
    return select(func.sum(STORED_COUNTS[kind])).where(ListingRow.id.in_(listings))


@cached_statement
def page_query(page: PageShape) -> Query:
    """The page after the cursor: each listing's first rows in index order, merged. Sorting all rows together would
    take longer the more models there are.

    A search with few hits is sorted as a whole: they come from the search index, while in the order of another index
    every model would have to be read.
    """
    shape = page.shape
    conditions = [*_conditions(shape), *_mark_conditions(page.marks)]
    query = select(ListedModelRow, ProviderRow.slug).join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
    size = bindparam("size", type_=Integer)
    # statements of plain table columns build several times as fast as those of ORM attributes
    table = ListedModelRow.__table__
    columns = select(table.c.listing_id, table.c.provider_model_id)
    if shape.words and page.is_rare:
        # the LIMIT tells the planner that there are few, so that it uses the search index
        heads = columns.where(_listings_clause(shape), *conditions).limit(RARE_HITS).subquery()
        return _order(query.join(heads, _is_in_head(heads)), page.sort, page.after).limit(size)
    clauses = _per_listing_clauses(shape)
    if not 0 < len(clauses) <= _MAX_UNION_PARTS:
        return _order(query.where(_listings_clause(shape), *conditions), page.sort, page.after).limit(size)
    parts = [_order(columns.where(clause, *conditions), page.sort, page.after).limit(size) for clause in clauses]
    subqueries = [part.subquery() for part in parts]
    heads = union_all(*(select(part.c.listing_id, part.c.provider_model_id) for part in subqueries)).subquery()
    return _order(query.join(heads, _is_in_head(heads)), page.sort, "").limit(size)


@cached_statement
def marked_query(shape: QueryShape, column: str) -> Select[int, str, str | None, str]:
    model_ids: BindParameter[Sequence[str]] = bindparam("model_ids", expanding=True)
    return (
        select(
            ListedModelRow.listing_id, ListedModelRow.provider_model_id, ListedModelRow.canonical_id, ProviderRow.slug
        )
        .join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
        .where(
            getattr(ListedModelRow, column).in_(model_ids), _listings_clause(shape), *_conditions(shape, kind=_ANY_KIND)
        )
    )


@cached_statement
def build_name_query(shape: QueryShape) -> Query:
    models: BindParameter[Sequence[ModelKey]] = bindparam("models", expanding=True)
    return (
        select(ListedModelRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == ListedModelRow.provider_id)
        .where(_listings_clause(shape), tuple_(ProviderRow.slug, ListedModelRow.provider_model_id).in_(models))
    )


@cached_statement
def new_ids_query() -> Select[int, str]:
    ids: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
    query = _new_models(bindparam("user_id"), bindparam("since", type_=UtcDateTime))
    return query.where(ChangeRow.provider_model_id.in_(ids)).distinct()


@cached_statement
def holders_query() -> Select[int, str]:
    several: BindParameter[Sequence[int]] = bindparam("listings", expanding=True)
    ids: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
    return select(ListedModelRow.listing_id, ListedModelRow.provider_model_id).where(
        ListedModelRow.listing_id.in_(several), ListedModelRow.provider_model_id.in_(ids)
    )


# ------------------------------------------------------------------ conditions


def _is_in_head(heads: Subquery) -> ColumnElement[bool]:
    return and_(
        heads.c.listing_id == ListedModelRow.listing_id, heads.c.provider_model_id == ListedModelRow.provider_model_id
    )


def _mark_conditions(which: str) -> Sequence[ColumnElement[bool]]:
    marked: BindParameter[Sequence[tuple[int, str]]] = bindparam("marked", expanding=True)
    is_marked = tuple_(ListedModelRow.listing_id, ListedModelRow.provider_model_id).in_(marked)
    return {"": [], "in": [is_marked], "out": [~is_marked]}[which]


def _listings_clause(shape: QueryShape) -> ColumnElement[bool]:
    if not any(shape.listings):  # PostgreSQL answers IN by an index-only scan, but not OR
        listings: BindParameter[Sequence[int]] = bindparam("listings", expanding=True)
        return ListedModelRow.listing_id.in_(listings)
    return or_(*_per_listing_clauses(shape))


def _per_listing_clauses(shape: QueryShape) -> list[ColumnElement[bool]]:
    """A condition for each listing: its models, except those of an earlier listing of the same endpoint."""
    clauses: list[ColumnElement[bool]] = []
    for number, has_earlier in enumerate(shape.listings):
        clause: ColumnElement[bool] = ListedModelRow.listing_id == bindparam(f"listing_{number}", type_=BigInteger)
        if has_earlier:
            earlier: BindParameter[Sequence[int]] = bindparam(f"earlier_{number}", expanding=True)
            seen = exists().where(
                _OTHER_ROW.listing_id.in_(earlier), _OTHER_ROW.provider_model_id == ListedModelRow.provider_model_id
            )
            clause = and_(clause, ~seen)
        clauses.append(clause)
    return clauses


_ANY_KIND = ListedModelRow.kind.concat("")
"""Keeps the planner from using an index on kind: for few ids a lookup by id is faster."""


def _conditions(shape: QueryShape, kind: ColumnElement[str] = ListedModelRow.kind) -> list[ColumnElement[bool]]:  # type: ignore[assignment]
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
        new_models = _new_models(bindparam("user_id"), bindparam("since", type_=UtcDateTime)).where(
            ChangeRow.provider_model_id == ListedModelRow.provider_model_id,
            ResultRow.provider_id == ListedModelRow.provider_id,
        )
        conditions.append(new_models.exists())
    return conditions


def _contains_word(word: str, dialect: str) -> ColumnElement[bool]:
    """Case-insensitive substring match (both sides are lower case; no LIKE wildcards)."""
    position = func.instr if dialect == "sqlite" else func.strpos
    return position(ListedModelRow.search, bindparam(word, type_=Text)) > literal_column("0")


def _new_models(user_id: int | BindParameter[int], since: datetime | BindParameter[datetime]) -> Select[int, str]:
    return (
        select(ResultRow.provider_id, ChangeRow.provider_model_id)
        .join(ChangeRow, and_(ChangeRow.comparison_id == ResultRow.comparison_id, ChangeRow.kind == "new"))
        .join(UserRow, UserRow.id == ResultRow.user_id)
        .where(
            ResultRow.user_id == user_id,
            ResultRow.new > 0,
            or_(ResultRow.ended_at > since, func.coalesce(ResultRow.ended_at > UserRow.changes_seen_at, True)),
        )
    )


# ------------------------------------------------------------------ order

SORT_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "name": ListedModelRow.sort_name,
    "price": ListedModelRow.input_per_million,
    "-price": ListedModelRow.input_per_million,
    "-context": ListedModelRow.context_length,
}

Cursor = tuple[Any, str, int]
"""(sort value, model id, listing id) of the last model shown."""


def _order(query: Select[*Columns], sort: Sort, after: str) -> Select[*Columns]:
    column = SORT_COLUMNS[sort]
    descending = sort.startswith("-")
    ties = (ListedModelRow.provider_model_id, ListedModelRow.listing_id)
    if after:
        query = query.where(_cursor_condition(column, after, descending=descending))
    direction = column.desc() if descending else column.asc()
    return query.order_by(direction if sort == "name" else direction.nulls_last(), *ties)


def _cursor_condition(column: InstrumentedAttribute[Any], after: str, *, descending: bool) -> ColumnElement[bool]:
    """Rows after the cursor; NULLs come last in either direction."""
    at = tuple_(bindparam("after_id", type_=Text), bindparam("after_listing", type_=BigInteger))
    behind = tuple_(ListedModelRow.provider_model_id, ListedModelRow.listing_id) > at
    if after == "unknown":
        return and_(column.is_(None), behind)
    value: BindParameter[Any] = bindparam("after_value", type_=column.type)
    beyond = column < value if descending else column > value
    return or_(beyond, and_(column == value, behind), column.is_(None))
