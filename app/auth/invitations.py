"""Signed, expiring sign-up links for one e-mail address."""

from __future__ import annotations

from itsdangerous import BadData, URLSafeTimedSerializer

LIFETIME_S = 7 * 86_400


def sign_invitation(email: str, secret_key: str) -> str:
    """The token of `/signup?invite=…`. email: normalised."""
    return _serializer(secret_key).dumps(email)


def verify_invitation(token: str, secret_key: str) -> str | None:
    """The invited address; None if the token is invalid or has expired."""
    try:
        email = _serializer(secret_key).loads(token, max_age=LIFETIME_S) if token else None
    except BadData:
        return None
    return email if isinstance(email, str) else None


def _serializer(secret_key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret_key, salt="invitation")
