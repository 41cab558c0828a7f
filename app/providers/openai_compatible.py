"""Any server that answers `/models` as OpenAI does: llama.cpp, LiteLLM, LocalAI, SGLang, new-api and many more.

Only what such servers agree on is read: the array is `data` (or `models`), an entry has an `id` (or `name`), and
limits, modalities and type count where present. `created` is ignored, since many put the time of the request there,
and so are prices, whose unit would be a guess.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind
from app.providers.contract import Provider
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, text

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


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    type_ = text(entry, "type")
    declared = _TYPES.get(type_.lower())
    return classify_model(model_id, declared=declared, because=f"its type is {type_}", outputs=outputs)


PROVIDER = Provider(
    slug="openai-compatible",
    title="Any OpenAI-compatible server",
    sentence_name="your server",
    site="https://platform.openai.com/docs/api-reference/models/list",
    docs_url="https://platform.openai.com/docs/api-reference/models/list",
    keys_url="https://platform.openai.com/docs/api-reference/models/list",
    key_hint="whatever your server asks for, if anything",
    base_url="http://localhost:8080/v1",
    read=FieldMap(
        array=("data", "models"),  # llama.cpp sends both; its `data` is in OpenAI's shape
        id=lambda entry: "id" if "id" in entry or "name" not in entry else "name",
        classify=_classify,
        private=True,
        name="display_name|name",
        context_length=("context_length|max_model_len|context_window|max_context_length|context_size|meta.n_ctx_train"),
        max_output_tokens="max_output_tokens|max_completion_tokens|max_output_length",
        input_modalities="input_modalities|architecture.input_modalities",
        output_modalities="output_modalities|architecture.output_modalities",
    ),
    colour="#475569",
    description="Your own server, by its base URL.",
    rank=990,
    public=True,
    update_frequency="manual",
    base_url_example="https://models.example.com/v1",
    private=True,
)
