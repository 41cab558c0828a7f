"""Who is signed in where: a row for each session, which ends the moment its row is gone.

A session's token is 256 random bits in the browser's signed cookie; only its SHA-256 is kept here. Of an address no
more is kept than is shown.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Delete, Index, LargeBinary, Select, String, Update, bindparam, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

MAX_AGENT_LENGTH, MAX_SESSIONS = 200, 50
IDLE_TIMEOUT = timedelta(days=30)
"""A session that nobody used for so long is over, as its cookie is."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long sessions last."""

    unused: timedelta = IDLE_TIMEOUT
    in_all: timedelta = timedelta(days=30)
    """After so long one signs in anew, however much it is used: a stolen cookie is not good for ever."""


DEFAULT_LIMITS = SessionLimits()
TOUCH_EVERY = timedelta(minutes=5)
"""That a session was used is written no more often than this."""


class SessionRow(Row):
    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_id", "user_id"), Index("ix_sessions_seen_at", "seen_at"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 of the token in the cookie."""
    agent: Mapped[str] = mapped_column(String(MAX_AGENT_LENGTH), default="")
    """What the browser said of itself at sign-in: hostile text."""
    address: Mapped[str] = mapped_column(String(45), default="")
    """The network it signed in from, see `short_address`."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


def create(user_id: int, agent: str, address: str, now: datetime) -> str:
    """Begin a session and return its token, which nobody can read here again.

    What nobody used for long goes on this occasion, and of the user's own sessions the longest unused beyond MOST.
    """
    _run(delete(SessionRow).where(SessionRow.seen_at < now - IDLE_TIMEOUT))
    newest = (
        select(SessionRow.id)
        .where(SessionRow.user_id == user_id)
        .order_by(SessionRow.seen_at.desc(), SessionRow.id.desc())
        .limit(MAX_SESSIONS - 1)
    )
    _run(delete(SessionRow).where(SessionRow.user_id == user_id, SessionRow.id.not_in(newest)))
    token = secrets.token_urlsafe(32)
    row = SessionRow(
        user_id=user_id,
        digest=_digest(token),
        agent=agent.replace("\0", "")[:MAX_AGENT_LENGTH],
        address=shorten_address(address),
        created_at=now,
        seen_at=now,
    )
    db.session.add(row)
    db.session.flush()
    return token


def find(token: str, now: datetime, lives: SessionLimits = DEFAULT_LIMITS) -> tuple[SessionRow, UserRow] | None:
    """The session of this token with its user; None once it was ended, was not used for long or is old. One query."""
    told = {"digest": _digest(token), "since": now - lives.unused, "born": now - lives.in_all}
    found = db.session.execute(_by_digest_query(), told).first()
    return (found[0], found[1]) if found else None


@cache
def _by_digest_query() -> Select[SessionRow, UserRow]:
    """Built once: every request asks it, and to build it takes longer than to answer it."""
    return (
        select(SessionRow, UserRow)
        .join(UserRow, UserRow.id == SessionRow.user_id)
        .where(
            SessionRow.digest == bindparam("digest"),
            SessionRow.seen_at >= bindparam("since"),
            SessionRow.created_at >= bindparam("born"),
        )
    )


def touch(row: SessionRow, now: datetime) -> bool:
    """Note that it is used, unless that was noted a moment ago. True if there is something to commit."""
    due = now - TOUCH_EVERY
    if row.seen_at > due:
        return False
    return _run(update(SessionRow).where(SessionRow.id == row.id, SessionRow.seen_at <= due).values(seen_at=now)) > 0


def list_for_user(user_id: int, now: datetime, lives: SessionLimits = DEFAULT_LIMITS) -> list[SessionRow]:
    """A user's sessions that count, the one used last first."""
    query = (
        select(SessionRow)
        .where(
            SessionRow.user_id == user_id,
            SessionRow.seen_at >= now - lives.unused,
            SessionRow.created_at >= now - lives.in_all,
        )
        .order_by(SessionRow.seen_at.desc(), SessionRow.id.desc())
    )
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def end(user_id: int, session_id: int) -> bool:
    """End one of the user's own. False if there is none of theirs."""
    return _run(delete(SessionRow).where(SessionRow.id == session_id, SessionRow.user_id == user_id)) > 0


def end_all(user_id: int, *, excluding: int | None = None) -> int:
    """End the user's sessions, except session `excluding`. Returns how many there were."""
    theirs = delete(SessionRow).where(SessionRow.user_id == user_id)
    if excluding is not None:
        theirs = theirs.where(SessionRow.id != excluding)
    return _run(theirs)


def end_all_users() -> int:
    """End all sessions of all people. Returns how many there were."""
    return _run(delete(SessionRow))


def shorten_address(address: str) -> str:
    """The network of an address: "203.0.113.…", "2001:db8:7:…"; empty for what is none, such as a socket."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return ":".join(f"{int(parsed) >> shift & 0xFFFF:x}" for shift in (112, 96, 80)) + ":…"
        parsed = parsed.ipv4_mapped
    return str(parsed).rpartition(".")[0] + ".…"


def _run(statement: Delete | Update) -> int:
    """How many rows it met."""
    done = db.session.execute(statement.execution_options(synchronize_session=False))
    return int(done.rowcount)  # type: ignore[attr-defined]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
