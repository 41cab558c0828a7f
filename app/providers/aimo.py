"""AIMO Network, a decentralised marketplace. Known from the code of one client only (November 2026): nothing was
recorded, the only address seen is its "devnet", and one project found that out of reach in March 2026.

The id is `name`; whoever calls a model puts the key of one of its `providers` before it, and one without
providers cannot be called. Each provider has its own `pricing`, in a unit that nothing confirms: left out.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    identifier,
    integer,
    mapping,
    strings,
    text,
)


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "name")
    architecture = mapping(entry, "architecture")
    inputs, outputs = strings(architecture, "input_modalities"), strings(architecture, "output_modalities")
    kind, reason = classify_model(model_id, outputs=outputs)
    if entry.get("providers") == []:
        kind, reason = KindDecision("other", "no provider on the network serves it")
    return ListedModel(
        id=model_id,
        name=text(entry, "display_name"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        input_modalities=inputs,
        output_modalities=outputs,
        vision="image" in inputs if inputs else None,
    )


PROVIDER = Provider(
    slug="aimo",
    title="AIMO Network",
    site="https://aimo.network",
    keys_url="https://aimo.network",
    key_hint="aimo-…",
    base_url="https://devnet.aimo.network/api/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#4338ca",
    description="A decentralised marketplace of models.",
    update_frequency="realtime",
)
