"""A user's sync outcomes day by day, and the lists of one key over time."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, or_, select

from app.extensions import db
from app.store.engine.statements import cached_statement
from app.store.schema.tables import READ_OUTCOMES, CredentialRow, ListingRow, ProviderRow, ResultRow, RunRow

MAX_SNAPSHOTS = 200
"""Snapshots of one key on a page: the newest."""


@dataclass(frozen=True, slots=True)
class KeyChoice:
    id: int
    provider: str
    label: str
    hint: str
    listed_at: datetime | None
    """When its list was last confirmed."""


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """One key's list as of one result."""

    id: int
    """The result's id."""
    run_id: int
    at: datetime
    outcome: str
    listing_id: int
    chat: int
    models: int


def count_outcomes_by_day(user_id: int, bounds: Sequence[datetime]) -> list[Counter[str]]:
    """For each interval between two bounds: outcome → number of results of runs created in it.

    bounds: ascending, at least two; days need not have 24 hours. One query, with a row per run and outcome: the day of
    a run depends on the user's time zone, which the two databases handle differently.
    """
    counts = [Counter[str]() for _ in bounds[1:]]
    values = {"user_id": user_id, "since": bounds[0], "until": bounds[-1]}
    for created_at, outcome, number in db.session.execute(_outcomes_query(), values):
        counts[bisect_right(bounds, created_at) - 1][outcome or ""] += number
    return counts


@cached_statement
def _outcomes_query() -> Select[datetime, str | None, int]:
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
    """A user's keys, for a selection."""
    return [KeyChoice(*tuple(row)) for row in db.session.execute(_keys_query(), {"user_id": user_id})]


def find_key(user_id: int, credential_id: int) -> KeyChoice | None:
    """One of the user's own keys; None for anyone else's."""
    query = _keys_query().where(CredentialRow.id == credential_id)
    row = db.session.execute(query, {"user_id": user_id}).first()
    return None if row is None else KeyChoice(*tuple(row))


@cached_statement
def _keys_query() -> Select[*tuple[Any, ...]]:
    return (
        select(CredentialRow.id, ProviderRow.slug, CredentialRow.label, CredentialRow.key_hint, CredentialRow.listed_at)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == bindparam("user_id"))
        .order_by(ProviderRow.slug, CredentialRow.label, CredentialRow.id)
    )


def list_snapshots(user_id: int, credential_id: int, also: Collection[int] = ()) -> list[KeySnapshot]:
    """Results at which this key's list changed, newest first, at most MAX_SNAPSHOTS, without quarantined answers.

    also: ids of results of this key to include in any case.
    """
    own = (
        ResultRow.user_id == user_id,
        ResultRow.credential_id == credential_id,
        ResultRow.listing_id.is_not(None),
        ResultRow.ended_at.is_not(None),
        ResultRow.outcome.in_(READ_OUTCOMES),
    )
    # the first stored result counts as a change: earlier ones were pruned
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
