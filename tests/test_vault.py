"""Sealed keys open for their owner and nobody else, and a key in memory does not print itself."""

from __future__ import annotations

import base64
import copy
import logging
import pickle
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vault import ApiKey, Keyring, PublicKey, SealContext, UnsealError, VaultError, generate_private_key

KEY = "sk-marked-Zq7Kw2Xv9-0000-3f9c"
OWNER = SealContext(7, 42, "openai")
PRIVATE = generate_private_key()
OPENER = Keyring(PRIVATE)
SEALER = PublicKey(OPENER.public)
SEALED = SEALER.seal(ApiKey(KEY), OWNER)


# ------------------------------------------------------------------ sealing


@pytest.mark.parametrize("key", [KEY, "x", "sk-schlüssel-🔑", "k" * 10_000])
def test_what_was_sealed_opens_for_its_owner(key: str) -> None:
    assert OPENER.open(SEALER.seal(ApiKey(key), OWNER), 1, OWNER).reveal() == key


def test_a_key_sealed_twice_looks_different() -> None:
    assert SEALER.seal(ApiKey(KEY), OWNER) != SEALED
    assert KEY.encode() not in SEALED


def test_a_sealed_key_is_little_longer_than_its_key() -> None:
    assert len(SEALED) - len(KEY) < 1_300


@pytest.mark.parametrize(
    "other",
    [
        SealContext(8, 42, "openai"),
        SealContext(7, 43, "openai"),
        SealContext(7, 42, "groq"),
        SealContext(74, 2, "openai"),
        SealContext(42, 7, "openai"),
    ],
)
def test_a_sealed_key_moved_to_another_row_does_not_open(other: SealContext) -> None:
    with pytest.raises(UnsealError):
        OPENER.open(SEALED, 1, other)


def test_a_sealed_key_does_not_open_under_another_version_of_the_same_vault_key() -> None:
    same_key_other_version = Keyring(f"{PRIVATE},2:{PRIVATE.partition(':')[2]}")
    with pytest.raises(UnsealError):
        same_key_other_version.open(SEALED, 2, OWNER)


def test_another_vaults_key_does_not_open() -> None:
    with pytest.raises(UnsealError):
        Keyring(generate_private_key()).open(SEALED, 1, OWNER)


def test_an_unknown_version_is_named() -> None:
    with pytest.raises(UnsealError, match="vault key 9 is not among VAULT_PRIVATE_KEYS"):
        OPENER.open(SEALED, 9, OWNER)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(place=st.integers(0, len(SEALED) - 1), flip=st.integers(1, 255))
def test_a_sealed_key_with_one_byte_changed_does_not_open(place: int, flip: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= flip
    with pytest.raises(UnsealError):
        OPENER.open(bytes(damaged), 1, OWNER)


@pytest.mark.parametrize("sealed", [b"", b"\x00", SEALED[:-1], SEALED + b"\x00", SEALED[:1_000], bytes(len(SEALED))])
def test_bytes_that_are_no_sealed_key_do_not_open(sealed: bytes) -> None:
    with pytest.raises(UnsealError):
        OPENER.open(sealed, 1, OWNER)


# ------------------------------------------------------------------ rotation


def test_resealing_moves_a_key_to_the_new_version() -> None:
    new = generate_private_key(2)
    both = Keyring(f"{new},{PRIVATE}")
    resealed = both.reseal(SEALED, 1, OWNER, PublicKey(both.public))
    assert Keyring(new).open(resealed, 2, OWNER).reveal() == KEY
    with pytest.raises(UnsealError):
        OPENER.open(resealed, 1, OWNER)


@pytest.mark.parametrize("order", ["{old},{new}", "{new},{old}", " {new} , {old} ,"])
def test_the_public_key_is_that_of_the_newest_version_in_any_order(order: str) -> None:
    new = generate_private_key(2)
    opener = Keyring(order.format(old=PRIVATE, new=new))
    assert opener.public == Keyring(new).public
    assert PublicKey(opener.public).version == 2
    assert opener.open(SEALED, 1, OWNER).reveal() == KEY


# ------------------------------------------------------------------ written keys

SHORT = base64.b64encode(bytes(95)).decode()
MALFORMED = [
    "nonsense",
    ":",
    "1:",
    "1:!!!",
    f"1:{SHORT}",
    f"0:{PRIVATE[2:]}",
    f"-1:{PRIVATE[2:]}",
    f"01:{PRIVATE[2:]}",
    f"²:{PRIVATE[2:]}",
    f"{'9' * 5_000}:{PRIVATE[2:]}",
    f"one:{PRIVATE[2:]}",
    PRIVATE[2:],
    PRIVATE[:-8],
]


@pytest.mark.parametrize("written", [*MALFORMED, f"{PRIVATE},{PRIVATE}", f"{PRIVATE},2:{SHORT}", OPENER.public])
def test_a_malformed_private_key_is_a_sentence_that_names_the_variable(written: str) -> None:
    with pytest.raises(VaultError) as error:
        Keyring(written)
    assert str(error.value).startswith("VAULT_PRIVATE_KEYS is malformed:")
    assert str(error.value).endswith(".")
    assert PRIVATE[2:20] not in str(error.value)


@pytest.mark.parametrize("written", ["", " ", ",,"])
def test_no_private_key_is_a_sentence_too(written: str) -> None:
    with pytest.raises(VaultError, match=r"^VAULT_PRIVATE_KEYS is empty: .*\.$"):
        Keyring(written)


@pytest.mark.parametrize("written", ["", *MALFORMED, PRIVATE])
def test_a_malformed_public_key_is_a_sentence_that_names_the_variable(written: str) -> None:
    with pytest.raises(VaultError, match=r"^VAULT_PUBLIC_KEY is malformed: .*\.$"):
        PublicKey(written)


def test_a_public_key_cannot_open() -> None:
    assert not hasattr(SEALER, "open")
    assert PRIVATE.partition(":")[2][:40] not in OPENER.public


# ------------------------------------------------------------------ a key in memory


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        (KEY, "•••• 3f9c"),
        ("sixteen-letters!", "•••• ers!"),
        ("fifteen-letters", "••••"),
        ("short", "••••"),
        ("", "••••"),
    ],
)
def test_a_hint_is_at_most_the_last_four_characters(key: str, hint: str) -> None:
    assert ApiKey(key).hint == hint


def test_a_key_prints_as_its_hint_however_it_is_printed(caplog: pytest.LogCaptureFixture) -> None:
    key = ApiKey(KEY)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r %a", key, key, [key])
    said = [repr(key), str(key), f"{key}", f"{key!r}", format(key), "%s %r" % (key, key), repr({"key": [key]})]
    assert said[0] == "•••• 3f9c"
    for text in (*said, caplog.text, ascii(key)):
        assert "3f9c" in text
        assert "Zq7Kw2Xv9" not in text and "sk-" not in text


def test_a_format_that_asks_for_more_is_refused_without_the_key() -> None:
    with pytest.raises(TypeError) as error:
        format(ApiKey(KEY), ">40")
    assert "Zq7Kw2Xv9" not in str(error.value)


def _fail(key: ApiKey) -> None:
    raise RuntimeError(key)


def test_a_traceback_with_locals_shows_the_hint_only() -> None:
    with pytest.raises(RuntimeError) as error:
        _fail(ApiKey(KEY))
    shown = "".join(traceback.TracebackException.from_exception(error.value, capture_locals=True).format())
    assert "3f9c" in shown
    assert "Zq7Kw2Xv9" not in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="not to be pickled"):
        pickle.dumps(ApiKey(KEY), protocol)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_key_is_not_copied_by_accident(copied: object) -> None:
    with pytest.raises(TypeError):
        copied(ApiKey(KEY))  # type: ignore[operator]


def test_a_key_has_no_dictionary_to_dump() -> None:
    assert not hasattr(ApiKey(KEY), "__dict__")
