"""Authentication of the admin endpoints: an admin's session or personal token, or ADMIN_API_KEY as a bearer."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from flask import request

from app import config
from app.api import auth
from app.api.problems import ApiError
from app.extensions import client_network
from app.store.accounts import tokens
from app.store.accounts.tokens import Scope

_NOT_FOUND = "There is nothing here, or it is for admins and nobody is signed in."
_WRONG_KEY = "Send ADMIN_API_KEY, or an admin's personal token, as “Authorization: Bearer …”."


def authenticate_admin(scope: Scope) -> auth.Caller | None:
    """The calling admin; None for a program with ADMIN_API_KEY.

    Raises ApiError: 400 for a token in the URL; 403 for a caller who is not an admin or whose token lacks the scope;
    for anonymous callers 401, or 404 where no ADMIN_API_KEY is set. Raises flask_wtf's CSRFError for an unsafe request
    of a session without a CSRF token.
    """
    auth.reject_tokens_in_url()
    if has_admin_key():
        return None
    caller = _load_caller()
    if caller is None:
        if not config.current().admin_api_key:
            raise ApiError(HTTPStatus.NOT_FOUND, _NOT_FOUND)
        raise ApiError(HTTPStatus.UNAUTHORIZED, _WRONG_KEY, headers={"WWW-Authenticate": "Bearer"})
    if not caller.user.is_admin:
        raise ApiError(HTTPStatus.FORBIDDEN, "This is for admins. Ask one of them.")
    return auth.authenticate(scope)


def has_admin_key() -> bool:
    """Whether the request carries ADMIN_API_KEY; compared in constant time."""
    key = config.current().admin_api_key
    return bool(key) and hmac.compare_digest(_authorization_header(), f"Bearer {key}".encode())


def admin_rate_limit_key() -> str:
    """Rate limit bucket: the network for holders of ADMIN_API_KEY, else as `auth.rate_limit_key`."""
    return f"admin:{client_network()}" if has_admin_key() else auth.rate_limit_key()


def _load_caller() -> auth.Caller | None:
    """The caller without ADMIN_API_KEY; None if anonymous or with a bearer that is not a personal token.

    Raises ApiError (401) for a personal token that is wrong, expired or revoked.
    """
    try:
        return auth.current_caller()
    except ApiError:
        if _authorization_header().startswith(f"Bearer {tokens.PREFIX}".encode()):
            raise
        return None


def _authorization_header() -> bytes:
    return request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
