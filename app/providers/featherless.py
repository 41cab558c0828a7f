"""Featherless. Some 22,000 open models in one public answer; ids are repositories on Hugging Face.

Built from its documentation and from what others' clients read (2026-08), not from a recording. Where the answer names
pages (`pagination`), the rest is asked for by `page`. A plan pays for everything, so prices of 0 say nothing; whether
a model is in the plan (`available_on_current_plan`) depends on the key and is left out.
"""

from __future__ import annotations

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    flag,
    identifier,
    integer,
    mapping,
    price_per_token,
    text,
)


def ask(cursor: str | None) -> Request:
    return Request(openai_shape.ask(None).path, {"page": cursor} if cursor else {})


def read(body: bytes) -> Page:
    answer = decode_json(body)
    found = entries(answer, "data")
    pages = mapping(answer, "pagination")
    current, last = integer(pages, "current_page"), integer(pages, "total_pages")
    return build_page(found, _read_one, str(current + 1) if current and last and current < last else None)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    name = text(entry, "name")
    features, pricing = mapping(entry, "features"), mapping(entry, "pricing")
    kind, reason = classify_model(model_id, declared="chat", because="Featherless lists language models only")
    return ListedModel(
        id=model_id,
        name=name if name != model_id else "",
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        max_output_tokens=integer(entry, "max_completion_tokens"),
        tools=flag(features, "tool_use") if features else None,
        vision=flag(features, "image_input") if features else None,
        input_per_million=(price_per_token(pricing, "prompt") or None) if pricing else None,
        output_per_million=(price_per_token(pricing, "completion") or None) if pricing else None,
        hugging_face_id=model_id,
    )


PROVIDER = Provider(
    slug="featherless",
    title="Featherless",
    site="https://featherless.ai",
    keys_url="https://featherless.ai/account/api-keys",
    key_hint="rc_…",
    base_url="https://api.featherless.ai/v1",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#7c3aed",
    description="Thousands of open language models for a monthly plan.",
    public=True,
)
