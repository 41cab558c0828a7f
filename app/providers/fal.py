"""fal. Pages of `models` by `limit` and `cursor`; most make images and video, hardly any are chat models.

Everything but `endpoint_id` is in `metadata`, as in a page recorded in April 2026; `category` names the kind. No
prices and no limits. The documentation (November 2026) says that a key is optional and only raises rate limits, that
the authorization scheme is "Key", and that `status` and `category` filter on the server. Neither filter is used: a
model that became deprecated would seem to have vanished.
"""

from __future__ import annotations

from typing import Any

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind
from app.providers.contract import Provider, key_header, key_pattern, list_at
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, mapping, text

_CATEGORIES: dict[str, Kind] = {
    "llm": "chat",
    "speech-to-text": "transcription",
    "audio-to-text": "transcription",
    "vision": "other",
    "training": "other",
    "json": "other",
}
_OUTPUTS: dict[str, Kind] = {"image": "image", "video": "video", "audio": "audio", "speech": "audio", "3d": "other"}


def _next_cursor(answer: Any) -> str | None:
    return None if answer.get("has_more") is False else text(answer, "next_cursor") or None


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    category = text(mapping(entry, "metadata"), "category")
    if not category:
        return classify_model(model_id)
    kind = _CATEGORIES.get(category) or _OUTPUTS.get(category.rpartition("-")[2]) or "other"
    return classify_model(model_id, declared=kind, because=f"its category is {category}")


PROVIDER = Provider(
    slug="fal",
    title="fal",
    site="https://fal.ai",
    no_snippet_reason="fal runs each model at an address of its own, which its page there describes.",
    docs_url="https://docs.fal.ai",
    keys_url="https://fal.ai/dashboard/keys",
    key_hint="xxxxxxxx-xxxx-…:…",
    key_patterns=(key_pattern(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{16,64}"),),
    key_variables=("FAL_KEY",),
    base_url="https://api.fal.ai/v1",
    build_request=list_at("/models", cursor="cursor", limit="100"),
    sign=key_header("Authorization", "Key"),
    read=FieldMap(
        array="models",
        id="endpoint_id",
        next_cursor=_next_cursor,
        classify=_classify,
        name="metadata.display_name",
        description="metadata.description",
        created_at="metadata.date",
    ),
    colour="#6d28d9",
    description="Image, video and audio models, with a few that chat.",
    public=True,
    update_frequency="realtime",
)
