"""Who may use the admin's endpoints: an admin by session or personal token, or a program with ADMIN_API_KEY."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from flask import request

from app import config
from app.api import auth
from app.api.problems import Refused
from app.extensions import client_network
from app.store.accounts import tokens
from app.store.accounts.tokens import Scope

_NOT_HERE = "There is nothing here, or it is for admins and nobody is signed in."
_WRONG = "Send ADMIN_API_KEY, or an admin's personal token, as “Authorization: Bearer …”."


def admit_admin(scope: Scope) -> auth.Caller | None:
    """The admin who is calling; None for a program with ADMIN_API_KEY.

    Raises Refused: 404 for strangers where no ADMIN_API_KEY is set, else 401; 403 for who is no admin or whose token
    lacks the scope; 400 for a token in the address. And flask_wtf's CSRFError for a session's unsafe request without
    its CSRF token.
    """
    auth.refuse_tokens_in_the_address()
    if has_admin_key():
        return None
    caller = _caller()
    if caller is None:
        if not config.current().admin_api_key:
            raise Refused(HTTPStatus.NOT_FOUND, _NOT_HERE)
        raise Refused(HTTPStatus.UNAUTHORIZED, _WRONG, headers={"WWW-Authenticate": "Bearer"})
    if not caller.user.is_admin:
        raise Refused(HTTPStatus.FORBIDDEN, "This is for admins. Ask one of them.")
    return auth.admit(scope)


def has_admin_key() -> bool:
    """Whether the request carries ADMIN_API_KEY; the comparison takes as long whatever is wrong with it."""
    key = config.current().admin_api_key
    return bool(key) and hmac.compare_digest(_authorization(), f"Bearer {key}".encode())


def admin_limit_key() -> str:
    """Whose limit a request counts against: that of who has the key in a network, else an account's …"""
    return f"admin:{client_network()}" if has_admin_key() else auth.limit_key()


def _caller() -> auth.Caller | None:
    """Whoever is calling without the key, None for a stranger. Raises Refused (401) for a personal token that is
    wrong, expired or revoked; any other bearer is a wrong key."""
    try:
        return auth.caller()
    except Refused:
        if _authorization().startswith(f"Bearer {tokens.PREFIX}".encode()):
            raise
        return None


def _authorization() -> bytes:
    return request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
