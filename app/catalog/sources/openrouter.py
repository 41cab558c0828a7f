"""OpenRouter's public list: `{"data": [{"id": "lab/model", "pricing": {"prompt": "0.0000025", …}, …}, …]}`.

`app/providers/openrouter.py` parses it and documents its fields; this module declares their types.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from app.catalog.listing import ListedModel
from app.catalog.sources import gateway
from app.catalog.sources.claims import ParsedSource, SourceFault


class _Architecture(msgspec.Struct):
    input_modalities: list[str] | None = None
    output_modalities: list[str] | None = None


class _OpenRouterPricing(msgspec.Struct):
    prompt: Decimal | None = None
    completion: Decimal | None = None
    input_cache_read: Decimal | None = None
    input_cache_write: Decimal | None = None


class _Top(msgspec.Struct):
    context_length: int | None = None
    max_completion_tokens: int | None = None


class _OpenRouterEntry(msgspec.Struct):
    id: str
    name: str | None = None
    canonical_slug: str | None = None
    hugging_face_id: str | None = None
    context_length: int | None = None
    architecture: _Architecture | None = None
    pricing: _OpenRouterPricing | None = None
    top_provider: _Top | None = None
    supported_parameters: list[str] | None = None


def parse(body: bytes, models: Iterable[ListedModel], faults: Iterable[SourceFault]) -> ParsedSource:
    """See `gateway.parse_gateway`."""
    return gateway.parse_gateway("openrouter", body, _OpenRouterEntry, "id", models, faults)
