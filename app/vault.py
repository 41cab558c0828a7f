"""Seal, open and reseal API keys.

HPKE (RFC 9180) with the hybrid KEM ML-KEM-768 + X25519, HKDF-SHA256 and AES-256-GCM. The public key can only seal, the
private key is needed to open: the web process has the former, workers the latter. `info` binds a sealed key to its
user, credential, provider and vault key version, so that it opens nowhere else.

Text forms: public `2:<base64 of 1184 bytes ML-KEM + 32 bytes X25519>`, private
`2:<base64 of a 64-byte ML-KEM seed + 32 bytes X25519>,1:…`, in any order.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_ENVELOPE = b"\x01"
"""Begins a sealed key with a login; no key alone begins with it."""
_MLKEM_PUBLIC_BYTES, _MLKEM_SEED_BYTES, _X25519_BYTES = 1184, 64, 32


class VaultError(Exception):
    """A vault key is missing or malformed. Its text is a sentence for the operator and contains no key."""


class UnsealError(Exception):
    """A sealed key does not open: it belongs to another vault key or another context, or its bytes are damaged."""


class ApiKey:
    """An API key in memory, perhaps with the login of a proxy in front of its server.

    Printing, logging or formatting it shows its last four characters at most.
    """

    __slots__ = ("_login", "_value")

    def __init__(self, value: str, login: str = "") -> None:
        """value: empty if there is only a login. login: `user:password` for HTTP Basic authentication."""
        self._value = value
        self._login = login

    def reveal(self) -> str:
        """The key itself. Call it only where a request is signed or a key is sealed."""
        return self._value

    def reveal_login(self) -> str:
        """`user:password`, or empty. Call it only where `reveal` may be called."""
        return self._login

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nothing from outside may repeat: the key, the login, and the login as its header has it."""
        password = self._login.partition(":")[2]
        encoded = base64.b64encode(self._login.encode()).decode() if self._login else ""
        return tuple(filter(None, (self._value, self._login, password, encoded)))

    @property
    def hint(self) -> str:
        """`•••• 3f9c`; only dots for JSON, and for keys under 16 characters, of which four would reveal too much.

        A login adds "+ login".
        """
        if self._login and not self._value:
            return "login"
        hint = f"•••• {self._value[-4:]}" if len(self._value) >= 16 and self._value[0] != "{" else "••••"
        return f"{hint} + login" if self._login else hint

    def encode(self) -> bytes:
        """The form that is sealed: the key alone, or after `_ENVELOPE` JSON of key and login."""
        if not self._login and not self._value.startswith(_ENVELOPE.decode()):
            return self._value.encode()
        return _ENVELOPE + json.dumps({"key": self._value, "login": self._login}).encode()

    @classmethod
    def decode(cls, raw: bytes) -> ApiKey:
        """The reverse of `encode`. Raises ValueError."""
        if not raw.startswith(_ENVELOPE):
            return cls(raw.decode())
        try:
            content = json.loads(raw.removeprefix(_ENVELOPE))
            return cls(str(content["key"]), str(content["login"]))
        except (KeyError, TypeError, RecursionError):
            raise ValueError("the sealed key is damaged") from None

    def __repr__(self) -> str:
        return self.hint

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an API key is not to be pickled")


@dataclass(frozen=True, slots=True)
class SealContext:
    """What a sealed key is bound to. It opens only in the same context."""

    user_id: int
    credential_id: int
    provider: str

    def info(self, version: int) -> bytes:
        """HPKE's `info` for a vault key version."""
        parts = ("modelsync credential", self.user_id, self.credential_id, self.provider, version)
        return "\x1f".join(map(str, parts)).encode()


class PublicKey:
    """A vault's public key: seals, cannot open."""

    def __init__(self, encoded: str) -> None:
        """Raises VaultError if `encoded` is not a public vault key."""
        self.version, raw = _parse_key(encoded, "VAULT_PUBLIC_KEY")
        try:
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES]),
                X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:]),
            )
        except ValueError:  # including a wrong length
            raise VaultError(_malformed_message("VAULT_PUBLIC_KEY")) from None
        self.fingerprint = hashlib.sha256(raw).digest()
        """SHA-256 of the key without its version, 32 bytes."""

    def seal(self, key: ApiKey, context: SealContext) -> bytes:
        """The sealed key: about 1.2 kB longer than the key."""
        return _SUITE.encrypt(key.encode(), self._key, info=context.info(self.version))


class Keyring:
    """A vault's private keys by version: opens values sealed to any of them."""

    def __init__(self, encoded: str) -> None:
        """Raises VaultError if `encoded` is not a list of private vault keys."""
        self._keys: dict[int, MLKEM768X25519PrivateKey] = {}
        self._digest_keys: dict[int, bytes] = {}
        self.public = ""
        """The newest public key, in its text form."""
        for part in filter(None, (part.strip() for part in encoded.split(","))):
            version, raw = _parse_key(part, "VAULT_PRIVATE_KEYS")
            if len(raw) != _MLKEM_SEED_BYTES + _X25519_BYTES or version in self._keys:
                raise VaultError(_malformed_message("VAULT_PRIVATE_KEYS"))
            kem = MLKEM768PrivateKey.from_seed_bytes(raw[:_MLKEM_SEED_BYTES])
            exchange = X25519PrivateKey.from_private_bytes(raw[_MLKEM_SEED_BYTES:])
            self._keys[version] = MLKEM768X25519PrivateKey(kem, exchange)
            self._digest_keys[version] = hmac.digest(raw, b"modelsync digests", "sha256")
            if version == max(self._keys):
                self.public = _encode_public_key(version, kem, exchange)
        if not self._keys:
            raise VaultError("VAULT_PRIVATE_KEYS is empty: set it to the vault's private key.")

    @property
    def versions(self) -> list[int]:
        """Versions of the private keys, oldest first."""
        return sorted(self._keys)

    def open(self, sealed: bytes, version: int, context: SealContext) -> ApiKey:
        """Raises UnsealError. It does not say why: a wrong vault key and a wrong context cannot be told apart."""
        if version not in self._keys:
            raise UnsealError(f"vault key {version} is not among VAULT_PRIVATE_KEYS")
        try:
            return ApiKey.decode(_SUITE.decrypt(sealed, self._keys[version], info=context.info(version)))
        except (InvalidTag, ValueError):
            raise UnsealError("the sealed key does not open") from None

    def digest(self, key: ApiKey) -> bytes:
        """HMAC-SHA256 of an API key, 32 bytes: tells keys apart without revealing them.

        Keyed by the oldest private key, so that adding a version changes no digest. Removing the oldest changes all.
        """
        return hmac.digest(self._digest_keys[min(self._digest_keys)], key.encode(), "sha256")

    def reseal(self, sealed: bytes, version: int, context: SealContext, public_key: PublicKey) -> bytes:
        """The same API key, sealed to `public_key`. Raises UnsealError."""
        return public_key.seal(self.open(sealed, version, context), context)


def generate_private_key(version: int = 1) -> str:
    """A new private vault key in its text form."""
    kem, exchange = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    raw = kem.private_bytes_raw() + exchange.private_bytes_raw()
    return f"{version}:{base64.b64encode(raw).decode()}"


def _encode_public_key(version: int, kem: MLKEM768PrivateKey, exchange: X25519PrivateKey) -> str:
    raw = kem.public_key().public_bytes_raw() + exchange.public_key().public_bytes_raw()
    return f"{version}:{base64.b64encode(raw).decode()}"


def _parse_key(encoded: str, variable: str) -> tuple[int, bytes]:
    version, _, content = encoded.strip().partition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise VaultError(_malformed_message(variable))
    try:
        return int(version), base64.b64decode(content, validate=True)
    except ValueError:
        raise VaultError(_malformed_message(variable)) from None


def _malformed_message(variable: str) -> str:
    return f"{variable} is malformed: take it as `flask vault new` prints it, `<version>:<base64>`."
