"""DeepSeek. A handful of ids and nothing else, not even dates (recorded 2025-03); all its models chat."""

from __future__ import annotations

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries, identifier


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = classify_model(model_id, declared="chat", because="DeepSeek lists chat models only")
    return ListedModel(id=model_id, kind=kind, kind_reason=reason)


PROVIDER = Provider(
    slug="deepseek",
    title="DeepSeek",
    site="https://www.deepseek.com",
    keys_url="https://platform.deepseek.com/api_keys",
    key_hint="sk-…",
    base_url="https://api.deepseek.com",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#4d6bfe",
    description="DeepSeek's own models.",
)
