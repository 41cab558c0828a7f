"""DeepInfra. All facts are in `metadata`; its tags name the kind since May 2026.

Before that `metadata` was null for every model that is not a chat model (recorded 2026-03 to 2026-05), and missing in
2025-07. Prices are numbers in USD per million tokens with float noise; images, seconds and characters have keys of
their own. `max_tokens` always equals the context, so it is not an output limit; `created` is 0.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision
from app.catalog.listing import Kind
from app.providers.contract import Provider, key_pattern
from app.providers.field_map import Extractor, FieldMap, map_word, not_chat_if, per_million
from app.providers.parsing import JsonObject, mapping, strings

_KINDS: dict[str, Kind] = {
    "embed": "embedding",
    "rerank": "rerank",
    "image-gen": "image",
    "video-gen": "video",
    "tts": "audio",
    "stt": "transcription",
    "chat": "chat",
}


def _tagged(*tags: str) -> Extractor:
    def extract(entry: JsonObject) -> bool | None:
        listed = strings(mapping(entry, "metadata"), "tags")
        if not set(tags).isdisjoint(listed):
            return True
        return False if "chat" in listed else None  # only tags that name the kind are complete

    return extract


PROVIDER = Provider(
    slug="deepinfra",
    title="DeepInfra",
    site="https://deepinfra.com",
    ai_sdk_package="@ai-sdk/deepinfra",
    docs_url="https://deepinfra.com/docs",
    keys_url="https://deepinfra.com/dash/api_keys",
    key_hint="32 letters and digits",
    key_patterns=(key_pattern(r"[A-Za-z0-9]{32}", odds=2),),
    key_variables=("DEEPINFRA_TOKEN",),
    base_url="https://api.deepinfra.com/v1/openai",
    read=FieldMap(
        classify=not_chat_if(
            lambda entry: entry.get("metadata", "") is None,
            KindDecision("other", "its metadata is null, as for models that do not chat"),
            map_word("metadata.tags", _KINDS, "its tags include {}"),
        ),
        description="metadata.description",
        context_length="metadata.context_length",
        vision=_tagged("vision", "vlm"),
        reasoning=_tagged("reasoning", "reasoning_effort"),
        input_per_million=per_million("metadata.pricing.input_tokens"),
        output_per_million=per_million("metadata.pricing.output_tokens"),
        cache_read_per_million=per_million("metadata.pricing.cache_read_tokens"),
    ),
    colour="#2563b8",
    description="Open models of all kinds, and some closed ones, served by DeepInfra.",
    rank=100,
)
