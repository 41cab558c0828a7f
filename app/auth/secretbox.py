"""What the web process seals for itself: AES-256-GCM under a key that HKDF-SHA256 derives from SECRET_KEY.

The vault is for what the web must not be able to open. A second factor's secret is another matter: the web checks codes
against it at each sign-in. With the database alone nobody opens it; with another SECRET_KEY neither does the web.

A sealed box is a version byte, twelve bytes of nonce, and the ciphertext with its tag (NIST SP 800-38D, RFC 5869).
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
    """A box does not open: it was sealed under another SECRET_KEY, for another purpose, or was changed."""


def encrypt(secret_key: str, content: bytes, purpose: str) -> bytes:
    """purpose: what it is and whose, such as "second factor of 7". Only who names the same opens it again."""
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + _cipher(secret_key).encrypt(nonce, content, _associated_bytes(purpose))


def decrypt(secret_key: str, box: bytes, purpose: str) -> bytes:
    """Raises BoxError."""
    if box[:1] != _VERSION or len(box) <= 1 + _NONCE_BYTES:
        raise DecryptionError("This was sealed in another way than this version knows.")
    nonce, sealed = box[1 : 1 + _NONCE_BYTES], box[1 + _NONCE_BYTES :]
    try:
        return _cipher(secret_key).decrypt(nonce, sealed, _associated_bytes(purpose))
    except InvalidTag:
        raise DecryptionError("This was sealed under another SECRET_KEY, or was changed.") from None


def _associated_bytes(purpose: str) -> bytes:
    return _VERSION + purpose.encode()


def _cipher(secret_key: str) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"modelsync box 1").derive(secret_key.encode())
    return AESGCM(derived)
