"""SambaNova. Limits and prices are in the list (recorded 2025-07, chat models only); it gives no dates.

Prices are texts in USD per token; a model that is paid by the hour (`duration_per_hour`, documented for Whisper)
has none per token. `owned_by` is an e-mail address and is not kept.
"""

from __future__ import annotations

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    identifier,
    integer,
    mapping,
    price_per_token,
)


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = classify_model(model_id)
    pricing = mapping(entry, "pricing")
    if "duration_per_hour" in pricing:
        pricing = {}
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        max_output_tokens=integer(entry, "max_completion_tokens"),
        input_per_million=price_per_token(pricing, "prompt"),
        output_per_million=price_per_token(pricing, "completion"),
    )


PROVIDER = Provider(
    slug="sambanova",
    title="SambaNova",
    site="https://sambanova.ai",
    keys_url="https://cloud.sambanova.ai/apis",
    key_hint="01234567-89ab-…",
    base_url="https://api.sambanova.ai/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#c2410c",
    description="Open models on SambaNova's own chips.",
)
