"""GitHub Models. The catalog is a bare array with limits and modalities, without prices or dates.

`capabilities` is empty where nothing is known of a model. Embedding models have the `rate_limit_tier` and the output
modality "embeddings" and no output limit (recorded 2025-07 and 2026-04; phi-3.5-vision had no outputs at all).
"""

from __future__ import annotations

from app.providers.contract import Provider, list_at
from app.providers.field_map import FieldMap, contains, map_value

PROVIDER = Provider(
    slug="github-models",
    title="GitHub Models",
    site="https://github.com/marketplace/models",
    chat_path="/inference",
    docs_url="https://docs.github.com/en/rest/models/catalog",
    keys_url="https://github.com/settings/personal-access-tokens",
    key_hint="github_pat_… (with models: read)",
    key_prefixes=("github_pat_", "ghp_"),
    base_url="https://models.github.ai",
    build_request=list_at("/catalog/models"),
    read=FieldMap(
        array=None,
        classify=map_value("rate_limit_tier", {"embeddings": "embedding"}, "its rate limit tier is {}"),
        name="name",
        description="summary",
        context_length="limits.max_input_tokens",
        max_output_tokens="limits.max_output_tokens",
        input_modalities="supported_input_modalities",
        output_modalities="supported_output_modalities",
        streaming=contains("capabilities", "streaming"),
        tools=contains("capabilities", "tool-calling"),
        reasoning=contains("capabilities", "reasoning"),
    ),
    colour="#24292f",
    description="Models of several makers with a GitHub token.",
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
)
