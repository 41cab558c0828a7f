"""Merges the shipped seed, the claims of live sources and people's decisions into the canonical catalog.

Pure, and independent of the order of its inputs. Field by field, the first of these that states a value wins:

1. a person's decision;
2. the lab's own entry in a live source, models.dev before LiteLLM; LiteLLM not where the seed has models.dev's value,
   since it reports the longest prompt as the context and the context as the longest output;
3. a host's entry in a live source, where the seed has the field from an older state of the same source;
4. the seed;
5. a host's entry in models.dev, then in LiteLLM; also any source's statement that is older than the seed;
6. OpenRouter and AIHubMix, which list what they resell;
7. what a source stated before it dropped the model.

So a reseller's smaller context never replaces the lab's, and a model that vanishes from a source keeps its facts.
Prices are the lab's list prices: they come from 2, 4 and 7, all of a model's from one place, and never from a
reseller; prices for long input go with the two main ones. A plain "no" counts only from the lab, the seed, or a
well-maintained gateway. A model keeps the name that the seed gives it.

`CatalogIndex` decides what an id means. An id that it does not know introduces a model only if its source names the
lab. Facts of a live source carry its name, so that their date is always that of its last good answer.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import Any

import msgspec

from app.catalog.claim_matching import (
    FROM_HOST,
    FROM_LAB,
    VANISHED,
    MatchedClaim,
    SourceData,
    assign_claims,
    source_rank,
)
from app.catalog.listing import CAPABILITIES, LIMITS, PRICES
from app.catalog.matching import CanonicalModel
from app.catalog.sources import PERSON, SOURCES
from app.catalog.sources.claims import Claim
from app.catalog.sources.names import FIRST_PARTY, WELL_KEPT

CLAIMED_FIELDS = (
    "name",
    "family",
    "input_modalities",
    "output_modalities",
    *LIMITS,
    *CAPABILITIES,
    "released_on",
    "knowledge_cutoff",
    "retires_on",
    "open_weights",
)
"""Fields that claims may set, besides prices."""
_PRICE_FIELDS = (*PRICES, "price_tiers")
SOURCED_FIELDS = (*CLAIMED_FIELDS, *_PRICE_FIELDS, "kind", "deprecated_on", "successor")
"""Fields whose source is recorded."""
_EMPTY_VALUES = (None, "", ())
_LAB_AND_STATUS = re.compile(
    r"^[A-Za-z0-9 .-]{2,20}: |\s*\((?:free|latest|beta|us|eu|global|fp8|20\d\d-\d\d-\d\d)\)$", re.IGNORECASE
)
"""A lab before a model's name ("Meta: Llama 5"), and a status behind it."""


class ManualDecisions(msgspec.Struct, frozen=True):
    """People's decisions about the catalog."""

    models: Mapping[str, CanonicalModel] = {}
    """Canonical id → a model that a person created."""
    fields: Mapping[tuple[str, str], Any] = {}
    """(canonical id, field) → its value; an empty one means "unknown"."""
    matches: Mapping[tuple[str, str], str | None] = {}
    """(provider, id) → canonical id, or None for "leave it unknown"."""


def merge(
    seed: Iterable[CanonicalModel],
    sources: Iterable[SourceData],
    decisions: ManualDecisions,
    providers: Collection[str],
) -> tuple[CanonicalModel, ...]:
    """All canonical models, sorted by id. providers: slugs of our providers, whose ids the catalog records."""
    models = {model.id: model for model in seed}
    in_seed = frozenset(models)
    for manual in decisions.models.values():
        models[manual.id] = _apply_manual_model(manual, models.get(manual.id))
    sources = sorted(sources, key=source_rank)
    claims: dict[str, list[MatchedClaim]] = {}
    if any(data.claims for data in sources):
        claims = assign_claims(models, sources, decisions.matches, providers)
    manual_fields = _group_by_model(decisions.fields)
    merged = []
    for model_id in sorted(models):
        model = models[model_id]
        if model_id in claims:
            model = _apply_claims(model, claims[model_id], has_seed=model_id in in_seed or model_id in decisions.models)
        if model_id in manual_fields:
            model = _apply_manual_fields(model, manual_fields[model_id])
        merged.append(model)
    return tuple(merged)


# ------------------------------------------------------------------ claims


def _apply_claims(model: CanonicalModel, claims: Iterable[MatchedClaim], *, has_seed: bool) -> CanonicalModel:
    """The model with the facts of its claims. has_seed: whether seed or a person state facts of it too."""
    ordered = sorted(claims, key=attrgetter("order"))
    facts: dict[str, Any] = {}
    sources: dict[str, str] = {}
    own_ids = len({matched.claim.model_id for matched in ordered if matched.tier == FROM_LAB})
    for field in CLAIMED_FIELDS:
        before = getattr(model, field) if has_seed else None
        letter = _source_of(model, field)
        best = _best_claim(field, ordered, own_ids, letter if before not in _EMPTY_VALUES else None)
        if best is None:
            facts[field], sources[field] = getattr(model, field), letter
        else:
            value = _claim_value(field, best.claim)
            facts[field] = before if _is_same(before, value) else value
            sources[field] = best.source.name
    prices, price_sources = _merge_prices(model, ordered)
    facts |= prices
    sources |= price_sources
    if (facts["max_output_tokens"] or 0) > (facts["context_length"] or 10**12):
        facts["max_output_tokens"] = None
    for field in set(SOURCED_FIELDS) - set(facts):
        sources[field] = _source_of(model, field)
    return _set_sources(msgspec.structs.replace(model, **facts), sources)


def _best_claim(
    field: str, ordered: Iterable[MatchedClaim], own_ids: int, seed_letter: str | None
) -> MatchedClaim | None:
    """The claim that sets a field; None if the model keeps its value. seed_letter: source of that value, if it has
    one.
    """
    for matched in ordered:
        if _is_credible(field, matched, own_ids) and (seed_letter is None or _outranks(matched, field, seed_letter)):
            return matched
    return None


def _outranks(matched: MatchedClaim, field: str, seed_letter: str) -> bool:
    """Whether a claim takes precedence over the value of the seed, or of the person who created the model."""
    if seed_letter == PERSON or field == "name":
        return False
    if matched.tier == FROM_LAB:
        return _trust_rank(matched.source.seed_letter) <= _trust_rank(seed_letter)
    return matched.tier == FROM_HOST and matched.is_fresh and matched.source.seed_letter == seed_letter


def _trust_rank(letter: str) -> int:
    """Position of one of the seed's catalogs in the order of trust; the seed's other sources come last."""
    return next((place for place, source in enumerate(SOURCES.values()) if source.seed_letter == letter), len(SOURCES))


def _is_credible(field: str, matched: MatchedClaim, own_ids: int) -> bool:
    value = getattr(matched.claim, field)
    if value in _EMPTY_VALUES:
        return False
    if field == "retires_on":  # that of one snapshot among several says nothing about the model
        return matched.tier == FROM_LAB and (matched.is_plain or own_ids == 1)
    if field == "name":
        return matched.is_plain or matched.tier == VANISHED
    return value is not False or matched.tier == FROM_LAB or matched.claim.provider in WELL_KEPT


def _claim_value(field: str, claim: Claim) -> Any:
    return _LAB_AND_STATUS.sub("", claim.name) or claim.name if field == "name" else getattr(claim, field)


def _is_same(before: Any, value: Any) -> bool:
    """Modalities are a set: their order is no difference."""
    return isinstance(before, tuple) and sorted(before) == sorted(value)


def _merge_prices(model: CanonicalModel, ordered: Iterable[MatchedClaim]) -> tuple[dict[str, Any], dict[str, str]]:
    """The lab's list prices, from one claim; the others also from claims with the same two main prices."""
    facts: dict[str, Any] = {field: getattr(model, field) for field in _PRICE_FIELDS}
    sources = {field: _source_of(model, field) for field in _PRICE_FIELDS}
    by_person = any(facts[field] not in _EMPTY_VALUES and sources[field] == PERSON for field in _PRICE_FIELDS)
    if by_person or model.kind in ("image", "video"):
        return facts, sources
    known = facts["input_per_million"] is not None
    own = [matched for matched in ordered if _states_list_price(matched, model.lab, known)]
    if not own:
        return facts, sources
    pair = _main_prices(own[0].claim)
    if pair != (facts["input_per_million"], facts["output_per_million"]):
        facts = {**dict.fromkeys(PRICES), "price_tiers": ()}
    own = [matched for matched in own if _main_prices(matched.claim) == pair]
    if any(matched.source.seed_letter == sources["price_tiers"] for matched in own):
        facts["price_tiers"] = ()  # their source no longer has them: prices for long input do end
    for matched in reversed(own):
        stated = {
            field: price for field in _PRICE_FIELDS if (price := getattr(matched.claim, field)) or field in PRICES[:2]
        }
        facts |= stated
        sources |= dict.fromkeys(stated, matched.source.name)
    return facts, sources


def _states_list_price(matched: MatchedClaim, lab: str, known: bool) -> bool:
    """known: whether a price is known already, which only a fresh one from the lab may replace."""
    claim = matched.claim
    is_own = not matched.source.is_gateway and claim.provider in FIRST_PARTY.get(lab, ()) and not matched.match.variant
    pair = _main_prices(claim)
    return is_own and None not in pair and any(pair) and (matched.tier == FROM_LAB or not known)


def _main_prices(priced: Claim | CanonicalModel) -> tuple[Any, Any]:
    return priced.input_per_million, priced.output_per_million


# ------------------------------------------------------------------ people's decisions


def _apply_manual_model(manual: CanonicalModel, seeded: CanonicalModel | None) -> CanonicalModel:
    """A model that a person created, merged over the seed's with the same id, if it has one by now."""
    stated = {field: value for field in SOURCED_FIELDS if (value := getattr(manual, field)) not in _EMPTY_VALUES}
    if seeded is None:
        return _set_sources(manual, dict.fromkeys(SOURCED_FIELDS, PERSON))
    served = {
        slug: tuple(sorted({*seeded.served.get(slug, ()), *manual.served.get(slug, ())}))
        for slug in sorted(seeded.served | manual.served)
    }
    aliases = tuple(sorted({*seeded.aliases, *manual.aliases}))
    sources = {field: PERSON if field in stated else _source_of(seeded, field) for field in SOURCED_FIELDS}
    model = msgspec.structs.replace(seeded, served=served, aliases=aliases, **stated)
    return _set_sources(_drop_stale_tiers(model, seeded, stated), sources)


def _apply_manual_fields(model: CanonicalModel, fields: Mapping[str, Any]) -> CanonicalModel:
    """The model with the fields that a person decided. Values that no longer validate are ignored."""
    facts: dict[str, Any] = {}
    for field in sorted(fields):
        if (converted := _convert_field(field, fields[field])) is not None:
            facts |= converted
    sources = {field: PERSON if field in facts else _source_of(model, field) for field in SOURCED_FIELDS}
    return _set_sources(_drop_stale_tiers(msgspec.structs.replace(model, **facts), model, facts), sources)


def _drop_stale_tiers(model: CanonicalModel, before: CanonicalModel, stated: Collection[str]) -> CanonicalModel:
    """Prices for long input go with the two main ones, unless the person stated them too."""
    is_stale = "price_tiers" not in stated and _main_prices(model) != _main_prices(before)
    return msgspec.structs.replace(model, price_tiers=()) if is_stale else model


def _convert_field(field: str, value: Any) -> dict[str, Any] | None:
    """The field from JSON as `CanonicalModel` has it; None for an unknown field or an invalid value."""
    if field not in SOURCED_FIELDS:
        return None
    default = next(
        field_info.default for field_info in msgspec.structs.fields(CanonicalModel) if field_info.name == field
    )
    if value in (None, "", [], ()):
        return {field: None if default is msgspec.NODEFAULT else default} if field not in ("name", "kind") else None
    try:
        converted = msgspec.convert({"id": "a/b", "lab": "a", "name": "b", field: value}, CanonicalModel)
    except msgspec.ValidationError:
        return None
    return {field: getattr(converted, field)}


def _group_by_model(fields: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    grouped: dict[str, dict[str, Any]] = defaultdict(dict)
    for (model_id, field), value in fields.items():
        grouped[model_id][field] = value
    return grouped


# ------------------------------------------------------------------ sources


def _source_of(model: CanonicalModel, field: str) -> str:
    return model.field_sources.get(field, model.source)


def _set_sources(model: CanonicalModel, sources: Mapping[str, str]) -> CanonicalModel:
    """Record the most frequent source as the model's and the others by field; unknown fields have none."""
    known = {
        field: letter for field, letter in sources.items() if letter and getattr(model, field) not in _EMPTY_VALUES
    }
    counts = Counter(known.values())
    main = min(counts, key=lambda letter: (-counts[letter], letter), default="")
    others = {field: known[field] for field in sorted(known) if known[field] != main}
    return msgspec.structs.replace(model, source=main, field_sources=others)


def sources_by_field(model: CanonicalModel) -> dict[str, str]:
    """Field → its source, for every known field: a letter of the seed's header, a live source's name or "person"."""
    return {field: _source_of(model, field) for field in SOURCED_FIELDS if getattr(model, field) not in _EMPTY_VALUES}
