"""AIHubMix, an aggregator. Its rich list is public; the OpenAI-like one beside it has ids only.

`types`, `features` and `input_modalities` are texts with commas, a full-width one now and then, and often empty
(July 2026: two in five `types`, where the id has to tell). "image_generation,llm" is an image model and
"llm,search" a chat model. A limit of 0 means unknown. Prices are in USD per million tokens; a model is free where
all of them are 0, one 0 beside others is not said, and 2 with 0 or 2 stands in for a price by piece (every video
model) or by what is routed to ("auto"): left out.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    identifier,
    integer,
    mapping,
    price_per_million,
    text,
)

_TYPES: dict[str, Kind] = {  # the first that fits decides
    "embedding": "embedding",
    "rerank": "rerank",
    "image_generation": "image",
    "video": "video",
    "tts": "audio",
    "stt": "transcription",
    "llm": "chat",
    "ocr": "ocr",
    "search": "other",
}
_PRICES = ("input", "output", "cache_read", "cache_write")


def ask(_cursor: str | None) -> Request:
    return Request("/api/v1/models")


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "model_id")
    features, inputs = set(_listed(entry, "features")), _listed(entry, "input_modalities")
    pricing = _pricing(entry)
    kind, reason = _kind(model_id, _listed(entry, "types"))
    return ListedModel(
        id=model_id,
        name=text(entry, "model_name"),
        description=text(entry, "desc"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        max_output_tokens=integer(entry, "max_output"),
        input_modalities=inputs,
        vision="image" in inputs if inputs else None,
        tools=bool(features & {"tools", "tool", "function_calling"}) if features else None,
        reasoning="thinking" in features if features else None,
        structured_output="structured_outputs" in features if features else None,
        input_per_million=pricing.get("input"),
        output_per_million=pricing.get("output"),
        cache_read_per_million=pricing.get("cache_read"),
        cache_write_per_million=pricing.get("cache_write"),
    )


def _listed(entry: JsonObject, key: str) -> tuple[str, ...]:
    return _split(text(entry, key))


@lru_cache(maxsize=1_024)
def _split(written: str) -> tuple[str, ...]:
    """Kept, because a list says the same few things over and over."""
    words = (word.strip() for word in written.replace("，", ",").split(","))
    return tuple(sorted({word for word in words if word}))


def _pricing(entry: JsonObject) -> dict[str, Decimal]:
    listed = mapping(entry, "pricing")
    read = {name: price for name in _PRICES if (price := price_per_million(listed, name)) is not None}
    if read.get("input") == 2 and read.get("output") in (0, 2):
        return {}
    return {name: price for name, price in read.items() if price} or read


def _kind(model_id: str, types: tuple[str, ...]) -> KindDecision:
    for word, kind in _TYPES.items():
        if word in types:
            return classify_model(model_id, declared=kind, because=f"{word} is among its types")
    return classify_model(model_id)


PROVIDER = Provider(
    slug="aihubmix",
    title="AIHubMix",
    site="https://aihubmix.com",
    keys_url="https://aihubmix.com/token",
    key_hint="sk-…",
    base_url="https://aihubmix.com",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#0e7490",
    description="Hundreds of models of many providers behind one key.",
    public=True,
    update_frequency="realtime",
)
