"""Anannas, an aggregator. Built from its documentation (docs.anannas.ai, August 2026): nothing was recorded.

Prices are texts in USD per token. `capabilities` is a list of words; a word that is missing is no "no": the
example's reasoning model does not name reasoning.
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
    identifier,
    integer,
    mapping,
    price_per_token,
    strings,
    text,
)


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    can = strings(entry, "capabilities")
    pricing = mapping(entry, "pricing")
    kind, reason = _kind(model_id, can)
    return ListedModel(
        id=model_id,
        name=text(entry, "name"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        streaming="streaming" in can or None,
        tools="tool_calling" in can or None,
        reasoning="reasoning" in can or None,
        input_per_million=price_per_token(pricing, "prompt"),
        output_per_million=price_per_token(pricing, "completion"),
    )


def _kind(model_id: str, can: tuple[str, ...]) -> KindDecision:
    if "text" in can:
        return classify_model(model_id, declared="chat", because="text is among its capabilities", prefer_id=True)
    if "image_output" in can:
        return classify_model(model_id, declared="image", because="image_output is among its capabilities, text is not")
    if "audio_output" in can:
        return classify_model(model_id, declared="audio", because="audio_output is among its capabilities, text is not")
    return classify_model(model_id)


PROVIDER = Provider(
    slug="anannas",
    title="Anannas",
    site="https://anannas.ai",
    keys_url="https://anannas.ai/dashboard",
    key_hint="sk-…",
    base_url="https://api.anannas.ai/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#a16207",
    description="Models of many providers behind one key.",
    update_frequency="realtime",
)
