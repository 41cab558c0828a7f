"""NVIDIA NIM. Chat, embedding, reranking, guard, speech and protein models share the list; only ids tell them apart.

`created` is 735790403 (a day in 1993) for every model in both recordings (2025-07, 2026-02) and is ignored. The list
keeps some models that can no longer be called, without marking them.
"""

from __future__ import annotations

from app.providers.contract import Provider
from app.providers.field_map import IDS

PROVIDER = Provider(
    slug="nvidia-nim",
    title="NVIDIA NIM",
    site="https://build.nvidia.com",
    docs_url="https://docs.api.nvidia.com",
    keys_url="https://build.nvidia.com/settings/api-keys",
    key_hint="nvapi-…",
    key_prefixes=("nvapi-",),
    key_variables=("NVIDIA_API_KEY",),
    base_url="https://integrate.api.nvidia.com/v1",
    read=IDS,
    colour="#4d7c0f",
    description="Open models hosted by NVIDIA.",
)
