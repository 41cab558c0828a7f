"""Sign-in sessions: one row each; deleting the row ends the session at once.

A session's token is 256 random bits in the browser's signed cookie; only its SHA-256 is stored. Of an IP address only
the network is stored, as it is displayed.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Index, LargeBinary, String, bindparam, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row, db
from app.store.accounts.token_hash import hash_token
from app.store.engine.statements import execute_dml
from app.store.schema.columns import NO_ID_REUSE, BigId, UtcDateTime, foreign_key
from app.store.schema.tables import UserRow

MAX_AGENT_LENGTH, MAX_SESSIONS = 200, 50
IDLE_TIMEOUT = timedelta(days=30)
"""A session unused for this long ends, as does its cookie."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Session lifetimes."""

    idle: timedelta = IDLE_TIMEOUT
    absolute: timedelta = timedelta(days=30)
    """Maximum lifetime, however much it is used: a stolen cookie does not work forever."""


DEFAULT_LIMITS = SessionLimits()
TOUCH_EVERY = timedelta(minutes=5)
"""Minimum interval between two updates of `seen_at`."""


class SessionRow(Row):
    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_id", "user_id"), Index("ix_sessions_seen_at", "seen_at"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 of the token in the cookie."""
    agent: Mapped[str] = mapped_column(String(MAX_AGENT_LENGTH), default="")
    """User-Agent at sign-in: untrusted text."""
    address: Mapped[str] = mapped_column(String(45), default="")
    """Network of the sign-in, see `shorten_address`."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


def create(user_id: int, agent: str, address: str, now: datetime) -> str:
    """Create a session and return its token, which cannot be read again.

    Also deletes all expired sessions, and the user's least recently used ones beyond MAX_SESSIONS.
    """
    execute_dml(delete(SessionRow).where(SessionRow.seen_at < now - IDLE_TIMEOUT))
    newest = (
        select(SessionRow.id)
        .where(SessionRow.user_id == user_id)
        .order_by(SessionRow.seen_at.desc(), SessionRow.id.desc())
        .limit(MAX_SESSIONS - 1)
    )
    execute_dml(delete(SessionRow).where(SessionRow.user_id == user_id, SessionRow.id.not_in(newest)))
    token = secrets.token_urlsafe(32)
    row = SessionRow(
        user_id=user_id,
        digest=hash_token(token),
        agent=agent.replace("\0", "")[:MAX_AGENT_LENGTH],
        address=shorten_address(address),
        created_at=now,
        seen_at=now,
    )
    db.session.add(row)
    db.session.flush()
    return token


def find(token: str, now: datetime, limits: SessionLimits = DEFAULT_LIMITS) -> tuple[SessionRow, UserRow] | None:
    """The session with this token and its user; None once it was ended or has expired. One query."""
    values = {"digest": hash_token(token), "seen_since": now - limits.idle, "created_since": now - limits.absolute}
    row = db.session.execute(_BY_DIGEST_QUERY, values).first()
    return (row[0], row[1]) if row else None


_BY_DIGEST_QUERY = (
    select(SessionRow, UserRow)
    .join(UserRow, UserRow.id == SessionRow.user_id)
    .where(
        SessionRow.digest == bindparam("digest"),
        SessionRow.seen_at >= bindparam("seen_since"),
        SessionRow.created_at >= bindparam("created_since"),
    )
)


def touch(row: SessionRow, now: datetime) -> bool:
    """Record that it was used, at most once per TOUCH_EVERY. True if there is something to commit."""
    due = now - TOUCH_EVERY
    if row.seen_at > due:
        return False
    is_due = SessionRow.id == row.id, SessionRow.seen_at <= due
    return execute_dml(update(SessionRow).where(*is_due).values(seen_at=now)) > 0


def list_for_user(user_id: int, now: datetime, limits: SessionLimits = DEFAULT_LIMITS) -> list[SessionRow]:
    """A user's valid sessions, the most recently used first."""
    query = (
        select(SessionRow)
        .where(
            SessionRow.user_id == user_id,
            SessionRow.seen_at >= now - limits.idle,
            SessionRow.created_at >= now - limits.absolute,
        )
        .order_by(SessionRow.seen_at.desc(), SessionRow.id.desc())
    )
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def end(user_id: int, session_id: int) -> bool:
    """End one of the user's own sessions. False if it does not exist or is not theirs."""
    return execute_dml(delete(SessionRow).where(SessionRow.id == session_id, SessionRow.user_id == user_id)) > 0


def end_all(user_id: int, *, excluding: int | None = None) -> int:
    """End the user's sessions, except session `excluding`. Returns how many there were."""
    statement = delete(SessionRow).where(SessionRow.user_id == user_id)
    if excluding is not None:
        statement = statement.where(SessionRow.id != excluding)
    return execute_dml(statement)


def end_all_users() -> int:
    """End all sessions of all users. Returns how many there were."""
    return execute_dml(delete(SessionRow))


def shorten_address(address: str) -> str:
    """The network of an IP address: "203.0.113.…", "2001:db8:7:…"; empty for anything else, such as a socket."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return ":".join(f"{int(parsed) >> shift & 0xFFFF:x}" for shift in (112, 96, 80)) + ":…"
        parsed = parsed.ipv4_mapped
    return str(parsed).rpartition(".")[0] + ".…"
