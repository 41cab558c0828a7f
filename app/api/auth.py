"""Who is calling: a personal token in the Authorization header, or a person signed in, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from flask import g, request
from flask_login import current_user
from sqlalchemy.exc import DBAPIError

from app.api.problems import FieldProblem, Refused
from app.extensions import client_network, csrf, db
from app.store.accounts import tokens, users
from app.store.accounts.tokens import SCOPES, Scope, TokenRow
from app.store.schema.tables import UserRow
from app.web.app import filters

_SAFE = ("GET", "HEAD", "OPTIONS")
_TOO_LONG = 500
NOBODY = "Send a personal token as “Authorization: Bearer msk_…”, or sign in. Tokens are made at /settings/tokens."


@dataclass(frozen=True, slots=True)
class Caller:
    user: UserRow
    scopes: frozenset[str]
    """What they may do: a session may do all, a token what it was made for."""
    token_id: int | None
    """None for a session."""


def admit(scope: Scope) -> Caller:
    """Whoever is calling, if they may do this; a token's use is noted, which commits.

    Raises Refused (400, 401, 403), and flask_wtf's CSRFError for a session's unsafe request without its CSRF token.
    """
    refuse_tokens_in_the_address()
    found = caller()
    if found is None:
        raise _unknown(NOBODY)
    if scope not in found.scopes:
        raise Refused(
            HTTPStatus.FORBIDDEN,
            f"This token lacks the scope “{scope}”. Make one that has it at /settings/tokens.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
    if found.token_id is None and request.method not in _SAFE:
        csrf.protect()  # type: ignore[no-untyped-call]
    return found


def caller() -> Caller | None:
    """Who is calling, looked up once a request; None for a stranger. Raises Refused (401) for a token that is wrong,
    expired, revoked or of a disabled account, even where someone is signed in besides."""
    if "caller" not in g:
        g.caller = _by_token() if _bearer() is not None else _by_session()
    found: Caller | None = g.caller
    return found


def limit_key() -> str:
    """Whose limit a request counts against: an account's, with all its tokens, else a network's, also for wrong
    tokens."""
    try:
        found = caller()
    except Refused:
        found = None
    return client_network() if found is None else f"user:{found.user.id}"


def refuse_tokens_in_the_address() -> None:
    """Addresses end up in logs and histories. Raises Refused (400)."""
    for name, value in request.args.items(multi=True):
        if value.startswith(tokens.PREFIX) or name.lower() in ("access_token", "api_key", "token"):
            raise Refused(
                HTTPStatus.BAD_REQUEST,
                "A token belongs into the Authorization header, never into an address, which ends up in logs. "
                "If this one was real, revoke it at /settings/tokens and make another.",
                (FieldProblem(name, "Not in an address."),),
            )


def _bearer() -> str | None:
    """The bearer token of the Authorization header, None if there is none."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _by_session() -> Caller | None:
    if not current_user.is_authenticated or not current_user.is_active:
        return None
    return Caller(current_user._get_current_object(), frozenset(SCOPES), None)


def _by_token() -> Caller:
    text = _bearer() or ""
    found = tokens.find(text) if text.startswith(tokens.PREFIX) and len(text) < _TOO_LONG else None
    if found is None:
        raise _unknown("This token is not known here. Copy it again, or make another at /settings/tokens.")
    row, user = found
    state = row.state(filters.now())
    if state != "live":
        raise _unknown(f"This token {'has expired' if state == 'expired' else 'was revoked'}. Make another one.")
    if not user.is_active:
        raise _unknown("The account of this token is disabled. Ask an admin.")
    _note_use(row, user)
    return Caller(user, frozenset(row.scopes), row.id)


def _note_use(row: TokenRow, user: UserRow) -> None:
    """Who comes by a program is here too: their keys stay fresh. A note that cannot be written refuses nobody."""
    now = filters.now()
    try:
        used = tokens.touch(row, now)
        if users.touch(user, now) or used:
            db.session.commit()
    except DBAPIError:
        db.session.rollback()


def _unknown(sentence: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, sentence, headers={"WWW-Authenticate": "Bearer"})
