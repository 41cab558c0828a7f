"""Cohere. Pages of up to 1,000 by `page_token`; 20 where no size is asked for. A model's id is its `name`.

`endpoints` say what takes a model. `features` is null for older models; `supports_vision` was in the list until 2025.
`is_deprecated` came and went in 2025 without a date. A context of 0 stands for "none" (recorded 2025-05 to 2025-08).
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries, flag, identifier, integer, strings, text

_KINDS: dict[str, Kind] = {
    "chat": "chat",
    "rerank": "rerank",
    "embed": "embedding",
    "embed_image": "embedding",
    "transcriptions": "transcription",
    "generate": "completion",
    "summarize": "completion",
}


def ask(cursor: str | None) -> Request:
    return Request("/v1/models", {"page_size": "1000"} | ({"page_token": cursor} if cursor else {}))


def read(body: bytes) -> Page:
    answer = decode_json(body)
    return build_page(entries(answer, "models"), _read_one, text(answer, "next_page_token") or None)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "name")
    features = strings(entry, "features")
    kind, reason = _kind(model_id, entry)
    return ListedModel(
        id=model_id,
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "context_length"),
        tools="tools" in features if features else None,
        vision="vision" in features if features else flag(entry, "supports_vision"),
        reasoning="reasoning" in features if features else None,
        structured_output="json_schema" in features if features else None,
        private=flag(entry, "finetuned") is True,
    )


def _kind(model_id: str, entry: JsonObject) -> KindDecision:
    endpoints = strings(entry, "endpoints")
    for endpoint, kind in _KINDS.items():
        if endpoint in endpoints:
            return classify_model(model_id, declared=kind, because=f"its endpoints include {endpoint}")
    by_id = classify_model(model_id)
    if by_id.kind == "chat" and isinstance(entry.get("endpoints"), list):
        return KindDecision("other", "its endpoints leave out chat")
    return by_id


PROVIDER = Provider(
    slug="cohere",
    title="Cohere",
    site="https://cohere.com",
    keys_url="https://dashboard.cohere.com/api-keys",
    key_hint="40 letters and digits",
    base_url="https://api.cohere.com",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#39594d",
    description="Command, Aya, Embed and Rerank models.",
)
