"""Passwords: an unknown account costs what a wrong password costs."""

from __future__ import annotations

from app import passwords


def test_nobodys_hash_has_the_parameters_of_everybodys() -> None:
    assert not passwords._hasher.check_needs_rehash(passwords._NOBODY)
    made = passwords.hash_password("correct horse battery")
    assert made.rpartition("$")[0].rpartition("$")[0] == passwords._NOBODY.rpartition("$")[0].rpartition("$")[0]


def test_nobody_never_fits() -> None:
    assert not passwords.is_right(None, "nobody signs in with this")
    assert passwords.is_right(passwords.hash_password("correct horse battery"), "correct horse battery")
