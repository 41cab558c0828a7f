"""Poe, an aggregator of bots. A bot chats if text is all that it puts out (recorded 2026-01).

`created` is in milliseconds. `pricing` is null for many, and of the rest half are paid by the message: then only
its `request` is filled. Prices are texts in USD per token. `reasoning` is null for models that reason, too, so null
says nothing; the same holds for `context_window`.
"""

from __future__ import annotations

from datetime import datetime

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
    strings,
    text,
    timestamp,
)


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    architecture, window = mapping(entry, "architecture"), mapping(entry, "context_window")
    inputs, outputs = strings(architecture, "input_modalities"), strings(architecture, "output_modalities")
    # Where text only goes along with a picture, the picture is the point.
    kind, reason = classify_model(model_id, outputs=[word for word in outputs if word != "text"] or outputs)
    pricing = mapping(entry, "pricing")
    return ListedModel(
        id=model_id,
        name=text(mapping(entry, "metadata"), "display_name"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(window, "context_length") or integer(entry, "context_length"),
        max_output_tokens=integer(window, "max_output_tokens"),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        vision="image" in inputs if inputs else None,
        reasoning=True if mapping(entry, "reasoning") else None,
        input_per_million=price_per_token(pricing, "prompt"),
        output_per_million=price_per_token(pricing, "completion"),
        cache_read_per_million=price_per_token(pricing, "input_cache_read"),
        cache_write_per_million=price_per_token(pricing, "input_cache_write"),
        created_at=_from_milliseconds(integer(entry, "created")),
    )


def _from_milliseconds(value: int | None) -> datetime | None:
    return timestamp({"created": value / 1000}, "created") if value else None


PROVIDER = Provider(
    slug="poe",
    title="Poe",
    site="https://poe.com",
    keys_url="https://poe.com/api_key",
    key_hint="letters and digits, 43 or more",
    base_url="https://api.poe.com/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#5d5cde",
    description="Hundreds of bots behind one key.",
    update_frequency="realtime",
)
