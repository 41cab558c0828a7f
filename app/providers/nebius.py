"""Nebius Token Factory, formerly AI Studio. The list has ids only; `created` is the time of the request.

Recorded in July 2025 and February 2026; embedding and image models are among them, recognised by their ids, and `-fast`
is a faster tier of the same model. Clients say that `?verbose=true` adds limits, prices and architecture. It is not
requested: nothing confirms its shape or units, and an API may reject parameters that it does not know.
"""

from __future__ import annotations

from app.providers.contract import Provider, key_pattern
from app.providers.field_map import IDS

PROVIDER = Provider(
    slug="nebius",
    title="Nebius",
    site="https://nebius.com/services/token-factory",
    docs_url="https://docs.tokenfactory.nebius.com",
    keys_url="https://tokenfactory.nebius.com/project/api-keys",
    key_hint="v1.… or eyJ…",
    key_patterns=(key_pattern(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", odds=2), key_pattern(r"v1\.[\w.-]+")),
    base_url="https://api.tokenfactory.nebius.com/v1",
    read=IDS,
    colour="#4d5a00",
    description="Open models on Nebius' own cloud.",
)
