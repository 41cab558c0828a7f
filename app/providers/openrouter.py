"""OpenRouter, an aggregator. Its list is public; a key only narrows it to what its owner allows.

Prices are texts in USD per token; "-1" means that the price varies (routers such as openrouter/auto).
`expiration_date` is the day a model leaves; 2098-12-31 has been used for "never". `supported_parameters` tell
capabilities. Since August 2026 the envelope has `links.next`, null so far. Rows whose id begins with `~` are
pointers to the latest model of a family.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    identifier,
    integer,
    keys,
    mapping,
    price_per_token,
    strings,
    text,
    timestamp,
)

_NEVER_FROM = 2090


def ask(cursor: str | None) -> Request:
    """The whole list; should the answer name a next page by its address, that page's query."""
    first = openai_shape.ask(None)
    return Request(first.path, dict(parse_qsl(urlsplit(cursor).query))) if cursor else first


def read(body: bytes) -> Page:
    answer = decode_json(body)
    following = text(mapping(answer, "links"), "next") if isinstance(answer, dict) else ""
    return build_page(entries(answer, "data"), _read_one, following or None)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    architecture, top = mapping(entry, "architecture"), mapping(entry, "top_provider")
    inputs, outputs = strings(architecture, "input_modalities"), strings(architecture, "output_modalities")
    parameters = keys(entry, "supported_parameters")
    pricing = mapping(entry, "pricing")
    kind, reason = classify_model(model_id, outputs=outputs)
    return ListedModel(
        id=model_id,
        name=text(entry, "name"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length") or integer(top, "context_length"),
        max_output_tokens=integer(top, "max_completion_tokens"),
        input_modalities=inputs,
        output_modalities=outputs,
        vision="image" in inputs if inputs else None,
        tools="tools" in parameters if parameters else None,
        reasoning="reasoning" in parameters if parameters else None,
        structured_output="structured_outputs" in parameters if parameters else None,
        input_per_million=price_per_token(pricing, "prompt"),
        output_per_million=price_per_token(pricing, "completion"),
        cache_read_per_million=price_per_token(pricing, "input_cache_read"),
        cache_write_per_million=price_per_token(pricing, "input_cache_write"),
        created_at=timestamp(entry, "created"),
        retires_at=_unless_never(timestamp(entry, "expiration_date")),
        canonical_slug=text(entry, "canonical_slug"),
        hugging_face_id=text(entry, "hugging_face_id"),
    )


def _unless_never(day: datetime | None) -> datetime | None:
    return day if day and day.year < _NEVER_FROM else None


PROVIDER = Provider(
    slug="openrouter",
    title="OpenRouter",
    site="https://openrouter.ai",
    keys_url="https://openrouter.ai/settings/keys",
    key_hint="sk-or-…",
    base_url="https://openrouter.ai/api/v1",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#6467f2",
    description="Hundreds of models of many providers behind one key.",
    public=True,
    update_frequency="realtime",
)
