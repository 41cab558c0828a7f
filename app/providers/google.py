"""Google's Gemini API. Pages of up to 1,000 models by `pageToken`; 50 without `pageSize`.

The key goes into `x-goog-api-key`, never into the URL. Names come as `models/<id>`. Image, speech and embedding models
share the list: `generateContent` is needed to chat, but image and speech models have it too.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind
from app.providers.contract import Provider, key_header, list_at
from app.providers.field_map import FieldMap, cursor_at
from app.providers.parsing import JsonObject, strings

_METHODS: dict[str, Kind] = {
    "embedContent": "embedding",
    "embedText": "embedding",
    "predictLongRunning": "video",
    "predict": "image",
    "bidiGenerateContent": "realtime",
    "generateAnswer": "other",
}


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    methods = strings(entry, "supportedGenerationMethods")
    if "generateContent" in methods:
        return classify_model(model_id, declared="chat", because="it supports generateContent", prefer_id=True)
    for method, kind in _METHODS.items():
        if method in methods:
            return KindDecision(kind, f"it supports {method}, not generateContent")
    return KindDecision("other", "it does not support generateContent")


PROVIDER = Provider(
    slug="google",
    title="Google",
    site="https://ai.google.dev",
    chat_path="/v1beta/openai",
    ai_sdk_package="@ai-sdk/google",
    docs_url="https://ai.google.dev/api/models",
    keys_url="https://aistudio.google.com/apikey",
    key_hint="AIza…",
    # Since 2026 new Gemini keys are authorization keys, `AQ.…` (ai.google.dev/gemini-api/docs/api-key).
    key_prefixes=("AIza", "AQ."),
    # developers.google.com/identity/protocols/oauth2: tokens end after an hour, refresh tokens need a client.
    refused_keys={
        "ya29.": "a Google access token, which expires within an hour",
        "1//0": "a Google refresh token, which is no API key",
    },
    key_variables=("GEMINI_API_KEY", "GOOGLE_AI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"),
    base_url="https://generativelanguage.googleapis.com",
    build_request=list_at("/v1beta/models", cursor="pageToken", pageSize="1000"),
    sign=key_header("x-goog-api-key"),
    read=FieldMap(
        array="models",
        optional_array=True,  # a project without models gets an empty object
        id="name",
        id_prefix="models/",
        next_cursor=cursor_at("nextPageToken"),
        classify=_classify,
        name="displayName",
        description="description",
        context_length="inputTokenLimit",
        max_output_tokens="outputTokenLimit",
        reasoning="thinking",
    ),
    colour="#4285f4",
    description="Gemini and Gemma models by the Gemini API.",
    rank=30,
    format="GEMINI",
)
