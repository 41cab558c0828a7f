"""Passwords: an unknown account costs what a wrong password costs."""

from __future__ import annotations

import pytest

from app.auth import passwords


def test_nobodys_hash_has_the_parameters_of_everybodys() -> None:
    assert not passwords._hasher.check_needs_rehash(passwords._DUMMY_HASH)
    made = passwords.hash_password("correct horse battery")
    assert made.rpartition("$")[0].rpartition("$")[0] == passwords._DUMMY_HASH.rpartition("$")[0].rpartition("$")[0]


def test_nobody_never_fits() -> None:
    assert not passwords.verify(None, "nobody signs in with this")
    assert passwords.verify(passwords.hash_password("correct horse battery"), "correct horse battery")


@pytest.mark.parametrize(
    "common",
    ["1QAZ2wsx3edc", " q1w2e3r4t5y6 ", "Password1234", "!dragon2026!", "liverpool-123", "abc123abc123", "0" * 40],
)
def test_a_password_that_leaked_often_cannot_be_chosen(common: str) -> None:
    said = passwords.policy_violation(common)
    assert said is not None and "choose another" in said and common not in said


def test_ones_own_address_is_no_password() -> None:
    for word in ("alice.liddell@example.com", "Alice.Liddell"):
        assert "e-mail address" in (passwords.policy_violation(word, "alice.liddell@example.com") or "")


@pytest.mark.parametrize(
    "good", ["correct horse battery", "Пароль из слов и ещё", "a" * 3 + "b" * 60 + "é" * 65, "x " * 128]
)
def test_length_alone_makes_a_good_one(good: str) -> None:
    """Any characters, spaces among them, up to 128 and more; nothing is asked for but length."""
    assert passwords.policy_violation(good, "alice@example.com") is None
    assert passwords.policy_violation("short one") is not None and passwords.policy_violation("x" * 257) is not None
