"""LM Studio, on the user's own machine, by its REST API v1 (LM Studio 0.4 or newer; from documentation, 2026-06).

`models` have a `key` and the types llm and embedding. The older API v0 has `data` with `id`, the types llm, vlm and
embeddings, and `capabilities` as a list of words; LM Studio before 0.4 has only that and `/v1/models`, and answers
other paths with 200 and an `error`. What is loaded, and with which context, changes from minute to minute and is
ignored.
"""

from __future__ import annotations

import re

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import Provider, key_pattern, list_at
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, flag, identifier, mapping, strings, text


def _id_key(entry: JsonObject) -> str:
    return "id" if "id" in entry and "key" not in entry else "key"


def _name(entry: JsonObject) -> str:
    name, size = text(entry, "display_name") or identifier(entry, _id_key(entry)), text(entry, "params_string")
    quantization = text(entry, "quantization") or text(mapping(entry, "quantization"), "name")
    details = ", ".join(detail for detail in (size, quantization) if detail and detail not in name)
    return f"{name} ({details})" if details else name


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    type_ = text(entry, "type")
    if type_ in ("embedding", "embeddings"):
        return KindDecision("embedding", f"its type is {type_}")
    if type_ in ("llm", "vlm"):
        return classify_model(model_id, declared="chat", because=f"its type is {type_}")
    return classify_model(model_id)


def _vision(entry: JsonObject) -> bool | None:
    return True if text(entry, "type") == "vlm" else flag(mapping(entry, "capabilities"), "vision")


def _tools(entry: JsonObject) -> bool | None:
    if "tool_use" in strings(entry, "capabilities"):
        return True
    return flag(mapping(entry, "capabilities"), "trained_for_tool_use")


PROVIDER = Provider(
    slug="lmstudio",
    title="LM Studio",
    site="https://lmstudio.ai",
    chat_path="/v1",
    docs_url="https://lmstudio.ai/docs/developer",
    keys_url="https://lmstudio.ai/docs/developer",
    key_hint="none, unless your server asks for one",
    key_patterns=(key_pattern(r"sk-lm-[^\s]+", "shared", odds=3),),
    key_variables=("LM_STUDIO_API_KEY",),
    base_url="http://localhost:1234",
    build_request=list_at("/api/v1/models"),
    read=FieldMap(
        array=("models", "data"),
        id=lambda entry: identifier(entry, _id_key(entry)),
        classify=_classify,
        private=True,
        name=_name,
        context_length="max_context_length",
        vision=_vision,
        tools=_tools,
    ),
    colour="#4f46e5",
    description="The models on your own LM Studio.",
    rank=910,
    public=True,
    update_frequency="manual",
    base_url_example="http://localhost:1234",
    openai_path="/v1",
    api_path=re.compile(r"(?:/api/v[01]|/v1)(?:/models)?$"),
    fallback_paths=("/api/v0/models", "/v1/models"),
    private=True,
)
