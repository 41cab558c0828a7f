"""AIMO Network, a decentralised marketplace. Known from the code of one client only (November 2026): nothing was
recorded, the only address seen is its "devnet", and one project found that out of reach in March 2026.

The id is `name`; whoever calls a model puts the key of one of its `providers` before it, and one without
providers cannot be called. Each provider has its own `pricing`, in a unit that nothing confirms: left out.
"""

from __future__ import annotations

from app.catalog.kind import Decision, kind_of
from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import Entry, document, entries, identifier, page, section, text, whole, words


def read(body: bytes) -> Page:
    return page(entries(document(body), "data"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry, "name")
    architecture = section(entry, "architecture")
    inputs, outputs = words(architecture, "input_modalities"), words(architecture, "output_modalities")
    kind, reason = kind_of(model_id, outputs=outputs)
    if entry.get("providers") == []:
        kind, reason = Decision("other", "no provider on the network serves it")
    return ListedModel(
        id=model_id,
        name=text(entry, "display_name"),
        kind=kind,
        kind_reason=reason,
        context_length=whole(entry, "context_length"),
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
