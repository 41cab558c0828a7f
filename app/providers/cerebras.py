"""Cerebras. Up to ten ids without facts. `created` was a day in 2025, has changed since, and is now 0 or a constant
(recorded 2025-05 to 2025-08): it is ignored.
"""

from __future__ import annotations

from app.providers.contract import Provider, list_at
from app.providers.field_map import IDS

PROVIDER = Provider(
    slug="cerebras",
    title="Cerebras",
    site="https://www.cerebras.ai",
    ai_sdk_package="@ai-sdk/cerebras",
    docs_url="https://inference-docs.cerebras.ai",
    keys_url="https://cloud.cerebras.ai",
    key_hint="csk-…",
    key_prefixes=("csk-",),
    base_url="https://api.cerebras.ai",
    build_request=list_at("/v1/models"),
    read=IDS,
    colour="#d9480f",
    description="Open models on Cerebras' wafer-scale chips.",
    rank=120,
)
