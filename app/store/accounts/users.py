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
from app.store.schema.tables import CredentialRow, UserRow

SERVER_NAME = "server"
"""What the installation's own account is called."""
NO_PASSWORD = "!"  # noqa: S105  (it says that there is none)
"""A hash that no password has."""
_BLANK_KEY = bytes(32)
TOUCH_EVERY = timedelta(days=1)


def find_by_session(
    identity: str, token: str, now: datetime, lives: SessionLimits = sessions.DEFAULT_LIMITS
) -> tuple[SessionRow, UserRow] | None:
    """The session of this token with its account, whose identity `<id>.<stamp>` it must know.

    None once the session was ended or the password was changed. One query.
    """
    found = sessions.find(token, now, lives)
    if found is None or not secrets.compare_digest(found[1].get_id().encode(), identity.encode()):
        return None
    return found


def find_by_identity(identity: str) -> UserRow | None:
    """The account of `<id>.<stamp>`, while that is its stamp and it may sign in."""
    number = identity.partition(".")[0]
    user = db.session.get(UserRow, int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else None
    if user is None or not user.is_active:
        return None
    return user if secrets.compare_digest(user.get_id().encode(), identity.encode()) else None


def find_email(user_id: int) -> str | None:
    """Where letters to this person go; None for the installation's own account and for one that is gone."""
    return db.session.scalar(select(UserRow.email).where(UserRow.id == user_id, UserRow.is_server.is_(False)))


def find_by_email(email: str) -> UserRow | None:
    return db.session.scalar(select(UserRow).where(UserRow.email == normalize_email(email)))


def create(email: str, password_hash: str, now: datetime, *, is_admin: bool = False) -> UserRow | None:
    """A new account; the first of all is an admin. None if the address is taken.

    Whether it is the first is decided by the insert itself, under PostgreSQL behind a lock that two first
    sign-ups at one moment have to queue for.
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
    """Every session of the account ends with it."""
    user.password_hash = password_hash
    end_sessions(user)


def end_sessions(user: UserRow) -> None:
    """The new stamp would end them alone; without their rows they are not listed any more either.

    Links to another password that were mailed end with them.
    """
    user.auth_stamp = _new_stamp()
    sessions.end_all(user.id)
    password_resets.delete_all(user.id)


def is_empty() -> bool:
    """Whether there is no account yet."""
    return db.session.scalar(_people_query().limit(1)) is None


def list_all() -> list[UserRow]:
    """All people, without the installation's own account."""
    return list(db.session.scalars(_people_query().order_by(UserRow.id)))


def server_account(now: datetime, *, make: bool = True) -> UserRow | None:
    """The installation's own account, which nobody can sign in as. None if it is not there and not to be made."""
    found = db.session.scalar(select(UserRow).where(UserRow.is_server))
    if found is None and make:
        # Its name is no e-mail address, and its password no hash: neither can be typed.
        statement = insert(UserRow).values(
            email=SERVER_NAME,
            password_hash=NO_PASSWORD,
            auth_stamp=_new_stamp(),
            is_server=True,
            sync_on_sign_in=False,
            created_at=now,
        )
        db.session.execute(statement.on_conflict_do_nothing())
        found = db.session.scalars(select(UserRow).where(UserRow.is_server)).one()
    return found


def touch(user: UserRow, now: datetime, every: timedelta = TOUCH_EVERY) -> bool:
    """Note that somebody is here, unless it was noted lately. Who was away for long has their keys due again."""
    seen_at = user.last_sign_in_at
    if seen_at is not None and now - seen_at < every:
        return False
    user.last_sign_in_at = now
    if seen_at is not None and now - seen_at > due.INACTIVE_AFTER:
        due.resume_schedule(user.id, now)
    return True


def remove(user: UserRow) -> None:
    """The account and everything of its: keys, runs, results.

    Sealed keys are overwritten first, and SQLite is told to blank what it deletes. PostgreSQL keeps the old version of
    a row until its next vacuum, SQLite's journal until it is written over.
    """
    if db.engine.dialect.name == "sqlite":
        db.session.execute(text("PRAGMA secure_delete=ON"))
    sealed = update(CredentialRow).where(CredentialRow.user_id == user.id, CredentialRow.sealed_key.is_not(None))
    db.session.execute(sealed.values(sealed_key=_BLANK_KEY).execution_options(synchronize_session=False))
    db.session.execute(delete(UserRow).where(UserRow.id == user.id))


def mark_changes_seen(user_id: int, until: datetime) -> None:
    """Move the cursor forward, never back."""
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
