"""The canonical catalog out of the shipped seed, what live sources claim, and what people decided.

Pure, and independent of the order of everything it is given. Field by field, the first that says something holds:

1. a person's decision;
2. the lab's own entry in a live source, models.dev before LiteLLM; LiteLLM not where the seed has models.dev's word,
   since it takes the longest prompt for the context and the context for the longest answer;
3. a host's entry in a live source, where the seed has the field from an older state of that very source;
4. the seed;
5. a host's entry in models.dev, then in LiteLLM; with it whatever a source says that is older than the seed;
6. OpenRouter and AIHubMix, which list what they resell;
7. what a source said before it dropped the model.

So a reseller's smaller context never takes the place of the lab's, and a model that vanishes from a source keeps its
facts. Prices are the lab's list prices: they come from 2, 4 and 7, all of one model from one place, and never from a
reseller; those for long input go with the two main ones. A plain "no" counts only from the lab, the seed, or a gateway
known to be well kept. A model keeps the name that the seed gives it.

An id means what `CatalogIndex` says. One that nobody knows becomes a model of its own only if its source names the
lab. A live source's facts bear its letter, so that their date is always that of its last good answer.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import Any

import msgspec

from app.catalog.id_parser import identity_key
from app.catalog.kind import classify_model
from app.catalog.listing import PRICES, ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex, Match
from app.catalog.seed.rules import FIRST_PARTY, OUR_PROVIDERS, WELL_KEPT
from app.catalog.sources import PERSON, SOURCES, CatalogSource
from app.catalog.sources.claims import Claim

CLAIMED_FIELDS = (
    "name",
    "family",
    "input_modalities",
    "output_modalities",
    "context_length",
    "max_output_tokens",
    "tools",
    "vision",
    "reasoning",
    "structured_output",
    "streaming",
    "released_on",
    "knowledge_cutoff",
    "retires_on",
    "open_weights",
)
"""What claims are believed about, besides prices."""
_PRICE_FIELDS = (*PRICES, "price_tiers")
SOURCED_FIELDS = (*CLAIMED_FIELDS, *_PRICE_FIELDS, "kind", "deprecated_on", "successor")
"""What has a source."""
_EMPTY_VALUES = (None, "", ())
_OWN, _HOST, _GATEWAY, _VANISHED = range(4)
_LAB_AND_STATUS = re.compile(
    r"^[A-Za-z0-9 .-]{2,20}: |\s*\((?:free|latest|beta|us|eu|global|fp8|20\d\d-\d\d-\d\d)\)$", re.IGNORECASE
)


class SourceData(msgspec.Struct, frozen=True):
    """What one live source says."""

    source: str
    claims: tuple[Claim, ...]
    is_fresh: bool = True
    """Whether it was confirmed after the seed was made; otherwise the seed goes before it."""


class ManualDecisions(msgspec.Struct, frozen=True):
    """What people settled for good."""

    models: Mapping[str, CanonicalModel] = {}
    """Canonical id → a model that a person made."""
    fields: Mapping[tuple[str, str], Any] = {}
    """(canonical id, field) → its value; an empty one means "it is unknown"."""
    matches: Mapping[tuple[str, str], str | None] = {}
    """(provider, id) → canonical id, or None for "leave it unknown"."""


class _MatchedClaim(msgspec.Struct, frozen=True, gc=False):
    """A claim with the model it means."""

    claim: Claim
    source: CatalogSource
    match: Match
    is_fresh: bool
    tier: int
    order: tuple[Any, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the id names the model itself, no dated snapshot of it and no way of serving it."""
        return not (self.match.variant or self.match.snapshot)


def merge(
    seed: Iterable[CanonicalModel], told: Iterable[SourceData], decisions: ManualDecisions
) -> tuple[CanonicalModel, ...]:
    """All canonical models, in the order of their ids."""
    models = {model.id: model for model in seed}
    seeded = frozenset(models)
    for made in decisions.models.values():
        models[made.id] = _apply_manual_model(made, models.get(made.id))
    told = sorted(told, key=_source_rank)
    heard: dict[str, list[_MatchedClaim]] = {}
    if any(one.claims for one in told):
        heard = _assign_claims(models, told, decisions.matches)
    settled = _group_by_model(decisions.fields)
    merged = []
    for model_id in sorted(models):
        model = models[model_id]
        if model_id in heard:
            model = _apply_claims(model, heard[model_id], has_seed=model_id in seeded or model_id in decisions.models)
        if model_id in settled:
            model = _apply_manual_fields(model, settled[model_id])
        merged.append(model)
    return tuple(merged)


def _source_rank(one: SourceData) -> int:
    return list(SOURCES).index(one.source)


# ------------------------------------------------------------------ whom a claim is about


def _assign_claims(
    models: dict[str, CanonicalModel], told: Iterable[SourceData], decided: Mapping[tuple[str, str], str | None]
) -> dict[str, list[_MatchedClaim]]:
    """Claims by canonical id. Adds to `models` those that only live sources know."""
    heard: dict[str, list[_MatchedClaim]] = defaultdict(list)
    strangers = _match_claims([(one, claim) for one in told for claim in one.claims], models, decided, heard)
    strangers = [(one, claim) for one, claim in strangers if (claim.provider, claim.model_id) not in decided]
    if introduced := _introduce_models(strangers, models):
        models |= introduced
        among_them: dict[str, list[_MatchedClaim]] = defaultdict(list)
        _match_claims(strangers, models, decided, among_them)
        for model_id in introduced:
            heard[model_id] = among_them[model_id]
            models[model_id] = _add_hosts(introduced[model_id], heard[model_id])
    return heard


_SourcedClaims = list[tuple[SourceData, Claim]]


def _match_claims(
    said: _SourcedClaims,
    models: Mapping[str, CanonicalModel],
    decided: Mapping[tuple[str, str], str | None],
    heard: dict[str, list[_MatchedClaim]],
) -> _SourcedClaims:
    """Put each claim to its model in `heard`; the claims whose id means none are returned."""
    index = CatalogIndex(models.values(), decided)
    strangers = []
    for one, claim in said:
        match = index.match(claim.provider, _to_listed_model(claim))
        if match.canonical_id:
            heard[match.canonical_id].append(_match_claim(one, claim, match, models[match.canonical_id].lab))
        else:
            strangers.append((one, claim))
    return strangers


def _to_listed_model(claim: Claim) -> ListedModel:
    return ListedModel(id=claim.model_id, canonical_slug=claim.canonical_slug, hugging_face_id=claim.hugging_face_id)


def _match_claim(one: SourceData, claim: Claim, match: Match, lab: str) -> _MatchedClaim:
    source = SOURCES[one.source]
    is_own = not source.is_gateway and claim.provider in FIRST_PARTY.get(lab, ())
    if claim.vanished_on:
        tier = _VANISHED
    elif source.is_gateway:
        tier = _GATEWAY
    else:
        tier = _OWN if is_own and one.is_fresh and not match.variant else _HOST
    well_kept = WELL_KEPT.index(claim.provider) if claim.provider in WELL_KEPT else len(WELL_KEPT)
    order = (
        tier,
        not is_own,
        bool(match.variant),
        _source_rank(one),
        bool(match.snapshot),
        well_kept,
        claim.provider not in OUR_PROVIDERS,
        claim.provider,
        claim.model_id,
    )
    return _MatchedClaim(claim, source, match, one.is_fresh, tier, order)


def _introduce_models(
    strangers: Iterable[tuple[SourceData, Claim]], known: Collection[str]
) -> dict[str, CanonicalModel]:
    """The models that ids of unknown meaning make: those of one lab and one identity are one."""
    groups: dict[tuple[str, str], list[tuple[tuple[Any, ...], Claim, str]]] = defaultdict(list)
    for one, claim in strangers:
        if claim.lab and (key := identity_key(claim.model_id)):
            source = SOURCES[one.source]
            plain = _plain_id(claim.model_id)
            rank = (source.is_gateway, bool(claim.vanished_on), len(plain), plain, claim.provider, claim.model_id)
            groups[claim.lab, key.rpartition("/")[2]].append((rank, claim, source.name))
    made = {}
    for (lab, _), group in sorted(groups.items()):
        _, first, letter = min(group, key=lambda ranked: ranked[0])
        model_id = f"{lab}/{_slug(first.model_id)}"
        if model_id not in known and model_id not in made and not model_id.endswith("/"):
            kind = first.kind or classify_model(first.model_id, outputs=first.output_modalities).kind
            made[model_id] = CanonicalModel(
                id=model_id, lab=lab, name=_plain_id(first.model_id), kind=kind, source=letter
            )
    return made


def _plain_id(model_id: str) -> str:
    return model_id.rpartition("/")[2].partition(":")[0]


def _slug(model_id: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", _plain_id(model_id).lower()).strip("-.")


def _add_hosts(model: CanonicalModel, heard: Iterable[_MatchedClaim]) -> CanonicalModel:
    served: dict[str, set[str]] = defaultdict(set)
    for one in heard:
        if one.claim.provider in OUR_PROVIDERS:
            served[one.claim.provider].add(one.claim.model_id)
    return msgspec.structs.replace(model, served={slug: tuple(sorted(served[slug])) for slug in sorted(served)})


# ------------------------------------------------------------------ what holds of a model


def _apply_claims(model: CanonicalModel, heard: Iterable[_MatchedClaim], *, has_seed: bool) -> CanonicalModel:
    """The model with what live sources say of it."""
    ordered = sorted(heard, key=attrgetter("order"))
    facts: dict[str, Any] = {}
    sources: dict[str, str] = {}
    own_ids = len({one.claim.model_id for one in ordered if one.tier == _OWN})
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
    field: str, ordered: Iterable[_MatchedClaim], own_ids: int, seed_letter: str | None
) -> _MatchedClaim | None:
    """The claim that sets a field; None if it stays as it is. seed_letter: None where the seed says nothing."""
    for one in ordered:
        if _is_credible(field, one, own_ids) and (seed_letter is None or _outranks(one, field, seed_letter)):
            return one
    return None


def _outranks(one: _MatchedClaim, field: str, seed_letter: str) -> bool:
    """Whether a claim goes before what the seed, or a person who made the model, says already."""
    if seed_letter == PERSON or field == "name":
        return False
    if one.tier == _OWN:
        return _trust_rank(one.source.seed_letter) <= _trust_rank(seed_letter)
    return one.tier == _HOST and one.is_fresh and one.source.seed_letter == seed_letter


def _trust_rank(letter: str) -> int:
    """The place of a catalog of the seed in the order of trust; whatever else the seed has comes last."""
    return next((place for place, source in enumerate(SOURCES.values()) if source.seed_letter == letter), len(SOURCES))


def _is_credible(field: str, one: _MatchedClaim, own_ids: int) -> bool:
    value = getattr(one.claim, field)
    if value in _EMPTY_VALUES:
        return False
    if field == "retires_on":  # of one snapshot among several it says nothing about the model
        return one.tier == _OWN and (one.is_plain or own_ids == 1)
    if field == "name":
        return one.is_plain or one.tier == _VANISHED
    return value is not False or one.tier == _OWN or one.claim.provider in WELL_KEPT


def _claim_value(field: str, claim: Claim) -> Any:
    return _LAB_AND_STATUS.sub("", claim.name) or claim.name if field == "name" else getattr(claim, field)


def _is_same(before: Any, value: Any) -> bool:
    """Modalities are a set: another order of theirs is no news."""
    return isinstance(before, tuple) and sorted(before) == sorted(value)


def _merge_prices(model: CanonicalModel, ordered: Iterable[_MatchedClaim]) -> tuple[dict[str, Any], dict[str, str]]:
    """The lab's list price, all of it from one place; the others also from whoever names the same two main ones."""
    facts: dict[str, Any] = {field: getattr(model, field) for field in _PRICE_FIELDS}
    sources = {field: _source_of(model, field) for field in _PRICE_FIELDS}
    by_person = any(facts[field] not in _EMPTY_VALUES and sources[field] == PERSON for field in _PRICE_FIELDS)
    if by_person or model.kind in ("image", "video"):
        return facts, sources
    known = facts["input_per_million"] is not None
    own = [one for one in ordered if _states_list_price(one, model.lab, known)]
    if not own:
        return facts, sources
    pair = _main_prices(own[0].claim)
    if pair != (facts["input_per_million"], facts["output_per_million"]):
        facts = {**dict.fromkeys(PRICES), "price_tiers": ()}
    own = [one for one in own if _main_prices(one.claim) == pair]
    if any(one.source.seed_letter == sources["price_tiers"] for one in own):
        facts["price_tiers"] = ()  # who named them knows better by now: prices for long input do end
    for one in reversed(own):
        said = {field: price for field in _PRICE_FIELDS if (price := getattr(one.claim, field)) or field in PRICES[:2]}
        facts |= said
        sources |= dict.fromkeys(said, one.source.name)
    return facts, sources


def _states_list_price(one: _MatchedClaim, lab: str, known: bool) -> bool:
    """known: whether a price is known already, which only a fresh one of the lab's own may replace."""
    claim = one.claim
    is_own = not one.source.is_gateway and claim.provider in FIRST_PARTY.get(lab, ()) and not one.match.variant
    pair = _main_prices(claim)
    return is_own and None not in pair and any(pair) and (one.tier == _OWN or not known)


def _main_prices(priced: Claim | CanonicalModel) -> tuple[Any, Any]:
    return priced.input_per_million, priced.output_per_million


# ------------------------------------------------------------------ people


def _apply_manual_model(made: CanonicalModel, seeded: CanonicalModel | None) -> CanonicalModel:
    """A person's model, over the seed's of the same id if one has come since."""
    said = {field: value for field in SOURCED_FIELDS if (value := getattr(made, field)) not in _EMPTY_VALUES}
    if seeded is None:
        return _set_sources(made, dict.fromkeys(SOURCED_FIELDS, PERSON))
    served = {
        slug: tuple(sorted({*seeded.served.get(slug, ()), *made.served.get(slug, ())}))
        for slug in sorted(seeded.served | made.served)
    }
    aliases = tuple(sorted({*seeded.aliases, *made.aliases}))
    sources = {field: PERSON if field in said else _source_of(seeded, field) for field in SOURCED_FIELDS}
    model = msgspec.structs.replace(seeded, served=served, aliases=aliases, **said)
    return _set_sources(_drop_stale_tiers(model, seeded, said), sources)


def _apply_manual_fields(model: CanonicalModel, fields: Mapping[str, Any]) -> CanonicalModel:
    """The model with the fields that a person settled. One that fits its type no more is passed over."""
    facts: dict[str, Any] = {}
    for field in sorted(fields):
        with_it = _convert_field(field, fields[field])
        if with_it is not None:
            facts |= with_it
    sources = {field: PERSON if field in facts else _source_of(model, field) for field in SOURCED_FIELDS}
    return _set_sources(_drop_stale_tiers(msgspec.structs.replace(model, **facts), model, facts), sources)


def _drop_stale_tiers(model: CanonicalModel, before: CanonicalModel, said: Collection[str]) -> CanonicalModel:
    """Prices for long input go with the two main ones, unless the person named them too."""
    is_other = "price_tiers" not in said and _main_prices(model) != _main_prices(before)
    return msgspec.structs.replace(model, price_tiers=()) if is_other else model


def _convert_field(field: str, value: Any) -> dict[str, Any] | None:
    """The field as `CanonicalModel` wants it, from JSON; None for what it does not want."""
    if field not in SOURCED_FIELDS:
        return None
    default = next(one.default for one in msgspec.structs.fields(CanonicalModel) if one.name == field)
    if value in (None, "", [], ()):
        return {field: None if default is msgspec.NODEFAULT else default} if field not in ("name", "kind") else None
    try:
        made = msgspec.convert({"id": "a/b", "lab": "a", "name": "b", field: value}, CanonicalModel)
    except msgspec.ValidationError:
        return None
    return {field: getattr(made, field)}


def _group_by_model(fields: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    settled: dict[str, dict[str, Any]] = defaultdict(dict)
    for (model_id, field), value in fields.items():
        settled[model_id][field] = value
    return settled


# ------------------------------------------------------------------ sources


def _source_of(model: CanonicalModel, field: str) -> str:
    return model.field_sources.get(field, model.source)


def _set_sources(model: CanonicalModel, sources: Mapping[str, str]) -> CanonicalModel:
    """Name the source of most fields once and the others by field; a field that nobody knows has none."""
    known = {
        field: letter for field, letter in sources.items() if letter and getattr(model, field) not in _EMPTY_VALUES
    }
    counts = Counter(known.values())
    main = min(counts, key=lambda letter: (-counts[letter], letter), default="")
    others = {field: known[field] for field in sorted(known) if known[field] != main}
    return msgspec.structs.replace(model, source=main, field_sources=others)


def sources_by_field(model: CanonicalModel) -> dict[str, str]:
    """Field → letter of its source, for every field that is known."""
    return {field: _source_of(model, field) for field in SOURCED_FIELDS if getattr(model, field) not in _EMPTY_VALUES}
