"""Mistral. `capabilities` say what a model can do; limits are in the list, prices are not.

Every alias is a row of its own, and the same id may come twice with different facts (`voxtral-mini-latest` as a chat
model that hears and as a transcriber; recorded 2025-09 to 2026-02): both rows are read. `created` is the time of the
request. `deprecation` is the day a model leaves the list (ten were gone after theirs, recorded 2025-12 and 2026-02).
`ocr`, `moderation` and the `audio…` capabilities came one by one since 2025-09. Fine-tunes (`ft:…`, `archived`) are
from the documentation, 2026-08.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
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
    text,
    timestamp,
)

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("ocr", "ocr"),
    ("moderation", "moderation"),
    ("audio_transcription", "transcription"),
    ("audio_speech", "audio"),
    ("completion_fim", "completion"),
)


def ask(_cursor: str | None) -> Request:
    return Request("/v1/models")


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    name, can = text(entry, "name"), mapping(entry, "capabilities")
    tuned = model_id.startswith("ft:") or text(entry, "type") == "fine-tuned"
    # ft:open-mistral-7b:587a6b29:20240514:7e773925: the base decides, not what follows it.
    kind, reason = _kind(model_id.split(":")[1] if model_id.startswith("ft:") else model_id, can)
    if flag(entry, "archived"):
        kind, reason = KindDecision("other", "the provider marks it as archived")
    return ListedModel(
        id=model_id,
        name=name if name != model_id else "",
        description=text(entry, "description"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(entry, "max_context_length"),
        tools=flag(can, "function_calling"),
        vision=flag(can, "vision"),
        reasoning=flag(can, "reasoning"),
        retires_at=timestamp(entry, "deprecation"),
        private=tuned,
    )


def _kind(model_id: str, can: JsonObject) -> KindDecision:
    chats = flag(can, "completion_chat")
    # Transcribers were listed as chat models until February 2026; those that chat about sound have `audio` too.
    if flag(can, "audio_transcription") and not flag(can, "audio"):
        chats = False
    if chats:
        return classify_model(model_id, declared="chat", because="its capabilities include completion_chat")
    for capability, kind in _KINDS:
        if flag(can, capability):
            return classify_model(model_id, declared=kind, because=f"its capabilities include {capability}")
    by_id = classify_model(model_id)
    if by_id.kind == "chat" and chats is False:
        return KindDecision("other", "its capabilities leave out completion_chat")
    return by_id


PROVIDER = Provider(
    slug="mistral",
    title="Mistral",
    site="https://mistral.ai",
    keys_url="https://console.mistral.ai/api-keys",
    key_hint="32 letters and digits",
    base_url="https://api.mistral.ai",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#e8490f",
    description="Mistral, Codestral, Magistral and Voxtral models.",
)
