"""Hugging Face's inference router: open chat models, each served by several providers.

A model is what the router can reach, since a request may name the provider (`org/model:provider`): the largest context
among its providers, and a capability that any of them has. Prices, in USD per million tokens, count only where all
providers state the same; 0 counts only with `is_free`. A provider in error comes back the next minute and still counts,
one in staging does not. Latency and throughput change with every call and are ignored. From the documentation and
entries of 2026-07.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider
from app.providers.envelope import find_entries
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    flag,
    identifier,
    integer,
    mapping,
    price_per_million,
    strings,
    text,
    timestamp,
)


def read(body: bytes) -> Page:
    answer = decode_json(body)
    return build_page(find_entries(answer, "data"), _read_entry, envelope=answer)


def _read_entry(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    architecture, listed = mapping(entry, "architecture"), entry.get("providers")
    inputs, outputs = strings(architecture, "input_modalities"), strings(architecture, "output_modalities")
    hosts = [host for host in listed if isinstance(host, dict)] if isinstance(listed, list) else []
    hosts = [host for host in hosts if text(host, "status") != "staging"]
    reason = "the router lists chat models only"
    kind, reason = classify_model(model_id, declared="chat", because=reason, outputs=outputs)
    if isinstance(listed, list) and not hosts:
        kind, reason = KindDecision("other", "no provider of the router serves it")
    prices = {_prices(host) for host in hosts}
    input_price, output_price = prices.pop() if len(prices) == 1 else (None, None)
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=max((length for host in hosts if (length := integer(host, "context_length"))), default=None),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        tools=_any_flag(hosts, "supports_tools"),
        vision="image" in inputs if inputs else None,
        structured_output=_any_flag(hosts, "supports_structured_output"),
        input_per_million=input_price,
        output_per_million=output_price,
        created_at=timestamp(entry, "created"),
        hugging_face_id=model_id,
    )


def _prices(host: JsonObject) -> tuple[Decimal | None, Decimal | None]:
    pricing = mapping(host, "pricing")
    prices = price_per_million(pricing, "input"), price_per_million(pricing, "output")
    return prices if any(prices) or flag(host, "is_free") else (None, None)


def _any_flag(hosts: Sequence[JsonObject], key: str) -> bool | None:
    values = {flag(host, key) for host in hosts}
    return True if True in values else False if False in values else None


PROVIDER = Provider(
    slug="huggingface",
    title="Hugging Face",
    site="https://huggingface.co",
    docs_url="https://huggingface.co/docs/inference-providers",
    keys_url="https://huggingface.co/settings/tokens",
    key_hint="hf_…",
    key_prefixes=("hf_",),
    key_variables=("HF_TOKEN", "HUGGINGFACEHUB_API_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    base_url="https://router.huggingface.co/v1",
    read=read,
    colour="#b45309",
    description="Open models by way of many inference providers.",
    public=True,
    update_frequency="realtime",
)
