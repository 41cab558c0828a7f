"""Novita. Prices are whole numbers in 0.0001 USD per million tokens: 2800 is $0.28.

Recorded in July 2025, chat models only; `features` and `endpoints` are missing on some. Clients of 2026 also read
`input_modalities` and `output_modalities`: not recorded. A zero price is a free model. Its newer address
/openai/v1 answers too, as its documentation of November 2026 says.
"""

from __future__ import annotations

from decimal import Decimal

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    identifier,
    integer,
    price_in_unit,
    strings,
    text,
    timestamp,
)

_UNIT = Decimal("0.0001")
_TYPES: dict[str, Kind] = {"chat": "chat", "embedding": "embedding", "rerank": "rerank", "reranker": "rerank"}


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    features = strings(entry, "features")
    inputs, outputs = strings(entry, "input_modalities"), strings(entry, "output_modalities")
    kind, reason = _kind(model_id, text(entry, "model_type"), outputs)
    return ListedModel(
        id=model_id,
        name=text(entry, "display_name"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_size"),
        max_output_tokens=integer(entry, "max_output_tokens"),
        input_modalities=inputs,
        output_modalities=outputs,
        vision=_sees(inputs, features),
        tools="function-calling" in features if features else None,
        reasoning="reasoning" in features or None,  # missing on reasoning models of 2025
        structured_output="structured-outputs" in features if features else None,
        input_per_million=price_in_unit(entry, "input_token_price_per_m", _UNIT),
        output_per_million=price_in_unit(entry, "output_token_price_per_m", _UNIT),
        created_at=timestamp(entry, "created"),
    )


def _kind(model_id: str, declared: str, outputs: tuple[str, ...]) -> KindDecision:
    if declared in _TYPES:
        return classify_model(
            model_id, declared=_TYPES[declared], because=f"its model_type is {declared}", outputs=outputs
        )
    return classify_model(model_id, outputs=outputs)


def _sees(inputs: tuple[str, ...], features: tuple[str, ...]) -> bool | None:
    if inputs:
        return "image" in inputs
    return "vision" in features if features else None


PROVIDER = Provider(
    slug="novita",
    title="Novita AI",
    site="https://novita.ai",
    keys_url="https://novita.ai/settings/key-management",
    key_hint="sk_…",
    base_url="https://api.novita.ai/v3/openai",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#15803d",
    description="Open models at low prices.",
)
