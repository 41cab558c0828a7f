"""Chutes. Its list is public and holds language models only.

In July 2025 `price` was `{"usd", "tao"}`, one blended figure that is neither an input nor an output price and is
left out. Clients of 2026 read `pricing {prompt, completion}` and `price {input: {usd}, output: {usd}}`, in USD per
million tokens, with limits, modalities and features: not recorded. `created` is the moment of the request.
"""

from __future__ import annotations

from decimal import Decimal

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
    price_per_million,
    strings,
)


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    inputs, outputs = strings(entry, "input_modalities"), strings(entry, "output_modalities")
    features = strings(entry, "supported_features")
    kind, reason = classify_model(model_id, outputs=outputs)
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length") or integer(entry, "max_model_len"),
        max_output_tokens=integer(entry, "max_output_length"),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        vision="image" in inputs if inputs else None,
        tools="tools" in features if features else None,
        reasoning="reasoning" in features if features else None,
        structured_output="structured_outputs" in features if features else None,
        input_per_million=_price(entry, "prompt", "input"),
        output_per_million=_price(entry, "completion", "output"),
        cache_read_per_million=_price(entry, "input_cache_read", "input_cache_read"),
    )


def _price(entry: JsonObject, name: str, nested: str) -> Decimal | None:
    found = price_per_million(mapping(entry, "pricing"), name)
    return price_per_million(mapping(mapping(entry, "price"), nested), "usd") if found is None else found


PROVIDER = Provider(
    slug="chutes",
    title="Chutes",
    site="https://chutes.ai",
    keys_url="https://chutes.ai/app/api",
    key_hint="cpk_…",
    base_url="https://llm.chutes.ai/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#166534",
    description="Open models on decentralised hardware.",
    public=True,
    update_frequency="realtime",
)
