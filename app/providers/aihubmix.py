"""AIHubMix, an aggregator. The rich list read here is public; the OpenAI-compatible one has ids only.

`types`, `features` and `input_modalities` are comma-separated texts, sometimes with a full-width comma, and often empty
(July 2026: 40 % of `types`, where the id decides). "image_generation,llm" is an image model, "llm,search" a chat model.
A limit of 0 means unknown. Prices are in USD per million tokens: a model is free where all are 0; a single 0 means "not
stated"; 2 with 0 or 2 is a placeholder for prices per piece (all video models) or for routers ("auto"), and dropped.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
from app.providers.contract import PLAIN_SK, Page, Provider, list_at
from app.providers.envelope import find_entries
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    identifier,
    integer,
    mapping,
    price_per_million,
    text,
)

_TYPES: dict[str, Kind] = {  # the first match decides
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


def read(body: bytes) -> Page:
    answer = decode_json(body)
    return build_page(find_entries(answer, "data"), _read_entry, envelope=answer)


def _read_entry(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "model_id")
    features, inputs = set(_split(text(entry, "features"))), _split(text(entry, "input_modalities"))
    pricing = _pricing(entry)
    kind, reason = _classify(model_id, _split(text(entry, "types")))
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


@lru_cache(maxsize=1_024)
def _split(listed: str) -> tuple[str, ...]:
    """Cached: a list repeats the same few texts."""
    words = (word.strip() for word in listed.replace("，", ",").split(","))
    return tuple(sorted({word for word in words if word}))


def _pricing(entry: JsonObject) -> dict[str, Decimal]:
    listed = mapping(entry, "pricing")
    prices = {name: price for name in _PRICES if (price := price_per_million(listed, name)) is not None}
    if prices.get("input") == 2 and prices.get("output") in (0, 2):
        return {}
    return {name: price for name, price in prices.items() if price} or prices


def _classify(model_id: str, types: tuple[str, ...]) -> KindDecision:
    for word, kind in _TYPES.items():
        if word in types:
            return classify_model(model_id, declared=kind, because=f"{word} is among its types")
    return classify_model(model_id)


PROVIDER = Provider(
    slug="aihubmix",
    title="AIHubMix",
    site="https://aihubmix.com",
    chat_path="/v1",
    ai_sdk_package="@aihubmix/ai-sdk-provider",
    docs_url="https://docs.aihubmix.com",
    keys_url="https://aihubmix.com/token",
    key_hint="sk-…",
    key_patterns=(PLAIN_SK,),
    base_url="https://aihubmix.com",
    build_request=list_at("/api/v1/models"),
    read=read,
    colour="#0e7490",
    description="Hundreds of models of many providers behind one key.",
    public=True,
    update_frequency="realtime",
)
