"""The evaluation of an answer: grade, list in force, changes, counts, quarantine. Every clause has its case."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.catalog.changes import Change
from app.catalog.listing import ListedModel, Listing, build_listing, canonical_form, fingerprint
from app.catalog.matching import CanonicalModel, CatalogIndex
from app.providers.contract import SkippedEntry
from app.store import plans
from app.sync.evaluate import (
    AGREEING_ANSWERS,
    NO_COUNTS,
    Evaluation,
    PreviousState,
    evaluate,
    failure_fields,
    grade_answer,
    is_unchanged,
    no_error_fields,
)
from app.sync.http import errors
from app.sync.http.fetch import Answer

INDEX = CatalogIndex(
    [
        CanonicalModel(id="openai/gpt-4o", lab="openai", name="GPT-4o"),
        CanonicalModel(id="meta/llama-3-8b", lab="meta", name="Llama 3 8B", served={"openai": ("llama-a", "llama-b")}),
    ]
)
TEN = tuple(f"model-{number}" for number in range(10))
WHOLE = PreviousState(is_whole=True)


def listing(*model_ids: str) -> Listing:
    return build_listing("openai", [ListedModel(id=model_id) for model_id in model_ids])


def answer(*model_ids: str, **facts: Any) -> Answer:
    """A complete answer on one page, unless the facts say otherwise."""
    models = [ListedModel(id=model_id) for model_id in model_ids]
    return Answer(**{"models": models, "skipped": [], "complete": True, "pages": 1, **facts})


def partial_answer(*model_ids: str, **facts: Any) -> Answer:
    return answer(*model_ids, **{"complete": False, "whole": False, "caveat": "Not every page.", **facts})


def previous(*model_ids: str, **facts: Any) -> PreviousState:
    """A whole list of these models is in force, unless the facts say otherwise."""
    return replace(PreviousState(listing=listing(*model_ids), is_whole=True), **facts)


def evaluated(before: PreviousState, response: Answer) -> Evaluation:
    return evaluate("openai", before, response, INDEX)


def print_of(*model_ids: str) -> bytes:
    return fingerprint(canonical_form(listing(*model_ids)))


def kinds(evaluation: Evaluation) -> list[tuple[str, str]]:
    return [(change.kind, change.model_id) for change in evaluation.changes]


# ------------------------------------------------------------------ the grade


@pytest.mark.parametrize(
    ("before", "answered", "is_complete", "is_trusted", "grade"),
    [
        # The first answer.
        (None, TEN, True, False, "complete"),
        (None, TEN, False, False, "partial"),
        (None, TEN[:1], True, False, "complete"),
        (None, (), True, False, "suspect"),
        (None, (), False, False, "suspect"),
        (None, (), True, True, "complete"),
        # The same list again.
        (TEN, TEN, True, False, "unchanged"),
        (TEN, TEN, True, True, "unchanged"),
        (TEN, TEN, False, False, "partial"),
        # Less than half of before is suspect, half of it is not.
        (TEN, TEN[:5], True, False, "complete"),
        (TEN, TEN[:4], True, False, "suspect"),
        (TEN, TEN[:4], True, True, "complete"),
        (TEN, (), True, False, "suspect"),
        (TEN, (), True, True, "complete"),
        # A partial answer takes nothing away, however short it is; an empty one says nothing at all.
        (TEN, TEN[:4], False, False, "partial"),
        (TEN, TEN[:4], False, True, "partial"),
        (TEN, (), False, False, "suspect"),
        (TEN, (), False, True, "partial"),
        # An empty list that its owner accepted stays accepted.
        ((), (), True, False, "unchanged"),
        ((), (), False, False, "suspect"),
        ((), TEN, True, False, "complete"),
    ],
)
def test_the_grade_of_an_answer(
    before: tuple[str, ...] | None, answered: tuple[str, ...], is_complete: bool, is_trusted: bool, grade: str
) -> None:
    in_force = None if before is None else listing(*before)
    assert grade_answer(in_force, listing(*answered), is_complete=is_complete, is_trusted=is_trusted) == grade


def test_an_answer_is_not_trusted_unless_it_is_said() -> None:
    assert grade_answer(listing(*TEN), listing(*TEN[:4]), is_complete=True) == "suspect"


# ------------------------------------------------------------------ who is trusted

SHRUNK = TEN[:3]
QUARANTINED = {"quarantined": print_of(*SHRUNK), "quarantine_count": 1}


@pytest.mark.parametrize(
    ("facts", "answered", "grade"),
    [
        ({}, SHRUNK, "suspect"),
        (QUARANTINED, SHRUNK, "suspect"),
        ({**QUARANTINED, "is_quarantine_accepted": True}, SHRUNK, "complete"),
        ({**QUARANTINED, "is_quarantine_accepted": True}, TEN[:2], "suspect"),
        ({"is_quarantine_accepted": True}, SHRUNK, "suspect"),
        ({"is_from_other_key": True}, SHRUNK, "complete"),
        ({"is_from_other_key": True}, (), "suspect"),
        (
            {"is_from_other_key": True, "quarantined": print_of(), "quarantine_count": 1},
            (),
            "suspect",
        ),
        (
            {"is_quarantine_accepted": True, "quarantined": print_of(), "quarantine_count": 1},
            (),
            "complete",
        ),
    ],
    ids=[
        "nobody said so",
        "quarantined and not accepted",
        "accepted",
        "another answer than the accepted one",
        "accepted, but nothing is quarantined",
        "another key gave the list before",
        "another key, and an empty list",
        "another key, and an empty list again",
        "an accepted empty list",
    ],
)
def test_a_shrunk_list_is_believed_if_its_owner_accepted_it_or_another_key_gave_the_one_before(
    facts: dict[str, Any], answered: tuple[str, ...], grade: str
) -> None:
    assert evaluated(previous(*TEN, **facts), answer(*answered)).grade == grade


# ------------------------------------------------------------------ what follows


def test_a_first_list_is_in_force_and_new_means_unknown_to_the_catalog() -> None:
    evaluation = evaluated(PreviousState(), answer("gpt-4o", "model-x"))
    assert evaluation.in_force == evaluation.answered == listing("gpt-4o", "model-x")
    assert kinds(evaluation) == [("new", "model-x")]
    assert (evaluation.counts.new, evaluation.counts.uncatalogued, evaluation.counts.chat) == (1, 1, 2)
    assert evaluation.is_whole and evaluation.quarantine is None and evaluation.caveat is None


def test_whether_the_catalog_knows_a_model_depends_on_its_provider() -> None:
    assert evaluated(PreviousState(), answer("llama-a")).counts.uncatalogued == 0
    assert evaluate("groq", PreviousState(), answer("llama-a"), INDEX).counts.uncatalogued == 1


def test_a_complete_list_takes_the_place_of_the_one_before() -> None:
    before = previous("gpt-4o", "model-a", "model-b", lost_ids=frozenset({"model-c", "model-z"}))
    evaluation = evaluated(before, answer("gpt-4o", "model-b", "model-c", "model-d"))
    assert evaluation.grade == "complete"
    assert evaluation.in_force == listing("gpt-4o", "model-b", "model-c", "model-d")
    assert kinds(evaluation) == [("new", "model-d"), ("relisted", "model-c"), ("unlisted", "model-a")]
    counts = evaluation.counts
    assert (counts.new, counts.relisted, counts.unlisted, counts.changed) == (1, 1, 1, 0)


def test_a_changed_fact_is_counted_as_changed() -> None:
    cheap = ListedModel(id="model-a", input_per_million=Decimal(1))
    evaluation = evaluated(previous("model-a"), answer(models=[cheap]))
    assert kinds(evaluation) == [("changed", "model-a")] and evaluation.counts.changed == 1


def test_a_rename_is_one_change() -> None:
    evaluation = evaluated(previous("gpt-4o", "llama-a"), answer("gpt-4o", "llama-b"))
    assert kinds(evaluation) == [("changed", "llama-b")]
    assert (evaluation.counts.new, evaluation.counts.unlisted) == (0, 0)


def test_an_id_that_comes_back_is_no_rename() -> None:
    before = previous("gpt-4o", "llama-a", lost_ids=frozenset({"llama-b"}))
    assert kinds(evaluated(before, answer("gpt-4o", "llama-b"))) == [("relisted", "llama-b"), ("unlisted", "llama-a")]


def test_an_unchanged_list_changes_nothing_and_is_counted() -> None:
    evaluation = evaluated(previous("gpt-4o", "model-a"), answer("gpt-4o", "model-a"))
    assert (evaluation.grade, evaluation.in_force, evaluation.changes) == ("unchanged", None, ())
    assert (evaluation.counts.fetched, evaluation.counts.uncatalogued) == (2, 1)


def test_a_partial_answer_is_laid_over_the_list_before() -> None:
    evaluation = evaluated(previous("model-a", "model-b"), partial_answer("model-b", "model-c"))
    assert evaluation.grade == "partial"
    assert evaluation.in_force == listing("model-a", "model-b", "model-c")
    assert evaluation.answered == listing("model-b", "model-c")
    assert kinds(evaluation) == [("new", "model-c")]
    assert evaluation.counts.fetched == 2 and evaluation.caveat == "Not every page."


def test_a_first_partial_answer_is_in_force_as_it_is() -> None:
    evaluation = evaluated(PreviousState(), partial_answer("model-a"))
    assert (evaluation.grade, evaluation.in_force) == ("partial", listing("model-a"))
    assert not evaluation.is_whole


def test_a_caveat_is_told_of_a_partial_answer_only() -> None:
    assert evaluated(PreviousState(), answer("model-a", caveat="never mind")).caveat is None
    assert evaluated(PreviousState(), partial_answer("model-a", caveat="")).caveat is None


@pytest.mark.parametrize(
    ("before", "response", "is_whole"),
    [
        (PreviousState(), answer("a"), True),
        (PreviousState(), partial_answer("a"), False),
        # A credential's flag is set before its first list.
        (WHOLE, partial_answer("a"), False),
        (previous("a"), partial_answer("a"), True),
        (previous("a", is_whole=False), partial_answer("a"), False),
        (previous("a", is_whole=False), answer("a"), True),
        # All pages were read, though the provider leaves models out.
        (previous("a", is_whole=False), partial_answer("a", whole=True), True),
    ],
)
def test_whether_the_list_was_ever_read_to_its_end(before: PreviousState, response: Answer, is_whole: bool) -> None:
    assert evaluated(before, response).is_whole is is_whole


def test_until_a_whole_list_came_new_means_unknown_and_not_listed_before() -> None:
    before = previous("gpt-3", "model-a", is_whole=False, lost_ids=frozenset({"model-c"}))
    evaluation = evaluated(before, answer("gpt-4o", "model-a", "model-b", "model-c"))
    assert kinds(evaluation) == [("new", "model-b"), ("new", "model-c")], "nothing is unlisted or relisted"
    assert kinds(evaluated(WHOLE, answer("gpt-4o", "model-a"))) == [("new", "model-a")]


def test_what_could_not_be_read_is_counted() -> None:
    skipped = [SkippedEntry("entry 3", "no id"), SkippedEntry("entry 4", "no id")]
    models = [ListedModel(id="model-a"), ListedModel(id="model-b", kind="embedding")]
    counts = evaluated(PreviousState(), answer(models=models, skipped=skipped)).counts
    assert (counts.fetched, counts.skipped, counts.chat, counts.uncatalogued) == (4, 2, 1, 1)


# ------------------------------------------------------------------ quarantine


def test_a_suspect_answer_is_quarantined_and_changes_nothing() -> None:
    evaluation = evaluated(previous(*TEN), answer("model-0", "model-x"))
    assert (evaluation.grade, evaluation.in_force, evaluation.changes) == ("suspect", None, ())
    assert evaluation.quarantine is not None
    assert (evaluation.quarantine.count, evaluation.quarantine.message, evaluation.quarantine.action) == (
        1,
        "9 of 10 models are missing from this answer, so it was kept aside.",
        "Your last list stays in force. Sync again later to see whether it recovers.",
    )
    assert (evaluation.counts.fetched, evaluation.counts.unlisted, evaluation.counts.new) == (2, 0, 0)


def test_a_first_empty_list_says_what_to_check() -> None:
    quarantine = evaluated(PreviousState(), answer()).quarantine
    assert quarantine is not None
    assert quarantine.message == "The provider answered with an empty list."
    assert quarantine.action == "If this key should see models, check its permissions on the provider's site."


@pytest.mark.parametrize(
    ("facts", "count"),
    [
        ({}, 1),
        ({"quarantined": print_of(*SHRUNK), "quarantine_count": 1}, 2),
        ({"quarantined": print_of(*SHRUNK), "quarantine_count": 5}, 6),
        ({"quarantined": print_of("model-0"), "quarantine_count": 5}, 1),
    ],
)
def test_equal_suspect_answers_in_a_row_are_counted(facts: dict[str, Any], count: int) -> None:
    quarantine = evaluated(previous(*TEN, **facts), answer(*SHRUNK)).quarantine
    assert quarantine is not None and quarantine.count == count
    assert ("agree" in quarantine.message) is (count >= AGREEING_ANSWERS)


def test_three_equal_suspect_answers_are_proposed_for_acceptance() -> None:
    assert AGREEING_ANSWERS == 3
    for before, response, action in (
        (
            previous(*TEN, quarantined=print_of("model-0"), quarantine_count=2),
            answer("model-0"),
            "It is probably right: accept it, or keep the old list if you know better.",
        ),
        (
            PreviousState(quarantined=print_of(), quarantine_count=2),
            answer(),
            "If this key should see models, check its permissions on the provider's site.",
        ),
    ):
        quarantine = evaluated(before, response).quarantine
        assert quarantine is not None and quarantine.action == action
        assert quarantine.message.endswith(". The last 3 answers agree on it.")


# ------------------------------------------------------------------ the columns


def test_the_columns_hold_grade_counts_and_message() -> None:
    fields = evaluated(previous("model-a", "model-b"), answer("model-a", "model-c", "gpt-4o")).fields()
    assert fields == {
        "outcome": "complete",
        "fetched": 3,
        "skipped": 0,
        "chat": 3,
        "uncatalogued": 2,
        "new": 2,
        "changed": 0,
        "unlisted": 1,
        "relisted": 0,
        "error_code": None,
        "error_message": None,
        "error_action": None,
    }
    assert set(plans.COUNTS) == set(NO_COUNTS) and set(NO_COUNTS.values()) == {0}


def test_a_quarantine_has_a_code_and_a_caveat_has_none() -> None:
    suspect = evaluated(previous(*TEN), answer("model-0")).fields()
    assert (suspect["error_code"], suspect["outcome"]) == ("suspect_list", "suspect")
    assert suspect["error_message"].startswith("9 of 10") and suspect["error_action"].startswith("Your last list")
    partial = evaluated(previous(*TEN), partial_answer("model-0")).fields()
    assert (partial["error_code"], partial["error_message"], partial["error_action"]) == (None, "Not every page.", None)


def test_a_known_failure_says_what_to_do_and_does_not_speak_of_a_list_that_is_not_there() -> None:
    error = errors.TimedOut()
    assert failure_fields(error, "groq") == {
        "outcome": "failed",
        "error_code": "timed_out",
        "error_message": "Groq did not answer in time.",
        "error_action": "We kept your last list. Try again later.",
    }
    assert failure_fields(error, "groq", has_list=False)["error_action"] == "Try again later."
    assert failure_fields(errors.RetryLater(), "groq")["outcome"] == "skipped"
    unknown = failure_fields(RuntimeError("a secret"), "groq")
    assert unknown == {
        "outcome": "failed",
        "error_code": "internal_error",
        "error_message": "Modelsync itself failed on this answer.",
        "error_action": "We kept your last list. The server's log has the details: please report them.",
    }
    assert no_error_fields() == dict.fromkeys(("error_code", "error_message", "error_action"))


# ------------------------------------------------------------------ the shortcut


@pytest.mark.parametrize(
    ("response", "before", "expected"),
    [
        (answer("model-a"), ("model-a",), True),
        (answer("model-a"), ("model-b",), False),
        (answer("model-a"), None, False),
        (answer(), (), True),
        (partial_answer("model-a"), ("model-a",), False),
    ],
)
def test_an_unchanged_list_is_told_by_its_fingerprint_as_by_its_evaluation(
    response: Answer, before: tuple[str, ...] | None, expected: bool
) -> None:
    state = PreviousState() if before is None else previous(*before)
    assert is_unchanged("openai", response, None if before is None else print_of(*before)) is expected
    assert (evaluated(state, response).grade == "unchanged") is expected


def test_equal_prices_in_other_digits_are_no_change() -> None:
    old = build_listing("openai", [ListedModel(id="model-a", input_per_million=Decimal("1.0"))])
    again = answer(models=[ListedModel(id="model-a", input_per_million=Decimal("1.00"))])
    assert evaluated(PreviousState(listing=old, is_whole=True), again).grade == "unchanged"
    assert not is_unchanged("openai", again, fingerprint(canonical_form(old)))


def test_changes_are_those_of_the_catalog() -> None:
    assert evaluated(PreviousState(), answer("model-a")).changes == (Change("new", "model-a", ""),)


def test_a_change_names_its_model_and_spells_prices_out() -> None:
    old = [ListedModel(id="a", name="Model A", input_per_million=Decimal("1E-7")), ListedModel(id="b", name="Model B")]
    new = [ListedModel(id="a", name="Model A", input_per_million=Decimal("2E+1")), ListedModel(id="c", name="Model C")]
    before = PreviousState(listing=build_listing("openai", old), is_whole=True)
    changes = evaluated(before, answer(models=new)).changes
    assert [(change.kind, change.name) for change in changes] == [
        ("new", "Model C"),
        ("changed", "Model A"),
        ("unlisted", "Model B"),
    ]
    (price,) = changes[1].fields
    assert (price.before, price.after) == ("0.0000001", "20")
