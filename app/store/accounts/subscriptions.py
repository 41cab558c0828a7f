"""Letters that people asked for: of which topics, until where each was told, and when the next may go.

A letter goes after a run that brought something of a chosen topic, at most one a day; what comes meanwhile is in the
next one. A run that was told is told by its number: a user's runs come one after another, so all before it are told.
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
from app.store.queries import digest
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import LIVE_STATES, ResultRow, RunRow, UserRow

MIN_INTERVAL = timedelta(days=1)
"""Nobody gets a second letter within this time."""
_CLAIM_FOR = timedelta(minutes=10)
"""So long a worker that took a letter may be at it; then another takes it."""
_RETRY_DELAYS = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
"""After a letter that the mail server did not take; the last goes on."""


class SubscriptionRow(Row):
    __tablename__ = "subscriptions"
    __table_args__ = (NO_ID_REUSE,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"), unique=True)
    topics: Mapped[str] = mapped_column(String(40), default="")
    """Of `catalog.topics`, with commas between; empty: no letters."""
    stop_key: Mapped[bytes] = mapped_column(LargeBinary(32))
    """What the address that ends the letters is signed with. It is this account's own and opens nothing else; workers,
    which write the letters, have no secret that signs sessions."""
    told_run_id: Mapped[int] = mapped_column(BigInteger, default=0)
    """The newest run that was told, or that there was when letters were asked for."""
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(default=0)
    """How often the mail server did not take the letter that is due."""
    put_off_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class DueDigest:
    """A letter that this worker alone is to write."""

    user_id: int
    email: str
    topics: frozenset[str]
    after: int
    """The last run that was told."""
    until: int
    """The last one that is over."""
    stop_token: str


def load_topics(user_id: int) -> frozenset[str]:
    """The topics of whose news they get letters."""
    query = select(SubscriptionRow.topics).where(SubscriptionRow.user_id == user_id)
    return topics.parse(db.session.scalar(query) or "")


def set_topics(user_id: int, wanted: Iterable[str]) -> None:
    """Letters of these topics from now on, or none. What runs brought before they were asked for is not told."""
    text, begin = topics.serialize(wanted), {"told_run_id": digest.newest_finished_run(user_id), "tries": 0}
    row = {"user_id": user_id, "topics": text, "stop_key": secrets.token_bytes(32), **begin}
    made = insert(SubscriptionRow).values(row).on_conflict_do_nothing().returning(SubscriptionRow.id)
    if db.session.scalar(made) is None:
        _update(SubscriptionRow.user_id == user_id, SubscriptionRow.topics == "", put_off_until=None, **begin)
        _update(SubscriptionRow.user_id == user_id, topics=text)


def unsubscribe(token: str) -> bool:
    """End the letters to whom this token was written. False if it was to nobody who is still there."""
    row = _find_by_token(token)
    if row is None:
        return False
    _update(SubscriptionRow.id == row.id, topics="")
    return True


def is_valid_token(token: str) -> bool:
    """Whether `stop` would end somebody's letters."""
    return _find_by_token(token) is not None


def skip_empty(now: datetime) -> None:
    """Where the runs that are over brought nothing that any letter tells, they count as told. One statement."""
    quiet = ~exists().where(_is_unreported(), ResultRow.run_id == RunRow.id, _is_reportable())
    _update(_is_due(now), exists().where(_is_unreported()), quiet, told_run_id=_newest_unreported())


def due_user_ids(now: datetime, most: int) -> list[int]:
    """Users to whom a letter may have to be written, those first who were told least."""
    query = (
        select(SubscriptionRow.user_id)
        .join(UserRow, UserRow.id == SubscriptionRow.user_id)
        .where(_is_due(now), _is_mailable(), exists().where(_is_unreported()))
        .order_by(SubscriptionRow.told_run_id, SubscriptionRow.id)
        .limit(most)
    )
    return list(db.session.scalars(query))


def claim(user_id: int, now: datetime) -> DueDigest | None:
    """Take the letter that is due; None if there is none, or another worker has it."""
    until = digest.newest_finished_run(user_id)
    account = select(UserRow.id).where(UserRow.id == SubscriptionRow.user_id, _is_mailable())
    row = db.session.scalar(
        update(SubscriptionRow)
        .where(
            SubscriptionRow.user_id == user_id,
            _is_due(now),
            SubscriptionRow.told_run_id < until,
            account.exists(),
        )
        .values(put_off_until=now + _CLAIM_FOR)
        .returning(SubscriptionRow)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    email = db.session.scalar(select(UserRow.email).where(UserRow.id == user_id)) if row else None
    if row is None or email is None:
        return None
    return DueDigest(user_id, email, topics.parse(row.topics), row.told_run_id, until, _unsubscribe_token(row))


def mark_sent(letter: DueDigest, now: datetime | None) -> None:
    """The runs of the letter are told: it was sent `now`, or None: they had nothing to tell."""
    sent = {} if now is None else {"sent_at": now}
    _update(
        SubscriptionRow.user_id == letter.user_id,
        told_run_id=letter.until,
        tries=0,
        put_off_until=None,
        **sent,
    )


def mark_failed(letter: DueDigest, now: datetime) -> datetime:
    """The mail server did not take it. When it is tried again, each time after a longer wait."""
    tries = db.session.scalar(select(SubscriptionRow.tries).where(SubscriptionRow.user_id == letter.user_id)) or 0
    until = now + _RETRY_DELAYS[min(tries, len(_RETRY_DELAYS) - 1)]
    _update(SubscriptionRow.user_id == letter.user_id, tries=tries + 1, put_off_until=until)
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
    """Of runs: over, theirs, and not told yet."""
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
    db.session.execute(
        update(SubscriptionRow).where(*conditions).values(**values).execution_options(synchronize_session=False)
    )
