"""Google Vertex AI (Gemini Enterprise Agent Platform): Google's own models in its Model Garden, by location.

The list is short and stale: PaLM models that were retired in April 2025 stood in it in August and November 2025,
and no current Gemini did (recorded for a location; a global list of 2026-01 is known to have Gemini only). So current
chat models are added from Google's documentation: the guide to Gemini 3.8 Flash (2026-09-02) and the page of model
versions (a copy whose newest entry is of 2026-07-21), without those retired in October 2026. The key is a service
account's JSON, exchanged for a token, or an API key (AIza…, since 2025 also AQ.…). Pages of up to 100.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import DocumentedModels, Page, Provider, Request, bearer
from app.providers.parsing import InvalidEntry, JsonObject, build_page, decode_json, entries, identifier, text

_PREFIX = "publishers/google/models/"
_HOST = "https://aiplatform.googleapis.com"
_PALM = re.compile(r"(text|chat|code|codechat)-(bison|unicorn|gecko)(-|$)")
_AS_OF = "2026-09-02"


def ask(cursor: str | None) -> Request:
    params = {"pageSize": "100"} | ({"pageToken": cursor} if cursor else {})
    return Request("/v1beta1/publishers/google/models", params)


def sign(key: str) -> Mapping[str, str]:
    """`key` is an API key or the token that a service account's JSON was exchanged for."""
    return {"x-goog-api-key": key} if key.startswith(("AIza", "AQ.")) else bearer(key)


def read(body: bytes) -> Page:
    answer = decode_json(body)
    found = entries(answer, "publisherModels") if answer != {} else []
    following = text(answer, "nextPageToken") or None
    return build_page(found, _read_one, following)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "name").removeprefix(_PREFIX)
    if not model_id:
        raise InvalidEntry(f"its “name” ends behind “{_PREFIX}”")
    kind, reason = _kind(model_id)
    return ListedModel(id=model_id, kind=kind, kind_reason=reason)


def _kind(model_id: str) -> KindDecision:
    if _PALM.match(model_id):
        return KindDecision("other", "it is a PaLM model, retired in April 2025")
    if model_id.startswith("imagegeneration"):
        return KindDecision("image", "“imagegeneration” in its id")
    if model_id == "imagetext":
        return KindDecision("other", "“imagetext” in its id: it captions pictures")
    return classify_model(model_id)


def _documented(model_id: str, name: str) -> ListedModel:
    because = "Google's documentation has it among the Gemini models"
    return ListedModel(id=model_id, name=name, kind="chat", kind_reason=because, documented=_AS_OF)


def _with_its_limits(model: ListedModel) -> ListedModel:
    """The guide gives the same for the three that it compares."""
    return msgspec.structs.replace(
        model,
        context_length=1_048_576,
        max_output_tokens=65_536,
        input_modalities=("audio", "image", "text", "video"),
        output_modalities=("text",),
        vision=True,
        reasoning=True,
    )


PROVIDER = Provider(
    slug="google-vertex",
    title="Google Vertex AI",
    site="https://cloud.google.com/vertex-ai",
    keys_url="https://console.cloud.google.com/iam-admin/serviceaccounts",
    key_hint='{"type": "service_account", …} or AIza…',
    base_url=_HOST,
    ask=ask,
    sign=sign,
    read=read,
    colour="#1a73e8",
    description="Google's models on Google Cloud.",
    update_frequency="weekly",
    format="GEMINI",
    regions={
        "global": _HOST,
        "us-central1": "https://us-central1-aiplatform.googleapis.com",
        "us-east5": "https://us-east5-aiplatform.googleapis.com",
        "europe-west1": "https://europe-west1-aiplatform.googleapis.com",
        "europe-west4": "https://europe-west4-aiplatform.googleapis.com",
        "asia-northeast1": "https://asia-northeast1-aiplatform.googleapis.com",
    },
    documented=DocumentedModels(
        as_of=_AS_OF,
        source="https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/model-versions",
        models=(
            _with_its_limits(_documented("gemini-3.8-flash", "Gemini 3.8 Flash")),
            _with_its_limits(_documented("gemini-3.7-flash", "Gemini 3.7 Flash")),
            _with_its_limits(_documented("gemini-3.1-pro-preview", "Gemini 3.1 Pro Preview")),
            _documented("gemini-3.5-flash", "Gemini 3.5 Flash"),
            _documented("gemini-3.5-flash-lite", "Gemini 3.5 Flash-Lite"),
            _documented("gemini-3.1-flash-lite", "Gemini 3.1 Flash-Lite"),
        ),
    ),
    caveat="leaves out many models that can be called, current Gemini models among them",
    exchange="google",
)
