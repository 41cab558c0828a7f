"""Encryption with SECRET_KEY: only the same key and the same associated data decrypt."""

from __future__ import annotations

import pytest

from app.auth import secretbox

KEY = "k" * 40
ENCRYPTED = secretbox.encrypt(KEY, b"content", "second factor of 7")


def test_decrypt_returns_what_was_encrypted() -> None:
    assert secretbox.decrypt(KEY, ENCRYPTED, "second factor of 7") == b"content"


def test_encrypting_twice_gives_different_bytes() -> None:
    assert secretbox.encrypt(KEY, b"content", "second factor of 7") != ENCRYPTED
    assert b"content" not in ENCRYPTED


def test_a_value_stored_by_an_earlier_version_still_decrypts() -> None:
    stored = bytes.fromhex("01000102030405060708090a0b28bf480ded2dce1a03fce60d5d20bf0fb6c6176c5b3ea8")
    assert secretbox.decrypt(KEY, stored, "second factor of 7") == b"content"


@pytest.mark.parametrize(
    ("key", "encrypted", "associated_data"),
    [
        ("x" * 40, ENCRYPTED, "second factor of 7"),
        (KEY, ENCRYPTED, "second factor of 8"),
        (KEY, ENCRYPTED[:-1] + bytes([ENCRYPTED[-1] ^ 1]), "second factor of 7"),
        (KEY, b"\x02" + ENCRYPTED[1:], "second factor of 7"),
        (KEY, ENCRYPTED[:13], "second factor of 7"),
        (KEY, b"", "second factor of 7"),
    ],
    ids=["another key", "another purpose", "a changed bit", "another version", "cut off", "empty"],
)
def test_anything_else_does_not_decrypt(key: str, encrypted: bytes, associated_data: str) -> None:
    with pytest.raises(secretbox.DecryptionError):
        secretbox.decrypt(key, encrypted, associated_data)
