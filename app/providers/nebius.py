"""Nebius Token Factory, formerly AI Studio. The list names ids; `created` is the moment of the request.

Recorded in July 2025 and February 2026; embedding and image models are among them, told by their ids, and `-fast`
is a faster tier of the same model. Clients say that `?verbose=true` adds limits, prices and architecture. It is
not asked for: nothing confirms its shape or its units, and an API may refuse what it does not know.
"""

from __future__ import annotations

import msgspec

from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    return msgspec.structs.replace(openai_shape.read_one(entry), created_at=None)


PROVIDER = Provider(
    slug="nebius",
    title="Nebius",
    site="https://nebius.com/services/token-factory",
    keys_url="https://tokenfactory.nebius.com/project/api-keys",
    key_hint="v1.… or eyJ…",
    base_url="https://api.tokenfactory.nebius.com/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#4d5a00",
    description="Open models on Nebius' own cloud.",
)
