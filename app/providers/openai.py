"""OpenAI. The list names ids and dates only, so what a model is has to be told from its id.

`shutdown_date` is in the list since August 2026. Ids that begin with `ft:` are the key owner's fine-tunes.
"""

from __future__ import annotations

import msgspec

from app.catalog.kind import kind_of
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import Entry, document, entries, moment, page


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model = openai_shape.read_one(entry)
    if retires_at := moment(entry, "shutdown_date"):
        model = msgspec.structs.replace(model, retires_at=retires_at)
    if not model.id.startswith("ft:"):
        return model
    # ft:gpt-4o-mini-2024-07-18:my-org:custom-name:id: the base decides the kind, not the name someone chose.
    kind, reason = kind_of(model.id.split(":")[1])
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
