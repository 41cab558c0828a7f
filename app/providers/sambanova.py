"""SambaNova. Limits and prices are listed (recorded 2025-07, chat models only); dates are not.

Prices are texts in USD per token; a model paid by the hour (`duration_per_hour`, documented for Whisper) has none per
token. `owned_by` is an e-mail address and is not stored.
"""

from __future__ import annotations

from decimal import Decimal

from app.providers.contract import Provider, key_pattern
from app.providers.field_map import Extractor, FieldMap
from app.providers.parsing import JsonObject, mapping, price_per_token


def _price(key: str) -> Extractor:
    def extract(entry: JsonObject) -> Decimal | None:
        pricing = mapping(entry, "pricing")
        return None if "duration_per_hour" in pricing else price_per_token(pricing, key)

    return extract


PROVIDER = Provider(
    slug="sambanova",
    title="SambaNova",
    site="https://sambanova.ai",
    docs_url="https://docs.sambanova.ai",
    keys_url="https://cloud.sambanova.ai/apis",
    key_hint="01234567-89ab-…",
    key_patterns=(key_pattern(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),),
    base_url="https://api.sambanova.ai/v1",
    read=FieldMap(
        context_length="context_length",
        max_output_tokens="max_completion_tokens",
        input_per_million=_price("prompt"),
        output_per_million=_price("completion"),
    ),
    colour="#c2410c",
    description="Open models on SambaNova's own chips.",
)
