"""Chutes. Its public list holds language models only.

In July 2025 `price` was `{"usd", "tao"}`, one blended figure that is neither an input nor an output price and is
ignored. Clients of 2026 read `pricing {prompt, completion}` and `price {input: {usd}, output: {usd}}`, in USD per
million tokens, with limits, modalities and features: not recorded. `created` is the time of the request.
"""

from __future__ import annotations

from app.providers.contract import Provider
from app.providers.field_map import FieldMap, contains, per_million

PROVIDER = Provider(
    slug="chutes",
    title="Chutes",
    site="https://chutes.ai",
    docs_url="https://chutes.ai/docs",
    keys_url="https://chutes.ai/app/api",
    key_hint="cpk_…",
    key_prefixes=("cpk_",),
    base_url="https://llm.chutes.ai/v1",
    read=FieldMap(
        context_length="context_length|max_model_len",
        max_output_tokens="max_output_length",
        input_modalities="input_modalities",
        output_modalities="output_modalities",
        tools=contains("supported_features", "tools"),
        reasoning=contains("supported_features", "reasoning"),
        structured_output=contains("supported_features", "structured_outputs"),
        input_per_million=per_million("pricing.prompt|price.input.usd"),
        output_per_million=per_million("pricing.completion|price.output.usd"),
        cache_read_per_million=per_million("pricing.input_cache_read|price.input_cache_read.usd"),
    ),
    colour="#166534",
    description="Open models on decentralised hardware.",
    public=True,
    update_frequency="realtime",
)
