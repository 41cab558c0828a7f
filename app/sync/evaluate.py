"""What an answer is worth and what follows from it. Pure: no IO, no clock, no database.

Sync, plan and dry run all call `evaluate`; nothing else grades an answer, compares it or counts in it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from app.catalog.changes import Change, compare, detect_renames, has_shrunk_suspiciously, merge_partial
from app.catalog.humanize import pluralize
from app.catalog.listing import Listing, build_listing, canonical_form, fingerprint
from app.catalog.matching import CatalogIndex
from app.providers import PROVIDERS
from app.sync.http import errors

if TYPE_CHECKING:
    from app.sync.http.fetch import Answer

Grade = Literal["complete", "unchanged", "partial", "suspect"]

AGREEING_ANSWERS = 3
"""This many equal suspect answers in a row are proposed for acceptance."""
MAX_SKIPPED_ENTRIES = 50


@dataclass(frozen=True, slots=True)
class PreviousState:
    """The stored state of a credential when its answer arrives."""

    listing: Listing | None = None
    """The list in force; None before the first one."""
    is_whole: bool = False
    """Whether this key's list was ever read to its last page, so that an id outside it is new."""
    is_from_other_key: bool = False
    """Whether the key was replaced since the list in force was read."""
    lost_ids: frozenset[str] = frozenset()
    """Ids that were unlisted at some time; they return as "relisted"."""
    quarantined: bytes | None = None
    """Fingerprint of the last suspect answer."""
    quarantine_count: int = 0
    """How many answers in a row were that one."""
    is_quarantine_accepted: bool = False
    """Whether the owner said that the quarantined answer is right."""

    @property
    def has_whole_listing(self) -> bool:
        return self.listing is not None and self.is_whole


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one answer; named like the columns of results and plan parts."""

    fetched: int
    """Entries of the answer, those that could not be read included."""
    skipped: int
    """Entries that could not be read."""
    chat: int
    uncatalogued: int
    """Chat models that the catalog does not know."""
    new: int = 0
    changed: int = 0
    unlisted: int = 0
    relisted: int = 0


NO_COUNTS: dict[str, Any] = asdict(Counts(fetched=0, skipped=0, chat=0, uncatalogued=0))
"""Of a failure."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why an answer was not applied."""

    count: int
    """How many answers in a row were this one."""
    code: Literal["empty_list", "suspect_list", "unreadable_list"]
    """Empty, less than half of before, or without an entry that could be read."""
    message: str
    action: str

    def error_fields(self) -> dict[str, Any]:
        return {"error_code": self.code, "error_message": self.message, "error_action": self.action}


@dataclass(frozen=True, slots=True)
class Evaluation:
    grade: Grade
    answered: Listing
    """The answer, normalised."""
    in_force: Listing | None
    """The new list in force; None keeps the previous one."""
    is_whole: bool
    """`PreviousState.is_whole` from now on."""
    counts: Counts
    changes: tuple[Change, ...] = ()
    quarantine: Quarantine | None = None
    """Of a suspect answer."""
    caveat: str | None = None
    """Describes in a sentence what a partial answer lacks."""

    def fields(self) -> dict[str, Any]:
        """Outcome, counts and message, as columns of results and plan parts."""
        fields: dict[str, Any] = {"outcome": self.grade, **asdict(self.counts), **no_error_fields()}
        if self.quarantine:
            return fields | self.quarantine.error_fields()
        return fields | {"error_message": self.caveat}  # without a code: it is no failure


def evaluate(provider: str, previous: PreviousState, answer: Answer, index: CatalogIndex) -> Evaluation:
    """Grade an answer of `provider` (a slug), and derive the new list in force, the changes and the counts."""
    answered = build_listing(provider, answer.models)
    is_repeated = previous.quarantined is not None and previous.quarantined == _fingerprint(answered)
    is_trusted = _is_trusted(previous, answered, is_repeated=is_repeated)
    grade = grade_answer(previous.listing, answered, is_complete=answer.complete, is_trusted=is_trusted)
    uncatalogued = _uncatalogued_ids(answered, index)
    evaluation = Evaluation(
        grade=grade,
        answered=answered,
        in_force=None,
        is_whole=answer.whole or previous.has_whole_listing,
        counts=Counts(
            fetched=len(answered.models) + len(answer.skipped),
            skipped=len(answer.skipped),
            chat=len(answered.chat()),
            uncatalogued=len(uncatalogued),
        ),
    )
    if grade == "suspect":
        count = 1 + (previous.quarantine_count if is_repeated else 0)
        return replace(evaluation, quarantine=_quarantine(previous.listing, evaluation, count))
    if grade == "unchanged":
        return evaluation
    if grade == "partial":
        evaluation = replace(evaluation, caveat=answer.caveat or None)
    return _add_changes(evaluation, previous, index, uncatalogued)


def grade_answer(previous: Listing | None, answered: Listing, *, is_complete: bool, is_trusted: bool = False) -> Grade:
    """Grade an answer against the list in force.

    is_trusted: a shrunk list is right, because its owner said so or because another key gave the previous one.

    unchanged: equal to the list in force. suspect: it shrank suspiciously; quarantined, never applied unless trusted.
    partial: not every page was read, so it can add and change but not take away.
    """
    if is_complete and answered == previous:
        return "unchanged"
    can_take_away = is_complete or not answered.models
    if can_take_away and not is_trusted and has_shrunk_suspiciously(previous, answered):
        return "suspect"
    return "complete" if is_complete else "partial"


def is_unchanged(provider: str, answer: Answer, previous_fingerprint: bytes | None) -> bool:
    """Whether `evaluate` would grade the answer as unchanged, judged by the fingerprint of the list in force alone.

    False where equal lists have other bytes, such as a price of 1.0 for 1.00: then `evaluate` decides.
    """
    return answer.complete and _fingerprint(build_listing(provider, answer.models)) == previous_fingerprint


def failure_fields(error: Exception, slug: str, *, has_list: bool = True) -> dict[str, Any]:
    """Outcome and message of a failure, as columns of results. slug: of the provider, which the message names.

    has_list: whether a list stays in force.
    """
    if not isinstance(error, errors.SyncError):
        return {
            "outcome": "failed",
            "error_code": "internal_error",
            "error_message": "Modelsync itself failed on this answer.",
            "error_action": f"{errors.KEPT}The server's log has the details: please report them.",
        }
    provider = PROVIDERS.get(slug)
    return {
        "outcome": error.outcome,
        "error_code": error.code,
        "error_message": error.describe(provider),
        "error_action": error.describe_action(provider, has_list=has_list),
    }


def no_error_fields() -> dict[str, Any]:
    return {"error_code": None, "error_message": None, "error_action": None}


def _is_trusted(previous: PreviousState, answered: Listing, *, is_repeated: bool) -> bool:
    """Whether a shrunk list is right: its owner accepted this very one, or another key gave the previous list.

    An empty list of another key is not: a key without permissions looks the same.
    """
    if previous.is_quarantine_accepted and is_repeated:
        return True
    return previous.is_from_other_key and bool(answered.models)


def _add_changes(
    evaluation: Evaluation, previous: PreviousState, index: CatalogIndex, uncatalogued: set[str]
) -> Evaluation:
    before, answered = previous.listing, evaluation.answered
    in_force = merge_partial(before, answered) if before and evaluation.grade == "partial" else answered
    if before is None or not previous.has_whole_listing:
        # "New" is what the catalog does not know, and what no earlier list of this key named.
        unknown = uncatalogued - (_ids(before) if before else frozenset())
        changes = compare(None, in_force, uncatalogued=unknown)
    else:
        renames = detect_renames(before, in_force, partial(index.identity, in_force.provider), previous.lost_ids)
        changes = compare(before, in_force, listed_earlier=previous.lost_ids, renamed=renames)
    kinds = Counter(change.kind for change in changes)
    return replace(
        evaluation,
        in_force=in_force,
        changes=changes,
        counts=replace(
            evaluation.counts,
            new=kinds["new"],
            changed=kinds["changed"],
            unlisted=kinds["unlisted"],
            relisted=kinds["relisted"],
        ),
    )


def _uncatalogued_ids(listing: Listing, index: CatalogIndex) -> set[str]:
    """Ids of the chat models that the catalog does not know."""
    return {model.id for model in listing.chat() if index.match(listing.provider, model).canonical_id is None}


def _ids(listing: Listing) -> frozenset[str]:
    return frozenset(model.id for model in listing.models)


def _quarantine(before: Listing | None, evaluation: Evaluation, count: int) -> Quarantine:
    answered, unreadable = evaluation.answered, evaluation.counts.skipped
    action = "Your last list stays in force. Sync again later to see whether it recovers."
    if not answered.models and unreadable:
        code: Literal["empty_list", "suspect_list", "unreadable_list"] = "unreadable_list"
        message = f"None of the {unreadable:,} entries of this answer could be read, so it was kept aside."
        if unreadable == 1:
            message = "The only entry of this answer could not be read, so it was kept aside."
        action = "If it stays so, the provider changed its API: please report it."
        action = f"Your last list stays in force. {action}" if before else action
    elif not answered.models:
        code, message = "empty_list", "The provider answered with an empty list."
        if before is None:
            action = "If this key should see models, check its permissions on the provider's site."
        else:
            message = f"{message[:-1]}, so it was kept aside; yours has {pluralize(len(before.models), 'model')}."
    else:
        code, total = "suspect_list", len(before.models) if before else 0
        missing = len(_ids(before) - _ids(answered)) if before else 0
        message = f"{missing} of {total} models are missing from this answer, so it was kept aside."
    if count >= AGREEING_ANSWERS:
        message += f" The last {count} answers agree on it."
        if before and code != "unreadable_list":
            action = "It is probably right: accept it, or keep the old list if you know better."
    return Quarantine(count, code, message, action)


def _fingerprint(listing: Listing) -> bytes:
    return fingerprint(canonical_form(listing))
