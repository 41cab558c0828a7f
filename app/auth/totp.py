"""Codes of authenticator apps (TOTP, RFC 6238): six digits, a new one each thirty seconds. The only user of pyotp."""

from __future__ import annotations

import hmac
from datetime import datetime

import pyotp

STEP_S, DIGITS = 30, 6
_MAX_DRIFT_STEPS = 1
"""So many steps a phone's clock may be ahead or behind."""
_ISSUER = "Modelsync"


def new_secret() -> str:
    """160 random bits in base32, as authenticator apps take them."""
    return pyotp.random_base32()


def provisioning_uri(secret: str, email: str) -> str:
    """The otpauth:// address that a QR code carries."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=_ISSUER)


def verify(secret: str, typed: str, now: datetime, after: int) -> int | None:
    """The time step whose code was typed; None if it is the code of none that counts.

    typed: as a person writes it, spaces do not matter. after: the step that was used last; neither it nor one before
    it counts again.
    """
    digits = "".join(typed.split())
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    codes, here = pyotp.TOTP(secret), int(now.timestamp()) // STEP_S
    fitting = [
        step
        for step in range(here - _MAX_DRIFT_STEPS, here + _MAX_DRIFT_STEPS + 1)
        if hmac.compare_digest(codes.at(step * STEP_S), digits) and step > after
    ]
    return fitting[0] if fitting else None
