"""The hash under which secrets of 256 random bits (session, token, feed, reset link) are stored and looked up."""

from __future__ import annotations

import hashlib


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
