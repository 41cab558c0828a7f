"""Mistral. `capabilities` tell what a model can do; limits are listed, prices are not.

Every alias is a row of its own, whose `name` is the model it means. The same id may come twice with different facts
(`voxtral-mini-latest` as a chat model that hears and as a transcriber; recorded 2025-09 to 2026-02): both rows are
read. `created` is the time of the request. `deprecation` is the day a model leaves the list (ten were gone after
theirs, recorded 2025-12 and 2026-02). `ocr`, `moderation` and the `audio…` capabilities were added one by one since
2025-09. Fine-tunes (`ft:…`, `archived`) are from the documentation, 2026-08.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind
from app.providers.contract import Provider, key_pattern, list_at
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, flag, identifier, mapping, text

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("ocr", "ocr"),
    ("moderation", "moderation"),
    ("audio_transcription", "transcription"),
    ("audio_speech", "audio"),
    ("completion_fim", "completion"),
)


def _name(entry: JsonObject) -> str:
    name = text(entry, "name")
    return name if name != identifier(entry) else ""


def _is_fine_tuned(entry: JsonObject) -> bool:
    return identifier(entry).startswith("ft:") or text(entry, "type") == "fine-tuned"


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    if flag(entry, "archived"):
        return KindDecision("other", "the provider marks it as archived")
    capabilities = mapping(entry, "capabilities")
    # ft:open-mistral-7b:587a6b29:20240514:7e773925: the base model decides, not what follows it.
    base_id = model_id.split(":")[1] if model_id.startswith("ft:") else model_id
    can_chat = flag(capabilities, "completion_chat")
    # Transcribers were listed as chat models until February 2026; those that chat about sound have `audio` too.
    if flag(capabilities, "audio_transcription") and not flag(capabilities, "audio"):
        can_chat = False
    if can_chat:
        return classify_model(base_id, declared="chat", because="its capabilities include completion_chat")
    for capability, kind in _KINDS:
        if flag(capabilities, capability):
            return KindDecision(kind, f"its capabilities include {capability}")
    by_id = classify_model(base_id)
    if by_id.kind == "chat" and can_chat is False:
        return KindDecision("other", "its capabilities leave out completion_chat")
    return by_id


PROVIDER = Provider(
    slug="mistral",
    title="Mistral",
    site="https://mistral.ai",
    ai_sdk_package="@ai-sdk/mistral",
    docs_url="https://docs.mistral.ai/api/",
    keys_url="https://console.mistral.ai/api-keys",
    key_hint="32 letters and digits",
    key_patterns=(key_pattern(r"[A-Za-z0-9]{32}", odds=2),),
    base_url="https://api.mistral.ai",
    build_request=list_at("/v1/models"),
    read=FieldMap(
        classify=_classify,
        private=_is_fine_tuned,
        name=_name,
        canonical_slug=_name,
        description="description",
        context_length="max_context_length",
        tools="capabilities.function_calling",
        vision="capabilities.vision",
        reasoning="capabilities.reasoning",
        retires_at="deprecation",
    ),
    colour="#e8490f",
    description="Mistral, Codestral, Magistral and Voxtral models.",
    rank=60,
)
