"""Perplexity. The list has other vendors' models for its Agent API, with prices; only `perplexity/sonar` is its own.

The Sonar models for chat completions are not listed: they are added from the documentation, without prices, since each
request costs a fee on top of its tokens. Listed prices are numbers whose `unit` says USD per million tokens (recorded
2026-08); in another unit they are ignored. `created` is 0.
"""

from __future__ import annotations

from decimal import Decimal

from app.catalog.listing import ListedModel
from app.providers.contract import DocumentedModels, Provider, list_at
from app.providers.field_map import Extractor, FieldMap
from app.providers.parsing import JsonObject, mapping, price_per_million, text

_AS_OF = "2026-08-17"


def _price(key: str) -> Extractor:
    def extract(entry: JsonObject) -> Decimal | None:
        pricing = mapping(entry, "pricing")
        return price_per_million(pricing, key) if text(pricing, "unit") == "usd_per_1m_tokens" else None

    return extract


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
    chat_path="",
    ai_sdk_package="@ai-sdk/perplexity",
    docs_url="https://docs.perplexity.ai",
    keys_url="https://www.perplexity.ai/account/api/keys",
    key_hint="pplx-…",
    key_prefixes=("pplx-",),
    key_variables=("PERPLEXITYAI_API_KEY",),
    base_url="https://api.perplexity.ai",
    build_request=list_at("/v1/models"),
    read=FieldMap(
        input_per_million=_price("input"),
        output_per_million=_price("output"),
        cache_read_per_million=_price("cache_read"),
        cache_write_per_million=_price("cache_write"),
    ),
    colour="#1a7f8c",
    description="Sonar models that search the web, and other vendors' models.",
    rank=140,
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
