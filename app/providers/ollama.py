"""Ollama, on the user's own machine. `/api/tags` lists the pulled models with size and quantization.

Context lengths and capabilities are only in `/api/show`, one model at a time, which is not requested. A family with
"bert" in it is an embedding model, `clip` and `mllama` accept images; `families` may be null (recorded 2025-04 and
2025-05, documented 2025-10). `modified_at` is when it was pulled, not when it was made.
"""

from __future__ import annotations

import re

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import Provider, list_at
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, identifier, mapping, strings, text

_VISION_FAMILIES = frozenset({"clip", "mllama"})


def _families(entry: JsonObject) -> tuple[str, ...]:
    details = mapping(entry, "details")
    return (*strings(details, "families"), *filter(None, [text(details, "family")]))


def _name(entry: JsonObject) -> str:
    model_id, details = identifier(entry, "name"), mapping(entry, "details")
    size, quantization = text(details, "parameter_size"), text(details, "quantization_level")
    shown = ", ".join(detail for detail in (size, quantization) if detail and detail != "unknown")
    return f"{model_id} ({shown})" if shown else model_id


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    for family in _families(entry):
        if "bert" in family.lower():
            return KindDecision("embedding", f"its family is {family}")
    return classify_model(model_id)


PROVIDER = Provider(
    slug="ollama",
    title="Ollama",
    site="https://ollama.com",
    chat_path="/v1",
    docs_url="https://docs.ollama.com/api",
    keys_url="https://ollama.com/settings/keys",
    key_hint="none, unless your server asks for one",
    base_url="http://localhost:11434",
    build_request=list_at("/api/tags"),
    read=FieldMap(
        array="models",
        id="name",
        classify=_classify,
        private=True,
        name=_name,
        vision=lambda entry: True if _VISION_FAMILIES & set(_families(entry)) else None,
    ),
    colour="#374151",
    description="The models on your own Ollama server.",
    rank=900,
    public=True,
    update_frequency="manual",
    base_url_example="http://localhost:11434",
    openai_path="/v1",
    api_path=re.compile(r"/(?:api|v1)$"),
    private=True,
)
