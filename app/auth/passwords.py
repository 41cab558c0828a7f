"""Hash and verify passwords with argon2id, using argon2-cffi's RFC 9106 low-memory parameters."""

from __future__ import annotations

import string
from functools import cache
from importlib.resources import files

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

MIN_LENGTH, MAX_LENGTH = 12, 256
_MAX_AFFIX_LENGTH = 6
"""A common password with up to this many digits and signs around it is still a common password."""

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# Verified where there is no account, so that an unknown address takes as long as a wrong password. Not a secret, and
# precomputed because hashing takes 0.15 s, which every process would pay at its start.
_DUMMY_HASH = "$argon2id$v=19$m=65536,t=3,p=4$32Ax1qcRnRlufHw1uVmeEw$t03fLyTQ0aWrE44RwxSNXtbxXxsIao8eM60JyAmRLRQ"


def hash_password(password: str) -> str:
    return _hasher.hash(password)


def verify(password_hash: str | None, password: str) -> bool:
    """Whether `password` matches the hash, in the same time in all cases.

    password_hash: None for an account that does not exist; anything that is not a hash means an account without a
    password. Neither ever matches.
    """
    real_hash = password_hash if password_hash and password_hash.startswith("$") else None
    try:
        _hasher.verify(real_hash or _DUMMY_HASH, password)
    except (VerificationError, InvalidHashError):
        return False
    return real_hash is not None


def policy_violation(password: str, email: str = "") -> str | None:
    """Why a new password is not acceptable, as a sentence; None if it is. email: of the account it is for."""
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
    """Whether it is a leaked password, one with a few digits or signs around it, or repetitions of one."""
    core = word.strip(string.digits + string.punctuation + " ")
    if len(word) - len(core) > _MAX_AFFIX_LENGTH:
        core = word
    period = (word + word).find(word, 1)  # length of the shortest string that `word` is a repetition of
    return bool({word, core, word[:period]} & _load_common_passwords())


@cache
def _load_common_passwords() -> frozenset[str]:
    """The most frequently leaked passwords, in lower case."""
    lines = files("app.auth").joinpath("common_passwords.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
