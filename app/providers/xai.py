"""xAI. Ids and dates until May 2026; prices and context since (documented and seen by others, not recorded here).

Prices are whole numbers in 0.0001 USD per million tokens: 12500 is $1.25. No field says what a model is: pictures and
videos are told by their id, or by a price per image with none per token. `aliases` are further names of the same row.
Nothing at xAI is free, so a price of 0 reads as missing.
"""

from __future__ import annotations

from decimal import Decimal

from app.catalog.kind import KindDecision, classify_model
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
    price_in_unit,
    strings,
    timestamp,
)

_UNIT = Decimal("0.0001")


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    inputs, outputs = strings(entry, "input_modalities"), strings(entry, "output_modalities")
    price_out = price_in_unit(entry, "completion_text_token_price", _UNIT) or None
    kind, reason = classify_model(model_id, outputs=outputs)
    if kind == "chat" and not price_out and integer(entry, "image_price"):
        kind, reason = KindDecision("image", "it has a price per image and none per token")
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        vision="image" in inputs if inputs else (True if integer(entry, "prompt_image_token_price") else None),
        input_per_million=price_in_unit(entry, "prompt_text_token_price", _UNIT) or None,
        output_per_million=price_out,
        cache_read_per_million=price_in_unit(entry, "cached_prompt_text_token_price", _UNIT) or None,
        created_at=timestamp(entry, "created"),
    )


PROVIDER = Provider(
    slug="xai",
    title="xAI",
    site="https://x.ai",
    keys_url="https://console.x.ai",
    key_hint="xai-…",
    base_url="https://api.x.ai/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#1f2328",
    description="Grok models.",
)
