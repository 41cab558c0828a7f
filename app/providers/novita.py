"""Novita. Prices are whole numbers in 0.0001 USD per million tokens: 2800 is $0.28.

Recorded in July 2025, chat models only; `features` and `endpoints` are missing on some. Clients of 2026 also read
`input_modalities` and `output_modalities`: not recorded. A zero price is a free model. Its newer address
/openai/v1 answers too, as its documentation of November 2026 says.
"""

from __future__ import annotations

from decimal import Decimal

from app.catalog.kind import Decision, kind_of
from app.catalog.listing import Kind, ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import Entry, document, entries, identifier, moment, page, per_million_in, text, whole, words

_UNIT = Decimal("0.0001")
_TYPES: dict[str, Kind] = {"chat": "chat", "embedding": "embedding", "rerank": "rerank", "reranker": "rerank"}


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry)
    features = words(entry, "features")
    inputs, outputs = words(entry, "input_modalities"), words(entry, "output_modalities")
    kind, reason = _kind(model_id, text(entry, "model_type"), outputs)
    return ListedModel(
        id=model_id,
        name=text(entry, "display_name"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=whole(entry, "context_size"),
        max_output_tokens=whole(entry, "max_output_tokens"),
        input_modalities=inputs,
        output_modalities=outputs,
        vision=_sees(inputs, features),
        tools="function-calling" in features if features else None,
        reasoning="reasoning" in features or None,  # missing on reasoning models of 2025
        structured_output="structured-outputs" in features if features else None,
        input_per_million=per_million_in(entry, "input_token_price_per_m", _UNIT),
        output_per_million=per_million_in(entry, "output_token_price_per_m", _UNIT),
        created_at=moment(entry, "created"),
    )


def _kind(model_id: str, declared: str, outputs: tuple[str, ...]) -> Decision:
    if declared in _TYPES:
        return kind_of(model_id, declared=_TYPES[declared], because=f"its model_type is {declared}", outputs=outputs)
    return kind_of(model_id, outputs=outputs)


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
