"""Moonshot AI, maker of Kimi. Two regions whose keys do not know each other.

The list of 2024 has ids only; newer ones add `context_length`, `supports_image_in`, `supports_video_in` and
`supports_reasoning`. These were recorded on the Kimi coding endpoint in July 2026 (another key, and Anthropic's
fields mixed in) and are read by clients of this one. `created` is the same for all models of an answer, so no
date of theirs.
"""

from __future__ import annotations

import msgspec

from app.catalog.listing import ListedModel
from app.providers import openai_shape
from app.providers.contract import Page, Provider, bearer
from app.providers.parsing import JsonObject, build_page, decode_json, entries, flag, integer, text

_INTERNATIONAL = "https://api.moonshot.ai/v1"


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), "data"), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    sees, films = flag(entry, "supports_image_in"), flag(entry, "supports_video_in")
    inputs = ("text", *(["image"] if sees else []), *(["video"] if films else []))
    return msgspec.structs.replace(
        openai_shape.read_one(entry),
        created_at=None,
        name=text(entry, "display_name"),
        context_length=integer(entry, "context_length"),
        input_modalities=() if sees is None and films is None else inputs,
        vision=sees,
        reasoning=flag(entry, "supports_reasoning"),
    )


PROVIDER = Provider(
    slug="moonshot",
    title="Moonshot AI",
    site="https://www.moonshot.ai",
    keys_url="https://platform.moonshot.ai/console/api-keys",
    key_hint="sk-…",
    base_url=_INTERNATIONAL,
    ask=openai_shape.ask,
    sign=bearer,
    read=read,
    colour="#16191e",
    description="Kimi models.",
    regions={"International": _INTERNATIONAL, "China": "https://api.moonshot.cn/v1"},
)
