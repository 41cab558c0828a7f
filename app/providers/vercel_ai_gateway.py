"""Vercel's AI Gateway. Its list is public. Prices are texts in USD per token; some models have none.

Recorded in July 2025, when it held language models only. Clients of 2026 also read `type` (language, embedding,
image …), `tags` (reasoning, tool-use, vision …) and `released`, the model's date: not recorded. A tag that is
missing is no "no". `created` is the moment of the request.
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
    price_per_token,
    strings,
    text,
    timestamp,
)

_TYPES: dict[str, Kind] = {
    "language": "chat",
    "embedding": "embedding",
    "image": "image",
    "video": "video",
    "reranking": "rerank",
    "speech": "audio",
    "transcription": "transcription",
    "realtime": "realtime",
}


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    tags, pricing = strings(entry, "tags"), mapping(entry, "pricing")
    kind, reason = _kind(model_id, text(entry, "type"))
    return ListedModel(
        id=model_id,
        name=text(entry, "name"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_window"),
        max_output_tokens=integer(entry, "max_tokens"),
        vision="vision" in tags or None,
        tools="tool-use" in tags or None,
        reasoning="reasoning" in tags or None,
        input_per_million=price_per_token(pricing, "input"),
        output_per_million=price_per_token(pricing, "output"),
        cache_read_per_million=price_per_token(pricing, "input_cache_read"),
        cache_write_per_million=price_per_token(pricing, "input_cache_write"),
        created_at=timestamp(entry, "released"),
    )


def _kind(model_id: str, declared: str) -> KindDecision:
    if not declared:
        return classify_model(model_id)
    return classify_model(model_id, declared=_TYPES.get(declared, "other"), because=f"its type is {declared}")


PROVIDER = Provider(
    slug="vercel-ai-gateway",
    title="Vercel AI Gateway",
    site="https://vercel.com/ai-gateway",
    keys_url="https://vercel.com/d?to=%2F%5Bteam%5D%2F%7E%2Fai%2Fapi-keys",
    key_hint="vck_…",
    base_url="https://ai-gateway.vercel.sh/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#171717",
    description="Models of many providers behind one key.",
    public=True,
    update_frequency="realtime",
)
