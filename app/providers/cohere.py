"""Cohere. Pages of up to 1,000 models by `page_token`; 20 without `page_size`. A model's id is its `name`.

`endpoints` tell what accepts a model. `features` is null for older models; `supports_vision` was listed until 2025.
`is_deprecated` came and went in 2025 without a date. A context of 0 stands for "none" (recorded 2025-05 to 2025-08).
"""

from __future__ import annotations

from app.catalog.kind import KindDecision
from app.catalog.listing import Kind
from app.providers.contract import Provider, key_pattern, list_at
from app.providers.field_map import FieldMap, contains, cursor_at, map_word, not_chat_if
from app.providers.parsing import JsonObject, flag, strings

_KINDS: dict[str, Kind] = {
    "chat": "chat",
    "rerank": "rerank",
    "embed": "embedding",
    "embed_image": "embedding",
    "transcriptions": "transcription",
    "generate": "completion",
    "summarize": "completion",
}


def _lacks_chat(entry: JsonObject) -> bool:
    return isinstance(entry.get("endpoints"), list) and "chat" not in strings(entry, "endpoints")


def _vision(entry: JsonObject) -> bool | None:
    features = strings(entry, "features")
    return "vision" in features if features else flag(entry, "supports_vision")


PROVIDER = Provider(
    slug="cohere",
    title="Cohere",
    site="https://cohere.com",
    chat_path="https://api.cohere.ai/compatibility/v1",
    ai_sdk_package="@ai-sdk/cohere",
    docs_url="https://docs.cohere.com/reference/list-models",
    keys_url="https://dashboard.cohere.com/api-keys",
    key_hint="40 letters and digits",
    key_patterns=(key_pattern(r"[A-Za-z0-9]{40}"),),
    key_variables=("CO_API_KEY",),
    base_url="https://api.cohere.com",
    build_request=list_at("/v1/models", cursor="page_token", page_size="1000"),
    read=FieldMap(
        array="models",
        id="name",
        next_cursor=cursor_at("next_page_token"),
        classify=not_chat_if(
            _lacks_chat,
            KindDecision("other", "its endpoints leave out chat"),
            map_word("endpoints", _KINDS, "its endpoints include {}"),
        ),
        private=lambda entry: flag(entry, "finetuned") is True,
        context_length="context_length",
        tools=contains("features", "tools"),
        vision=_vision,
        reasoning=contains("features", "reasoning"),
        structured_output=contains("features", "json_schema"),
    ),
    colour="#39594d",
    description="Command, Aya, Embed and Rerank models.",
    rank=130,
)
