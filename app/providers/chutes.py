"""Chutes. Its list is public and holds language models only.

In July 2025 `price` was `{"usd", "tao"}`, one blended figure that is neither an input nor an output price and is
left out. Clients of 2026 read `pricing {prompt, completion}` and `price {input: {usd}, output: {usd}}`, in USD per
million tokens, with limits, modalities and features: not recorded. `created` is the moment of the request.
"""

from __future__ import annotations

from decimal import Decimal

from app.catalog.kind import kind_of
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import Entry, document, entries, identifier, page, per_million, section, whole, words


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry)
    inputs, outputs = words(entry, "input_modalities"), words(entry, "output_modalities")
    features = words(entry, "supported_features")
    kind, reason = kind_of(model_id, outputs=outputs)
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=whole(entry, "context_length") or whole(entry, "max_model_len"),
        max_output_tokens=whole(entry, "max_output_length"),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        vision="image" in inputs if inputs else None,
        tools="tools" in features if features else None,
        reasoning="reasoning" in features if features else None,
        structured_output="structured_outputs" in features if features else None,
        input_per_million=_price(entry, "prompt", "input"),
        output_per_million=_price(entry, "completion", "output"),
        cache_read_per_million=_price(entry, "input_cache_read", "input_cache_read"),
    )


def _price(entry: Entry, name: str, nested: str) -> Decimal | None:
    found = per_million(section(entry, "pricing"), name)
    return per_million(section(section(entry, "price"), nested), "usd") if found is None else found


PROVIDER = Provider(
    slug="chutes",
    title="Chutes",
    site="https://chutes.ai",
    keys_url="https://chutes.ai/app/api",
    key_hint="cpk_…",
    base_url="https://llm.chutes.ai/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#166534",
    description="Open models on decentralised hardware.",
    public=True,
    update_frequency="realtime",
)
