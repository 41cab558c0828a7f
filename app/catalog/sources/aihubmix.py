"""AIHubMix's rich list: `{"data": [{"model_id": "gpt-4o", "types": "llm", "pricing": {"input": 2.5, …}, …}, …]}`.

`app/providers/aihubmix.py` parses it and documents its fields; this module declares their types.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from app.catalog.listing import ListedModel
from app.catalog.sources import gateway
from app.catalog.sources.claims import ParsedSource, SourceFault


class _AIHubMixPricing(msgspec.Struct):
    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


class _AIHubMixEntry(msgspec.Struct):
    model_id: str
    model_name: str | None = None
    types: str | None = None
    features: str | None = None
    input_modalities: str | None = None
    context_length: int | None = None
    max_output: int | None = None
    pricing: _AIHubMixPricing | None = None


def parse(body: bytes, models: Iterable[ListedModel], faults: Iterable[SourceFault]) -> ParsedSource:
    """See `gateway.parse_gateway`."""
    return gateway.parse_gateway("aihubmix", body, _AIHubMixEntry, "model_id", models, faults)
