"""The differences between two listings. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from app.catalog.listing import CAPABILITIES, PRICES, ListedModel, Listing

ChangeKind = Literal["new", "changed", "unlisted", "relisted"]
Fact = str | int | bool | None

COMPARED_FIELDS = (
    "name",
    "kind",
    "context_length",
    "max_output_tokens",
    "modality",
    *CAPABILITIES,
    *PRICES,
    "deprecated_at",
    "retires_at",
)
"""Fields whose changes are reported. Creation dates and links are not."""


class FieldChange(msgspec.Struct, frozen=True, array_like=True):
    """One field before and after. Prices are decimal strings, dates ISO strings."""

    field: str
    before: Fact
    after: Fact


class Change(msgspec.Struct, frozen=True):
    kind: ChangeKind
    model_id: str
    name: str
    fields: tuple[FieldChange, ...] = ()


def count_by_kind(changes: Iterable[Change]) -> Counter[str]:
    """Kind → number of models of one provider: one that several keys saw change counts once."""
    return Counter(kind for kind, _ in {(change.kind, change.model_id) for change in changes})


def compare(
    before: Listing | None,
    after: Listing,
    *,
    listed_earlier: Set[str] = frozenset(),
    uncatalogued: Set[str] = frozenset(),
    renamed: Mapping[str, str] | None = None,
) -> tuple[Change, ...]:
    """Changes between two lists of one key, chat models only: new, relisted, changed, unlisted, each by id.

    before: None on a key's first sync, when "new" means a model that the catalog does not know.
    listed_earlier: ids that this key listed and lost before, so that their return is "relisted".
    uncatalogued: ids of `after` that the catalog does not know.
    renamed: new id → old id, from `detect_renames`; a rename is "changed".
    """
    if before is None:
        return tuple(Change("new", model.id, model.name) for model in after.chat() if model.id in uncatalogued)
    old = {model.id: model for model in before.models}
    new = {model.id: model for model in after.models}
    renamed = renamed or {}
    renamed_from = set(renamed.values())
    appeared = [model for model in after.chat() if model.id not in old and model.id not in renamed]
    return (
        *(_listing_change("new", model) for model in appeared if model.id not in listed_earlier),
        *(_listing_change("relisted", model) for model in appeared if model.id in listed_earlier),
        *_field_changes(old, new, renamed),
        *(
            Change("unlisted", model.id, model.name)
            for model in before.models
            if model.kind == "chat" and model.id not in new and model.id not in renamed_from
        ),
    )


def detect_renames(
    before: Listing, after: Listing, identity: Callable[[ListedModel], Hashable | None], listed_earlier: Set[str]
) -> dict[str, str]:
    """New id → old id of chat models that vanished under one id and appeared under another.

    identity: what two ids of one model share; None if unknown. It is a rename only if exactly one id that shares it
    vanished and one appeared. An id that this key listed earlier is relisted instead.
    """
    old_ids, new_ids = {model.id for model in before.models}, {model.id for model in after.models}
    vanished: dict[Hashable, list[str]] = defaultdict(list)
    appeared: dict[Hashable, list[str]] = defaultdict(list)
    for model in before.chat():
        if model.id not in new_ids:
            vanished[identity(model)].append(model.id)
    for model in after.chat() if vanished else ():
        if model.id not in old_ids and model.id not in listed_earlier:
            appeared[identity(model)].append(model.id)
    return {
        appeared[shared][0]: ids[0]
        for shared, ids in vanished.items()
        if shared is not None and len(ids) == 1 and len(appeared.get(shared, ())) == 1
    }


def merge_partial(before: Listing, partial: Listing) -> Listing:
    """The last good list updated by a partial answer: only a complete answer removes models."""
    models = {model.id: model for model in before.models} | {model.id: model for model in partial.models}
    return Listing(partial.provider, tuple(models[model_id] for model_id in sorted(models)))


def has_shrunk_suspiciously(before: Listing | None, after: Listing) -> bool:
    """Whether a list is empty, or has less than half of the models before."""
    if not after.models:
        return True
    return before is not None and len(after.models) * 2 < len(before.models)


def _listing_change(kind: ChangeKind, model: ListedModel) -> Change:
    return Change(kind, model.id, model.name)


def _field_changes(
    old: dict[str, ListedModel], new: dict[str, ListedModel], renamed: Mapping[str, str]
) -> list[Change]:
    changes = []
    for model_id, after in new.items():
        before = old.get(renamed.get(model_id, model_id))
        if before is None or before == after or "chat" not in (before.kind, after.kind):
            continue
        compared = ("id", *COMPARED_FIELDS) if model_id in renamed else COMPARED_FIELDS
        fields = tuple(
            FieldChange(field, was, now)
            for field in compared
            if (was := _to_fact(before, field)) != (now := _to_fact(after, field))
        )
        if fields:
            changes.append(Change("changed", model_id, after.name, fields))
    return changes


def _to_fact(model: ListedModel, field: str) -> Fact:
    value = getattr(model, field)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat()
    return value  # type: ignore[no-any-return]  # the other compared fields are texts, integers and flags
