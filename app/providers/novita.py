"""Novita. Prices are whole numbers in 0.0001 USD per million tokens: 2800 is $0.28.

Recorded in July 2025, chat models only; `features` and `endpoints` are missing on some. Clients of 2026 also read
`input_modalities` and `output_modalities`: not recorded. A price of 0 is a free model. Its newer address /openai/v1
answers too, as its documentation of November 2026 says.
"""

from __future__ import annotations

from decimal import Decimal

from app.catalog.listing import Kind
from app.providers.contract import Provider, key_pattern
from app.providers.field_map import FieldMap, contains, first, map_value, mentions, price

_UNIT = Decimal("0.0001")
_TYPES: dict[str, Kind] = {"chat": "chat", "embedding": "embedding", "rerank": "rerank", "reranker": "rerank"}

PROVIDER = Provider(
    slug="novita",
    title="Novita AI",
    site="https://novita.ai",
    docs_url="https://novita.ai/docs",
    keys_url="https://novita.ai/settings/key-management",
    key_hint="sk_…",
    key_patterns=(key_pattern(r"sk_[\w-]+"),),
    base_url="https://api.novita.ai/v3/openai",
    read=FieldMap(
        sort_modalities=False,
        classify=map_value("model_type", _TYPES, "its model_type is {}"),
        name="display_name",
        description="description",
        context_length="context_size",
        max_output_tokens="max_output_tokens",
        input_modalities="input_modalities",
        output_modalities="output_modalities",
        vision=first(contains("input_modalities", "image"), contains("features", "vision")),
        tools=contains("features", "function-calling"),
        reasoning=mentions("features", "reasoning"),  # missing on reasoning models of 2025
        structured_output=contains("features", "structured-outputs"),
        input_per_million=price("input_token_price_per_m", _UNIT),
        output_per_million=price("output_token_price_per_m", _UNIT),
        created_at="created",
    ),
    colour="#15803d",
    description="Open models at low prices.",
)
