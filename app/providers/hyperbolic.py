"""Hyperbolic. `supports_chat` is false for pictures and speech, but for base models too (recorded 2025-07).

`created` is the time of the request and is left out; `context_length` may be null. There are no prices.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries, flag, identifier, integer


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = _kind(model_id, flag(entry, "supports_chat"))
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        tools=flag(entry, "supports_tools"),
        vision=flag(entry, "supports_image_input"),
    )


def _kind(model_id: str, chats: bool | None) -> KindDecision:
    if chats:
        return classify_model(model_id, declared="chat", because="its supports_chat is true")
    by_id = classify_model(model_id)
    if chats is False and by_id.kind == "chat":
        return KindDecision("completion", "its supports_chat is false")
    return by_id


PROVIDER = Provider(
    slug="hyperbolic",
    title="Hyperbolic",
    site="https://www.hyperbolic.ai",
    keys_url="https://app.hyperbolic.ai/settings/api-keys",
    key_hint="eyJ… or sk_live_…",
    base_url="https://api.hyperbolic.xyz/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#5b21b6",
    description="Open models on Hyperbolic's GPU marketplace.",
)
