"""Passwords: verifying takes the same time with and without an account, and guessable passwords are rejected."""

from __future__ import annotations

import pytest

from app.auth import passwords
from tests import compiled


@pytest.fixture(autouse=True)
def _real_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash as an installation does, not as cheaply as the other tests."""
    hasher, dummy_hash = compiled.REAL_PASSWORDS
    monkeypatch.setattr(passwords, "_hasher", hasher)
    monkeypatch.setattr(passwords, "_DUMMY_HASH", dummy_hash)


def test_the_dummy_hash_has_the_same_parameters_as_real_ones() -> None:
    assert not passwords._hasher.check_needs_rehash(passwords._DUMMY_HASH)
    real_hash = passwords.hash_password("correct horse battery")
    assert (
        real_hash.rpartition("$")[0].rpartition("$")[0] == passwords._DUMMY_HASH.rpartition("$")[0].rpartition("$")[0]
    )


def test_an_unknown_account_never_matches() -> None:
    assert not passwords.verify(None, "nobody signs in with this")
    assert passwords.verify(passwords.hash_password("correct horse battery"), "correct horse battery")


@pytest.mark.parametrize(
    "common",
    ["1QAZ2wsx3edc", " q1w2e3r4t5y6 ", "Password1234", "!dragon2026!", "liverpool-123", "abc123abc123", "0" * 40],
)
def test_a_common_password_is_rejected(common: str) -> None:
    sentence = passwords.policy_violation(common)
    assert sentence is not None and "choose another" in sentence and common not in sentence


def test_the_email_address_is_rejected() -> None:
    for word in ("alice.liddell@example.com", "Alice.Liddell"):
        assert "e-mail address" in (passwords.policy_violation(word, "alice.liddell@example.com") or "")


@pytest.mark.parametrize(
    "good", ["correct horse battery", "Пароль из слов и ещё", "a" * 3 + "b" * 60 + "é" * 65, "x " * 128]
)
def test_length_is_the_only_other_rule(good: str) -> None:
    """All characters are allowed, including spaces, up to at least 128 (ASVS 2.1.2–2.1.4)."""
    assert passwords.policy_violation(good, "alice@example.com") is None
    assert passwords.policy_violation("short one") is not None and passwords.policy_violation("x" * 257) is not None
