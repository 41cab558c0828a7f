"""New canonical models that providers themselves give evidence for: one id, two providers or more, agreeing facts."""

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
LONGEST_ID, LONGEST_LAB = 300, 100


class Sighting(msgspec.Struct, frozen=True):
    """A chat model that no rule knows, in a complete listing of one provider."""

    provider: str
    model: ListedModel


class Proposal(msgspec.Struct, frozen=True):
    model: CanonicalModel
    sightings: tuple[Sighting, ...]
    """One for each provider, by its slug: the evidence."""
    agreed: tuple[str, ...]
    """Fields that two providers or more state alike."""


def propose(sightings: Iterable[Sighting], known: Container[str]) -> list[Proposal]:
    """A canonical model for each identity that enough providers agree on, by id. known: ids the catalog has.

    Where two of them contradict each other, or no id tells whose model it is, nothing is proposed: a person decides.
    """
    by_identity: dict[str, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        key = identity_key(sighting.model.id)
        if key and not key.startswith("/"):
            by_identity[key].append(sighting)
    found = (
        _build_proposal(key.partition("/")[0], _plainest_per_provider(seen))
        for key, seen in sorted(by_identity.items())
    )
    return sorted((one for one in found if one is not None and one.model.id not in known), key=lambda one: one.model.id)


def describe_evidence(proposal: Proposal) -> str:
    """The evidence in a sentence, for the log."""
    seen = ", ".join(f"{one.provider} ({one.model.id})" for one in proposal.sightings)
    return f"Listed alike by {seen}."


def build_model(provider: str, listed: ListedModel, canonical_id: str, lab: str, name: str) -> CanonicalModel:
    """A canonical model out of one listing. Prices and date only where the provider is the lab: they are the lab's."""
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
    """What a person would most likely make of a listing: the start of a form. Its lab is empty where no id says it."""
    lab = identity_key(listed.id).partition("/")[0]
    return build_model(provider, listed, f"{lab}/{_bare_name(listed.id)}" if lab else "", lab, _display_name(listed))


def is_lab(provider: str, lab: str) -> bool:
    return is_first_party(provider, CanonicalModel(id="", lab=lab, name=""))


def canonical_id_problem(canonical_id: str) -> str | None:
    """Why this cannot be the id of a canonical model, as a sentence; None if it can."""
    if len(canonical_id) > LONGEST_ID:
        return f"An id has at most {LONGEST_ID} characters."
    if len(canonical_id.partition("/")[0]) > LONGEST_LAB:
        return f"The lab, before the slash, has at most {LONGEST_LAB} characters."
    if not _CANONICAL_ID.fullmatch(canonical_id):
        return "Write the id as lab/model in lower case, such as meta/llama-3.1-8b-instruct."
    return None


def _plainest_per_provider(seen: Iterable[Sighting]) -> list[Sighting]:
    """Of each provider the id that says least beside the model: a variant may well differ in its facts."""
    by_provider: dict[str, Sighting] = {}
    for sighting in sorted(seen, key=lambda one: (len(one.model.id), one.model.id)):
        by_provider.setdefault(sighting.provider, sighting)
    return [by_provider[provider] for provider in sorted(by_provider)]


def _build_proposal(lab: str, seen: Sequence[Sighting]) -> Proposal | None:
    if len(seen) < _MIN_PROVIDERS:
        return None
    facts = _shared_facts([one.model for one in seen])
    if facts is None:
        return None
    canonical_id = f"{lab}/{min((_bare_name(one.model.id) for one in seen), key=lambda tail: (len(tail), tail))}"
    if canonical_id_problem(canonical_id):
        return None
    first = next((one for one in seen if is_lab(one.provider, lab)), seen[0])
    name = min(
        (_display_name(one.model) for one in seen), key=lambda name: ("/" in name, name.islower(), len(name), name)
    )
    model = msgspec.structs.replace(
        build_model(first.provider, first.model, canonical_id, lab, name),
        served={one.provider: (one.model.id,) for one in seen},
        **facts,
    )
    agreed = (field for field in _AGREED_FIELDS if sum(getattr(one.model, field) is not None for one in seen) > 1)
    return Proposal(model, tuple(seen), tuple(agreed))


def _shared_facts(listed: Sequence[ListedModel]) -> dict[str, Any] | None:
    """What they state between them; None where two contradict each other."""
    facts: dict[str, Any] = {}
    for field in _AGREED_FIELDS:
        said = {value for one in listed if (value := getattr(one, field)) is not None}
        if len(said) > 1:
            return None
        facts[field] = said.pop() if said else None
    for field in _MODALITIES:
        stated = {value for one in listed if (value := getattr(one, field))}
        # How to write modalities is no two providers' same habit: that is no contradiction.
        facts[field] = stated.pop() if len(stated) == 1 else ()
    return facts


def _bare_name(model_id: str) -> str:
    """The name itself: without path and serving tag."""
    return model_id.rpartition("/")[2].partition(":")[0].lower()


def _display_name(listed: ListedModel) -> str:
    """As a person writes it; some providers put the lab in front ("Meta: Llama 5")."""
    name = listed.name or listed.id.rpartition("/")[2]
    return name.partition(": ")[2] or name
