"""LiteLLM's price map: one JSON object, keyed by "provider/id" or by the plain id.

    {"sample_spec": {…},
     "gpt-4o": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 128000, "max_output_tokens": 16384,
        "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06,
        "supports_function_calling": true, "supports_vision": true, "deprecation_date": "2026-10-01"},
     "groq/llama-3.1-8b-instant": {"litellm_provider": "groq", …}, …}

Prices are in USD per token; `input_cost_per_token_above_200k_tokens` and the like apply to input of more than 200,000
tokens. Longer names (`…_tokens_priority`, `…_tokens_batches`) are other ways of serving, and `tiered_pricing` comes
without a main price: both are ignored. A missing flag says nothing. `deprecation_date` is the last day on which the
provider serves the model. From the version of November 2026 (4,553 entries).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal

import msgspec

from app.catalog.listing import Kind, PriceTier
from app.catalog.sources.claims import (
    Claim,
    ParsedSource,
    SourceFault,
    build_parsed_source,
    decode_object,
    iso_date,
    positive,
    price_per_million,
    printable_words,
    sort_tiers,
    type_fault,
)
from app.catalog.sources.names import FIRST_PARTY, LITELLM_MODES, LITELLM_PROVIDERS, UNREADABLE_PROVIDERS

_FIRST_PARTY_SLUGS = UNREADABLE_PROVIDERS.union(*FIRST_PARTY.values())
_REGIONAL = re.compile(r"(eu|us|us-gov|apac|global|global-standard)/")
_IMAGE_SIZE = re.compile(r"\d-x-\d")
_COSTS = {
    "input_cost_per_token": "input_per_million",
    "output_cost_per_token": "output_per_million",
    "cache_read_input_token_cost": "cache_read_per_million",
    "cache_creation_input_token_cost": "cache_write_per_million",
}
_TIER_COST = re.compile(rf"({'|'.join(_COSTS)})_above_([0-9]{{1,6}})k_tokens")
_KINDS: dict[str, Kind] = {mode: msgspec.convert(kind, Kind) for mode, kind in LITELLM_MODES.items()}


class _LiteLLMEntry(msgspec.Struct):
    litellm_provider: str | None = None
    mode: str | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    input_cost_per_token: Decimal | None = None
    output_cost_per_token: Decimal | None = None
    cache_read_input_token_cost: Decimal | None = None
    cache_creation_input_token_cost: Decimal | None = None
    supports_function_calling: bool | None = None
    supports_vision: bool | None = None
    supports_reasoning: bool | None = None
    supports_response_schema: bool | None = None
    supports_native_streaming: bool | None = None
    supported_modalities: list[str] | None = None
    supported_output_modalities: list[str] | None = None
    deprecation_date: str | None = None


def parse(body: bytes, providers: Collection[str]) -> ParsedSource:
    """Claims about models of our `providers` and of labs. Raises SourceRejected if this is not the map."""
    claims: list[Claim] = []
    faults: list[SourceFault] = []
    entries = decode_object(body)
    entries.pop("sample_spec", None)
    for key in sorted(entries):
        try:
            entry = msgspec.json.decode(entries[key], type=_LiteLLMEntry)
            price_tiers = _tiers(entries[key])
        except msgspec.DecodeError as error:
            faults.append(type_fault(key, error))
            continue
        origin = entry.litellm_provider or ""
        slug = LITELLM_PROVIDERS.get(origin, origin)
        if (slug in providers or slug in _FIRST_PARTY_SLUGS) and (model_id := _own_id(key, origin, slug)):
            claims.append(_claim(slug, model_id, entry, price_tiers))
    return build_parsed_source(claims, faults, len(entries))


def _own_id(key: str, origin: str, slug: str) -> str:
    """The provider's own id, without LiteLLM's routing prefix; empty for entries that only price a variant."""
    if key.startswith("ft:") or _IMAGE_SIZE.search(key) or (slug == "bedrock" and "/" in key):
        return ""
    prefix = origin.split("-")[0] if origin.startswith("vertex_ai") else origin
    for start in (f"{prefix}/", f"{origin}/", f"{slug}/"):
        if key.startswith(start):
            key = key.removeprefix(start)
            break
    is_variation = (slug == "azure" and _REGIONAL.match(key)) or (slug in ("openai", "google") and "/" in key)
    return "" if is_variation else key


def _tiers(raw: msgspec.Raw) -> tuple[PriceTier, ...]:
    """The price tiers in an entry's keys. Raises msgspec.DecodeError for an invalid price."""
    if b"k_tokens" not in bytes(raw):
        return ()
    prices: dict[int, dict[str, Decimal | None]] = defaultdict(dict)
    for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items():
        if match := _TIER_COST.fullmatch(name):
            price = msgspec.json.decode(value, type=Decimal | None)
            prices[int(match[2]) * 1_000][_COSTS[match[1]]] = price_per_million(price)
    return sort_tiers(PriceTier(above, **prices[above]) for above in prices)


def _claim(slug: str, model_id: str, entry: _LiteLLMEntry, price_tiers: tuple[PriceTier, ...]) -> Claim:
    return Claim(
        provider=slug,
        model_id=model_id,
        kind=_KINDS.get(entry.mode or ""),
        input_modalities=printable_words(entry.supported_modalities),
        output_modalities=printable_words(entry.supported_output_modalities),
        context_length=positive(entry.max_input_tokens),
        max_output_tokens=positive(entry.max_output_tokens),
        tools=entry.supports_function_calling,
        vision=entry.supports_vision,
        reasoning=entry.supports_reasoning,
        structured_output=entry.supports_response_schema,
        streaming=entry.supports_native_streaming,
        input_per_million=price_per_million(entry.input_cost_per_token),
        output_per_million=price_per_million(entry.output_cost_per_token),
        cache_read_per_million=price_per_million(entry.cache_read_input_token_cost),
        cache_write_per_million=price_per_million(entry.cache_creation_input_token_cost),
        price_tiers=price_tiers,
        retires_on=iso_date(entry.deprecation_date),
    )
