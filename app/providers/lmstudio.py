"""LM Studio, on the user's own machine, by its REST API v1 (LM Studio 0.4 or newer; from documentation, 2026-06).

`models` with `key` and types llm and embedding. The older API v0 has `data` with `id`, types llm, vlm and
embeddings, and `capabilities` as a list of words: its shape is read too, should a proxy answer in it. What is
loaded, and with which context, changes from minute to minute and is passed over.
"""

from __future__ import annotations

from app.catalog.kind import Decision, kind_of
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import Entry, document, entries, flag, identifier, page, section, text, whole, words


def ask(_cursor: str | None) -> Request:
    return Request("/api/v1/models")


def read(body: bytes) -> Page:
    answer = document(body)
    is_old = isinstance(answer, dict) and "models" not in answer and "data" in answer
    return page(entries(answer, "data" if is_old else "models"), _read_one)


def _read_one(entry: Entry) -> ListedModel:
    model_id = identifier(entry, "id" if "id" in entry and "key" not in entry else "key")
    type_, can = text(entry, "type"), section(entry, "capabilities")
    kind, reason = _kind(model_id, type_)
    name, size = text(entry, "display_name") or model_id, text(entry, "params_string")
    quantization = text(entry, "quantization") or text(section(entry, "quantization"), "name")
    extras = ", ".join(extra for extra in (size, quantization) if extra and extra not in name)
    return ListedModel(
        id=model_id,
        name=f"{name} ({extras})" if extras else name,
        kind=kind,
        kind_reason=reason,
        context_length=whole(entry, "max_context_length"),
        vision=True if type_ == "vlm" else flag(can, "vision"),
        tools=True if "tool_use" in words(entry, "capabilities") else flag(can, "trained_for_tool_use"),
        private=True,
    )


def _kind(model_id: str, type_: str) -> Decision:
    if type_ in ("embedding", "embeddings"):
        return Decision("embedding", f"its type is {type_}")
    if type_ in ("llm", "vlm"):
        return kind_of(model_id, declared="chat", because=f"its type is {type_}")
    return kind_of(model_id)


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
