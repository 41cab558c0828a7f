"""fal. Pages of `models` by `limit` and `cursor`; hardly a chat model among them, most make images and video.

Everything but `endpoint_id` sits in `metadata`, as in a page recorded in April 2026; `category` tells what a
model is. No prices and no limits. The documentation (November 2026) says that a key is optional and only raises
rate limits, that it is signed with "Key", and that `status` and `category` filter on their side. Neither filter
is used: a model that became deprecated would look as if it had vanished.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind, ListedModel
from app.providers.contract import Page, Provider, Request
from app.providers.parsing import (
    InvalidResponse,
    JsonObject,
    build_page,
    decode_json,
    entries,
    identifier,
    mapping,
    text,
    timestamp,
)

_CATEGORIES: dict[str, Kind] = {
    "llm": "chat",
    "speech-to-text": "transcription",
    "audio-to-text": "transcription",
    "vision": "other",
    "training": "other",
    "json": "other",
}
_MADE: dict[str, Kind] = {"image": "image", "video": "video", "audio": "audio", "speech": "audio", "3d": "other"}


def ask(cursor: str | None) -> Request:
    return Request("/models", {"limit": "100"} | ({"cursor": cursor} if cursor else {}))


def sign(key: str) -> Mapping[str, str]:
    return {"Authorization": f"Key {key}"}


def read(body: bytes) -> Page:
    answer = decode_json(body)
    found = entries(answer, "models")
    following = text(answer, "next_cursor")
    if answer.get("has_more") is True and not following:
        raise InvalidResponse("says there are more models but not where")
    return build_page(found, _read_one, None if answer.get("has_more") is False else following or None)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry, "endpoint_id")
    about = mapping(entry, "metadata")
    kind, reason = _kind(model_id, text(about, "category"))
    return ListedModel(
        id=model_id,
        name=text(about, "display_name"),
        description=text(about, "description"),
        kind=kind,
        kind_reason=reason,
        created_at=timestamp(about, "date"),
    )


def _kind(model_id: str, category: str) -> KindDecision:
    if not category:
        return classify_model(model_id)
    kind = _CATEGORIES.get(category) or _MADE.get(category.rpartition("-")[2]) or "other"
    return classify_model(model_id, declared=kind, because=f"its category is {category}")


PROVIDER = Provider(
    slug="fal",
    title="fal",
    site="https://fal.ai",
    keys_url="https://fal.ai/dashboard/keys",
    key_hint="xxxxxxxx-xxxx-…:…",
    base_url="https://api.fal.ai/v1",
    ask=ask,
    sign=sign,
    read=read,
    colour="#6d28d9",
    description="Image, video and audio models, with a few that chat.",
    public=True,
    update_frequency="realtime",
)
