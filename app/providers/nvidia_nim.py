"""NVIDIA NIM. Chat, embedding, reranking, guard, speech and protein models share the list; only ids tell.

`created` is 735790403 (a day in 1993) for every model in both recordings (2025-07, 2026-02) and is left out.
The list keeps some models that can no longer be called, without saying which.
"""

from __future__ import annotations

from app.providers import openai_shape
from app.providers.contract import Provider, bearer

PROVIDER = Provider(
    slug="nvidia-nim",
    title="NVIDIA NIM",
    site="https://build.nvidia.com",
    keys_url="https://build.nvidia.com/settings/api-keys",
    key_hint="nvapi-…",
    base_url="https://integrate.api.nvidia.com/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=openai_shape.read_ids,
    colour="#4d7c0f",
    description="Open models hosted by NVIDIA.",
)
