"""What OpenRouter and AIHubMix have in common: a list of what they resell, which their provider files read.

Those readers take a wrong type for "not said", as a listing must survive it. A catalog must not: facts would vanish
from it. So the shape of every entry is checked here as well, and what a gateway lists becomes claims.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from app.catalog.listing import ListedModel, ModelFacts
from app.catalog.sources.claims import (
    Claim,
    ParsedSource,
    SourceFault,
    SourceRejected,
    build_parsed_source,
    decode_object,
    lab_from_path,
    single_line,
    type_fault,
)


def parse_gateway(
    provider: str,
    body: bytes,
    shape: type[msgspec.Struct],
    id_key: str,
    models: Iterable[ListedModel],
    left_out: Iterable[SourceFault],
) -> ParsedSource:
    """Claims of the entries that the provider's reader made `models` of and that have the `shape`.

    left_out: what that reader could not read. Raises Refused if the document is no list of models.
    """
    faults = list(left_out)
    entries = _entries(body)
    for number, raw in enumerate(entries, 1):
        try:
            msgspec.json.decode(raw, type=shape)
        except msgspec.DecodeError as error:
            faults.append(type_fault(_id_of(raw, id_key) or f"entry {number}", error))
    wrong = {fault.entry for fault in faults}
    return build_parsed_source(
        (_claim(provider, model) for model in models if model.id not in wrong), faults, len(entries)
    )


class _Envelope(msgspec.Struct):
    data: list[msgspec.Raw]


def _entries(body: bytes) -> list[msgspec.Raw]:
    decode_object(body)
    try:
        return msgspec.json.decode(body, type=_Envelope).data
    except msgspec.DecodeError:
        raise SourceRejected("sent no “data” list") from None


def _id_of(raw: msgspec.Raw, key: str) -> str:
    entry: Any = msgspec.json.decode(raw)
    found = entry.get(key) if isinstance(entry, dict) else None
    return found if isinstance(found, str) else ""


def _claim(provider: str, model: ListedModel) -> Claim:
    """Dates are left out: they tell when the gateway listed the model and will drop it, not when the lab did."""
    return Claim(
        provider=provider,
        model_id=model.id,
        lab=lab_from_path(model.id),
        canonical_slug=model.canonical_slug,
        hugging_face_id=model.hugging_face_id,
        kind=model.kind,
        name=single_line(model.name),
        **{field: getattr(model, field) for field in ModelFacts.__struct_fields__},
    )
