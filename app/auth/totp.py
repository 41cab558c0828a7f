"""Codes of authenticator apps (TOTP, RFC 6238): six digits, a new one every thirty seconds. The only user of pyotp."""

from __future__ import annotations

import hmac
from datetime import datetime

import pyotp

STEP_S, DIGITS = 30, 6
_MAX_DRIFT_STEPS = 1
"""How far a phone's clock may be ahead or behind."""
_ISSUER = "Modelsync"


def new_secret() -> str:
    """160 random bits in base32, the form that authenticator apps expect."""
    return pyotp.random_base32()


def provisioning_uri(secret: str, email: str) -> str:
    """The otpauth:// URI for the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=_ISSUER)


def verify(secret: str, code: str, now: datetime, after: int) -> int | None:
    """The time step whose code this is; None if it is not a valid code.

    code: as typed; spaces are ignored. after: the time step used last; it and earlier ones are not valid again.
    """
    digits = "".join(code.split())
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    totp, current = pyotp.TOTP(secret), int(now.timestamp()) // STEP_S
    matches = [
        step
        for step in range(current - _MAX_DRIFT_STEPS, current + _MAX_DRIFT_STEPS + 1)
        if hmac.compare_digest(totp.at(step * STEP_S), digits) and step > after
    ]
    return matches[0] if matches else None
