"""Accounts."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, select, text, update

from app.extensions import db
from app.store import due
from app.store.accounts import password_resets, sessions
from app.store.accounts.sessions import SessionLimits, SessionRow
from app.store.engine.dialect import insert
from app.store.engine.statements import execute_dml
from app.store.schema.tables import CredentialRow, UserRow

SERVER_NAME = "server"
"""Stored e-mail of the installation's own account."""
NO_PASSWORD = "!"  # noqa: S105  (means: none)
"""A hash that no password matches."""
_BLANK_KEY = bytes(32)
TOUCH_EVERY = timedelta(days=1)


def find_by_session(
    identity: str, token: str, now: datetime, limits: SessionLimits = sessions.DEFAULT_LIMITS
) -> tuple[SessionRow, UserRow] | None:
    """The session with this token and its account, if `identity` is that account's `<id>.<stamp>`.

    None once the session was ended or the password was changed. One query.
    """
    session = sessions.find(token, now, limits)
    if session is None or not secrets.compare_digest(session[1].get_id().encode(), identity.encode()):
        return None
    return session


def find_by_identity(identity: str) -> UserRow | None:
    """The account of `<id>.<stamp>`, if the stamp is current and the account may sign in."""
    number = identity.partition(".")[0]
    user = db.session.get(UserRow, int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else None
    if user is None or not user.is_active:
        return None
    return user if secrets.compare_digest(user.get_id().encode(), identity.encode()) else None


def find_email(user_id: int) -> str | None:
    """The account's e-mail address; None for the installation's own account and for a deleted one."""
    return db.session.scalar(select(UserRow.email).where(UserRow.id == user_id, UserRow.is_server.is_(False)))


def find_by_email(email: str) -> UserRow | None:
    return db.session.scalar(select(UserRow).where(UserRow.email == normalize_email(email)))


def create(email: str, password_hash: str, now: datetime, *, is_admin: bool = False) -> UserRow | None:
    """A new account; the very first is an admin. None if the address is taken.

    The insert itself decides whether it is the first; on PostgreSQL an advisory lock serialises concurrent first
    sign-ups.
    """
    if db.engine.dialect.name == "postgresql" and not db.session.scalar(_people_query().limit(1)):
        db.session.execute(select(func.pg_advisory_xact_lock(0x6D6F64656C)))
    statement = (
        insert(UserRow)
        .values(
            email=normalize_email(email),
            password_hash=password_hash,
            auth_stamp=_new_stamp(),
            is_admin=True if is_admin else ~select(UserRow.id).where(UserRow.is_server.is_(False)).exists(),
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(UserRow.id)
    )
    user_id = db.session.scalar(statement)
    return db.session.get(UserRow, user_id) if user_id else None


def set_password(user: UserRow, password_hash: str) -> None:
    """Set the password and end all sessions of the account."""
    user.password_hash = password_hash
    end_sessions(user)


def end_sessions(user: UserRow) -> None:
    """End all sessions and password reset links of the account.

    The new stamp alone would invalidate the sessions; deleting the rows also removes them from lists.
    """
    user.auth_stamp = _new_stamp()
    sessions.end_all(user.id)
    password_resets.delete_all(user.id)


def is_empty() -> bool:
    """Whether there is no account yet."""
    return db.session.scalar(_people_query().limit(1)) is None


def list_all() -> list[UserRow]:
    """All accounts except the installation's own."""
    return list(db.session.scalars(_people_query().order_by(UserRow.id)))


def server_account(now: datetime, *, create: bool = True) -> UserRow | None:
    """The installation's own account, which has no sign-in. None if it does not exist and `create` is false."""
    account = db.session.scalar(select(UserRow).where(UserRow.is_server))
    if account is None and create:
        # neither its e-mail nor its password hash can match any input
        statement = insert(UserRow).values(
            email=SERVER_NAME,
            password_hash=NO_PASSWORD,
            auth_stamp=_new_stamp(),
            is_server=True,
            sync_on_sign_in=False,
            created_at=now,
        )
        db.session.execute(statement.on_conflict_do_nothing())
        account = db.session.scalars(select(UserRow).where(UserRow.is_server)).one()
    return account


def touch(user: UserRow, now: datetime, every: timedelta = TOUCH_EVERY) -> bool:
    """Record a visit, at most once per `every`. After a long absence the account's keys become due again."""
    seen_at = user.last_sign_in_at
    if seen_at is not None and now - seen_at < every:
        return False
    user.last_sign_in_at = now
    if seen_at is not None and now - seen_at > due.INACTIVE_AFTER:
        due.resume_schedule(user.id, now)
    return True


def remove(user: UserRow) -> None:
    """Delete the account with its keys, runs and results.

    Sealed keys are overwritten first, and SQLite zeroes deleted content. PostgreSQL keeps old row versions until the
    next vacuum, SQLite's journal until it is overwritten.
    """
    if db.engine.dialect.name == "sqlite":
        db.session.execute(text("PRAGMA secure_delete=ON"))
    sealed = update(CredentialRow).where(CredentialRow.user_id == user.id, CredentialRow.sealed_key.is_not(None))
    execute_dml(sealed.values(sealed_key=_BLANK_KEY))
    db.session.execute(delete(UserRow).where(UserRow.id == user.id))


def mark_changes_seen(user_id: int, until: datetime) -> None:
    """Mark changes up to `until` as seen; the cursor never moves back."""
    db.session.execute(
        update(UserRow)
        .where(UserRow.id == user_id, func.coalesce(UserRow.changes_seen_at < until, True))
        .values(changes_seen_at=until)
    )


def _people_query() -> Select[UserRow]:
    return select(UserRow).where(UserRow.is_server.is_(False))


def normalize_email(email: str) -> str:
    return email.strip().lower()


def _new_stamp() -> str:
    return secrets.token_urlsafe(32)
