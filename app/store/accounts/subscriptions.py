"""E-mail digest subscriptions: chosen topics, the last reported run, and when the next e-mail may be sent.

A digest is sent after a run with changes of a chosen topic, at most once a day; later changes wait for the next one.
A user's runs are sequential, so the id of the last reported run covers all runs before it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, String, and_, exists, func, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.catalog import topics
from app.extensions import Row, db
from app.store.engine.dialect import insert
from app.store.engine.statements import execute_dml
from app.store.queries.digest import newest_finished_run
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import LIVE_STATES, ResultRow, RunRow, UserRow

MIN_INTERVAL = timedelta(days=1)
"""Minimum time between two digests of one user."""
_CLAIM_FOR = timedelta(minutes=10)
"""How long a worker may take to send a claimed digest before another may claim it."""
_RETRY_DELAYS = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
"""Delays after failed attempts; the last one repeats."""


class SubscriptionRow(Row):
    __tablename__ = "subscriptions"
    __table_args__ = (NO_ID_REUSE,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"), unique=True)
    topics: Mapped[str] = mapped_column(String(40), default="")
    """Comma-separated `catalog.topics`; empty: no e-mails."""
    stop_key: Mapped[bytes] = mapped_column(LargeBinary(32))
    """Signs the unsubscribe link of this account only: workers, which send the e-mails, have no session secret."""
    told_run_id: Mapped[int] = mapped_column(BigInteger, default=0)
    """The newest reported run, or the newest run at the time of subscribing."""
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(default=0)
    """Failed attempts to send the current digest."""
    put_off_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class DueDigest:
    """A digest claimed by this worker."""

    user_id: int
    email: str
    topics: frozenset[str]
    after: int
    """The last reported run."""
    until: int
    """The last finished run."""
    stop_token: str


def load_topics(user_id: int) -> frozenset[str]:
    """The topics of a user's digest."""
    query = select(SubscriptionRow.topics).where(SubscriptionRow.user_id == user_id)
    return topics.parse(db.session.scalar(query) or "")


def set_topics(user_id: int, selected: Iterable[str]) -> None:
    """Subscribe to these topics from now on, or to none. Runs before the subscription are not reported."""
    text, start = topics.serialize(selected), {"told_run_id": newest_finished_run(user_id), "tries": 0}
    row = {"user_id": user_id, "topics": text, "stop_key": secrets.token_bytes(32), **start}
    statement = insert(SubscriptionRow).values(row).on_conflict_do_nothing().returning(SubscriptionRow.id)
    if db.session.scalar(statement) is None:
        _update(SubscriptionRow.user_id == user_id, SubscriptionRow.topics == "", put_off_until=None, **start)
        _update(SubscriptionRow.user_id == user_id, topics=text)


def unsubscribe(token: str) -> bool:
    """End the subscription that the token was issued for. False for an invalid token."""
    row = _find_by_token(token)
    if row is None:
        return False
    _update(SubscriptionRow.id == row.id, topics="")
    return True


def is_valid_token(token: str) -> bool:
    """Whether `unsubscribe` would accept the token."""
    return _find_by_token(token) is not None


def skip_empty(now: datetime) -> None:
    """Mark finished runs without reportable changes as reported, so that no digest is built. One statement."""
    quiet = ~exists().where(_is_unreported(), ResultRow.run_id == RunRow.id, _is_reportable())
    _update(_is_due(now), exists().where(_is_unreported()), quiet, told_run_id=_newest_unreported())


def due_user_ids(now: datetime, most: int) -> list[int]:
    """Ids of users whose digest may be due, those furthest behind first."""
    query = (
        select(SubscriptionRow.user_id)
        .join(UserRow, UserRow.id == SubscriptionRow.user_id)
        .where(_is_due(now), _is_mailable(), exists().where(_is_unreported()))
        .order_by(SubscriptionRow.told_run_id, SubscriptionRow.id)
        .limit(most)
    )
    return list(db.session.scalars(query))


def claim(user_id: int, now: datetime) -> DueDigest | None:
    """Claim the due digest; None if there is none, or another worker has it."""
    until = newest_finished_run(user_id)
    account = select(UserRow.id).where(UserRow.id == SubscriptionRow.user_id, _is_mailable())
    row = db.session.scalar(
        update(SubscriptionRow)
        .where(SubscriptionRow.user_id == user_id, _is_due(now), SubscriptionRow.told_run_id < until, account.exists())
        .values(put_off_until=now + _CLAIM_FOR)
        .returning(SubscriptionRow)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    email = db.session.scalar(select(UserRow.email).where(UserRow.id == user_id)) if row else None
    if row is None or email is None:
        return None
    return DueDigest(user_id, email, topics.parse(row.topics), row.told_run_id, until, _unsubscribe_token(row))


def mark_sent(digest: DueDigest, now: datetime | None) -> None:
    """Mark the digest's runs as reported. now: when it was sent; None: it was empty and not sent."""
    sent = {} if now is None else {"sent_at": now}
    values: dict[str, Any] = {"told_run_id": digest.until, "tries": 0, "put_off_until": None, **sent}
    _update(SubscriptionRow.user_id == digest.user_id, **values)


def mark_failed(digest: DueDigest, now: datetime) -> datetime:
    """Record a failed attempt; returns when to retry, later each time."""
    tries = db.session.scalar(select(SubscriptionRow.tries).where(SubscriptionRow.user_id == digest.user_id)) or 0
    until = now + _RETRY_DELAYS[min(tries, len(_RETRY_DELAYS) - 1)]
    _update(SubscriptionRow.user_id == digest.user_id, tries=tries + 1, put_off_until=until)
    return until


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(
        SubscriptionRow.topics != "",
        or_(SubscriptionRow.sent_at.is_(None), SubscriptionRow.sent_at <= now - MIN_INTERVAL),
        or_(SubscriptionRow.put_off_until.is_(None), SubscriptionRow.put_off_until <= now),
    )


def _is_mailable() -> ColumnElement[bool]:
    return and_(UserRow.disabled_at.is_(None), UserRow.is_server.is_(False))


def _is_unreported() -> ColumnElement[bool]:
    """Finished runs of this user that no digest has covered."""
    return and_(
        RunRow.user_id == SubscriptionRow.user_id,
        RunRow.id > SubscriptionRow.told_run_id,
        RunRow.state.not_in(LIVE_STATES),
    )


def _is_reportable() -> ColumnElement[bool]:
    return or_(ResultRow.comparison_id.is_not(None), ResultRow.outcome == "failed")


def _newest_unreported() -> Any:
    return select(func.max(RunRow.id)).where(_is_unreported()).correlate(SubscriptionRow).scalar_subquery()


def _unsubscribe_token(row: SubscriptionRow) -> str:
    return f"{row.user_id}-{hmac.digest(row.stop_key, f'stop {row.user_id}'.encode(), hashlib.sha256).hex()}"


def _find_by_token(token: str) -> SubscriptionRow | None:
    number = token.partition("-")[0]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        return None
    query = select(SubscriptionRow).where(SubscriptionRow.user_id == int(number))
    row = db.session.scalar(query.execution_options(populate_existing=True))
    if row is None or not hmac.compare_digest(
        _unsubscribe_token(row).encode(), token.encode("utf-8", "surrogateescape")
    ):
        return None
    return row


def _update(*conditions: Any, **values: Any) -> None:
    execute_dml(update(SubscriptionRow).where(*conditions).values(**values))
