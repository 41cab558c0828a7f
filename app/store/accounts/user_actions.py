"""Admin actions on accounts, each with an entry in the audit log.

The installation's own account cannot be acted on, and the last admin cannot be removed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import false, select, update

from app.extensions import db
from app.store import audit
from app.store.accounts import feeds, second_factors, tokens
from app.store.accounts import users as accounts
from app.store.audit import Actor
from app.store.engine.statements import execute_dml
from app.store.plans import PlanRow
from app.store.schema.catalog_tables import AuditRow
from app.store.schema.tables import UserRow

AUDIT_ACTION = "user"
"""Action of the audit entries; their subject is the e-mail address."""
DELETED_ACCOUNT = "a deleted account"
ACCOUNT_OWNER = Actor(None, "its owner")


class UserActionError(ValueError):
    """The action is not possible. The text is a sentence for display."""


LAST_ADMIN_MESSAGE = "This is the last admin who can sign in. Make someone else an admin first."


def find_by_id(user_id: int) -> UserRow | None:
    """An account, locked for an action; None for the installation's own."""
    return _find(UserRow.id == user_id)


def find_by_email(email: str) -> UserRow | None:
    return _find(UserRow.email == accounts.normalize_email(email))


def disable(user: UserRow, actor: Actor, now: datetime) -> None:
    """Disable sign-in and syncing, and end the account's sessions, tokens and feed URL for good.

    Raises UserActionError for the last admin.
    """
    if user.disabled_at is None:
        _require_other_admin(user)
        user.disabled_at = now
        accounts.end_sessions(user)
        after: dict[str, Any] = {"signing in": "disabled"}
        if ended := tokens.revoke_all(user.id, now):
            after["tokens revoked"] = ended
        if feeds.revoke(user.id):
            after["feed address"] = "revoked"
        _record(user, actor, now, {"signing in": "allowed"}, after)


def enable(user: UserRow, actor: Actor, now: datetime) -> None:
    if user.disabled_at is not None:
        user.disabled_at = None
        _record(user, actor, now, {"signing in": "disabled"}, {"signing in": "allowed"})


def promote(user: UserRow, actor: Actor, now: datetime) -> None:
    if not user.is_admin:
        user.is_admin = True
        _record(user, actor, now, {"admin": False}, {"admin": True})


def demote(user: UserRow, actor: Actor, now: datetime) -> None:
    """Raises UserActionError for the last admin."""
    if user.is_admin:
        _require_other_admin(user)
        user.is_admin = False
        _record(user, actor, now, {"admin": True}, {"admin": False})


def sign_out(user: UserRow, actor: Actor, now: datetime) -> None:
    """End all sessions of the account, but not its tokens and feed URL."""
    accounts.end_sessions(user)
    _record(user, actor, now, None, {"sessions": "ended"})


def reset_second_factor(user: UserRow, actor: Actor, now: datetime) -> None:
    """Disable two-factor authentication for an account that lost its device and codes; its sessions end."""
    if user.second_factor_at is not None:
        second_factors.disable(user)
        accounts.end_sessions(user)
        _record(user, actor, now, {"second factor": "on"}, {"second factor": "off"})


def remove(user: UserRow, actor: Actor, now: datetime) -> None:
    """Delete the account with its keys, runs and results. Raises UserActionError for the last admin."""
    _require_other_admin(user)
    _record(user, actor, now, {"account": "there"}, None)
    accounts.remove(user)


def delete_own(user: UserRow, now: datetime) -> None:
    """Delete an account on its owner's request; audit log and plans are anonymised.

    Raises UserActionError for the last admin.
    """
    _require_other_admin(user)
    _anonymize(user)
    audit.record(ACCOUNT_OWNER, AUDIT_ACTION, DELETED_ACCOUNT, {"account": "there"}, None, "", now)
    accounts.remove(user)


def record_invitation(email: str, actor: Actor, now: datetime) -> None:
    audit.record(actor, AUDIT_ACTION, accounts.normalize_email(email), None, {"invitation": "made"}, "", now)


def record_own_change(user: UserRow, after: audit.AuditState, now: datetime, actor: Actor | None = None) -> None:
    """Record a security-relevant change by the owner (or `actor`). after: only our own words and numbers."""
    _record(user, actor or Actor(user.id, user.email), now, None, after)


ACTIONS: dict[str, Callable[[UserRow, Actor, datetime], None]] = {
    "disable": disable,
    "enable": enable,
    "promote": promote,
    "demote": demote,
    "sign-out": sign_out,
    "reset-second-factor": reset_second_factor,
}


def _anonymize(user: UserRow) -> None:
    for statement in (
        update(AuditRow).where(AuditRow.actor_id == user.id).values(actor=DELETED_ACCOUNT),
        update(AuditRow)
        .where(AuditRow.action == AUDIT_ACTION, AuditRow.subject == user.email)
        .values(subject=DELETED_ACCOUNT),
        update(PlanRow).where(PlanRow.made_by_id == user.id).values(made_by=DELETED_ACCOUNT),
    ):
        execute_dml(statement)


def _find(*conditions: object) -> UserRow | None:
    query = select(UserRow).where(*conditions, ~UserRow.is_server)  # type: ignore[arg-type]
    return db.session.scalar(query.with_for_update().execution_options(populate_existing=True))


def _require_other_admin(user: UserRow) -> None:
    """Raises UserActionError for the last admin. Locks the admins' rows, so that concurrent actions see each other."""
    if db.engine.dialect.name == "sqlite":  # no row locks; any write locks all of it, also one that changes nothing
        db.session.execute(update(UserRow).where(false()).values(is_admin=UserRow.is_admin))
    query = (
        select(UserRow.id)
        .where(UserRow.is_admin, UserRow.disabled_at.is_(None), ~UserRow.is_server)
        .order_by(UserRow.id)
        .with_for_update()
    )
    if list(db.session.scalars(query)) == [user.id]:
        raise UserActionError(LAST_ADMIN_MESSAGE)


def _record(
    user: UserRow, actor: Actor, now: datetime, before: audit.AuditState | None, after: audit.AuditState | None
) -> None:
    audit.record(actor, AUDIT_ACTION, user.email, before, after, "", now)
