"""Fireworks' serverless list. Ids are paths, `accounts/<account>/models/<name>`; there are no prices.

`supports_chat` is too generous: image models (kind FLUMINA…) have carried it (recorded 2025-07 and 2026-05). Models of
accounts other than Fireworks' own are listed too, once a customer's debug model (2025-07), so they stay private. Brief
412 and 500 responses have been seen (2026-05, 2026-06).
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import Provider
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, flag, identifier, text


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    kind, supports_chat = text(entry, "kind"), flag(entry, "supports_chat")
    if kind.startswith("FLUMINA"):
        return KindDecision("image", f"its kind is {kind}")
    if supports_chat:
        return classify_model(model_id, declared="chat", because="its supports_chat is true", prefer_id=True)
    by_id = classify_model(model_id)
    if by_id.kind == "chat" and supports_chat is False:
        return KindDecision("other", "its supports_chat is false")
    return by_id


def _is_private(entry: JsonObject) -> bool:
    model_id = identifier(entry)
    return model_id.startswith("accounts/") and not model_id.startswith("accounts/fireworks/")


PROVIDER = Provider(
    slug="fireworks",
    title="Fireworks",
    site="https://fireworks.ai",
    docs_url="https://docs.fireworks.ai",
    keys_url="https://app.fireworks.ai/settings/users/api-keys",
    key_hint="fw_…",
    key_prefixes=("fw_",),
    key_variables=("FIREWORKS_AI_API_KEY",),
    base_url="https://api.fireworks.ai/inference/v1",
    read=FieldMap(
        classify=_classify,
        private=_is_private,
        context_length="context_length",
        tools="supports_tools",
        vision="supports_image_input",
        created_at="created",
    ),
    colour="#6720ff",
    description="Open models on Fireworks' serverless endpoints.",
    rank=90,
)
