"""Groq. Limits have always been in the list; prices and modalities since June 2026.

Prices are texts in USD per token. Models with `active: false` can no longer be called.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    flag,
    identifier,
    integer,
    mapping,
    price_per_token,
    strings,
    text,
    timestamp,
)


def ask(cursor: str | None) -> Request:
    return Request("/openai/v1" + openai_shape.ask(cursor).path)


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    inputs, outputs = strings(entry, "input_modalities"), strings(entry, "output_modalities")
    features = strings(entry, "supported_features")
    kind, reason = classify_model(model_id, outputs=outputs)
    if flag(entry, "active") is False:
        kind, reason = KindDecision("other", "the provider marks it as inactive")
    pricing = mapping(entry, "pricing")
    return ListedModel(
        id=model_id,
        name=text(entry, "name"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_window") or integer(entry, "context_length"),
        max_output_tokens=integer(entry, "max_completion_tokens") or integer(entry, "max_output_length"),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        vision="image" in inputs if inputs else None,
        tools="tools" in features if features else None,
        reasoning="reasoning" in features if features else None,
        structured_output=_has_structured_output(features),
        input_per_million=price_per_token(pricing, "prompt"),
        output_per_million=price_per_token(pricing, "completion"),
        cache_read_per_million=price_per_token(pricing, "input_cache_read"),
        created_at=timestamp(entry, "created"),
        hugging_face_id=text(entry, "hugging_face_id"),
    )


def _has_structured_output(features: tuple[str, ...]) -> bool | None:
    return bool({"structured_outputs", "json_schema"} & set(features)) if features else None


PROVIDER = Provider(
    slug="groq",
    title="Groq",
    site="https://groq.com",
    keys_url="https://console.groq.com/keys",
    key_hint="gsk_…",
    base_url="https://api.groq.com",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#f55036",
    description="Open models on Groq's own chips.",
)
