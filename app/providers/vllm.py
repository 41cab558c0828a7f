"""vLLM, on the user's own machine. It lists what it serves: mostly one model, and the LoRA adapters on it.

An adapter has its base in `parent` and null as `max_model_len`. The id is whatever name the operator gave it; `root`
is the repository or path behind it. `created` and the ids in `permission` are new in each answer and ignored (recorded
2025-04).
"""

from __future__ import annotations

import re

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import Provider, list_at
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, identifier, text

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def _name(entry: JsonObject) -> str:
    model_id, parent = identifier(entry), text(entry, "parent")
    return f"{model_id} (adapter of {parent})" if parent else model_id


def _hugging_face_id(entry: JsonObject) -> str:
    root = text(entry, "root")
    return root if not text(entry, "parent") and _REPOSITORY.fullmatch(root) else ""


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    parent, root = text(entry, "parent"), text(entry, "root")
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
    docs_url="https://docs.vllm.ai",
    keys_url="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
    key_hint="none, unless started with --api-key",
    base_url="http://localhost:8000",
    build_request=list_at("/v1/models"),
    read=FieldMap(
        classify=_classify,
        private=True,
        name=_name,
        context_length="max_model_len",
        hugging_face_id=_hugging_face_id,
    ),
    colour="#1d4ed8",
    description="The models on your own vLLM server.",
    rank=920,
    public=True,
    update_frequency="manual",
    base_url_example="http://localhost:8000",
    api_path=re.compile(r"/v1$"),
    private=True,
)
