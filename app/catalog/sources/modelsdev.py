"""models.dev's `api.json`: an object of providers by their slug, each with its models by the id it serves them under.

    {"anthropic": {"id": "anthropic", "name": "Anthropic", "npm": …, "doc": …, "models":
        {"claude-opus-4-1": {"id": …, "name": "Claude Opus 4.1", "family": "claude-opus", "reasoning": true,
            "tool_call": true, "structured_output": true, "knowledge": "2025-03", "release_date": "2025-08-05",
            "modalities": {"input": ["text", "image", "pdf"], "output": ["text"]}, "open_weights": false,
            "cost": {"input": 15, "output": 75, "cache_read": 1.5, "cache_write": 18.75, "tiers": […]},
            "limit": {"context": 200000, "output": 32000}, "status": "deprecated"}}}, …}

Prices are in USD per million tokens; providers of the Chinese market have different ones, which are ignored. A limit
of 0 means unknown. `status` has no date, so it says nothing about `deprecated_on`.

`cost.tiers` (since 11 May 2026, its pull request 1755) apply to input longer than `size`, such as GPT-5.5's `{"input":
10, "output": 45, "cache_read": 1, "tier": {"type": "context", "size": 272000}}`; other types are ignored.
`cost.context_over_200k` is older and kept for old clients, with the price of a tier that begins at 200,000 tokens or
later: more than half begin later (its pull request 5277, 22 August 2026). So it counts only where there are no
`tiers`, as in documents from before May 2026. Schema: packages/core/src/schema.ts in its repository (version of August
2026; the tiers as described in its pull requests on 22 August 2026).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal

import msgspec

from app.catalog.listing import PriceTier
from app.catalog.sources.claims import (
    Claim,
    ParsedSource,
    SourceFault,
    build_parsed_source,
    decode_object,
    first_party_lab,
    iso_date,
    normalize_price,
    positive,
    printable_words,
    single_line,
    sort_tiers,
    type_fault,
)
from app.catalog.sources.names import CHINA_PRICED, FIRST_PARTY, MODELSDEV_PROVIDERS, UNREADABLE_PROVIDERS

_FIRST_PARTY_SLUGS = UNREADABLE_PROVIDERS.union(*FIRST_PARTY.values())
_BY_CONTEXT = "context"


class _Modalities(msgspec.Struct):
    input: list[str] | None = None
    output: list[str] | None = None


class _Limit(msgspec.Struct):
    context: int | None = None
    output: int | None = None


class _Prices(msgspec.Struct):
    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


class _Bound(msgspec.Struct):
    type: str = _BY_CONTEXT
    size: int | None = None


class _Tier(_Prices):
    tier: _Bound | None = None


class _Cost(_Prices):
    tiers: list[_Tier] | None = None
    context_over_200k: _Prices | None = None


_EMPTY_MODALITIES, _EMPTY_LIMIT, _EMPTY_COST, _NO_BOUND = _Modalities(), _Limit(), _Cost(), _Bound()


class _Model(msgspec.Struct):
    name: str | None = None
    family: str | None = None
    reasoning: bool | None = None
    tool_call: bool | None = None
    structured_output: bool | None = None
    open_weights: bool | None = None
    knowledge: str | None = None
    release_date: str | None = None
    modalities: _Modalities | None = None
    limit: _Limit | None = None
    cost: _Cost | None = None


class _Provider(msgspec.Struct):
    models: dict[str, msgspec.Raw]


def parse(body: bytes, providers: Collection[str]) -> ParsedSource:
    """Claims about models of our `providers` and of labs. Raises SourceRejected if this is not the catalog."""
    claims: list[Claim] = []
    faults: list[SourceFault] = []
    entries = 0
    # The first of two origins with one slug of ours (zai, zhipuai) wins; international prices come before China's.
    origins = decode_object(body)
    for origin in sorted(origins, key=lambda origin: (origin in CHINA_PRICED, MODELSDEV_PROVIDERS.get(origin, ""))):
        try:
            models = msgspec.json.decode(origins[origin], type=_Provider).models
        except msgspec.DecodeError as error:
            entries += 1
            faults.append(type_fault(origin, error))
            continue
        entries += len(models)
        for item in _parse_provider(origin, models, providers):
            claims.append(item) if isinstance(item, Claim) else faults.append(item)
    return build_parsed_source(claims, faults, entries)


def _parse_provider(
    origin: str, models: dict[str, msgspec.Raw], providers: Collection[str]
) -> Iterator[Claim | SourceFault]:
    slug = MODELSDEV_PROVIDERS.get(origin, origin)
    is_relevant = slug in providers or slug in _FIRST_PARTY_SLUGS
    for model_id, raw in models.items():
        try:
            model = msgspec.json.decode(raw, type=_Model)
        except msgspec.DecodeError as error:
            yield type_fault(f"{origin}/{model_id}", error)
            continue
        if is_relevant:
            yield _claim(origin, slug, model_id, model)


def _claim(origin: str, slug: str, model_id: str, model: _Model) -> Claim:
    modalities, limit = model.modalities or _EMPTY_MODALITIES, model.limit or _EMPTY_LIMIT
    cost = _EMPTY_COST if origin in CHINA_PRICED else model.cost or _EMPTY_COST
    inputs = printable_words(modalities.input)
    return Claim(
        provider=slug,
        model_id=model_id,
        lab=first_party_lab(slug, model_id),
        name=single_line(model.name),
        family=single_line(model.family),
        input_modalities=inputs,
        output_modalities=printable_words(modalities.output),
        context_length=positive(limit.context),
        max_output_tokens=positive(limit.output),
        tools=model.tool_call,
        vision="image" in inputs if inputs else None,
        reasoning=model.reasoning,
        structured_output=model.structured_output,
        input_per_million=normalize_price(cost.input),
        output_per_million=normalize_price(cost.output),
        cache_read_per_million=normalize_price(cost.cache_read),
        cache_write_per_million=normalize_price(cost.cache_write),
        price_tiers=sort_tiers(_tiers(cost)),
        released_on=iso_date(model.release_date),
        knowledge_cutoff=iso_date(model.knowledge),
        open_weights=model.open_weights,
    )


def _tiers(cost: _Cost) -> Iterator[PriceTier]:
    if cost.tiers is None:
        if cost.context_over_200k is not None:
            yield _tier(200_000, cost.context_over_200k)
        return
    for tier in cost.tiers:
        bound = tier.tier or _NO_BOUND
        if bound.type == _BY_CONTEXT and bound.size is not None:
            yield _tier(bound.size, tier)


def _tier(above_tokens: int, prices: _Prices) -> PriceTier:
    return PriceTier(
        above_tokens,
        normalize_price(prices.input),
        normalize_price(prices.output),
        normalize_price(prices.cache_read),
        normalize_price(prices.cache_write),
    )
