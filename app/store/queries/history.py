"""How a person's syncs went day by day, and what one of their keys could use at any moment."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, or_, select

from app.extensions import db
from app.store.schema.tables import CredentialRow, ListingRow, ProviderRow, ResultRow, RunRow

MAX_SNAPSHOTS = 200
"""Lists of one key that a page offers, at most; the newest."""
_READ_OUTCOMES = ("complete", "unchanged", "partial")


@dataclass(frozen=True, slots=True)
class KeyChoice:
    id: int
    provider: str
    label: str
    hint: str
    listed_at: datetime | None
    """When its list was confirmed last."""


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """What one key listed once."""

    id: int
    """Of the result."""
    run_id: int
    at: datetime
    outcome: str
    listing_id: int
    chat: int
    models: int


def count_outcomes_by_day(user_id: int, bounds: Sequence[datetime]) -> list[Counter[str]]:
    """For each time from one bound to the next: outcome → number of results of runs that began then.

    bounds: ascending, at least two; a day need not have 24 hours. One query, with a row for each run and outcome:
    which day a run belongs to is a matter of the person's time zone, which the databases do not know alike.
    """
    counts = [Counter[str]() for _ in bounds[1:]]
    values = {"user_id": user_id, "since": bounds[0], "until": bounds[-1]}
    for created_at, outcome, number in db.session.execute(_outcomes_query(), values):
        counts[bisect_right(bounds, created_at) - 1][outcome or ""] += number
    return counts


@cache
def _outcomes_query() -> Select[datetime, str | None, int]:
    """Built once, as the others here: to build a statement takes longer than to answer it."""
    return (
        select(RunRow.created_at, ResultRow.outcome, func.count())
        .join(ResultRow, ResultRow.run_id == RunRow.id)
        .where(
            RunRow.user_id == bindparam("user_id"),
            RunRow.created_at >= bindparam("since"),
            RunRow.created_at < bindparam("until"),
            ResultRow.outcome.is_not(None),
        )
        .group_by(RunRow.id, RunRow.created_at, ResultRow.outcome)
    )


def list_keys(user_id: int) -> list[KeyChoice]:
    """A user's keys, to choose one from."""
    return [KeyChoice(*tuple(row)) for row in db.session.execute(_keys_query(), {"user_id": user_id})]


def find_key(user_id: int, credential_id: int) -> KeyChoice | None:
    """One of the user's own keys; None for anyone else's."""
    query = _keys_query().where(CredentialRow.id == credential_id)
    found = db.session.execute(query, {"user_id": user_id}).first()
    return None if found is None else KeyChoice(*tuple(found))


@cache
def _keys_query() -> Select[*tuple[Any, ...]]:
    return (
        select(CredentialRow.id, ProviderRow.slug, CredentialRow.label, CredentialRow.key_hint, CredentialRow.listed_at)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == bindparam("user_id"))
        .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
    )


def list_snapshots(user_id: int, credential_id: int, also: Collection[int] = ()) -> list[KeySnapshot]:
    """When this key's list was another than before, newest first, at most MOMENTS; what was kept aside is none.

    also: results of this key to have in any case, however old or alike.
    """
    own = (
        ResultRow.user_id == user_id,
        ResultRow.credential_id == credential_id,
        ResultRow.listing_id.is_not(None),
        ResultRow.ended_at.is_not(None),
        ResultRow.outcome.in_(_READ_OUTCOMES),
    )
    # What came before the first that is kept was pruned: its list is told as it is.
    first = select(func.min(ResultRow.id)).where(*own).scalar_subquery()
    moved = ResultRow.listing_id.is_distinct_from(ResultRow.before_listing_id)
    newest = (
        select(ResultRow.id)
        .where(*own, or_(moved, ResultRow.id == first))
        .order_by(ResultRow.id.desc())
        .limit(MAX_SNAPSHOTS)
    )
    query = (
        select(
            ResultRow.id,
            ResultRow.run_id,
            ResultRow.ended_at.label("at"),
            ResultRow.outcome,
            ResultRow.listing_id,
            ListingRow.chat_count.label("chat"),
            ListingRow.model_count.label("models"),
        )
        .join(ListingRow, ListingRow.id == ResultRow.listing_id)
        .where(*own, or_(ResultRow.id.in_(newest), ResultRow.id.in_(also)))
        .order_by(ResultRow.id.desc())
    )
    return [KeySnapshot(**row) for row in db.session.execute(query).mappings()]
