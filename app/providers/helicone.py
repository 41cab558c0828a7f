"""Helicone's AI gateway. Its list is public. Built from its documentation (August 2026): nothing was recorded.

The list is OpenAI's, with ids that name no vendor (claude-opus-4). Prices and limits are only in a nested list of its
registry, known from client code alone and not requested.
"""

from __future__ import annotations

from app.providers.contract import Provider
from app.providers.field_map import IDS_AND_DATES

PROVIDER = Provider(
    slug="helicone",
    title="Helicone",
    site="https://www.helicone.ai",
    docs_url="https://docs.helicone.ai",
    keys_url="https://us.helicone.ai/settings/api-keys",
    key_hint="sk-helicone-…",
    key_prefixes=("sk-helicone-",),
    base_url="https://ai-gateway.helicone.ai/v1",
    read=IDS_AND_DATES,
    colour="#0369a1",
    description="A gateway to many providers that also keeps records of use.",
    public=True,
    update_frequency="realtime",
)
