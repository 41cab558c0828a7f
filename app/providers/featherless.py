"""Featherless. Some 22,000 open models in one public answer; ids are repositories on Hugging Face.

Built from its documentation and other clients' code (2026-08), not from a recording. Where the answer names pages
(`pagination`), the rest is requested by `page`. A subscription covers all use, so prices of 0 say nothing; whether a
model is part of the plan (`available_on_current_plan`) depends on the key and is ignored.
"""

from __future__ import annotations

from typing import Any

from app.providers.contract import Provider, list_at
from app.providers.field_map import FieldMap, always, per_token
from app.providers.parsing import JsonObject, identifier, integer, mapping, text


def _next_cursor(answer: Any) -> str | None:
    pages = mapping(answer, "pagination")
    current, last = integer(pages, "current_page"), integer(pages, "total_pages")
    return str(current + 1) if current and last and current < last else None


def _name(entry: JsonObject) -> str:
    name = text(entry, "name")
    return name if name != identifier(entry) else ""


PROVIDER = Provider(
    slug="featherless",
    title="Featherless",
    site="https://featherless.ai",
    docs_url="https://featherless.ai/docs",
    keys_url="https://featherless.ai/account/api-keys",
    key_hint="rc_…",
    key_prefixes=("rc_",),
    key_variables=("FEATHERLESS_AI_API_KEY",),
    base_url="https://api.featherless.ai/v1",
    build_request=list_at("/models", cursor="page"),
    read=FieldMap(
        next_cursor=_next_cursor,
        classify=always("chat", "Featherless lists language models only"),
        name=_name,
        context_length="context_length",
        max_output_tokens="max_completion_tokens",
        tools="features.tool_use",
        vision="features.image_input",
        input_per_million=per_token("pricing.prompt", zero_is_unknown=True),
        output_per_million=per_token("pricing.completion", zero_is_unknown=True),
        hugging_face_id=identifier,
    ),
    colour="#7c3aed",
    description="Thousands of open language models for a monthly plan.",
    public=True,
)
