"""CherryIN, the gateway of Cherry Studio. Nothing was recorded: the shape is that of New API, which it descends
from, as its open code and clients show it (November 2026). Its host has been .ai, .net and .cc.

`supported_endpoint_types` tells how a model is called. New API gives "openai" to almost everything, so it is only
believed where the id does not say otherwise. `created` is one constant for all.
"""

from __future__ import annotations

from app.catalog.kind import Decision, kind_of
from app.catalog.listing import Kind, ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import Entry, document, entries, identifier, page, words

_CHAT = ("openai", "openai-response", "anthropic", "gemini")
_OTHERWISE: dict[str, Kind] = {
    "embeddings": "embedding",
    "jina-rerank": "rerank",
    "image-generation": "image",
    "openai-video": "video",
}


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = _kind(model_id, words(entry, "supported_endpoint_types"))
    return ListedModel(id=model_id, kind=kind, kind_reason=reason)


def _kind(model_id: str, endpoints: tuple[str, ...]) -> Decision:
    for name, kind in _OTHERWISE.items():
        if name in endpoints:
            return kind_of(model_id, declared=kind, because=f"{name} is among its endpoint types")
    for name in _CHAT:
        if name in endpoints:
            return kind_of(model_id, declared="chat", because=f"{name} is among its endpoint types", prefer_id=True)
    return kind_of(model_id)


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
