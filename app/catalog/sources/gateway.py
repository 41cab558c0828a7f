"""Gateways as sources: OpenRouter and AIHubMix list what they resell, and their provider files parse that list.

Those parsers read a wrong type as missing, so that a listing survives it. In a catalog facts would vanish that way, so
the type of every entry is validated here, before a gateway's models become claims.
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
    provider_faults: Iterable[SourceFault],
) -> ParsedSource:
    """Claims from those of the provider's `models` whose entries match `shape`.

    provider_faults: entries that the provider's parser skipped. Raises SourceRejected if the document is not a list.
    """
    faults = list(provider_faults)
    entries = _entries(body)
    for number, raw in enumerate(entries, 1):
        try:
            msgspec.json.decode(raw, type=shape)
        except msgspec.DecodeError as error:
            faults.append(type_fault(_id_of(raw, id_key) or f"entry {number}", error))
    rejected = {fault.entry for fault in faults}
    return build_parsed_source(
        (_claim(provider, model) for model in models if model.id not in rejected), faults, len(entries)
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
    model_id = entry.get(key) if isinstance(entry, dict) else None
    return model_id if isinstance(model_id, str) else ""


def _claim(provider: str, model: ListedModel) -> Claim:
    """Without dates: they tell when the gateway listed the model and will drop it, not when the lab did."""
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
