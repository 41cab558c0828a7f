"""The error tree: every known failure has a code, a sentence and what to do, and none of them holds a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from app.providers import PROVIDERS, error_mapping
from app.providers.contract import ErrorMeaning
from app.providers.error_mapping import key_page_url
from app.sync.http import errors
from app.sync.http.errors import SyncError


def _leaves(kind: type[SyncError] = SyncError) -> Iterator[type[SyncError]]:
    """Every error that can be raised: those with a sentence, also where others refine it."""
    if hasattr(kind, "sentence"):
        yield kind
    for one in kind.__subclasses__():
        yield from _leaves(one)


LEAVES = sorted(_leaves(), key=lambda kind: kind.__name__)
every_error = pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)


@every_error
def test_an_error_has_a_code_of_words_a_sentence_and_what_to_do(kind: type[SyncError]) -> None:
    assert kind.code.replace("_", "").isalpha() and kind.code.islower()
    named, unnamed = kind().describe(PROVIDERS["openai"]), kind().message
    assert named[0].isupper() and unnamed[0].isupper() and named.endswith(".") and "{" not in named + unnamed
    for provider in (PROVIDERS["openai"], PROVIDERS["openai-compatible"], None):
        action = kind().describe_action(provider, has_list=True)
        assert action[0].isupper() and action.endswith(".") and "{" not in action
        assert "last list" not in kind().describe_action(provider, has_list=False)


@every_error
def test_an_error_is_drawn_in_the_tree(kind: type[SyncError]) -> None:
    assert f"─ {kind.__name__} " in (errors.__doc__ or "").replace("\n", " \n")


def test_codes_are_distinct() -> None:
    """Errors that refine another one share its code: what is stored and linked to stays the same."""
    general = [kind for kind in LEAVES if not hasattr(kind.__base__, "code")]
    assert len({kind.code for kind in general}) == len(general)
    assert {kind.code for kind in LEAVES} == {kind.code for kind in general}


def test_an_error_that_blames_the_key_does_not_pass_by_itself() -> None:
    for kind in LEAVES:
        assert kind.key_at_fault == issubclass(kind, errors.KeyProblem)
        assert kind.is_transient == issubclass(kind, errors.TransientError)
        assert not (kind.key_at_fault and kind.is_transient)


def test_every_fault_of_a_provider_has_its_error() -> None:
    assert set(errors.ERROR_BY_MEANING) == set(get_args(ErrorMeaning))
    assert len(set(errors.ERROR_BY_MEANING.values())) == len(errors.ERROR_BY_MEANING)


def test_an_error_of_the_key_leads_to_the_providers_page_of_keys() -> None:
    assert key_page_url("mistral", "key_rejected") == PROVIDERS["mistral"].keys_url
    assert key_page_url("mistral", "rate_limited") is key_page_url("nobody", "key_rejected") is None
    assert key_page_url("openai-compatible", "key_rejected") is None
    assert {kind.code for kind in LEAVES} > error_mapping._KEY_PAGE_CODES


def test_a_sentence_names_the_provider_and_what_the_owner_of_a_server_can_do() -> None:
    rejected, missing = errors.KeyRejected(status=401), errors.NoModelList(status=404)
    assert rejected.describe(PROVIDERS["mistral"]) == "Mistral rejected this key (401)."
    assert rejected.describe_action(PROVIDERS["mistral"], has_list=True) == "Replace it, or create a new one."
    assert rejected.describe(PROVIDERS["openai-compatible"]) == "Your server rejected this key (401)."
    assert missing.describe(PROVIDERS["vllm"]) == "vLLM has no model list at this address (404)."
    assert "usually ends in /v1" in missing.describe_action(PROVIDERS["vllm"], has_list=False)
    assert "report it" in missing.describe_action(PROVIDERS["mistral"], has_list=False)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.KeyRejected(), "The provider rejected this key."),
        (errors.QuotaExhausted(status=402), "You're out of credit or quota at the provider (402)."),
        (errors.UnreadableAnswer("The provider sent an empty answer"), "The provider sent an empty answer."),
        (errors.RequestRejected("It said no", status=418), "It said no (418)."),
    ],
)
def test_an_errors_text_is_its_sentence(error: SyncError, message: str) -> None:
    assert str(error) == error.message == message
    assert error.args == (message,)
