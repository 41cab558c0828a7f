"""Together. The answer is a bare array; `type` names the kind.

Prices are numbers in USD per million tokens. All zero means "free", "by the hour" or "unknown" alike, so it counts as
free only where the id ends in "free"; speech, image and video models have prices in other units there (characters,
pixels, minutes), which are ignored. Since March 2026 the list has models without type, context and price (163 of 271),
some of which had all three while they were serverless: they run on dedicated endpoints only. Some bear customers'
names and were in one account's list alone, so all of these stay private. `running` is always false, `created` often 0.
"""

from __future__ import annotations

from decimal import Decimal

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
from app.providers.contract import Page, Provider, key_pattern
from app.providers.envelope import find_entries
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    identifier,
    integer,
    mapping,
    price_per_million,
    text,
    timestamp,
)

_KINDS: dict[str, Kind] = {
    "chat": "chat",
    "language": "completion",
    "code": "completion",
    "image": "image",
    "video": "video",
    "audio": "audio",
    "transcribe": "transcription",
    "embedding": "embedding",
    "rerank": "rerank",
    "moderation": "moderation",
}
_NOT_PRICED_BY_TOKEN = ("image", "video", "audio", "transcription")


def read(body: bytes) -> Page:
    answer = decode_json(body)
    return build_page(find_entries(answer), _read_entry, envelope=answer)


def _read_entry(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    pricing = mapping(entry, "pricing")
    context = integer(entry, "context_length")
    prices = tuple(price_per_million(pricing, key) for key in ("input", "output", "cached_input"))
    if not any(prices):
        prices = (Decimal(0), Decimal(0), None) if model_id.lower().endswith("free") else (None, None, None)
    type_ = text(entry, "type")
    is_served = bool(type_ or context or any(prices))
    kind, reason = _classify(model_id, type_, is_served)
    input_price, output_price, cache_price = (None, None, None) if kind in _NOT_PRICED_BY_TOKEN else prices
    return ListedModel(
        id=model_id,
        name=text(entry, "display_name"),
        kind=kind,
        kind_reason=reason,
        context_length=context,
        max_output_tokens=integer(mapping(entry, "config"), "max_output_length"),
        input_per_million=input_price,
        output_per_million=output_price,
        cache_read_per_million=cache_price or None,
        created_at=timestamp(entry, "created"),
        private=bool(pricing) and not is_served,
    )


def _classify(model_id: str, declared: str, is_served: bool) -> KindDecision:
    if kind := _KINDS.get(declared):
        return classify_model(model_id, declared=kind, because=f"its type is {declared}")
    by_id = classify_model(model_id)
    if by_id.kind == "chat" and not is_served:
        return KindDecision("other", "it has no type, context or price, as models without a serverless endpoint")
    return by_id


PROVIDER = Provider(
    slug="together",
    title="Together",
    site="https://www.together.ai",
    ai_sdk_package="@ai-sdk/togetherai",
    docs_url="https://docs.together.ai/reference/models-1",
    keys_url="https://api.together.ai/settings/api-keys",
    key_hint="tgp_v1_… or 64 letters and digits",
    key_prefixes=("tgp_v1_",),
    key_patterns=(key_pattern(r"[0-9a-f]{64}"),),
    key_variables=("TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY"),
    base_url="https://api.together.xyz/v1",
    read=read,
    colour="#0f6fff",
    description="Open models of all kinds, served by Together.",
    rank=80,
)
