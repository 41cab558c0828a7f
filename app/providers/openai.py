"""OpenAI. The list names ids and dates only, so what a model is has to be told from its id.

`shutdown_date` is in the list since August 2026. Ids that begin with `ft:` are the key owner's fine-tunes.
"""

from __future__ import annotations

import msgspec

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries, timestamp


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model = openai_shape.read_one(entry)
    if retires_at := timestamp(entry, "shutdown_date"):
        model = msgspec.structs.replace(model, retires_at=retires_at)
    if not model.id.startswith("ft:"):
        return model
    # ft:gpt-4o-mini-2024-07-18:my-org:custom-name:id: the base decides the kind, not the name someone chose.
    kind, reason = classify_model(model.id.split(":")[1])
    return msgspec.structs.replace(model, private=True, kind=kind, kind_reason=reason)


PROVIDER = Provider(
    slug="openai",
    title="OpenAI",
    site="https://openai.com",
    keys_url="https://platform.openai.com/api-keys",
    key_hint="sk-…",
    base_url="https://api.openai.com/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#10a37f",
    description="GPT and o-series models.",
)
