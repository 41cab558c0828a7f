"""Hash and verify passwords with argon2id, in argon2-cffi's own recommended parameters (RFC 9106, low memory)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

SHORTEST, LONGEST = 10, 256

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# Verified where there is no account, so that an unknown address takes as long as a wrong password. It is no secret, and
# made beforehand: to make it at every start would cost each process 0.15 s.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$32Ax1qcRnRlufHw1uVmeEw$t03fLyTQ0aWrE44RwxSNXtbxXxsIao8eM60JyAmRLRQ"


def hash_password(password: str) -> str:
    return _hasher.hash(password)


def is_right(password_hash: str | None, password: str) -> bool:
    """Whether `password` fits; None stands for an account that does not exist and never fits.

    What is no hash stands for an account without a password: it never fits either, and takes as long.
    """
    real = password_hash if password_hash and password_hash.startswith("$") else None
    try:
        _hasher.verify(real or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return real is not None


def complaint(password: str) -> str | None:
    """What is wrong with a new password, as a sentence; None if nothing is."""
    if len(password) < SHORTEST:
        return f"Choose a password of at least {SHORTEST} characters."
    if len(password) > LONGEST:
        return f"Choose a password of at most {LONGEST} characters."
    return None
