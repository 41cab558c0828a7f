"""Google's Gemini API. Pages of up to 1,000 by `pageToken`; 50 where no size is asked for.

The key goes into `x-goog-api-key`, never into the address. Names come as `models/<id>`. Image, speech and
embedding models share the list: `generateContent` is needed to chat, but image and speech models have it too.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider, Request
from app.providers.parsing import (
    InvalidEntry,
    JsonObject,
    build_page,
    decode_json,
    entries,
    flag,
    identifier,
    integer,
    strings,
    text,
)

_METHODS = {
    "embedContent": "embedding",
    "embedText": "embedding",
    "predictLongRunning": "video",
    "predict": "image",
    "bidiGenerateContent": "realtime",
    "generateAnswer": "other",
}


def ask(cursor: str | None) -> Request:
    return Request("/v1beta/models", {"pageSize": "1000"} | ({"pageToken": cursor} if cursor else {}))


def sign(key: str) -> Mapping[str, str]:
    return {"x-goog-api-key": key}


def read(body: bytes) -> Page:
    answer = decode_json(body)
    # A project without models gets an object without "models".
    found = entries(answer, "models") if answer != {} else []
    return build_page(found, _read_one, text(answer, "nextPageToken") or None)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "name").removeprefix("models/")
    if not model_id:
        raise InvalidEntry("its “name” ends behind “models/”")
    kind, reason = _kind(model_id, strings(entry, "supportedGenerationMethods"))
    return ListedModel(
        id=model_id,
        name=text(entry, "displayName"),
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "inputTokenLimit"),
        max_output_tokens=integer(entry, "outputTokenLimit"),
        reasoning=flag(entry, "thinking"),
    )


def _kind(model_id: str, methods: tuple[str, ...]) -> KindDecision:
    if "generateContent" in methods:
        return classify_model(model_id, declared="chat", because="it supports generateContent", prefer_id=True)
    for method, kind in _METHODS.items():
        if method in methods:
            return classify_model(model_id, declared=kind, because=f"it supports {method}, not generateContent")  # type: ignore[arg-type]
    return KindDecision("other", "it does not support generateContent")


PROVIDER = Provider(
    slug="google",
    title="Google",
    site="https://ai.google.dev",
    keys_url="https://aistudio.google.com/apikey",
    key_hint="AIza…",
    base_url="https://generativelanguage.googleapis.com",
    ask=ask,
    sign=sign,
    read=read,
    colour="#4285f4",
    description="Gemini and Gemma models by the Gemini API.",
    format="GEMINI",
)
