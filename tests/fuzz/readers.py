"""Readers that need no database. Each takes one input and fails by an error that is not its own."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from hypothesis import strategies as st

from app.api import paging
from app.api.problems import ApiError as NotServed
from app.auth.secretbox import DecryptionError, decrypt, encrypt
from app.auth.totp import new_secret, verify
from app.catalog import sources
from app.catalog.listing import build_listing, canonical_form, parse_canonical_form
from app.catalog.override_files import parse_file
from app.catalog.overrides import OverrideError
from app.catalog.sources.claims import SourceRejected, deserialize, serialize
from app.cli import backup
from app.demo import catalogs
from app.providers import PROVIDERS, addresses, key_detection
from app.providers.error_mapping import classify_error
from app.providers.parsing import InvalidResponse
from app.sync.catalog.refresh import _parse as read_catalog
from app.sync.evaluate import grade_answer
from app.vault import ApiKey, Keyring, PublicKey, SealContext, UnsealError, VaultError, generate_private_key
from app.web.account.login import safe_next_url
from tests.fuzz import inputs
from tests.providers.test_answers import files_of
from tests.web.worker import now


@dataclass(frozen=True)
class Target:
    name: str
    strategy: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    share: int = 1
    """Of all inputs, in parts."""


# ------------------------------------------------------------------ what providers and catalogs answer


def _list_of(slug: str) -> Target:
    provider = PROVIDERS[slug]
    good = [path.read_bytes() for path in files_of(slug)] or [b'{"data": [{"id": "m"}]}']

    def check(body: bytes) -> None:
        for endpoint in provider.endpoints:
            with contextlib.suppress(InvalidResponse):
                page = endpoint.read(body)
                models = list({model.id: model for model in page.models}.values())
                listing = build_listing(slug, models)
                assert parse_canonical_form(canonical_form(listing)) == listing
                grade_answer(None, listing, is_complete=True)

    return Target(f"list of {slug}", inputs.any_of(good), check)


def _catalog(name: str) -> Target:
    source = sources.SOURCES[name]
    good = _DOCUMENTS[name]

    def check(body: bytes) -> None:
        with contextlib.suppress(SourceRejected):
            reading = read_catalog(source, body)
            assert deserialize(serialize(reading.claims)) == tuple(reading.claims)

    return Target(f"catalog {name}", inputs.any_of([json.dumps(good).encode()]), check, share=3)


_DOCUMENTS: Mapping[str, Any] = {name: catalogs.load_document(name) for name in sources.SOURCES}


def _packed_catalog() -> Target:
    reading = read_catalog(sources.SOURCES["modelsdev"], json.dumps(_DOCUMENTS["modelsdev"]).encode())

    def check(body: bytes) -> None:
        with contextlib.suppress(ValueError):
            deserialize(body)

    return Target("a stored catalog", inputs.any_of([serialize(reading.claims)]), check)


def _faults() -> Target:
    good = [b'{"error": {"message": "revoked", "type": "invalid_request_error", "code": "x"}}', b"<html>no</html>"]
    pairs = st.tuples(st.integers(300, 600), inputs.any_of(good))
    return Target("a refusal", pairs, lambda pair: _nothing(classify_error(*pair)))


# ------------------------------------------------------------------ what people type or hand in

PASTED = (
    "OPENAI_API_KEY=sk-proj-aaaaaaaaaaaaaaaaa\nexport GROQ_API_KEY='gsk_bbbbbbbbbbbbbbbbbbbb'\n",
    "sk-ant-api03-ccccccccc\n# a comment\nOPENROUTER_API_KEY: sk-or-v1-dddddddddd",
    '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\nx\\n", "client_email": "a@b"}',
    "AZURE_OPENAI_ENDPOINT=https://x.openai.azure.com\nAZURE_OPENAI_API_KEY=eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
)


def _pasted() -> Target:
    near = inputs.changed_bytes([text.encode() for text in PASTED]).map(lambda raw: raw.decode("utf-8", "replace"))

    def check(text: str) -> None:
        reading = key_detection.parse_paste(text)
        for find in reading.detections:
            assert find.key and find.key not in repr(find), "a key is shown by its repr"

    return Target("pasted keys", near | inputs.texts | st.text(max_size=400), check, share=8)


def _addresses() -> Target:
    typed = st.sampled_from(["https://x.example.com/v1", "http://[::1]:11434", "localhost:11434"])
    changed = inputs.changed_bytes([b"https://models.example.com:8443/v1", b"http://[2001:db8::7]/v1"])

    def check(text: str) -> None:
        with contextlib.suppress(addresses.InvalidBaseURL):
            addresses.validate_url(text, "https://x.example.com")

    return Target("an address", typed | inputs.texts | changed.map(lambda raw: raw.decode("utf-8", "replace")), check)


def _paths() -> Target:
    def check(text: str) -> None:
        path = safe_next_url(text)
        assert path is None or (path.startswith("/") and not path.startswith(("//", "/\\")))

    return Target("where to go on to", inputs.texts | st.text(alphabet="/\\:@.ex#?\t\n", max_size=12), check, share=2)


def _overrides() -> Target:
    good = {
        "provider_id": "groq",
        "model_id": "meta/llama-3.1-8b-instruct",
        "priority": 100,
        "reason": "x",
        "pricing": {"input": {"per_million_tokens": 1.0, "currency": "USD"}},
        "limits": {"context_window": 32000},
    }

    def check(body: bytes) -> None:
        with contextlib.suppress(OverrideError):
            parse_file(body.decode("utf-8", "replace"), "a file")

    return Target("overrides", inputs.any_of([json.dumps(good).encode(), json.dumps([good, good]).encode()]), check, 5)


def _codes() -> Target:
    secret, moment = new_secret(), now()
    return Target("a code", inputs.texts, lambda text: _nothing(verify(secret, text, moment, 0)))


def _cursors() -> Target:
    good = [paging.encode_cursor("models", "openai", "gpt-4o").encode(), paging.encode_cursor("runs", 7).encode()]

    def check(raw: bytes) -> None:
        for types in ((str, str), (int,), (str, int)):
            with contextlib.suppress(NotServed):
                paging.decode_cursor(raw.decode("utf-8", "replace"), "models", *types)

    return Target("a cursor", inputs.changed_bytes(good) | inputs.texts.map(str.encode), check, share=3)


# ------------------------------------------------------------------ what is sealed, and backups

_PRIVATE = generate_private_key()


def _sealed() -> Target:
    vault, owner = Keyring(_PRIVATE), SealContext(1, 2, "openai")
    good = PublicKey(vault.public).seal(ApiKey("sk-good-key-of-nobody"), owner)

    def check(raw: bytes) -> None:
        with contextlib.suppress(UnsealError):
            assert vault.open(raw, 1, owner).reveal() == "sk-good-key-of-nobody" and raw == good

    return Target("a sealed key", st.binary(max_size=1_400) | inputs.changed_bytes([good]), check, share=3)


def _vault_keys() -> Target:
    def check(raw: bytes) -> None:
        for kind in (Keyring, PublicKey):
            with contextlib.suppress(VaultError):
                kind(raw.decode("utf-8", "replace"))

    return Target("vault keys", inputs.any_of([_PRIVATE.encode(), Keyring(_PRIVATE).public.encode()]), check)


def _boxes() -> Target:
    good = encrypt("a secret", b"content", "of a test")

    def check(raw: bytes) -> None:
        with contextlib.suppress(DecryptionError):
            assert decrypt("a secret", raw, "of a test") == b"content" and raw == good

    return Target("a box", st.binary(max_size=80) | inputs.changed_bytes([good]), check)


def backups(app: Flask, folder: Path) -> Target:
    """A backup of this app's database, with something changed."""
    whole = folder / "whole.zip"
    with app.app_context():
        backup.create(whole)
    # As small as it goes: its tables are those of an installation that was just set up.
    good, vault = whole.read_bytes(), Keyring(_PRIVATE)

    def check(raw: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".zip") as file:
            file.write(raw)
            file.flush()
            with contextlib.suppress(backup.BackupError):
                backup.verify(Path(file.name), vault)

    return Target("a backup", inputs.changed_bytes([good]) | st.binary(max_size=200), check)


def _nothing(_: object) -> None:
    """What it gives is right whatever it is: it did not fail."""


def targets() -> list[Target]:
    found = [_list_of(slug) for slug in PROVIDERS]
    found += [_catalog(name) for name in sources.SOURCES]
    found += [_packed_catalog(), _faults(), _pasted(), _addresses(), _paths(), _overrides(), _codes(), _cursors()]
    return [*found, _sealed(), _vault_keys(), _boxes()]
