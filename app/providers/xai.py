"""xAI. Ids and dates until May 2026; prices and context since (documented and seen by others, not recorded here).

Prices are whole numbers in 0.0001 USD per million tokens: 12500 is $1.25. No field names the kind: image and video
models are recognised by their id, or by a price per image with none per token. `aliases` are further names of the same
row. Nothing at xAI is free, so a price of 0 means unknown.
"""

from __future__ import annotations

from decimal import Decimal

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import Provider
from app.providers.field_map import FieldMap, contains, first, is_set, price
from app.providers.parsing import JsonObject, integer

_UNIT = Decimal("0.0001")
_OUTPUT_PRICE = price("completion_text_token_price", _UNIT, zero_is_unknown=True)


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    decision = classify_model(model_id, outputs=outputs)
    if decision.kind == "chat" and not _OUTPUT_PRICE(entry) and integer(entry, "image_price"):
        return KindDecision("image", "it has a price per image and none per token")
    return decision


PROVIDER = Provider(
    slug="xai",
    title="xAI",
    site="https://x.ai",
    ai_sdk_package="@ai-sdk/xai",
    docs_url="https://docs.x.ai",
    keys_url="https://console.x.ai",
    key_hint="xai-…",
    key_prefixes=("xai-",),
    key_variables=("GROK_API_KEY",),
    base_url="https://api.x.ai/v1",
    read=FieldMap(
        classify=_classify,
        context_length="context_length",
        input_modalities="input_modalities",
        output_modalities="output_modalities",
        vision=first(contains("input_modalities", "image"), is_set("prompt_image_token_price")),
        input_per_million=price("prompt_text_token_price", _UNIT, zero_is_unknown=True),
        output_per_million=_OUTPUT_PRICE,
        cache_read_per_million=price("cached_prompt_text_token_price", _UNIT, zero_is_unknown=True),
        created_at="created",
    ),
    colour="#1f2328",
    description="Grok models.",
    rank=110,
)
