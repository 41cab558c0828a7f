"""vLLM, on the user's own machine. It lists what it serves: mostly one model, and the LoRA adapters on it.

An adapter has its base in `parent` and null as `max_model_len`. The id is whatever name the operator gave it; `root`
is the repository or path behind it. `created` and the ids in `permission` are made anew for each answer and are left
out (recorded 2025-04).
"""

from __future__ import annotations

import re

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries, identifier, integer, text

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def ask(_cursor: str | None) -> Request:
    return Request("/v1/models")


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    parent, root = text(entry, "parent"), text(entry, "root")
    kind, reason = _kind(model_id, parent, root)
    return ListedModel(
        id=model_id,
        name=f"{model_id} (adapter of {parent})" if parent else model_id,
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "max_model_len"),
        hugging_face_id=root if not parent and _REPOSITORY.fullmatch(root) else "",
        private=True,
    )


def _kind(model_id: str, parent: str, root: str) -> KindDecision:
    if parent:
        # The base decides, not the name someone chose for an adapter.
        kind, reason = classify_model(parent)
        return KindDecision(kind, reason.replace("its id", "the id of its base"))
    by_id = classify_model(model_id)
    if by_id.kind == "chat" and root and (by_root := classify_model(root)).kind != "chat":
        return KindDecision(by_root.kind, by_root.reason.replace("its id", "its root"))
    return by_id


PROVIDER = Provider(
    slug="vllm",
    title="vLLM",
    site="https://docs.vllm.ai",
    keys_url="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
    key_hint="none, unless started with --api-key",
    base_url="http://localhost:8000",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#1d4ed8",
    description="The models on your own vLLM server.",
    public=True,
    update_frequency="manual",
    own_url="http://localhost:8000",
    private=True,
)
