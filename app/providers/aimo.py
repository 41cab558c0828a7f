"""AIMO Network, a decentralised marketplace. Known from one client's code only (November 2026): nothing was recorded,
the only known address is its "devnet", and one project found that unreachable in March 2026.

The id is `name`; callers prefix it with the key of one of its `providers`, so a model without providers cannot be
called. Each provider has its own `pricing` in an unconfirmed unit, which is ignored.
"""

from __future__ import annotations

from app.providers.contract import Provider
from app.providers.field_map import FieldMap, other_if

PROVIDER = Provider(
    slug="aimo",
    title="AIMO Network",
    site="https://aimo.network",
    keys_url="https://aimo.network",
    key_hint="aimo-…",
    key_prefixes=("aimo-",),
    base_url="https://devnet.aimo.network/api/v1",
    read=FieldMap(
        id="name",
        sort_modalities=False,
        classify=other_if(lambda entry: entry.get("providers") == [], "no provider on the network serves it"),
        name="display_name",
        context_length="context_length",
        input_modalities="architecture.input_modalities",
        output_modalities="architecture.output_modalities",
    ),
    colour="#4338ca",
    description="A decentralised marketplace of models.",
    update_frequency="realtime",
)
