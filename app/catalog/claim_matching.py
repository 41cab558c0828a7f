"""Which canonical model each claim of the live sources is about, and in which order of trust the claims come."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from app.catalog.id_parser import identity_key
from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex, Match
from app.catalog.sources import SOURCES, CatalogSource
from app.catalog.sources.claims import Claim
from app.catalog.sources.names import FIRST_PARTY, UNREADABLE_PROVIDERS, WELL_KEPT

FROM_LAB, FROM_HOST, FROM_GATEWAY, VANISHED = range(4)
"""Tiers of claims, the most trusted first."""


class SourceData(msgspec.Struct, frozen=True):
    """The claims of one live source."""

    source: str
    claims: tuple[Claim, ...]
    is_fresh: bool = True
    """Whether it was confirmed after the seed was made; otherwise the seed takes precedence."""


class MatchedClaim(msgspec.Struct, frozen=True, gc=False):
    """A claim with the model that it is about."""

    claim: Claim
    source: CatalogSource
    match: Match
    is_fresh: bool
    tier: int
    order: tuple[Any, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the id names the model itself, not a dated snapshot or a serving variant."""
        return not (self.match.variant or self.match.snapshot)


_SourcedClaims = list[tuple[SourceData, Claim]]
Decided = Mapping[tuple[str, str], str | None]
"""(provider, id) → canonical id, or None for "leave it unknown": people's decisions."""


def source_rank(data: SourceData) -> int:
    return list(SOURCES).index(data.source)


def assign_claims(
    models: dict[str, CanonicalModel], sources: Iterable[SourceData], decided: Decided, providers: Collection[str]
) -> dict[str, list[MatchedClaim]]:
    """Claims by canonical id. Adds to `models` those that only live sources know. providers: slugs of ours."""
    assigned: dict[str, list[MatchedClaim]] = defaultdict(list)
    claims = [(data, claim) for data in sources for claim in data.claims]
    unmatched = _match_claims(claims, models, decided, assigned, providers)
    unmatched = [(data, claim) for data, claim in unmatched if (claim.provider, claim.model_id) not in decided]
    if introduced := _introduce_models(unmatched, models):
        models |= introduced
        of_introduced: dict[str, list[MatchedClaim]] = defaultdict(list)
        _match_claims(unmatched, models, decided, of_introduced, providers)
        for model_id, model in introduced.items():
            assigned[model_id] = of_introduced[model_id]
            models[model_id] = _add_hosts(model, assigned[model_id], providers)
    return assigned


def _match_claims(
    claims: _SourcedClaims,
    models: Mapping[str, CanonicalModel],
    decided: Decided,
    assigned: dict[str, list[MatchedClaim]],
    providers: Collection[str],
) -> _SourcedClaims:
    """Add each claim to its model's in `assigned`; returns the unmatched claims."""
    index = CatalogIndex(models.values(), decided)
    unmatched = []
    for data, claim in claims:
        match = index.match(claim.provider, _to_listed_model(claim))
        if match.canonical_id:
            lab = models[match.canonical_id].lab
            assigned[match.canonical_id].append(_match_claim(data, claim, match, lab, providers))
        else:
            unmatched.append((data, claim))
    return unmatched


def _to_listed_model(claim: Claim) -> ListedModel:
    return ListedModel(id=claim.model_id, canonical_slug=claim.canonical_slug, hugging_face_id=claim.hugging_face_id)


def _match_claim(data: SourceData, claim: Claim, match: Match, lab: str, providers: Collection[str]) -> MatchedClaim:
    source = SOURCES[data.source]
    is_first_party = not source.is_gateway and claim.provider in FIRST_PARTY.get(lab, ())
    if claim.vanished_on:
        tier = VANISHED
    elif source.is_gateway:
        tier = FROM_GATEWAY
    else:
        tier = FROM_LAB if is_first_party and data.is_fresh and not match.variant else FROM_HOST
    order = (
        tier,
        not is_first_party,
        bool(match.variant),
        source_rank(data),
        bool(match.snapshot),
        WELL_KEPT.index(claim.provider) if claim.provider in WELL_KEPT else len(WELL_KEPT),
        not _is_recorded(claim.provider, providers),
        claim.provider,
        claim.model_id,
    )
    return MatchedClaim(claim, source, match, data.is_fresh, tier, order)


def _is_recorded(provider: str, providers: Collection[str]) -> bool:
    """Whether the catalog records the ids of this provider: one of ours, or one that the seed has."""
    return provider in providers or provider in UNREADABLE_PROVIDERS


def _introduce_models(unmatched: _SourcedClaims, known: Collection[str]) -> dict[str, CanonicalModel]:
    """The models that unmatched claims introduce: those of one lab and one identity are one model."""
    groups: dict[tuple[str, str], list[tuple[tuple[Any, ...], Claim, str]]] = defaultdict(list)
    for data, claim in unmatched:
        if claim.lab and (key := identity_key(claim.model_id)):
            source = SOURCES[data.source]
            plain = _plain_id(claim.model_id)
            rank = (source.is_gateway, bool(claim.vanished_on), len(plain), plain, claim.provider, claim.model_id)
            groups[claim.lab, key.rpartition("/")[2]].append((rank, claim, source.name))
    introduced = {}
    for (lab, _), group in sorted(groups.items()):
        _, first, source_name = min(group, key=lambda ranked: ranked[0])
        model_id = f"{lab}/{_slug(first.model_id)}"
        if model_id not in known and model_id not in introduced and not model_id.endswith("/"):
            kind = first.kind or classify_model(first.model_id, outputs=first.output_modalities).kind
            introduced[model_id] = CanonicalModel(
                id=model_id, lab=lab, name=_plain_id(first.model_id), kind=kind, source=source_name
            )
    return introduced


def _plain_id(model_id: str) -> str:
    return model_id.rpartition("/")[2].partition(":")[0]


def _slug(model_id: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", _plain_id(model_id).lower()).strip("-.")


def _add_hosts(model: CanonicalModel, claims: Iterable[MatchedClaim], providers: Collection[str]) -> CanonicalModel:
    served: dict[str, set[str]] = defaultdict(set)
    for matched in claims:
        if _is_recorded(matched.claim.provider, providers):
            served[matched.claim.provider].add(matched.claim.model_id)
    return msgspec.structs.replace(model, served={slug: tuple(sorted(served[slug])) for slug in sorted(served)})
