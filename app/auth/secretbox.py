"""Encryption with a key derived from SECRET_KEY: AES-256-GCM under HKDF-SHA256, for secrets that the web must read.

Unlike the vault's, these secrets can be read by the web: it checks the codes of second factors at each sign-in. They
cannot be read with the database alone, nor after SECRET_KEY was changed.

Format: a version byte, 12 bytes of nonce, then the ciphertext with its tag (NIST SP 800-38D, RFC 5869).
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"
_NONCE_BYTES = 12


class DecryptionError(Exception):
    """It was encrypted under another SECRET_KEY or with other associated data, or was changed."""


def encrypt(secret_key: str, content: bytes, associated_data: str) -> bytes:
    """associated_data: what this is and whose, such as "second factor of 7"; `decrypt` needs the same."""
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + _cipher(secret_key).encrypt(nonce, content, _associated_bytes(associated_data))


def decrypt(secret_key: str, encrypted: bytes, associated_data: str) -> bytes:
    """Raises DecryptionError."""
    if encrypted[:1] != _VERSION or len(encrypted) <= 1 + _NONCE_BYTES:
        raise DecryptionError("This was sealed in another way than this version knows.")
    nonce, ciphertext = encrypted[1 : 1 + _NONCE_BYTES], encrypted[1 + _NONCE_BYTES :]
    try:
        return _cipher(secret_key).decrypt(nonce, ciphertext, _associated_bytes(associated_data))
    except InvalidTag:
        raise DecryptionError("This was sealed under another SECRET_KEY, or was changed.") from None


def _associated_bytes(associated_data: str) -> bytes:
    return _VERSION + associated_data.encode()


def _cipher(secret_key: str) -> AESGCM:
    derived_key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"modelsync box 1").derive(secret_key.encode())
    return AESGCM(derived_key)
