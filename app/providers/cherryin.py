"""CherryIN, the gateway of Cherry Studio. Nothing was recorded: the shape is that of New API, which it descends
from, as its open code and clients show it (November 2026). Its host has been .ai, .net and .cc.

`supported_endpoint_types` tells how a model is called. New API gives "openai" to almost everything, so it is only
believed where the id does not say otherwise. `created` is one constant for all.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries, identifier, strings

_CHAT = ("openai", "openai-response", "anthropic", "gemini")
_OTHERWISE: dict[str, Kind] = {
    "embeddings": "embedding",
    "jina-rerank": "rerank",
    "image-generation": "image",
    "openai-video": "video",
}


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = _kind(model_id, strings(entry, "supported_endpoint_types"))
    return ListedModel(id=model_id, kind=kind, kind_reason=reason)


def _kind(model_id: str, endpoints: tuple[str, ...]) -> KindDecision:
    for name, kind in _OTHERWISE.items():
        if name in endpoints:
            return classify_model(model_id, declared=kind, because=f"{name} is among its endpoint types")
    for name in _CHAT:
        if name in endpoints:
            return classify_model(
                model_id, declared="chat", because=f"{name} is among its endpoint types", prefer_id=True
            )
    return classify_model(model_id)


PROVIDER = Provider(
    slug="cherryin",
    title="CherryIN",
    site="https://open.cherryin.ai",
    keys_url="https://open.cherryin.ai/console/token",
    key_hint="sk-…",
    base_url="https://open.cherryin.ai/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#be123c",
    description="Cherry Studio's gateway to models of many providers.",
    update_frequency="realtime",
)
