"""Poe, an aggregator of bots. A bot chats if text is all that it puts out (recorded 2026-01).

`created` is in milliseconds. `pricing` is null for many, and of the rest half are paid by the message: then only
its `request` is filled. Prices are texts in USD per token. `reasoning` is null for models that reason, too, so null
says nothing; the same holds for `context_window`.
"""

from __future__ import annotations

from datetime import datetime

from app.catalog.kind import kind_of
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import (
    Entry,
    document,
    entries,
    identifier,
    moment,
    page,
    per_token,
    section,
    text,
    whole,
    words,
)


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry)
    architecture, window = section(entry, "architecture"), section(entry, "context_window")
    inputs, outputs = words(architecture, "input_modalities"), words(architecture, "output_modalities")
    # Where text only goes along with a picture, the picture is the point.
    kind, reason = kind_of(model_id, outputs=[word for word in outputs if word != "text"] or outputs)
    pricing = section(entry, "pricing")
    return ListedModel(
        id=model_id,
        name=text(section(entry, "metadata"), "display_name"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=whole(window, "context_length") or whole(entry, "context_length"),
        max_output_tokens=whole(window, "max_output_tokens"),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        vision="image" in inputs if inputs else None,
        reasoning=True if section(entry, "reasoning") else None,
        input_per_million=per_token(pricing, "prompt"),
        output_per_million=per_token(pricing, "completion"),
        cache_read_per_million=per_token(pricing, "input_cache_read"),
        cache_write_per_million=per_token(pricing, "input_cache_write"),
        created_at=_from_milliseconds(whole(entry, "created")),
    )


def _from_milliseconds(value: int | None) -> datetime | None:
    return moment({"created": value / 1000}, "created") if value else None


PROVIDER = Provider(
    slug="poe",
    title="Poe",
    site="https://poe.com",
    keys_url="https://poe.com/api_key",
    key_hint="letters and digits, 43 or more",
    base_url="https://api.poe.com/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#5d5cde",
    description="Hundreds of bots behind one key.",
    update_frequency="realtime",
)
