"""AIHubMix's rich list: `{"data": [{"model_id": "gpt-4o", "types": "llm", "pricing": {"input": 2.5, …}, …}, …]}`.

Read by `app/providers/aihubmix.py`, whose docstring tells the meaning of its fields; here is what type they have.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from app.catalog.listing import ListedModel
from app.catalog.sources import listed
from app.catalog.sources.claims import Fault, Reading


class _Pricing(msgspec.Struct):
    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


class _Entry(msgspec.Struct):
    model_id: str
    model_name: str | None = None
    types: str | None = None
    features: str | None = None
    input_modalities: str | None = None
    context_length: int | None = None
    max_output: int | None = None
    pricing: _Pricing | None = None


def reading(body: bytes, models: Iterable[ListedModel], left_out: Iterable[Fault]) -> Reading:
    """See `listed.reading`."""
    return listed.reading("aihubmix", body, _Entry, "model_id", models, left_out)
