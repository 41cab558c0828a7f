"""Hyperbolic. `supports_chat` is false for image and speech models, but for base models too (recorded 2025-07).

`created` is the time of the request and is ignored; `context_length` may be null. There are no prices.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import Provider, key_pattern
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, flag


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    supports_chat = flag(entry, "supports_chat")
    if supports_chat:
        return classify_model(model_id, declared="chat", because="its supports_chat is true")
    by_id = classify_model(model_id)
    if supports_chat is False and by_id.kind == "chat":
        return KindDecision("completion", "its supports_chat is false")
    return by_id


PROVIDER = Provider(
    slug="hyperbolic",
    title="Hyperbolic",
    site="https://www.hyperbolic.ai",
    docs_url="https://docs.hyperbolic.xyz",
    keys_url="https://app.hyperbolic.ai/settings/api-keys",
    key_hint="eyJ… or sk_live_…",
    key_patterns=(key_pattern(r"sk_live_[\w-]+", odds=2), key_pattern(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")),
    base_url="https://api.hyperbolic.xyz/v1",
    read=FieldMap(
        classify=_classify,
        context_length="context_length",
        tools="supports_tools",
        vision="supports_image_input",
    ),
    colour="#5b21b6",
    description="Open models on Hyperbolic's GPU marketplace.",
)
