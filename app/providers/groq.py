"""Groq. Limits have always been listed; prices and modalities since June 2026.

Prices are texts in USD per token. Models with `active: false` can no longer be called.
"""

from __future__ import annotations

from app.providers.contract import Provider, list_at
from app.providers.field_map import FieldMap, contains, other_if, per_token
from app.providers.parsing import flag

PROVIDER = Provider(
    slug="groq",
    title="Groq",
    site="https://groq.com",
    ai_sdk_package="@ai-sdk/groq",
    docs_url="https://console.groq.com/docs/api-reference",
    keys_url="https://console.groq.com/keys",
    key_hint="gsk_…",
    key_prefixes=("gsk_",),
    base_url="https://api.groq.com",
    build_request=list_at("/openai/v1/models"),
    read=FieldMap(
        classify=other_if(lambda entry: flag(entry, "active") is False, "the provider marks it as inactive"),
        name="name",
        context_length="context_window|context_length",
        max_output_tokens="max_completion_tokens|max_output_length",
        input_modalities="input_modalities",
        output_modalities="output_modalities",
        tools=contains("supported_features", "tools"),
        reasoning=contains("supported_features", "reasoning"),
        structured_output=contains("supported_features", "structured_outputs", "json_schema"),
        input_per_million=per_token("pricing.prompt"),
        output_per_million=per_token("pricing.completion"),
        cache_read_per_million=per_token("pricing.input_cache_read"),
        created_at="created",
        hugging_face_id="hugging_face_id",
    ),
    colour="#f55036",
    description="Open models on Groq's own chips.",
    rank=40,
)
