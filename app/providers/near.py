"""NEAR AI Cloud. Its list is public. Built from its server's published source (2026-08), not from a recording.

`pricing` has two units in one object: `input` and `output` are numbers in USD per million tokens, the rest (`prompt`,
`completion`, `input_cache_read` …) texts in USD per token. The first two are read, which older answers have alone, and
of the rest only what they lack: the cache. Models priced by the image have 0 there, so 0 reads as missing. Modalities
come flat, and in camel case within `architecture`. Whether `created` is the model's own day could not be confirmed.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    flag,
    identifier,
    integer,
    mapping,
    price_per_million,
    price_per_token,
    strings,
    text,
    timestamp,
)


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    architecture, pricing = mapping(entry, "architecture"), mapping(entry, "pricing")
    inputs = strings(entry, "input_modalities") or strings(architecture, "inputModalities")
    outputs = strings(entry, "output_modalities") or strings(architecture, "outputModalities")
    features = strings(entry, "supported_features")
    kind, reason = classify_model(model_id, outputs=outputs)
    if flag(entry, "is_ready") is False:
        kind, reason = KindDecision("other", "the provider marks it as not ready")
    return ListedModel(
        id=model_id,
        name=text(entry, "name"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        max_output_tokens=integer(entry, "max_output_length"),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        tools="tools" in features if features else None,
        vision="image" in inputs if inputs else None,
        reasoning="reasoning" in features if features else None,
        structured_output="structured_outputs" in features if features else None,
        input_per_million=price_per_million(pricing, "input") or None,
        output_per_million=price_per_million(pricing, "output") or None,
        cache_read_per_million=price_per_token(pricing, "input_cache_read") or None,
        deprecated_at=timestamp(entry, "deprecation_date"),
        hugging_face_id=text(entry, "hugging_face_id"),
    )


PROVIDER = Provider(
    slug="near",
    title="NEAR AI",
    site="https://near.ai",
    keys_url="https://cloud.near.ai",
    key_hint="sk-…",
    base_url="https://cloud-api.near.ai/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#0b7a55",
    description="Private inference in trusted hardware, and other vendors' models.",
    public=True,
)
