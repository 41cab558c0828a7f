"""Hyperbolic. `supports_chat` is false for pictures and speech, but for base models too (recorded 2025-07).

`created` is the time of the request and is left out; `context_length` may be null. There are no prices.
"""

from __future__ import annotations

from app.catalog.kind import Decision, kind_of
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import Entry, document, entries, flag, identifier, page, whole


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = _kind(model_id, flag(entry, "supports_chat"))
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=whole(entry, "context_length"),
        tools=flag(entry, "supports_tools"),
        vision=flag(entry, "supports_image_input"),
    )


def _kind(model_id: str, chats: bool | None) -> Decision:
    if chats:
        return kind_of(model_id, declared="chat", because="its supports_chat is true")
    by_id = kind_of(model_id)
    if chats is False and by_id.kind == "chat":
        return Decision("completion", "its supports_chat is false")
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
