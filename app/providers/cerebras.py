"""Cerebras. Ids only, up to ten of them. `created` was a day in 2025, has been changed, and is 0 or a constant now
(recorded 2025-05 to 2025-08): it is left out."""

from __future__ import annotations

from app.providers import openai_shape
from app.providers.contract import Provider, Request, bearer


def ask(_cursor: str | None) -> Request:
    return Request("/v1/models")


PROVIDER = Provider(
    slug="cerebras",
    title="Cerebras",
    site="https://www.cerebras.ai",
    keys_url="https://cloud.cerebras.ai",
    key_hint="csk-…",
    base_url="https://api.cerebras.ai",
    ask=ask,
    sign=bearer,
    read=openai_shape.read_ids,
    colour="#d9480f",
    description="Open models on Cerebras' wafer-scale chips.",
)
