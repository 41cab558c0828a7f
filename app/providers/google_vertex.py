"""Google Vertex AI (Gemini Enterprise Agent Platform): Google's own models in its Model Garden, by location.

The list is short and outdated: PaLM models retired in April 2025 were in it in August and November 2025, and no
current Gemini was (recorded for a location; a global list of 2026-01 is known to have Gemini only). So current chat
models are added from Google's documentation: the guide to Gemini 3.8 Flash (2026-09-02) and the page of model versions
(a copy whose newest entry is of 2026-07-21), without those retired in October 2026. The key is a service account's
JSON, exchanged for a token, or an API key (AIza…, since 2025 also AQ.…). Pages of up to 100 models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import DocumentedModels, Provider, bearer, list_at
from app.providers.field_map import FieldMap, cursor_at
from app.providers.parsing import JsonObject

_HOST = "https://aiplatform.googleapis.com"
_PALM = re.compile(r"(text|chat|code|codechat)-(bison|unicorn|gecko)(-|$)")
_API_KEY_PREFIXES = ("AIza", "AQ.")
_AS_OF = "2026-09-02"


def sign(key: str) -> Mapping[str, str]:
    """`key` is an API key, or the token that a service account's JSON was exchanged for."""
    return {"x-goog-api-key": key} if key.startswith(_API_KEY_PREFIXES) else bearer(key)


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
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


def _add_limits(model: ListedModel) -> ListedModel:
    """The guide gives the same limits for the three models that it compares."""
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
    no_snippet_reason=(
        "Google Vertex AI takes a short-lived token made of the service account, so no line that holds for longer "
        "can be shown."
    ),
    ai_sdk_package="@ai-sdk/google-vertex",
    docs_url="https://cloud.google.com/vertex-ai/docs",
    keys_url="https://console.cloud.google.com/iam-admin/serviceaccounts",
    key_hint='{"type": "service_account", …} or AIza…',
    key_prefixes=_API_KEY_PREFIXES,
    base_url=_HOST,
    build_request=list_at("/v1beta1/publishers/google/models", cursor="pageToken", pageSize="100"),
    sign=sign,
    read=FieldMap(
        array="publisherModels",
        optional_array=True,
        id="name",
        id_prefix="publishers/google/models/",
        next_cursor=cursor_at("nextPageToken"),
        classify=_classify,
    ),
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
            _add_limits(_documented("gemini-3.8-flash", "Gemini 3.8 Flash")),
            _add_limits(_documented("gemini-3.7-flash", "Gemini 3.7 Flash")),
            _add_limits(_documented("gemini-3.1-pro-preview", "Gemini 3.1 Pro Preview")),
            _documented("gemini-3.5-flash", "Gemini 3.5 Flash"),
            _documented("gemini-3.5-flash-lite", "Gemini 3.5 Flash-Lite"),
            _documented("gemini-3.1-flash-lite", "Gemini 3.1 Flash-Lite"),
        ),
    ),
    caveat="leaves out many models that can be called, current Gemini models among them",
    token_exchange="google",  # noqa: S106  # not a password
)
