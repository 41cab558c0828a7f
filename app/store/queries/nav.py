"""Counters in the navigation: new models that the user has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, BindParameter, Select, and_, bindparam, func, literal_column, select, true

from app.extensions import db
from app.store.engine.statements import cached_statement
from app.store.schema.tables import ChangeRow, ProviderRow, ResultRow, UserRow


@dataclass(frozen=True, slots=True)
class NavCounters:
    unseen_new: int
    newest: datetime | None = None
    """When the last result with unseen new models ended."""


@dataclass(frozen=True, slots=True)
class BadgeUpdate:
    """The current counters, and their news for an in-app notification."""

    nav: NavCounters
    fresh: list[tuple[str, int]]
    """(provider slug, chat models first seen there since then), largest number first."""


def load_nav(user_id: int) -> NavCounters:
    """All counters of the navigation, in one query."""
    count, newest = db.session.execute(_counters_query(), {"user_id": user_id}).one()
    return NavCounters(unseen_new=count, newest=newest)


@cached_statement
def _counters_query() -> Select[int, datetime | None]:
    unseen = _unseen_query(bindparam("user_id", type_=BigInteger)).subquery()
    return select(func.count(), func.max(unseen.c.last_at)).select_from(unseen)


def load_badge_update(user_id: int, since: datetime | None) -> BadgeUpdate:
    """The counters, and per provider the unseen new models first seen after `since`; one query."""
    unseen = _unseen_query(user_id).subquery()
    is_fresh = true() if since is None else unseen.c.first_at > since
    query = (
        select(ProviderRow.slug, func.count(), func.count().filter(is_fresh), func.max(unseen.c.last_at))
        .join(unseen, unseen.c.provider_id == ProviderRow.id)
        .group_by(ProviderRow.slug)
        .order_by(ProviderRow.slug)
    )
    rows = db.session.execute(query).all()
    counters = NavCounters(sum(row[1] for row in rows), max((row[3] for row in rows), default=None))
    fresh = sorted(((row[0], row[2]) for row in rows if row[2]), key=lambda pair: -pair[1])
    return BadgeUpdate(counters, fresh)


def _unseen_query(user_id: int | BindParameter[int]) -> Select[int, str, datetime | None, datetime | None]:
    """New models in results that the user has not seen, each once, with its first and last occurrence."""
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
            ResultRow.new > literal_column("0"),  # a literal, so that it matches the partial index's condition
            func.coalesce(ResultRow.ended_at > UserRow.changes_seen_at, True),
        )
        .group_by(ResultRow.provider_id, ChangeRow.provider_model_id)
    )


def load_last_change_at(user_id: int) -> datetime | None:
    """When the user's last result with changes ended: the new position of the cursor of seen changes."""
    return db.session.scalar(_LAST_CHANGE_QUERY, {"user_id": user_id})


_LAST_CHANGE_QUERY = select(func.max(ResultRow.ended_at)).where(
    ResultRow.user_id == bindparam("user_id"), ResultRow.comparison_id.is_not(None)
)
