"""DeepSeek. A handful of ids and nothing else, not even dates (recorded 2025-03); all its models chat."""

from __future__ import annotations

from app.catalog.kind import kind_of
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import Entry, document, entries, identifier, page


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = kind_of(model_id, declared="chat", because="DeepSeek lists chat models only")
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
