"""CherryIN, Cherry Studio's gateway. Nothing was recorded: the shape is New API's, from which it descends, as its open
code and clients show (November 2026). Its host has been .ai, .net and .cc.

`supported_endpoint_types` tells how a model is called. New API sets "openai" on almost everything, so it counts only
where the id does not disagree. `created` is one constant for all.
"""

from __future__ import annotations

from app.catalog.listing import Kind
from app.providers.contract import PLAIN_SK, Provider
from app.providers.field_map import FieldMap, map_word

_CHAT = ("openai", "openai-response", "anthropic", "gemini")
_KINDS: dict[str, Kind] = {
    "embeddings": "embedding",
    "jina-rerank": "rerank",
    "image-generation": "image",
    "openai-video": "video",
    **dict.fromkeys(_CHAT, "chat"),
}

PROVIDER = Provider(
    slug="cherryin",
    title="CherryIN",
    site="https://open.cherryin.ai",
    keys_url="https://open.cherryin.ai/console/token",
    key_hint="sk-…",
    key_patterns=(PLAIN_SK,),
    base_url="https://open.cherryin.ai/v1",
    read=FieldMap(classify=map_word("supported_endpoint_types", _KINDS, "{} is among its endpoint types", weak=_CHAT)),
    colour="#be123c",
    description="Cherry Studio's gateway to models of many providers.",
    update_frequency="realtime",
)
