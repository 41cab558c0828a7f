"""Fireworks' serverless list. Ids are paths, `accounts/<account>/models/<name>`; there are no prices.

`supports_chat` is too generous: picture models (kind FLUMINA…) have carried it (recorded 2025-07 and 2026-05). Models
of accounts other than Fireworks' own are listed too, once a customer's debug model (2025-07), so they stay private.
412 and 500 have been seen for a moment (2026-05, 2026-06).
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    flag,
    identifier,
    integer,
    text,
    timestamp,
)


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = _kind(model_id, text(entry, "kind"), flag(entry, "supports_chat"))
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        tools=flag(entry, "supports_tools"),
        vision=flag(entry, "supports_image_input"),
        created_at=timestamp(entry, "created"),
        private=model_id.startswith("accounts/") and not model_id.startswith("accounts/fireworks/"),
    )


def _kind(model_id: str, declared: str, chats: bool | None) -> KindDecision:
    if declared.startswith("FLUMINA"):
        return classify_model(model_id, declared="image", because=f"its kind is {declared}")
    if chats:
        return classify_model(model_id, declared="chat", because="its supports_chat is true", prefer_id=True)
    by_id = classify_model(model_id)
    if by_id.kind == "chat" and chats is False:
        return KindDecision("other", "its supports_chat is false")
    return by_id


PROVIDER = Provider(
    slug="fireworks",
    title="Fireworks",
    site="https://fireworks.ai",
    keys_url="https://app.fireworks.ai/settings/users/api-keys",
    key_hint="fw_…",
    base_url="https://api.fireworks.ai/inference/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#6720ff",
    description="Open models on Fireworks' serverless endpoints.",
)
