"""Ollama, on the user's own machine. `/api/tags` names what is pulled, with its size and quantization.

Context lengths and capabilities are only in `/api/show`, one model at a time, and are not asked for. A family with
"bert" in it embeds, `clip` and `mllama` see; `families` may be null (recorded 2025-04 and 2025-05, documented
2025-10). `modified_at` is when it was pulled, not when it was made.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries, identifier, mapping, strings, text

_SEEING = frozenset({"clip", "mllama"})


def ask(_cursor: str | None) -> Request:
    return Request("/api/tags")


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "models"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "name")
    details = mapping(entry, "details")
    families = (*strings(details, "families"), *filter(None, [text(details, "family")]))
    kind, reason = _kind(model_id, families)
    size, quantization = text(details, "parameter_size"), text(details, "quantization_level")
    extras = ", ".join(extra for extra in (size, quantization) if extra and extra != "unknown")
    return ListedModel(
        id=model_id,
        name=f"{model_id} ({extras})" if extras else model_id,
        kind=kind,
        kind_reason=reason,
        vision=True if _SEEING & set(families) else None,
        private=True,
    )


def _kind(model_id: str, families: tuple[str, ...]) -> KindDecision:
    for family in families:
        if "bert" in family.lower():
            return classify_model(model_id, declared="embedding", because=f"its family is {family}")
    return classify_model(model_id)


PROVIDER = Provider(
    slug="ollama",
    title="Ollama",
    site="https://ollama.com",
    keys_url="https://ollama.com/settings/keys",
    key_hint="none, unless your server asks for one",
    base_url="http://localhost:11434",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#374151",
    description="The models on your own Ollama server.",
    public=True,
    update_frequency="manual",
    own_url="http://localhost:11434",
    openai_path="/v1",
    private=True,
)
