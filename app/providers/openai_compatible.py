"""Any server that answers `/models` as OpenAI does: llama.cpp, LiteLLM, LocalAI, SGLang, new-api and many more.

Nothing is known of it beforehand, so only what such servers agree on is read: the array is `data` (or `models`), an
entry has an `id` (or `name`), and limits, modalities and type are taken where they are there. `created` is left
out, since many fill in the time of the request, and so are prices, whose unit would be a guess.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import (
    InvalidResponse,
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

_CONTEXT = ("context_length", "max_model_len", "context_window", "max_context_length", "context_size")
_OUTPUT = ("max_output_tokens", "max_completion_tokens", "max_output_length")
_TYPES: dict[str, Kind] = {
    "chat": "chat",
    "llm": "chat",
    "language": "chat",
    "embedding": "embedding",
    "embeddings": "embedding",
    "rerank": "rerank",
    "image": "image",
    "video": "video",
    "moderation": "moderation",
    "tts": "audio",
    "stt": "transcription",
}


def read(body: bytes) -> Page:
    answer = decode_json(body)
    if isinstance(answer, dict):
        # llama.cpp sends both; its `data` is the one in OpenAI's shape.
        for key in ("data", "models"):
            if isinstance(answer.get(key), list):
                return build_page(entries(answer, key), _read_one)
    raise InvalidResponse("sent no “data” or “models” list")


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "id" if "id" in entry or "name" not in entry else "name")
    architecture = mapping(entry, "architecture")
    inputs = strings(entry, "input_modalities") or strings(architecture, "input_modalities")
    outputs = strings(entry, "output_modalities") or strings(architecture, "output_modalities")
    kind, reason = _kind(model_id, text(entry, "type"), outputs)
    return ListedModel(
        id=model_id,
        name=text(entry, "display_name") or text(entry, "name"),
        kind=kind,
        kind_reason=reason,
        context_length=_first(entry, _CONTEXT) or integer(mapping(entry, "meta"), "n_ctx_train"),
        max_output_tokens=_first(entry, _OUTPUT),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        vision="image" in inputs if inputs else None,
        private=True,
    )


def _kind(model_id: str, type_: str, outputs: tuple[str, ...]) -> KindDecision:
    because = f"its type is {type_}"
    return classify_model(model_id, declared=_TYPES.get(type_.lower()), because=because, outputs=outputs)


def _first(entry: JsonObject, keys: tuple[str, ...]) -> int | None:
    return next((found for key in keys if (found := integer(entry, key))), None)


PROVIDER = Provider(
    slug="openai-compatible",
    title="Any OpenAI-compatible server",
    site="https://platform.openai.com/docs/api-reference/models/list",
    keys_url="https://platform.openai.com/docs/api-reference/models/list",
    key_hint="whatever your server asks for, if anything",
    base_url="http://localhost:8080/v1",
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#475569",
    description="Your own server, by its base URL.",
    public=True,
    update_frequency="manual",
    own_url="https://models.example.com/v1",
    private=True,
)
