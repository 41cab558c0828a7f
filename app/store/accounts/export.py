"""Export of all data stored about one user, part by part; never a key or the text of a token.

Each part is read in batches, with no transaction open in between, so that a slow reader holds no locks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, func, null, select, true, union_all
from sqlalchemy.orm import InstrumentedAttribute

from app.catalog.listing import ListedModel
from app.extensions import db
from app.store import listings
from app.store.accounts.feeds import FeedRow
from app.store.accounts.identities import IdentityRow
from app.store.accounts.sessions import SessionRow
from app.store.accounts.subscriptions import SubscriptionRow
from app.store.accounts.tokens import TokenRow
from app.store.queries import changes as change_queries
from app.store.queries import runs as run_queries
from app.store.schema.columns import UtcDateTime
from app.store.schema.tables import CredentialRow, MarkRow, ProviderRow, ResultRow, UserRow

_BATCH_SIZE = 200
_CHANGE_BATCH_SIZE = 1_000
_APPLIED_OUTCOMES = ("complete", "unchanged", "partial")
"""Outcomes after which the answered list is in force."""

ExportObject = Mapping[str, Any]
"""Can be encoded by msgspec as a JSON object."""


def export_account(user_id: int) -> ExportObject:
    """The account itself, without secrets. Raises NoResultFound for an unknown id."""
    names = [
        "email",
        "is_admin",
        "created_at",
        "last_sign_in_at",
        "changes_seen_at",
        "sync_on_sign_in",
        "second_factor_at",
        "theme",
        "time_zone",
        "model_columns",
        "told_topics",
    ]
    query = select(*(getattr(UserRow, name) for name in names)).where(UserRow.id == user_id)
    fields = dict(db.session.execute(query).mappings().one())
    _end_transaction()
    return fields


def keys(user_id: int) -> Iterator[ExportObject]:
    """Each API key's metadata."""
    names = [
        "id",
        "label",
        "key_hint",
        "base_url",
        "is_active",
        "created_at",
        "checked_at",
        "listed_at",
        "due_at",
        "put_off_until",
        "outcome",
        "model_count",
        "chat_count",
        "error_code",
        "error_message",
        "error_action",
    ]
    query = (
        select(ProviderRow.slug.label("provider"), *(getattr(CredentialRow, name) for name in names))
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == user_id)
        .order_by(CredentialRow.id)
    )
    return _iter_rows(query)


def lists(user_id: int) -> Iterator[ExportObject]:
    """Each key's list in force, one at a time, as the provider sent it."""
    return _iter_lists(user_id, CredentialRow.listed_at, CredentialRow.listing_id)


def quarantined_lists(user_id: int) -> Iterator[ExportObject]:
    """Answers held for review, one at a time."""
    return _iter_lists(user_id, CredentialRow.checked_at, CredentialRow.suspect_listing_id)


def _iter_lists(
    user_id: int, time: InstrumentedAttribute[datetime | None], listing: InstrumentedAttribute[int | None]
) -> Iterator[ExportObject]:
    query = (
        select(CredentialRow.id, ProviderRow.slug, time, listing)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == user_id, listing.is_not(None))
        .order_by(CredentialRow.id)
    )
    rows = db.session.execute(query).all()
    _end_transaction()
    for key, provider, at, listing_id in rows:
        for models in _iter_models(listing_id):
            yield {"key": key, "provider": provider, time.key: at, "models": models}


def earlier_lists(user_id: int) -> Iterator[ExportObject]:
    """All other lists that syncs got, one at a time: once per key, also for deleted keys.

    first_at, last_at: when syncs got it; None if only the sync of the next list is still stored. in_force: whether it
    ever was, or was only held for review.
    """
    is_own = ResultRow.user_id == user_id
    key_columns = ResultRow.credential_id, ResultRow.provider_id, ResultRow.label
    applied = ResultRow.outcome.in_(_APPLIED_OUTCOMES)
    after = select(
        *key_columns, ResultRow.listing_id.label("listing_id"), ResultRow.ended_at.label("at"), applied.label("applied")
    )
    before = select(*key_columns, ResultRow.before_listing_id, null(), true())
    seen = union_all(
        after.where(is_own, ResultRow.listing_id.is_not(None)),
        before.where(is_own, ResultRow.before_listing_id.is_not(None)),
    ).subquery()
    key = (seen.c.credential_id, ProviderRow.slug, seen.c.label, seen.c.listing_id)
    first, last = func.min(seen.c.at, type_=UtcDateTime), func.max(seen.c.at, type_=UtcDateTime)
    query = (
        select(*key, first, last, func.max(case((seen.c.applied, 1), else_=0)))
        .join(ProviderRow, ProviderRow.id == seen.c.provider_id)
        .outerjoin(CredentialRow, CredentialRow.id == seen.c.credential_id)
        .where(
            CredentialRow.listing_id.is_distinct_from(seen.c.listing_id),
            CredentialRow.suspect_listing_id.is_distinct_from(seen.c.listing_id),
        )
        .group_by(*key)
        .order_by(seen.c.listing_id, seen.c.credential_id, seen.c.label)
    )
    rows = db.session.execute(query).all()
    _end_transaction()
    for credential_id, provider, label, listing_id, first_at, last_at, was_in_force in rows:
        about = {"key": credential_id, "provider": provider, "label": label, "in_force": bool(was_in_force)}
        for models in _iter_models(listing_id):
            yield about | {"first_at": first_at, "last_at": last_at, "models": models}


def runs(user_id: int) -> Iterator[ExportObject]:
    """Every sync, newest first, each with its results."""
    before = None
    while True:
        lines, before = run_queries.list_runs(user_id, before, _BATCH_SIZE)
        _end_transaction()
        for run in lines:
            yield _to_dict(run, "user_id", "email", "results") | {"results": [_to_result(one) for one in run.results]}
        if before is None:
            return


def changes(user_id: int) -> Iterator[ExportObject]:
    """Every change, those of the newest result first."""
    after = None
    while True:
        lines = change_queries.list_changes(user_id, after=after, size=_CHANGE_BATCH_SIZE)
        _end_transaction()
        for line in lines:
            yield _to_dict(line, "change_id", "credential_id") | {"key": line.credential_id}
        if len(lines) < _CHANGE_BATCH_SIZE:
            return
        after = lines[-1].result_id, lines[-1].change_id


def marks(user_id: int) -> Iterator[ExportObject]:
    """Starred and hidden models."""
    return _iter_own(user_id, MarkRow, "provider", "model_id", "mark", "marked_at")


def feeds(user_id: int) -> Iterator[ExportObject]:
    """The feed, without its secret URL."""
    query = select(FeedRow.created_at, FeedRow.renewed_at).where(FeedRow.user_id == user_id)
    return _iter_rows(query)


def tokens(user_id: int) -> Iterator[ExportObject]:
    return _iter_own(
        user_id, TokenRow, "name", "hint", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at"
    )


def digest_subscriptions(user_id: int) -> Iterator[ExportObject]:
    """Topics of the e-mail digest, and when the last one was sent."""
    query = select(SubscriptionRow.topics, SubscriptionRow.sent_at).where(SubscriptionRow.user_id == user_id)
    return _iter_rows(query)


def identities(user_id: int) -> Iterator[ExportObject]:
    """Linked accounts at OpenID providers."""
    return _iter_own(user_id, IdentityRow, "issuer", "subject", "email", "created_at", "used_at")


def sessions(user_id: int) -> Iterator[ExportObject]:
    """Active sessions."""
    return _iter_own(user_id, SessionRow, "agent", "address", "created_at", "seen_at")


PARTS: dict[str, Callable[[int], Iterator[ExportObject]]] = {
    "keys": keys,
    "lists": lists,
    "kept_aside": quarantined_lists,
    "earlier_lists": earlier_lists,
    "runs": runs,
    "changes": changes,
    "marks": marks,
    "feeds": feeds,
    "letters": digest_subscriptions,
    "tokens": tokens,
    "identities": identities,
    "sessions": sessions,
}


def _iter_own(user_id: int, row: Any, *columns: str) -> Iterator[ExportObject]:
    query = select(*(getattr(row, column) for column in columns)).where(row.user_id == user_id)
    return _iter_rows(query.order_by(row.id))


def _iter_rows(query: Select[*tuple[Any, ...]]) -> Iterator[ExportObject]:
    rows = [dict(row) for row in db.session.execute(query).mappings()]
    _end_transaction()
    yield from rows


def _iter_models(listing_id: int | None) -> Iterator[Sequence[ListedModel]]:
    """The models of a list; empty if it was deleted concurrently."""
    loaded = listings.load_many([] if listing_id is None else [listing_id])
    _end_transaction()
    for listing in loaded.values():
        yield listing.models


def _to_result(line: run_queries.ResultView) -> ExportObject:
    return _to_dict(line, "run_id", "listing_id", "before_listing_id", "comparison_id")


def _to_dict(line: Any, *excluding: str) -> dict[str, Any]:
    """The fields of a dataclass, except those in `excluding`, which mean nothing outside the database."""
    names = (one.name for one in dataclasses.fields(line))
    return {name: getattr(line, name) for name in names if name not in excluding}


def _end_transaction() -> None:
    db.session.rollback()
    db.session.expunge_all()
