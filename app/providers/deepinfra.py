"""DeepInfra. What there is to know is in `metadata`; its tags say what a model is since May 2026.

Before that `metadata` was null for every model that does not chat (recorded 2026-03 to 2026-05), and in 2025-07 there
was none. Prices are numbers in USD per million tokens with float noise; images, seconds and characters have keys of
their own. `max_tokens` always equals the context, so it is no limit of the answer; `created` is 0.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
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
    text,
)

_KINDS: dict[str, Kind] = {
    "embed": "embedding",
    "rerank": "rerank",
    "image-gen": "image",
    "video-gen": "video",
    "tts": "audio",
    "stt": "transcription",
    "chat": "chat",
}


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    metadata = mapping(entry, "metadata")
    tags, pricing = strings(metadata, "tags"), mapping(metadata, "pricing")
    kind, reason = _kind(model_id, tags, "metadata" in entry and entry["metadata"] is None)
    unsaid = False if "chat" in tags else None  # only tags that name the kind tell the rest too
    return ListedModel(
        id=model_id,
        description=text(metadata, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(metadata, "context_length"),
        vision=True if "vision" in tags or "vlm" in tags else unsaid,
        reasoning=True if "reasoning" in tags or "reasoning_effort" in tags else unsaid,
        input_per_million=price_per_million(pricing, "input_tokens"),
        output_per_million=price_per_million(pricing, "output_tokens"),
        cache_read_per_million=price_per_million(pricing, "cache_read_tokens"),
    )


def _kind(model_id: str, tags: tuple[str, ...], untold: bool) -> KindDecision:
    for tag, kind in _KINDS.items():
        if tag in tags:
            return classify_model(model_id, declared=kind, because=f"its tags include {tag}")
    by_id = classify_model(model_id)
    if by_id.kind == "chat" and untold:
        return KindDecision("other", "its metadata is null, as for models that do not chat")
    return by_id


PROVIDER = Provider(
    slug="deepinfra",
    title="DeepInfra",
    site="https://deepinfra.com",
    keys_url="https://deepinfra.com/dash/api_keys",
    key_hint="32 letters and digits",
    base_url="https://api.deepinfra.com/v1/openai",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#2563b8",
    description="Open models of all kinds, and some closed ones, served by DeepInfra.",
)
