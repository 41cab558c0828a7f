"""Hugging Face's inference router: open models for chat, each served by several providers.

A model is what the router can reach, since a request may name the provider (`org/model:provider`): the largest context
of its providers, and a capability that one of them has. Prices, in USD per million tokens, are told only where all
providers say the same; 0 counts only with `is_free`. A provider in error comes back the next minute and stays counted,
one in staging is not. Latency and throughput change with every call and are left out. From the documentation and
entries of 2026-07.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

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
    mapping,
    price_per_million,
    strings,
    text,
    timestamp,
)

Prices = tuple[Decimal | None, Decimal | None]


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    architecture, listed = mapping(entry, "architecture"), entry.get("providers")
    inputs, outputs = strings(architecture, "input_modalities"), strings(architecture, "output_modalities")
    serving = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    serving = [one for one in serving if text(one, "status") != "staging"]
    kind, reason = classify_model(
        model_id, declared="chat", because="the router lists chat models only", outputs=outputs
    )
    if isinstance(listed, list) and not serving:
        kind, reason = KindDecision("other", "no provider of the router serves it")
    said = {_prices(one) for one in serving}
    price_in, price_out = said.pop() if len(said) == 1 else (None, None)
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=max((length for one in serving if (length := integer(one, "context_length"))), default=None),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        tools=_of_any(serving, "supports_tools"),
        vision="image" in inputs if inputs else None,
        structured_output=_of_any(serving, "supports_structured_output"),
        input_per_million=price_in,
        output_per_million=price_out,
        created_at=timestamp(entry, "created"),
        hugging_face_id=model_id,
    )


def _prices(serving: JsonObject) -> Prices:
    pricing = mapping(serving, "pricing")
    prices = price_per_million(pricing, "input"), price_per_million(pricing, "output")
    return prices if any(prices) or flag(serving, "is_free") else (None, None)


def _of_any(serving: Sequence[JsonObject], key: str) -> bool | None:
    said = {flag(one, key) for one in serving}
    return True if True in said else False if False in said else None


PROVIDER = Provider(
    slug="huggingface",
    title="Hugging Face",
    site="https://huggingface.co",
    keys_url="https://huggingface.co/settings/tokens",
    key_hint="hf_…",
    base_url="https://router.huggingface.co/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#b45309",
    description="Open models by way of many inference providers.",
    public=True,
    update_frequency="realtime",
)
