"""Azure OpenAI and AI Foundry. Users query their own resource, which lists its region's base models.

What is called are deployments, which are not listed. Ids are `<model>-<version>`; two came twice in the one recording
(2026-02). A model is retired on `deprecation.inference` (2099 stands for "never"); one without the capability
`inference` can no longer be called. Codex and o1-pro lack `chat_completion` because they take the Responses API only.
Partner models share one `created_at`, which is not their date.
"""

from __future__ import annotations

import re
from datetime import datetime

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import Provider, key_header, key_pattern, list_at
from app.providers.field_map import FieldMap, timestamp_before
from app.providers.parsing import JsonObject, flag, mapping, timestamp

_PARTNERS_CREATED = 1727740800
_RESPONSES_ONLY = re.compile(r"gpt-|o[1-9]|codex", re.IGNORECASE)


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    capabilities = mapping(entry, "capabilities")
    if flag(capabilities, "inference") is False:
        return KindDecision("other", "its capability inference is false")
    if flag(capabilities, "chat_completion"):
        return classify_model(model_id, declared="chat", because="its capability chat_completion is true")
    if flag(capabilities, "embeddings"):
        return KindDecision("embedding", "its capability embeddings is true")
    if flag(capabilities, "completion"):
        return KindDecision("completion", "its capability completion is true")
    by_id = classify_model(model_id)
    no_chat = flag(capabilities, "chat_completion") is False
    if by_id.kind == "chat" and no_chat and not _RESPONSES_ONLY.match(model_id):
        return KindDecision("other", "its capability chat_completion is false")
    return by_id


def _created_at(entry: JsonObject) -> datetime | None:
    return None if entry.get("created_at") == _PARTNERS_CREATED else timestamp(entry, "created_at")


PROVIDER = Provider(
    slug="azure",
    title="Azure OpenAI",
    site="https://ai.azure.com",
    ai_sdk_package="@ai-sdk/azure",
    docs_url="https://learn.microsoft.com/azure/ai-foundry/openai/",
    keys_url="https://ai.azure.com",
    key_hint="32 or 84 letters and digits",
    key_patterns=(
        key_pattern(r"[0-9a-f]{32}", odds=3),
        key_pattern(r"[A-Za-z0-9]{32}"),
        key_pattern(r"[A-Za-z0-9]{84}"),
    ),
    key_variables=("AZURE_AI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_KEY"),
    base_url="https://my-resource.services.ai.azure.com",
    build_request=list_at("/openai/v1/models", **{"api-version": "preview"}),
    sign=key_header("api-key"),
    read=FieldMap(
        classify=_classify,
        private=True,
        created_at=_created_at,
        retires_at=timestamp_before(2090, "deprecation.inference"),
    ),
    colour="#0067b8",
    description="The models of your own Azure resource's region.",
    update_frequency="weekly",
    base_url_example="https://my-resource.services.ai.azure.com",
    api_path=re.compile(r"/(?:openai|models|anthropic|api/projects/[^/]+)(?:/.*)?$"),
    private=True,
    caveat="names the models of your resource's region, not your deployments, which are what you call",
)
