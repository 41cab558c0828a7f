"""The models page: what a user's keys may use, searched, filtered, sorted and paged in SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Row, exists, func, select
from sqlalchemy.orm import aliased

from app.catalog.listing import CAPABILITIES
from app.extensions import db
from app.store.accounts import favorites
from app.store.accounts.favorites import Mark, ModelKey
from app.store.engine.views import build_view
from app.store.queries import model_cursor
from app.store.queries.model_query import (
    NEW_MODEL_AGE,
    RARE_HITS,
    STORED_COUNTS,
    BoundQuery,
    KeyRef,
    MarkFilter,
    ModelFilter,
    PageShape,
    active_keys_query,
    bind,
    build_name_query,
    count_query,
    cursor_kind,
    cursor_values,
    holders_query,
    marked_query,
    new_ids_query,
    page_query,
    stored_count_query,
)
from app.store.schema.tables import ChangeRow, CredentialRow, ListedModelRow, ModelRow, ProviderRow, ResultRow

PAGE_SIZE = 50
_MAX_UNLISTED = 200


@dataclass(frozen=True, slots=True)
class ModelView:
    provider: str
    keys: tuple[KeyRef, ...]
    """The user's keys that list it."""
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
        """The same without the keys: the part that is not specific to the user."""
        return replace(self, keys=())

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its keys."""
        return tuple(key.label for key in self.keys if key.label)

    @property
    def listed_at(self) -> datetime | None:
        """When the most recently synced of its keys listed it."""
        return self.keys[0].listed_at if self.keys else None


@dataclass(frozen=True, slots=True)
class ModelSearchPage:
    lines: list[ModelView]
    following: str | None
    """The cursor of the next page."""
    total: int
    keys: list[KeyRef]
    hidden: int = 0
    """Matching models that the user has hidden; counted only if they are left out."""


@dataclass(frozen=True, slots=True)
class UnlistedModel:
    """A chat model that a key once listed and no longer does."""

    provider: str
    label: str
    provider_model_id: str
    name: str
    canonical_id: str | None
    gone_at: datetime
    missed: int
    """Complete syncs without it, including the first."""


def search(
    user_id: int, filters: ModelFilter, now: datetime, cursor: str | None = None, size: int = PAGE_SIZE
) -> ModelSearchPage:
    """One page of what the user's active keys may use. An invalid cursor is ignored."""
    keys = active_keys(user_id)
    if not keys:
        return ModelSearchPage([], None, 0, [])
    bound = bind([key for key in keys if filters.provider in ("", key.provider)], filters, user_id, now)
    marks = None if filters.marks == "any" else favorites.load_all_marks(user_id)
    marked, is_wanted = _load_marked(filters.marks, marks or {}, bound)
    hidden = 0 if is_wanted else len(marked)
    total = len(marked) if is_wanted else _count(bound) - hidden
    after = model_cursor.decode(cursor, filters.sort)
    mark_clause = "in" if is_wanted else "out" if marked else ""
    shape = PageShape(bound.shape, filters.sort, cursor_kind(after), mark_clause, is_rare=total <= RARE_HITS)
    values = bound.values | cursor_values(after) | {"marked": marked, "size": size + 1}
    rows = db.session.execute(page_query(shape), values).all() if total else []
    following = model_cursor.encode(rows[size - 1][0], filters.sort) if len(rows) > size else None
    return ModelSearchPage(_to_views(rows[:size], keys, user_id, now, marks), following, total, keys, hidden)


def search_by_name(user_id: int, models: Sequence[ModelKey], now: datetime) -> list[ModelView]:
    """These models, if the user's active keys may use them, in the order given.

    If two endpoints of one provider have the same id, the one of the most recently synced key.
    """
    keys = active_keys(user_id)
    if not keys or not models:
        return []
    bound = bind(keys, ModelFilter(kind=""), user_id, now)
    rows = db.session.execute(build_name_query(bound.shape), bound.values | {"models": list(models)}).all()
    latest = {key.listing_id: position for position, key in reversed(list(enumerate(keys)))}
    views: dict[ModelKey, ModelView] = {}
    for view in _to_views(sorted(rows, key=lambda pair: latest[pair[0].listing_id]), keys, user_id, now):
        views.setdefault((view.provider, view.provider_model_id), view)
    return [views[key] for key in models if key in views]


def active_keys(user_id: int) -> list[KeyRef]:
    """The active keys of a user that have a list, the most recently listed first."""
    return [KeyRef(*tuple(row)) for row in db.session.execute(active_keys_query(), {"user_id": user_id})]


def unlisted(user_id: int, provider: str = "") -> list[UnlistedModel]:
    """Models that the user's active keys lost and have not regained, the latest first."""
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
        select(ModelRow.canonical_id)  # shared rows only, without private models
        .where(ModelRow.provider_id == ResultRow.provider_id, ModelRow.provider_model_id == ChangeRow.provider_model_id)
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


def _load_marked(
    mark_filter: MarkFilter, marks: dict[ModelKey, Mark], bound: BoundQuery
) -> tuple[list[tuple[int, str]], bool]:
    """The matching models with the decisive mark, as (listing id, model id), and whether the page shows only these
    (True) or all but these. Found from the marks, which are few, rather than from the models, which may be many."""
    if mark_filter == "any":
        return [], False
    mark: Mark = "starred" if mark_filter == "starred" else "hidden"
    keys = [name for name, word in marks.items() if word == mark]
    ids = {
        "provider_model_id": [model_id for provider, model_id in keys if provider],
        "canonical_id": [model_id for provider, model_id in keys if not provider],
    }
    marked = {
        (listing_id, model_id)
        for column, model_ids in ids.items()
        if model_ids
        for listing_id, model_id, canonical_id, slug in db.session.execute(
            marked_query(bound.shape, column), bound.values | {"model_ids": model_ids}
        )
        if marks.get((slug, model_id), marks.get(("", canonical_id or ""))) == mark
    }
    return sorted(marked), mark_filter != "shown"


def _count(bound: BoundQuery) -> int:
    if bound.shape.is_unfiltered and bound.values["kind"] in STORED_COUNTS:
        return db.session.scalar(stored_count_query(bound.values["kind"]), bound.values) or 0
    return db.session.scalar(count_query(bound.shape), bound.values) or 0


def _to_views(
    rows: Sequence[Row[ListedModelRow, str]],
    keys: Sequence[KeyRef],
    user_id: int,
    now: datetime,
    marks: dict[ModelKey, Mark] | None = None,
) -> list[ModelView]:
    """marks: all marks of the user, if already loaded."""
    ids = {row.provider_model_id for row, _ in rows}
    names = {(slug, row.provider_model_id) for row, slug in rows}
    names |= {("", row.canonical_id) for row, _ in rows if row.canonical_id}
    marks = favorites.load_marks(user_id, names) if marks is None else marks
    new_models: set[tuple[int, str]] = set()
    holders: dict[tuple[str, str], set[int]] = defaultdict(set)
    if rows:
        values = {"user_id": user_id, "since": now - NEW_MODEL_AGE, "ids": list(ids)}
        new_models = {(provider_id, model_id) for provider_id, model_id in db.session.execute(new_ids_query(), values)}
        holders = _load_holders(keys, ids)
    return [
        _to_view(
            row,
            slug,
            keys,
            holders[slug, row.provider_model_id],
            is_new=(row.provider_id, row.provider_model_id) in new_models,
            mark=marks.get((slug, row.provider_model_id)) or marks.get(("", row.canonical_id or ""), "plain"),
        )
        for row, slug in rows
    ]


def _load_holders(keys: Sequence[KeyRef], ids: set[str]) -> dict[tuple[str, str], set[int]]:
    """(provider, model id) → ids of these keys' listings with it; queried only for providers with several listings."""
    listing_ids: dict[str, set[int]] = defaultdict(set)
    for key in keys:
        listing_ids[key.provider].add(key.listing_id)
    several = [
        listing_id
        for ids_of_provider in listing_ids.values()
        if len(ids_of_provider) > 1
        for listing_id in ids_of_provider
    ]
    holders: dict[tuple[str, str], set[int]] = defaultdict(set)
    if several:
        slugs = {key.listing_id: key.provider for key in keys}
        for listing_id, model_id in db.session.execute(holders_query(), {"listings": several, "ids": list(ids)}):
            holders[slugs[listing_id], model_id].add(listing_id)
    return holders


def _to_view(
    row: ListedModelRow, slug: str, keys: Sequence[KeyRef], held_by: set[int], *, is_new: bool, mark: Mark
) -> ModelView:
    listings = held_by | {row.listing_id}
    # two endpoints of one provider may use the same id for different models
    base_urls = {key.base_url for key in keys if key.listing_id == row.listing_id}
    return build_view(
        ModelView,
        row,
        provider=slug,
        keys=tuple(
            key for key in keys if key.provider == slug and key.listing_id in listings and key.base_url in base_urls
        ),
        capabilities=tuple(name for name in CAPABILITIES if getattr(row, name)),
        is_new=is_new,
        mark=mark,
    )
