"""Helicone's AI gateway. Its list is public. Built from its documentation (August 2026): nothing was recorded.

The list is OpenAI's, with ids that bear no vendor's name (claude-opus-4). Prices and limits are only in another,
nested list of its registry, known from client code alone, which is not asked.
"""

from __future__ import annotations

from app.providers import openai_shape
from app.providers.contract import Provider, bearer

PROVIDER = Provider(
    slug="helicone",
    title="Helicone",
    site="https://www.helicone.ai",
    keys_url="https://us.helicone.ai/settings/api-keys",
    key_hint="sk-helicone-…",
    base_url="https://ai-gateway.helicone.ai/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=openai_shape.read,
    colour="#0369a1",
    description="A gateway to many providers that also keeps records of use.",
    public=True,
    update_frequency="realtime",
)
