"""API authentication: a personal token in the Authorization header or a signed-in session, with its scopes."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from flask import g, request
from flask_login import current_user
from sqlalchemy.exc import DBAPIError

from app import clock
from app.api.problems import ApiError, FieldProblem
from app.extensions import client_network, csrf, db
from app.store.accounts import tokens, users
from app.store.accounts.tokens import SCOPES, Scope, TokenRow
from app.store.schema.tables import UserRow

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_MAX_TOKEN_LENGTH = 500
NOT_SIGNED_IN = (
    "Send a personal token as “Authorization: Bearer msk_…”, or sign in. Tokens are made at /settings/tokens."
)


@dataclass(frozen=True, slots=True)
class Caller:
    user: UserRow
    scopes: frozenset[str]
    """All scopes for a session; those of the token otherwise."""
    token_id: int | None
    """None for a session."""


def authenticate(scope: Scope) -> Caller:
    """The caller, if it has the scope. Records the use of a token, which commits.

    Raises ApiError (400, 401, 403), and flask_wtf's CSRFError for an unsafe request of a session without a CSRF token.
    """
    reject_tokens_in_url()
    caller = current_caller()
    if caller is None:
        raise _unauthorized(NOT_SIGNED_IN)
    if scope not in caller.scopes:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"This token lacks the scope “{scope}”. Make one that has it at /settings/tokens.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
    if caller.token_id is None and request.method not in _SAFE_METHODS:
        csrf.protect()  # type: ignore[no-untyped-call]
    return caller


def current_caller() -> Caller | None:
    """The caller, loaded once per request; None if anonymous.

    Raises ApiError (401) for a token that is unknown, expired, revoked or of a disabled account, even if a session is
    present too.
    """
    if "caller" not in g:
        g.caller = _token_caller() if _bearer_token() is not None else _session_caller()
    caller: Caller | None = g.caller
    return caller


def rate_limit_key() -> str:
    """Rate limit bucket: the account with all its tokens; the network for anonymous callers and invalid tokens."""
    try:
        caller = current_caller()
    except ApiError:
        caller = None
    return client_network() if caller is None else f"user:{caller.user.id}"


def reject_tokens_in_url() -> None:
    """Raises ApiError (400): URLs end up in logs and browser histories."""
    for name, value in request.args.items(multi=True):
        if value.startswith(tokens.PREFIX) or name.lower() in ("access_token", "api_key", "token"):
            raise ApiError(
                HTTPStatus.BAD_REQUEST,
                "A token belongs into the Authorization header, never into an address, which ends up in logs. "
                "If this one was real, revoke it at /settings/tokens and make another.",
                (FieldProblem(name, "Not in an address."),),
            )


def _bearer_token() -> str | None:
    """The bearer token of the Authorization header, None if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _session_caller() -> Caller | None:
    if not current_user.is_authenticated or not current_user.is_active:
        return None
    return Caller(current_user._get_current_object(), frozenset(SCOPES), None)


def _token_caller() -> Caller:
    token = _bearer_token() or ""
    match = tokens.find(token) if token.startswith(tokens.PREFIX) and len(token) < _MAX_TOKEN_LENGTH else None
    if match is None:
        raise _unauthorized("This token is not known here. Copy it again, or make another at /settings/tokens.")
    row, user = match
    state = row.state(clock.utc_now())
    if state != "live":
        raise _unauthorized(f"This token {'has expired' if state == 'expired' else 'was revoked'}. Make another one.")
    if not user.is_active:
        raise _unauthorized("The account of this token is disabled. Ask an admin.")
    _record_use(row, user)
    return Caller(user, frozenset(row.scopes), row.id)


def _record_use(row: TokenRow, user: UserRow) -> None:
    """Mark token and user as active (active users' keys are synced). A failed write does not fail the request."""
    now = clock.utc_now()
    try:
        used = tokens.touch(row, now)
        if users.touch(user, now) or used:
            db.session.commit()
    except DBAPIError:
        db.session.rollback()


def _unauthorized(detail: str) -> ApiError:
    return ApiError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})
