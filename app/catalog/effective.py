"""Effective facts: person, provider and catalog merged for one model at one provider; and where the latter two
conflict.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from app.catalog.listing import LIMITS, PRICES, Kind, ListedModel, ModelFacts
from app.catalog.matching import CanonicalModel
from app.catalog.overrides import FACT_FIELDS, Fact, Override


def is_first_party(provider: str, canonical: CanonicalModel) -> bool:
    """Whether the provider is the lab that made the model, so that the lab's prices and dates are its own."""
    return provider == canonical.lab or (canonical.lab, provider) in _FIRST_PARTY_ALIASES


_FIRST_PARTY_ALIASES = {
    ("google", "google-vertex"),
    ("moonshotai", "moonshot"),
    ("zhipuai", "zhipu"),
    ("togethercomputer", "together"),
}


class EffectiveFacts(ModelFacts, frozen=True, kw_only=True, gc=False):
    """What holds for one model at one provider, all sources merged. None and empty mean unknown."""

    name: str
    kind: Kind
    deprecated_on: str
    """ISO date, like `retires_on`."""
    retires_on: str
    successor: str


def effective_facts(
    provider: str,
    canonical: CanonicalModel | None,
    listed: ListedModel,
    manual: Override | None = None,
    variant: str = "",
) -> EffectiveFacts:
    """Merge person → provider's listing → catalog, field by field; the kind is always the listing's.

    The catalog's prices are the lab's list prices. They apply where the lab itself serves the model as it is
    (`is_first_party`, no variant); a reseller that states no price has an unknown price, not the lab's. A dated
    snapshot has its model's price. A person's price does not apply to a free variant, which is another offer of the
    same provider. The lab's dates apply to its own provider only: resellers stop serving on days of their own.

    variant: the serving variant that the id names (`matching.Match.variant`).
    """
    facts = _merge_facts(provider, canonical, listed, variant)
    if manual:
        facts |= _manual_facts(manual, variant)
    base = canonical or _UNKNOWN
    dated = base if is_first_party(provider, base) else _UNKNOWN
    return EffectiveFacts(
        name=listed.name or base.name or listed.id,
        kind=listed.kind,
        input_modalities=listed.input_modalities or base.input_modalities,
        output_modalities=listed.output_modalities or base.output_modalities,
        deprecated_on=_iso_day(listed.deprecated_at) or dated.deprecated_on[:10],
        retires_on=_iso_day(listed.retires_at) or dated.retires_on[:10],
        successor=base.successor,
        **facts,
    )


_read_facts = attrgetter(*FACT_FIELDS)
_NO_PRICES = (None,) * len(PRICES)
_UNKNOWN = CanonicalModel(id="", lab="", name="")


def _merge_facts(provider: str, canonical: CanonicalModel | None, listed: ListedModel, variant: str) -> dict[str, Any]:
    """The provider's facts over the catalog's. Optimised: it runs for each of a list's 12,000 models."""
    own = _read_facts(listed)
    if canonical is None:
        return dict(zip(FACT_FIELDS, own, strict=True))
    base = _read_facts(canonical)
    if variant or not is_first_party(provider, canonical):
        base = base[: -len(PRICES)] + _NO_PRICES
    return {
        field: mine if mine is not None else theirs for field, mine, theirs in zip(FACT_FIELDS, own, base, strict=True)
    }


def _manual_facts(manual: Override, variant: str) -> dict[str, Fact]:
    facts = manual.facts
    return {field: facts[field] for field in facts if field not in PRICES} if variant == "free" else facts


def _iso_day(moment: datetime | None) -> str:
    return moment.date().isoformat() if moment else ""


def infer_from_kind(facts: EffectiveFacts) -> EffectiveFacts:
    """The facts with what follows from others where no source states it.

    A chat model takes and gives text, and streams: the chat API of every provider does, and the catalog names the
    models that do not. Image input and vision are one fact, so each tells the other.
    """
    kind_inputs, kind_outputs = _KIND_MODALITIES.get(facts.kind, ((), ()))
    inputs, outputs = facts.input_modalities or kind_inputs, facts.output_modalities or kind_outputs
    streaming, vision = facts.streaming, facts.vision
    if facts.kind == "chat":
        streaming = True if streaming is None else streaming
        if vision is None and facts.input_modalities:
            vision = "image" in inputs
        if vision is not None and vision != ("image" in inputs):
            inputs = (*inputs, "image") if vision else tuple(word for word in inputs if word != "image")
    return msgspec.structs.replace(
        facts, input_modalities=inputs, output_modalities=outputs, streaming=streaming, vision=vision
    )


_KIND_MODALITIES: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "chat": (("text",), ("text",)),
    "completion": (("text",), ("text",)),
    "embedding": (("text",), ("embeddings",)),
    "rerank": (("text",), ("rerank",)),
    "image": (("text",), ("image",)),
    "video": (("text",), ("video",)),
    "audio": (("text",), ("audio",)),
    "transcription": (("audio",), ("text",)),
    "realtime": (("text", "audio"), ("text", "audio")),
    "ocr": (("image",), ("text",)),
}
"""What models of a kind take and give."""


# ------------------------------------------------------------------ conflicts


class FactConflict(msgspec.Struct, frozen=True):
    """Provider and catalog state different values of a field."""

    field: str
    catalog_value: Fact | str
    provider_value: Fact | str


_LIMIT_TOLERANCE = 1.05
"""128000 and 131072, or 1000000 and 1048576, mean the same limit."""
_HOST_DEPENDENT = frozenset({"streaming", "tools", "structured_output"})


def find_conflicts(
    provider: str,
    canonical: CanonicalModel | None,
    listed: ListedModel,
    manual: Override | None = None,
    variant: str = "",
) -> list[FactConflict]:
    """Contradictions for an admin to review, in the order of the fields; none for fields that a person decided.

    Either the catalog or the listing is wrong where they differ in one of these:

    - the kind, if one says chat and the other another definite kind;
    - a capability. That a host denies streaming, tools or structured output is no conflict: they depend on its
      serving software;
    - a limit above the catalog's. A lower one is a legitimate limit of that host; up to 5 % is a matter of rounding;
    - a price, at the lab's own provider. Resellers and variants have their own.

    The lab's own provider serves its model as it is, so there every difference is a conflict.
    """
    if canonical is None:
        return []
    own = is_first_party(provider, canonical) and not variant
    decided = _manual_facts(manual, variant) if manual else {}
    conflicts = (
        [FactConflict("kind", canonical.kind, listed.kind)] if _has_kind_conflict(canonical.kind, listed.kind) else []
    )
    for field, theirs, mine in zip(FACT_FIELDS, _read_facts(canonical), _read_facts(listed), strict=True):
        if theirs is None or mine is None or theirs == mine or field in decided:
            continue
        if _contradicts(field, theirs, mine, own=own):
            conflicts.append(FactConflict(field, theirs, mine))
    return conflicts


def _has_kind_conflict(catalog: Kind, provider: Kind) -> bool:
    return catalog != provider and "chat" in (catalog, provider) and "other" not in (catalog, provider)


def _contradicts(field: str, catalog: Any, provider: Any, *, own: bool) -> bool:
    if field in LIMITS:
        return bool(provider > catalog * _LIMIT_TOLERANCE or (own and catalog > provider * _LIMIT_TOLERANCE))
    if field in PRICES:
        return own
    return own or bool(provider) or field not in _HOST_DEPENDENT
