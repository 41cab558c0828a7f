"""LM Studio, on the user's own machine, by its REST API v1 (LM Studio 0.4 or newer; from documentation, 2026-06).

`models` with `key` and types llm and embedding. The older API v0 has `data` with `id`, types llm, vlm and
embeddings, and `capabilities` as a list of words: its shape is read too, should a proxy answer in it. What is
loaded, and with which context, changes from minute to minute and is passed over.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    flag,
    identifier,
    integer,
    mapping,
    strings,
    text,
)


def ask(_cursor: str | None) -> Request:
    return Request("/api/v1/models")


def read(body: bytes) -> Page:
    answer = decode_json(body)
    is_old = isinstance(answer, dict) and "models" not in answer and "data" in answer
    return build_page(entries(answer, "data" if is_old else "models"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "id" if "id" in entry and "key" not in entry else "key")
    type_, can = text(entry, "type"), mapping(entry, "capabilities")
    kind, reason = _kind(model_id, type_)
    name, size = text(entry, "display_name") or model_id, text(entry, "params_string")
    quantization = text(entry, "quantization") or text(mapping(entry, "quantization"), "name")
    extras = ", ".join(extra for extra in (size, quantization) if extra and extra not in name)
    return ListedModel(
        id=model_id,
        name=f"{name} ({extras})" if extras else name,
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "max_context_length"),
        vision=True if type_ == "vlm" else flag(can, "vision"),
        tools=True if "tool_use" in strings(entry, "capabilities") else flag(can, "trained_for_tool_use"),
        private=True,
    )


def _kind(model_id: str, type_: str) -> KindDecision:
    if type_ in ("embedding", "embeddings"):
        return KindDecision("embedding", f"its type is {type_}")
    if type_ in ("llm", "vlm"):
        return classify_model(model_id, declared="chat", because=f"its type is {type_}")
    return classify_model(model_id)


PROVIDER = Provider(
    slug="lmstudio",
    title="LM Studio",
    site="https://lmstudio.ai",
    keys_url="https://lmstudio.ai/docs/developer",
    key_hint="none, unless your server asks for one",
    base_url="http://localhost:1234",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#4f46e5",
    description="The models on your own LM Studio.",
    public=True,
    update_frequency="manual",
    own_url="http://localhost:1234",
    openai_path="/v1",
    private=True,
)
