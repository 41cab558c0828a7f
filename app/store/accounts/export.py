"""All that is kept of one user, part by part, for the user: never a key, nor the text of a token.

Each part is read in batches; between two of them no transaction is open, so that whoever reads slowly holds nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, null, select, true, union_all
from sqlalchemy.orm import InstrumentedAttribute

from app.catalog.listing import ListedModel
from app.extensions import db
from app.store import listings
from app.store.accounts.feeds import FeedRow
from app.store.accounts.identities import IdentityRow
from app.store.accounts.sessions import SessionRow
from app.store.accounts.subscriptions import SubscriptionRow
from app.store.accounts.tokens import TokenRow
from app.store.queries import change_feed
from app.store.queries import runs as run_queries
from app.store.schema.columns import UtcDateTime
from app.store.schema.tables import CredentialRow, MarkRow, ProviderRow, ResultRow, UserRow

_BATCH_SIZE = 200
_CHANGE_BATCH_SIZE = 1_000
_APPLIED_OUTCOMES = ("complete", "unchanged", "partial")
"""Outcomes after which the list that was answered is in force."""

ExportObject = Mapping[str, Any]
"""What msgspec can write as a JSON object."""


def export_account(user_id: int) -> ExportObject:
    """The account itself, with since when it has a second factor, never its secret. Raises NoResultFound if there is
    none."""
    names = (
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
    )
    query = select(*(getattr(UserRow, name) for name in names)).where(UserRow.id == user_id)
    found = dict(db.session.execute(query).mappings().one())
    _end_transaction()
    return found


def keys(user_id: int) -> Iterator[ExportObject]:
    """What is known of each API key."""
    names = (
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
    )
    query = (
        select(ProviderRow.slug.label("provider"), *(getattr(CredentialRow, name) for name in names))
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == user_id)
        .order_by(CredentialRow.id)
    )
    found = [dict(row) for row in db.session.execute(query).mappings()]
    _end_transaction()
    yield from found


def lists(user_id: int) -> Iterator[ExportObject]:
    """The list in force of each key, one at a time, as the provider gave it."""
    return _iter_lists(user_id, CredentialRow.listed_at, CredentialRow.listing_id)


def quarantined_lists(user_id: int) -> Iterator[ExportObject]:
    """Answers that wait to be accepted or dropped, one at a time."""
    return _iter_lists(user_id, CredentialRow.checked_at, CredentialRow.suspect_listing_id)


def _iter_lists(
    user_id: int, moment: InstrumentedAttribute[datetime | None], listing: InstrumentedAttribute[int | None]
) -> Iterator[ExportObject]:
    query = (
        select(CredentialRow.id, ProviderRow.slug, moment, listing)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.user_id == user_id, listing.is_not(None))
        .order_by(CredentialRow.id)
    )
    found = db.session.execute(query).all()
    _end_transaction()
    for key, provider, at, listing_id in found:
        for models in _iter_models(listing_id):
            yield {"key": key, "provider": provider, moment.key: at, "models": models}


def earlier_lists(user_id: int) -> Iterator[ExportObject]:
    """Every other list that a sync met, one at a time: each once for a key, also for a key that was removed.

    first_at, last_at: when syncs got it; none where only the next list's sync is still kept. in_force: whether it
    ever was, or was only kept aside.
    """
    theirs = ResultRow.user_id == user_id
    of, applied = (
        (ResultRow.credential_id, ResultRow.provider_id, ResultRow.label),
        ResultRow.outcome.in_(_APPLIED_OUTCOMES),
    )
    got = select(
        *of, ResultRow.listing_id.label("listing_id"), ResultRow.ended_at.label("at"), applied.label("applied")
    )
    before = select(*of, ResultRow.before_listing_id, null(), true())
    met = union_all(
        got.where(theirs, ResultRow.listing_id.is_not(None)),
        before.where(theirs, ResultRow.before_listing_id.is_not(None)),
    ).subquery()
    key = (met.c.credential_id, ProviderRow.slug, met.c.label, met.c.listing_id)
    first, last = func.min(met.c.at, type_=UtcDateTime), func.max(met.c.at, type_=UtcDateTime)
    query = (
        select(*key, first, last, func.max(case((met.c.applied, 1), else_=0)))
        .join(ProviderRow, ProviderRow.id == met.c.provider_id)
        .outerjoin(CredentialRow, CredentialRow.id == met.c.credential_id)
        .where(
            CredentialRow.listing_id.is_distinct_from(met.c.listing_id),
            CredentialRow.suspect_listing_id.is_distinct_from(met.c.listing_id),
        )
        .group_by(*key)
        .order_by(met.c.listing_id, met.c.credential_id, met.c.label)
    )
    found = db.session.execute(query).all()
    _end_transaction()
    for credential_id, provider, label, listing_id, first_at, last_at, was_in_force in found:
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
        lines = change_feed.list_changes(user_id, after=after, size=_CHANGE_BATCH_SIZE)
        _end_transaction()
        for line in lines:
            yield _to_dict(line, "change_id", "credential_id") | {"key": line.credential_id}
        if len(lines) < _CHANGE_BATCH_SIZE:
            return
        after = lines[-1].result_id, lines[-1].change_id


def marks(user_id: int) -> Iterator[ExportObject]:
    """Models starred or hidden."""
    names = ("provider", "model_id", "mark", "marked_at")
    query = select(*(getattr(MarkRow, name) for name in names)).where(MarkRow.user_id == user_id)
    found = [dict(row) for row in db.session.execute(query.order_by(MarkRow.id)).mappings()]
    _end_transaction()
    yield from found


def feeds(user_id: int) -> Iterator[ExportObject]:
    """That there is a feed, without its secret address."""
    query = select(FeedRow.created_at, FeedRow.renewed_at).where(FeedRow.user_id == user_id)
    found = [dict(row) for row in db.session.execute(query).mappings()]
    _end_transaction()
    yield from found


def tokens(user_id: int) -> Iterator[ExportObject]:
    names = ("name", "hint", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at")
    query = select(*(getattr(TokenRow, name) for name in names)).where(TokenRow.user_id == user_id)
    found = [dict(row) for row in db.session.execute(query.order_by(TokenRow.id)).mappings()]
    _end_transaction()
    yield from found


def digest_subscriptions(user_id: int) -> Iterator[ExportObject]:
    """Of what they get letters, and when the last one went."""
    query = select(SubscriptionRow.topics, SubscriptionRow.sent_at).where(SubscriptionRow.user_id == user_id)
    found = [dict(row) for row in db.session.execute(query).mappings()]
    _end_transaction()
    yield from found


def identities(user_id: int) -> Iterator[ExportObject]:
    """The accounts at OpenID providers that sign in to this one."""
    names = ("issuer", "subject", "email", "created_at", "used_at")
    query = select(*(getattr(IdentityRow, name) for name in names)).where(IdentityRow.user_id == user_id)
    found = [dict(row) for row in db.session.execute(query.order_by(IdentityRow.id)).mappings()]
    _end_transaction()
    yield from found


def sessions(user_id: int) -> Iterator[ExportObject]:
    """The sessions."""
    names = ("agent", "address", "created_at", "seen_at")
    query = select(*(getattr(SessionRow, name) for name in names)).where(SessionRow.user_id == user_id)
    found = [dict(row) for row in db.session.execute(query.order_by(SessionRow.id)).mappings()]
    _end_transaction()
    yield from found


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


def _iter_models(listing_id: int | None) -> Iterator[Sequence[ListedModel]]:
    """What one list holds; nothing, if it was dropped meanwhile."""
    loaded = listings.load_many([] if listing_id is None else [listing_id])
    _end_transaction()
    for listing in loaded.values():
        yield listing.models


def _to_result(line: run_queries.ResultView) -> ExportObject:
    return _to_dict(line, "run_id", "listing_id", "before_listing_id", "comparison_id")


def _to_dict(line: Any, *but: str) -> dict[str, Any]:
    """The fields of a frozen dataclass, without those that mean nothing outside of the database."""
    names = (one.name for one in dataclasses.fields(line))
    return {name: getattr(line, name) for name in names if name not in but}


def _end_transaction() -> None:
    db.session.rollback()
    db.session.expunge_all()
