"""Perplexity. The list has other vendors' models for its Agent API, with prices; of its own only `perplexity/sonar`.

The Sonar models for chat completions are not in it: they are added from the documentation, without prices, since each
request costs a fee on top of its tokens. Prices of the list are numbers whose `unit` says USD per million tokens
(recorded 2026-08); in another unit they are left out. `created` is 0.
"""

from __future__ import annotations

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import DocumentedModels, Page, Provider, Request, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    identifier,
    mapping,
    price_per_million,
    text,
)

_UNIT = "usd_per_1m_tokens"
_AS_OF = "2026-08-17"


def ask(_cursor: str | None) -> Request:
    return Request("/v1/models")


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = classify_model(model_id)
    pricing = mapping(entry, "pricing")
    if text(pricing, "unit") != _UNIT:
        pricing = {}
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        input_per_million=price_per_million(pricing, "input"),
        output_per_million=price_per_million(pricing, "output"),
        cache_read_per_million=price_per_million(pricing, "cache_read"),
        cache_write_per_million=price_per_million(pricing, "cache_write"),
    )


def _sonar(model_id: str, name: str, context: int, *, reasoning: bool | None = None) -> ListedModel:
    return ListedModel(
        id=model_id,
        name=name,
        kind_reason="the documentation names it for chat completions",
        context_length=context,
        reasoning=reasoning,
        documented=_AS_OF,
    )


PROVIDER = Provider(
    slug="perplexity",
    title="Perplexity",
    site="https://www.perplexity.ai",
    keys_url="https://www.perplexity.ai/account/api/keys",
    key_hint="pplx-…",
    base_url="https://api.perplexity.ai",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#1a7f8c",
    description="Sonar models that search the web, and other vendors' models.",
    documented=DocumentedModels(
        as_of=_AS_OF,
        source="https://docs.perplexity.ai/docs/sonar/models",
        models=(
            _sonar("sonar", "Sonar", 128_000),
            _sonar("sonar-deep-research", "Sonar Deep Research", 128_000, reasoning=True),
            _sonar("sonar-pro", "Sonar Pro", 200_000),
            _sonar("sonar-reasoning-pro", "Sonar Reasoning Pro", 128_000, reasoning=True),
        ),
    ),
)
