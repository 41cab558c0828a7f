"""Azure OpenAI and AI Foundry. Everyone asks their own resource, which lists the base models of its region.

What is called are deployments, and those are not in the list. Ids are `<model>-<version>`; two came twice in the one
recording (2026-02). A model is retired on `deprecation.inference` (2099 stands for "never"); one without the
capability `inference` cannot be called any more. Codex and o1-pro have no `chat_completion` because they take the
Responses API only. Partner models all have the same `created_at`, which is no date of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider, Request
from app.providers.parsing import JsonObject, build_page, decode_json, entries, flag, identifier, mapping, timestamp

_NEVER_FROM = 2090
_PARTNERS_CREATED = 1727740800
_RESPONSES_ONLY = re.compile(r"gpt-|o[1-9]|codex", re.IGNORECASE)


def ask(_cursor: str | None) -> Request:
    return Request("/openai/v1/models", {"api-version": "preview"})


def sign(key: str) -> Mapping[str, str]:
    return {"api-key": key}


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    kind, reason = _kind(model_id, mapping(entry, "capabilities"))
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        created_at=None if entry.get("created_at") == _PARTNERS_CREATED else timestamp(entry, "created_at"),
        retires_at=_unless_never(timestamp(mapping(entry, "deprecation"), "inference")),
        private=True,
    )


def _kind(model_id: str, can: JsonObject) -> KindDecision:
    if flag(can, "inference") is False:
        return KindDecision("other", "its capability inference is false")
    if flag(can, "chat_completion"):
        return classify_model(model_id, declared="chat", because="its capability chat_completion is true")
    if flag(can, "embeddings"):
        return KindDecision("embedding", "its capability embeddings is true")
    if flag(can, "completion"):
        return KindDecision("completion", "its capability completion is true")
    by_id = classify_model(model_id)
    if by_id.kind == "chat" and flag(can, "chat_completion") is False and not _RESPONSES_ONLY.match(model_id):
        return KindDecision("other", "its capability chat_completion is false")
    return by_id


def _unless_never(day: datetime | None) -> datetime | None:
    return day if day and day.year < _NEVER_FROM else None


PROVIDER = Provider(
    slug="azure",
    title="Azure OpenAI",
    site="https://ai.azure.com",
    keys_url="https://ai.azure.com",
    key_hint="32 or 84 letters and digits",
    base_url="https://my-resource.services.ai.azure.com",
    ask=ask,
    sign=sign,
    read=read,
    colour="#0067b8",
    description="The models of your own Azure resource's region.",
    update_frequency="weekly",
    own_url="https://my-resource.services.ai.azure.com",
    private=True,
    caveat="names the models of your resource's region, not your deployments, which are what you call",
)
