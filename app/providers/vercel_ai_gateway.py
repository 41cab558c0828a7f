"""Vercel's AI Gateway. Its list is public. Prices are texts in USD per token; some models have none.

Recorded in July 2025, when it held language models only. Clients of 2026 also read `type` (language, embedding, image
…), `tags` (reasoning, tool-use, vision …) and `released`, the model's date: not recorded. A missing tag says nothing.
`created` is the time of the request.
"""

from __future__ import annotations

from app.catalog.listing import Kind
from app.providers.contract import Provider
from app.providers.field_map import FieldMap, map_value, mentions, per_token

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

PROVIDER = Provider(
    slug="vercel-ai-gateway",
    title="Vercel AI Gateway",
    site="https://vercel.com/ai-gateway",
    ai_sdk_package="@ai-sdk/gateway",
    docs_url="https://vercel.com/docs/ai-gateway",
    keys_url="https://vercel.com/d?to=%2F%5Bteam%5D%2F%7E%2Fai%2Fapi-keys",
    key_hint="vck_…",
    key_prefixes=("vck_",),
    key_variables=("AI_GATEWAY_API_KEY",),
    base_url="https://ai-gateway.vercel.sh/v1",
    read=FieldMap(
        classify=map_value("type", _TYPES, "its type is {}", otherwise="other"),
        name="name",
        description="description",
        context_length="context_window",
        max_output_tokens="max_tokens",
        vision=mentions("tags", "vision"),
        tools=mentions("tags", "tool-use"),
        reasoning=mentions("tags", "reasoning"),
        input_per_million=per_token("pricing.input"),
        output_per_million=per_token("pricing.output"),
        cache_read_per_million=per_token("pricing.input_cache_read"),
        cache_write_per_million=per_token("pricing.input_cache_write"),
        created_at="released",
    ),
    colour="#171717",
    description="Models of many providers behind one key.",
    public=True,
    update_frequency="realtime",
)
