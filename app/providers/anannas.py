"""Anannas, an aggregator. Built from its documentation (docs.anannas.ai, August 2026): nothing was recorded.

Prices are texts in USD per token. `capabilities` is a list of words whose absence says nothing: the documentation's
reasoning model does not name reasoning.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import PLAIN_SK, Provider
from app.providers.field_map import FieldMap, mentions, per_token
from app.providers.parsing import JsonObject, strings


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    capabilities = strings(entry, "capabilities")
    if "text" in capabilities:
        return classify_model(model_id, declared="chat", because="text is among its capabilities", prefer_id=True)
    if "image_output" in capabilities:
        return KindDecision("image", "image_output is among its capabilities, text is not")
    if "audio_output" in capabilities:
        return KindDecision("audio", "audio_output is among its capabilities, text is not")
    return classify_model(model_id)


PROVIDER = Provider(
    slug="anannas",
    title="Anannas",
    site="https://anannas.ai",
    docs_url="https://docs.anannas.ai",
    keys_url="https://anannas.ai/dashboard",
    key_hint="sk-…",
    key_patterns=(PLAIN_SK,),
    base_url="https://api.anannas.ai/v1",
    read=FieldMap(
        classify=_classify,
        name="name",
        description="description",
        context_length="context_length",
        streaming=mentions("capabilities", "streaming"),
        tools=mentions("capabilities", "tool_calling"),
        reasoning=mentions("capabilities", "reasoning"),
        input_per_million=per_token("pricing.prompt"),
        output_per_million=per_token("pricing.completion"),
    ),
    colour="#a16207",
    description="Models of many providers behind one key.",
    update_frequency="realtime",
)
