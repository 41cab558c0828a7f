"""Poe, an aggregator of bots. A bot chats if text is all that it outputs (recorded 2026-01).

`created` is in milliseconds. `pricing` is null for many, and half of the rest are paid per message: then only its
`request` is filled. Prices are texts in USD per token. `reasoning` is null for reasoning models too, so null says
nothing; the same holds for `context_window`.
"""

from __future__ import annotations

from datetime import datetime

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import Provider, key_pattern
from app.providers.field_map import FieldMap, per_token
from app.providers.parsing import JsonObject, integer, mapping, timestamp


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    # Where text only accompanies a picture, the picture is the point.
    return classify_model(model_id, outputs=[output for output in outputs if output != "text"] or outputs)


def _created_at(entry: JsonObject) -> datetime | None:
    milliseconds = integer(entry, "created")
    return timestamp({"created": milliseconds / 1000}, "created") if milliseconds else None


PROVIDER = Provider(
    slug="poe",
    title="Poe",
    site="https://poe.com",
    docs_url="https://creator.poe.com/docs",
    keys_url="https://poe.com/api_key",
    key_hint="letters and digits, 43 or more",
    key_patterns=(key_pattern(r"[A-Za-z0-9_-]{43}"),),
    base_url="https://api.poe.com/v1",
    read=FieldMap(
        classify=_classify,
        name="metadata.display_name",
        description="description",
        context_length="context_window.context_length|context_length",
        max_output_tokens="context_window.max_output_tokens",
        input_modalities="architecture.input_modalities",
        output_modalities="architecture.output_modalities",
        reasoning=lambda entry: True if mapping(entry, "reasoning") else None,
        input_per_million=per_token("pricing.prompt"),
        output_per_million=per_token("pricing.completion"),
        cache_read_per_million=per_token("pricing.input_cache_read"),
        cache_write_per_million=per_token("pricing.input_cache_write"),
        created_at=_created_at,
    ),
    colour="#5d5cde",
    description="Hundreds of bots behind one key.",
    update_frequency="realtime",
)
