"""Proposes canonical models for unknown ids that two or more providers list with agreeing facts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from typing import Any

import msgspec

from app.catalog.effective import is_first_party
from app.catalog.listing import CAPABILITIES, LIMITS, PRICES, ListedModel
from app.catalog.matching import CanonicalModel, identity_key

_MIN_PROVIDERS = 2
_AGREED_FIELDS = (*LIMITS, *CAPABILITIES)
_MODALITIES = ("input_modalities", "output_modalities")
_CANONICAL_ID = re.compile(r"[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._:@+-]*")
MAX_ID_LENGTH, MAX_LAB_LENGTH = 300, 100


class Sighting(msgspec.Struct, frozen=True):
    """An unmatched chat model in a complete listing of one provider."""

    provider: str
    model: ListedModel


class Proposal(msgspec.Struct, frozen=True):
    model: CanonicalModel
    sightings: tuple[Sighting, ...]
    """The evidence: one per provider, sorted by slug."""
    agreed: tuple[str, ...]
    """Fields that two or more providers state with the same value."""


def propose(sightings: Iterable[Sighting], known: Container[str]) -> list[Proposal]:
    """A canonical model for each identity that enough providers agree on, sorted by id. known: ids of the catalog.

    Nothing is proposed where two of them contradict each other, or where no id names the lab: a person decides.
    """
    by_identity: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        key = identity_key(sighting.model.id)
        if key and not key.startswith("/"):
            by_identity[key].append(sighting)
    proposals = (
        _build_proposal(key.partition("/")[0], _plainest_per_provider(seen))
        for key, seen in sorted(by_identity.items())
    )
    return sorted(
        (one for one in proposals if one is not None and one.model.id not in known), key=lambda one: one.model.id
    )


def describe_evidence(proposal: Proposal) -> str:
    """The evidence as a sentence, for the log."""
    seen = ", ".join(f"{one.provider} ({one.model.id})" for one in proposal.sightings)
    return f"Listed alike by {seen}."


def build_model(provider: str, listed: ListedModel, canonical_id: str, lab: str, name: str) -> CanonicalModel:
    """A canonical model from one listing. Prices and date only if the provider is the lab, since they are the lab's."""
    model = CanonicalModel(
        id=canonical_id,
        lab=lab,
        name=name,
        kind=listed.kind,
        served={provider: (listed.id,)},
        **{field: getattr(listed, field) for field in (*_AGREED_FIELDS, *_MODALITIES)},
    )
    if not is_lab(provider, lab):
        return model
    released_on = listed.created_at.date().isoformat() if listed.created_at else ""
    prices = {field: getattr(listed, field) for field in PRICES}
    return msgspec.structs.replace(model, released_on=released_on, **prices)


def suggest_model(provider: str, listed: ListedModel) -> CanonicalModel:
    """Initial values of the form for a new model. The lab is empty if the id does not name it."""
    lab = identity_key(listed.id).partition("/")[0]
    return build_model(provider, listed, f"{lab}/{_bare_name(listed.id)}" if lab else "", lab, _display_name(listed))


def is_lab(provider: str, lab: str) -> bool:
    return is_first_party(provider, CanonicalModel(id="", lab=lab, name=""))


def canonical_id_problem(canonical_id: str) -> str | None:
    """Why this is not a valid canonical id, as a sentence; None if it is valid."""
    if len(canonical_id) > MAX_ID_LENGTH:
        return f"An id has at most {MAX_ID_LENGTH} characters."
    if len(canonical_id.partition("/")[0]) > MAX_LAB_LENGTH:
        return f"The lab, before the slash, has at most {MAX_LAB_LENGTH} characters."
    if not _CANONICAL_ID.fullmatch(canonical_id):
        return "Write the id as lab/model in lower case, such as meta/llama-3.1-8b-instruct."
    return None


def _plainest_per_provider(seen: Iterable[Sighting]) -> list[Sighting]:
    """Each provider's shortest id, since a variant may differ in its facts."""
    by_provider: dict[str, Sighting] = {}
    for sighting in sorted(seen, key=lambda one: (len(one.model.id), one.model.id)):
        by_provider.setdefault(sighting.provider, sighting)
    return [by_provider[provider] for provider in sorted(by_provider)]


def _build_proposal(lab: str, sightings: Sequence[Sighting]) -> Proposal | None:
    if len(sightings) < _MIN_PROVIDERS:
        return None
    facts = _shared_facts([one.model for one in sightings])
    if facts is None:
        return None
    canonical_id = f"{lab}/{min((_bare_name(one.model.id) for one in sightings), key=lambda tail: (len(tail), tail))}"
    if canonical_id_problem(canonical_id):
        return None
    first = next((one for one in sightings if is_lab(one.provider, lab)), sightings[0])
    name = min(
        (_display_name(one.model) for one in sightings), key=lambda name: ("/" in name, name.islower(), len(name), name)
    )
    model = msgspec.structs.replace(
        build_model(first.provider, first.model, canonical_id, lab, name),
        served={one.provider: (one.model.id,) for one in sightings},
        **facts,
    )
    agreed = (field for field in _AGREED_FIELDS if sum(getattr(one.model, field) is not None for one in sightings) > 1)
    return Proposal(model, tuple(sightings), tuple(agreed))


def _shared_facts(listed: Sequence[ListedModel]) -> dict[str, Any] | None:
    """The facts that they state together; None if two contradict each other."""
    facts: dict[str, Any] = {}
    for field in _AGREED_FIELDS:
        values = {value for one in listed if (value := getattr(one, field)) is not None}
        if len(values) > 1:
            return None
        facts[field] = values.pop() if values else None
    for field in _MODALITIES:
        values = {value for one in listed if (value := getattr(one, field))}
        # Providers spell modalities differently: that is no contradiction.
        facts[field] = values.pop() if len(values) == 1 else ()
    return facts


def _bare_name(model_id: str) -> str:
    """The name without path and serving tag."""
    return model_id.rpartition("/")[2].partition(":")[0].lower()


def _display_name(listed: ListedModel) -> str:
    """The display name without the lab that some providers put first ("Meta: Llama 5")."""
    name = listed.name or listed.id.rpartition("/")[2]
    return name.partition(": ")[2] or name
