"""Hash and verify passwords with argon2id, in argon2-cffi's own recommended parameters (RFC 9106, low memory)."""

from __future__ import annotations

import string
from functools import cache
from importlib.resources import files

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

MIN_LENGTH, MAX_LENGTH = 12, 256
_MAX_AFFIX_LENGTH = 6
"""So many digits and signs make no other password of a word."""

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# Verified where there is no account, so that an unknown address takes as long as a wrong password. It is no secret, and
# made beforehand: to make it at every start would cost each process 0.15 s.
_DUMMY_HASH = "$argon2id$v=19$m=65536,t=3,p=4$32Ax1qcRnRlufHw1uVmeEw$t03fLyTQ0aWrE44RwxSNXtbxXxsIao8eM60JyAmRLRQ"


def hash_password(password: str) -> str:
    return _hasher.hash(password)


def verify(password_hash: str | None, password: str) -> bool:
    """Whether `password` fits; None stands for an account that does not exist and never fits.

    What is no hash stands for an account without a password: it never fits either, and takes as long.
    """
    real = password_hash if password_hash and password_hash.startswith("$") else None
    try:
        _hasher.verify(real or _DUMMY_HASH, password)
    except (VerificationError, InvalidHashError):
        return False
    return real is not None


def policy_violation(password: str, email: str = "") -> str | None:
    """What is wrong with a new password, as a sentence; None if nothing is. email: of the account it is for."""
    if len(password) < MIN_LENGTH:
        return f"Choose a password of at least {MIN_LENGTH} characters."
    if len(password) > MAX_LENGTH:
        return f"Choose a password of at most {MAX_LENGTH} characters."
    word, address = password.strip().casefold(), email.strip().casefold()
    if _is_common(word):
        return "Many people use this password, so it is among the first that are tried: choose another."
    if word in (address, address.partition("@")[0]):
        return "That is your e-mail address, which others know: choose another password."
    return None


def _is_common(word: str) -> bool:
    """Whether it leaked often, is one that did with a few digits or signs around it, or says one of them again and
    again."""
    core = word.strip(string.digits + string.punctuation + " ")
    if len(word) - len(core) > _MAX_AFFIX_LENGTH:
        core = word
    again = (word + word).find(word, 1)  # so long is what it repeats
    return bool({word, core, word[:again]} & _load_common_passwords())


@cache
def _load_common_passwords() -> frozenset[str]:
    """Those that leaked most often, lower case."""
    lines = files("app.auth").joinpath("common_passwords.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
