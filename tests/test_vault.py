"""Sealed keys open in their own context only, their format is stable, and a key in memory does not print itself."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import itertools
import logging
import pickle
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import vault
from app.vault import ApiKey, Keyring, PublicKey, SealContext, UnsealError, VaultError, generate_private_key

KEY = "sk-marked-Zq7Kw2Xv9-0000-3f9c"
CONTEXT = SealContext(7, 42, "openai")
PRIVATE = generate_private_key()
KEYRING = Keyring(PRIVATE)
PUBLIC_KEY = PublicKey(KEYRING.public)
SEALED = PUBLIC_KEY.seal(ApiKey(KEY), CONTEXT)


def _encode(raw: bytes, version: object = 1) -> str:
    return f"{version}:{base64.b64encode(raw).decode()}"


# ------------------------------------------------------------------ sealing


@pytest.mark.parametrize("key", [KEY, "x", "sk-schlüssel-🔑", "k" * 10_000])
def test_a_sealed_key_opens_in_its_context(key: str) -> None:
    assert KEYRING.open(PUBLIC_KEY.seal(ApiKey(key), CONTEXT), 1, CONTEXT).reveal() == key


def test_a_key_sealed_twice_looks_different() -> None:
    assert PUBLIC_KEY.seal(ApiKey(KEY), CONTEXT) != SEALED
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
def test_a_sealed_key_does_not_open_in_another_context(other: SealContext) -> None:
    with pytest.raises(UnsealError, match=r"^the sealed key does not open$") as error:
        KEYRING.open(SEALED, 1, other)
    assert error.value.__suppress_context__


def test_a_sealed_key_does_not_open_under_another_version_of_the_same_vault_key() -> None:
    same_key_two_versions = Keyring(f"{PRIVATE},2:{PRIVATE.partition(':')[2]}")
    with pytest.raises(UnsealError):
        same_key_two_versions.open(SEALED, 2, CONTEXT)


def test_the_key_of_another_vault_does_not_open_it() -> None:
    with pytest.raises(UnsealError):
        Keyring(generate_private_key()).open(SEALED, 1, CONTEXT)


def test_an_unknown_version_is_named() -> None:
    with pytest.raises(UnsealError, match=r"^vault key 9 is not among VAULT_PRIVATE_KEYS$"):
        KEYRING.open(SEALED, 9, CONTEXT)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(position=st.integers(0, len(SEALED) - 1), flip=st.integers(1, 255))
def test_a_sealed_key_with_one_byte_changed_does_not_open(position: int, flip: int) -> None:
    damaged = bytearray(SEALED)
    damaged[position] ^= flip
    with pytest.raises(UnsealError):
        KEYRING.open(bytes(damaged), 1, CONTEXT)


@pytest.mark.parametrize("sealed", [b"", b"\x00", SEALED[:-1], SEALED + b"\x00", SEALED[:1_000], bytes(len(SEALED))])
def test_other_bytes_do_not_open(sealed: bytes) -> None:
    with pytest.raises(UnsealError):
        KEYRING.open(sealed, 1, CONTEXT)


def test_sealed_bytes_that_are_not_utf8_do_not_open() -> None:
    sealed = vault._SUITE.encrypt(b"\xff\xfe", PUBLIC_KEY._key, info=CONTEXT.info(1))
    with pytest.raises(UnsealError):
        KEYRING.open(sealed, 1, CONTEXT)


# ------------------------------------------------------------------ the stored format

STORED_RAW = bytes(range(96))
STORED_PRIVATE = _encode(STORED_RAW, 3)
STORED_SEALED = base64.b64decode(
    "SdypkbyhwtfuRYeezwcJ6lP1sA66pz7Vg/H+p6oOfwVhlOV/D0vIsR7lTdNnSAi+GifZIRLNL/9mOXMtn03c47iwSZOok2uXJeEV"
    "jMJnmQtL2n7Of3EWK3BamBwyM4+kg93TMdIpo8zjGMs9vJ/wme9Emp52krj3oj4/s5U9WsjXeeljuvcmRGelfWwcIj8EPCyetFTb"
    "xIkPHmR+nC/EddCfJLrizHuiNIhARVSyp97aeUGDSlXG78x8HTe+U/TazqDqa0t2vGpo0jPVc3Czn9SU+oOa9qBgdhr5ijlIUmDi"
    "fMZExoVGLsRc+3bO7cW0sZTNeFYgPfrWFjb8wEPSm51pBkTuRu/eCuEbpzTQPPS0C0bpH38LAKrlNcJtAFblkjgfopFTyrke4ZMC"
    "IS5FcS7AXfWfhsjIT9dZ6YYwhKEvBiPyDGvPqc4O44soEJJeDKOWH++wb4dxnY0TfGJe84sTuFIReuQOzBcayVOIO/mxDxSEPM7g"
    "4KDWxiyFsltGw6/xkc1+OdnYKAJswf+ThIx8K9I2uFlRf159GJvfRBmMbKwrlhg/tzRWkDtO6YmMjm0MO2fJox63nEmlCFokU6ty"
    "IIH4Jt/ziFh2XpNh2+P3Zh5Mdb4gkibfDmtYif6DEH6w4Ec+kIRkVVShkfla4Br2uaYd0QnmY+6RLWg5AF6PZVMCIFe0gGgmMwpb"
    "D/3EeW32M+vM0oTpIVdVdOtkE4Mwbn9xQYPKKt+MCfqPD/moCCqDbGt1WaPegkU9qzuqVMeTRTI0WEnsgNErGuqAueU7FEjaJupa"
    "v0fnaW/uWcKm/Y7Q/AjZrM5037Ogy7euK1QDxIPcOUh1GXVFKfSO9xqusebHbKK4PWbK07RkYZEb8HJPx4H7LNMJZTHr7asqurD/"
    "8WNw3TKKeLFyOpuIWeIIGLXRKFQBl/D7WJqNxv6onJ99gP+3aqsnaLuNFxj/CHYK7apWj9Z9x8RFcP/z6PhbzALxtH2IBanxLrqT"
    "AKl5aG+cGoQNYmuf0yqgj/f2QEgoi4xymMmYUQ0ANmAjKgOrPvC0b1JpMrK8Ylv1re8tCMWYDpviKE9+5zN197w89xw8DTiApnB9"
    "PLlv/0Ps/C9UNgcKmADjQRyaMpf5y7gTkUdSu+hYPkrOjwZJLePBS5msq5EBn90mJP/dWxOvaCiaUO5zLaY1wdcks6JCVi/tnLrm"
    "Rt3bR37a0lQslIwxCtiprD7q3kajLFVV99Dre2c2aX3X2rl55USA9o/t+0eBWhj2zik+8bQvLW+plHqzQPP9epp3QfZ9bMpucKOt"
    "8kMl2ItblS+OO6rPJGqfjVhkCOwhb6qDNuLXNLjtQl6hsJaa2bv8T+Oe9xdsi/jo1BZPGqdIfHMrhdro2FmW3YsYVkQ1yi3ALcVY"
    "MyyLNUnHpsNUIDoOB/GEhYl9TvZavGVrWiwSf0ZjAkKKQ6PIR9lthf9M0khI2NAMcdGWA1qzP5NkxWsom90lrzZppqUvTANtcZlR"
    "tyFXG3mFkgeUeAXtFVng4km7yuvSV8RntILBKyacLp6GmvyLoMMxMw=="
)
"""`KEY` in `CONTEXT`, sealed to version 3 by the first release."""


def test_a_key_sealed_by_the_first_release_opens() -> None:
    assert Keyring(STORED_PRIVATE).open(STORED_SEALED, 3, CONTEXT).reveal() == KEY


def test_the_public_key_of_a_private_key_stays_the_same() -> None:
    version, _, encoded = Keyring(STORED_PRIVATE).public.partition(":")
    assert version == "3"
    assert hashlib.sha256(base64.b64decode(encoded)).hexdigest() == (
        "d99e4496af749b54ee4a2d270c8057450624ecc5dc0866295ffc504a26134ad4"
    )


def test_info_names_every_part_of_the_context() -> None:
    assert CONTEXT.info(3) == b"modelsync credential\x1f7\x1f42\x1fopenai\x1f3"


def test_the_fingerprint_is_the_hash_of_the_key_without_its_version() -> None:
    encoded = KEYRING.public.partition(":")[2]
    assert PUBLIC_KEY.fingerprint == hashlib.sha256(base64.b64decode(encoded)).digest()
    assert PublicKey(f"5:{encoded}").fingerprint == PUBLIC_KEY.fingerprint


def test_a_context_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        CONTEXT.user_id = 8  # type: ignore[misc]
    assert not hasattr(CONTEXT, "__dict__")


# ------------------------------------------------------------------ digests


def test_a_digest_is_an_hmac_under_a_key_derived_from_the_private_key() -> None:
    derived = hmac.digest(STORED_RAW, b"modelsync digests", "sha256")
    digest = Keyring(STORED_PRIVATE).digest(ApiKey(KEY))
    assert digest == hmac.digest(derived, KEY.encode(), "sha256")
    assert digest.hex() == "c106a1e6c1a6ad27d7dde9e1005249df896dee617dd5461791c846d7f0a1a379"


def test_digests_tell_keys_and_vaults_apart() -> None:
    assert KEYRING.digest(ApiKey(KEY)) == KEYRING.digest(ApiKey(KEY))
    assert KEYRING.digest(ApiKey(KEY)) != KEYRING.digest(ApiKey(KEY + "x"))
    assert KEYRING.digest(ApiKey(KEY)) != Keyring(generate_private_key()).digest(ApiKey(KEY))


@pytest.mark.parametrize("order", ["{first},{second},{third}", "{third},{first},{second}", "{second},{third},{first}"])
def test_the_oldest_private_key_makes_the_digests(order: str) -> None:
    second, third = generate_private_key(2), generate_private_key(10)
    keyring = Keyring(order.format(first=PRIVATE, second=second, third=third))
    assert keyring.digest(ApiKey(KEY)) == KEYRING.digest(ApiKey(KEY))
    assert Keyring(f"{third},{second}").digest(ApiKey(KEY)) == Keyring(second).digest(ApiKey(KEY))


# ------------------------------------------------------------------ versions and rotation


def test_resealing_moves_a_key_to_the_new_version() -> None:
    new = generate_private_key(2)
    both = Keyring(f"{new},{PRIVATE}")
    resealed = both.reseal(SEALED, 1, CONTEXT, PublicKey(both.public))
    assert Keyring(new).open(resealed, 2, CONTEXT).reveal() == KEY
    with pytest.raises(UnsealError):
        KEYRING.open(resealed, 1, CONTEXT)


def test_resealing_needs_the_old_version() -> None:
    new = Keyring(generate_private_key(2))
    with pytest.raises(UnsealError):
        new.reseal(SEALED, 1, CONTEXT, PublicKey(new.public))


@pytest.mark.parametrize("order", ["{old},{new}", "{new},{old}", " {new} , {old} ,"])
def test_the_public_key_is_that_of_the_newest_version_in_any_order(order: str) -> None:
    new = generate_private_key(10)
    keyring = Keyring(order.format(old=PRIVATE, new=new))
    assert keyring.public == Keyring(new).public
    assert PublicKey(keyring.public).version == 10
    assert keyring.versions == [1, 10]
    assert keyring.open(SEALED, 1, CONTEXT).reveal() == KEY


def test_a_generated_key_is_new_and_has_the_given_version() -> None:
    assert generate_private_key().startswith("1:") and generate_private_key(7).startswith("7:")
    assert generate_private_key() != generate_private_key()
    assert Keyring(generate_private_key(7)).versions == [7]


# ------------------------------------------------------------------ the text form of vault keys

RAW_PRIVATE, RAW_PUBLIC = base64.b64decode(PRIVATE[2:]), base64.b64decode(KEYRING.public[2:])
MALFORMED = ["nonsense", ":", "1:", "1", "1:!!!", "1:schlüssel"]
MALFORMED_VERSIONS = ["", "0", "-1", "01", "²", "1000000000", "9" * 5_000, "one", "1 ", "1.0"]


@pytest.mark.parametrize(
    "encoded",
    [
        *MALFORMED,
        *(f"{version}:{PRIVATE[2:]}" for version in MALFORMED_VERSIONS),
        *(_encode(RAW_PRIVATE[:length]) for length in (0, 32, 64, 95)),
        _encode(RAW_PRIVATE + b"\0"),
        PRIVATE[2:],
        PRIVATE[:-8],
        f"{PRIVATE[:10]}!{PRIVATE[10:]}",
        f"{PRIVATE[:10]} {PRIVATE[10:]}",
        f"{PRIVATE},{PRIVATE}",
        f"{PRIVATE},{generate_private_key()}",
        f"{PRIVATE},{_encode(RAW_PRIVATE[:95], 2)}",
        KEYRING.public,
    ],
    ids=itertools.count(),  # not the keys, which differ in each process
)
def test_a_malformed_private_key_is_a_sentence_that_names_the_variable(encoded: str) -> None:
    with pytest.raises(VaultError) as error:
        Keyring(encoded)
    assert str(error.value) == (
        "VAULT_PRIVATE_KEYS is malformed: take it as `flask vault new` prints it, `<version>:<base64>`."
    )
    assert error.value.__context__ is None or error.value.__suppress_context__


@pytest.mark.parametrize(
    "encoded",
    [
        *MALFORMED,
        *(f"{version}:{KEYRING.public[2:]}" for version in MALFORMED_VERSIONS),
        *(_encode(RAW_PUBLIC[:length]) for length in (0, 32, 1_184, 1_215)),
        _encode(RAW_PUBLIC + b"\0"),
        _encode(b"\xff" * 1_216),
        f"{KEYRING.public[:10]}!{KEYRING.public[10:]}",
        f"{KEYRING.public},{KEYRING.public}",
        "",
        PRIVATE,
    ],
    ids=itertools.count(),
)
def test_a_malformed_public_key_is_a_sentence_that_names_the_variable(encoded: str) -> None:
    with pytest.raises(VaultError) as error:
        PublicKey(encoded)
    assert str(error.value) == (
        "VAULT_PUBLIC_KEY is malformed: take it as `flask vault new` prints it, `<version>:<base64>`."
    )
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize("version", [1, 9, 10, 999_999_999])
def test_a_version_has_up_to_nine_digits(version: int) -> None:
    keyring = Keyring(f"{version}:{PRIVATE[2:]}")
    assert keyring.versions == [version] and PublicKey(keyring.public).version == version


def test_white_space_around_a_vault_key_is_ignored() -> None:
    assert PublicKey(f" {KEYRING.public}\n").version == 1
    assert Keyring(f" {PRIVATE}\n").public == KEYRING.public


@pytest.mark.parametrize("encoded", ["", " ", ",,", " , "])
def test_an_empty_list_of_private_keys_is_a_sentence_too(encoded: str) -> None:
    with pytest.raises(VaultError) as error:
        Keyring(encoded)
    assert str(error.value) == "VAULT_PRIVATE_KEYS is empty: set it to the vault's private key."


def test_a_public_key_cannot_open() -> None:
    assert not hasattr(PUBLIC_KEY, "open")
    assert PRIVATE.partition(":")[2][:40] not in KEYRING.public


# ------------------------------------------------------------------ a key in memory


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        (KEY, "•••• 3f9c"),
        ("sixteen-letters!", "•••• ers!"),
        ("fifteen-letters", "••••"),
        ("short", "••••"),
        ("", "••••"),
        ('{"type": "service_account", "private_key": "…"}', "••••"),
        ("sixteen-letters}", "•••• ers}"),
        ("~sixteen-letters", "•••• ters"),
    ],
)
def test_a_hint_is_at_most_the_last_four_characters(key: str, hint: str) -> None:
    assert ApiKey(key).hint == hint


def test_a_key_prints_as_its_hint_however_it_is_printed(caplog: pytest.LogCaptureFixture) -> None:
    key = ApiKey(KEY)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r %a", key, key, [key])
    texts = [repr(key), str(key), f"{key}", f"{key!r}", format(key), "%s %r" % (key, key)]  # noqa: UP031
    texts.append(repr({"key": [key]}))
    assert texts[0] == texts[1] == "•••• 3f9c"
    for text in (*texts, caplog.text, ascii(key)):
        assert "3f9c" in text
        assert "Zq7Kw2Xv9" not in text and "sk-" not in text


def test_a_format_specification_is_rejected_without_showing_the_key() -> None:
    with pytest.raises(TypeError) as error:
        format(ApiKey(KEY), ">40")
    assert "Zq7Kw2Xv9" not in str(error.value)


def _fail(key: ApiKey) -> None:
    raise RuntimeError(key)


def test_a_traceback_with_locals_shows_the_hint_only() -> None:
    with pytest.raises(RuntimeError) as error:
        _fail(ApiKey(KEY))
    text = "".join(traceback.TracebackException.from_exception(error.value, capture_locals=True).format())
    assert "3f9c" in text
    assert "Zq7Kw2Xv9" not in text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match=r"^an API key is not to be pickled$"):
        pickle.dumps(ApiKey(KEY), protocol)


@pytest.mark.parametrize("function", [copy.copy, copy.deepcopy])
def test_a_key_cannot_be_copied_by_accident(function: object) -> None:
    with pytest.raises(TypeError):
        function(ApiKey(KEY))  # type: ignore[operator]


def test_a_key_has_no_dictionary_to_dump() -> None:
    assert not hasattr(ApiKey(KEY), "__dict__")
