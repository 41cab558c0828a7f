"""Anthropic. Pages of up to 1,000 by `after_id`; 20 where no limit is asked for. All its models chat.

Limits and `capabilities` are in the list since March 2026; earlier answers have names and dates only.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider, Request
from app.providers.parsing import (
    InvalidResponse,
    JsonObject,
    build_page,
    decode_json,
    entries,
    flag,
    identifier,
    integer,
    mapping,
    text,
    timestamp,
)


def ask(cursor: str | None) -> Request:
    return Request("/v1/models", {"limit": "1000"} | ({"after_id": cursor} if cursor else {}))


def sign(key: str) -> Mapping[str, str]:
    return {"x-api-key": key}


def read(body: bytes) -> Page:
    answer = decode_json(body)
    found = entries(answer, "data")
    following = None
    if answer.get("has_more") is True:
        following = text(answer, "last_id")
        if not following:
            raise InvalidResponse("says there are more models but not where")
    return build_page(found, _read_one, following)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = classify_model(model_id, declared="chat", because="every model Anthropic lists is a chat model")
    can = mapping(entry, "capabilities")
    vision = _supported(can, "image_input")
    return ListedModel(
        id=model_id,
        name=text(entry, "display_name"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "max_input_tokens"),
        max_output_tokens=integer(entry, "max_tokens"),
        input_modalities=("image", "text") if vision else (),
        output_modalities=("text",) if vision else (),
        vision=vision,
        reasoning=_supported(can, "thinking"),
        structured_output=_supported(can, "structured_outputs"),
        created_at=timestamp(entry, "created_at"),
    )


def _supported(capabilities: JsonObject, name: str) -> bool | None:
    return flag(mapping(capabilities, name), "supported")


PROVIDER = Provider(
    slug="anthropic",
    title="Anthropic",
    site="https://www.anthropic.com",
    keys_url="https://console.anthropic.com/settings/keys",
    key_hint="sk-ant-…",
    base_url="https://api.anthropic.com",
    ask=ask,
    sign=sign,
    read=read,
    colour="#d97757",
    description="Claude models.",
    headers={"anthropic-version": "2023-06-01"},
    format="ANTHROPIC",
)
