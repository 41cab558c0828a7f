"""The error tree: every known failure has a code, a sentence and what to do, and none of them holds a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from app.providers.contract import ErrorMeaning
from app.sync.http import errors
from app.sync.http.errors import SyncError


def _leaves(kind: type[SyncError] = SyncError) -> Iterator[type[SyncError]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for one in below:
        yield from _leaves(one)


LEAVES = sorted(_leaves(), key=lambda kind: kind.__name__)
every_error = pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)


@every_error
def test_an_error_has_a_code_of_words_a_sentence_and_what_to_do(kind: type[SyncError]) -> None:
    assert kind.code.replace("_", "").isalpha() and kind.code.islower()
    assert kind.sentence[0].isupper() and not kind.sentence.endswith(".")
    assert kind.action[0].isupper() and kind.action.endswith(".")


@every_error
def test_an_error_is_drawn_in_the_tree(kind: type[SyncError]) -> None:
    assert f"─ {kind.__name__} " in (errors.__doc__ or "").replace("\n", " \n")


def test_codes_are_distinct() -> None:
    assert len({kind.code for kind in LEAVES}) == len(LEAVES)


def test_an_error_that_blames_the_key_does_not_pass_by_itself() -> None:
    for kind in LEAVES:
        assert kind.key_at_fault == issubclass(kind, errors.KeyProblem)
        assert kind.is_transient == issubclass(kind, errors.TransientError)
        assert not (kind.key_at_fault and kind.is_transient)


def test_every_fault_of_a_provider_has_its_error() -> None:
    assert set(errors.ERROR_BY_FAULT) == set(get_args(ErrorMeaning))
    assert all(kind.code == fault for fault, kind in errors.ERROR_BY_FAULT.items())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.KeyRevoked(), "The provider says this key is revoked."),
        (errors.KeyRevoked(status=401), "The provider says this key is revoked (HTTP 401)."),
        (errors.UnreadableAnswer("The provider sent an empty answer"), "The provider sent an empty answer."),
        (errors.RequestRejected("It said no", status=418), "It said no (HTTP 418)."),
    ],
)
def test_an_errors_text_is_its_sentence(error: SyncError, message: str) -> None:
    assert str(error) == error.message == message
    assert error.args == (message,)
