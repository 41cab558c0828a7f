"""Moonshot AI, maker of Kimi. Two regions with separate keys.

The list of 2024 has ids only; newer ones add `context_length`, `supports_image_in`, `supports_video_in` and
`supports_reasoning`. These were recorded on the Kimi coding endpoint in July 2026 (another key, with Anthropic's
fields mixed in) and are read by clients of this one. `created` is the same for all models of an answer, so it is not
their date.
"""

from __future__ import annotations

from app.providers.contract import PLAIN_SK, Provider
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, flag

_INTERNATIONAL = "https://api.moonshot.ai/v1"


def _inputs(entry: JsonObject) -> tuple[str, ...]:
    images, videos = flag(entry, "supports_image_in"), flag(entry, "supports_video_in")
    if images is None and videos is None:
        return ()
    return ("text", *(["image"] if images else []), *(["video"] if videos else []))


PROVIDER = Provider(
    slug="moonshot",
    title="Moonshot AI",
    site="https://www.moonshot.ai",
    docs_url="https://platform.moonshot.ai/docs",
    keys_url="https://platform.moonshot.ai/console/api-keys",
    key_hint="sk-…",
    key_patterns=(PLAIN_SK,),
    key_variables=("KIMI_API_KEY",),
    base_url=_INTERNATIONAL,
    read=FieldMap(
        sort_modalities=False,
        name="display_name",
        context_length="context_length",
        input_modalities=_inputs,
        vision="supports_image_in",
        reasoning="supports_reasoning",
    ),
    colour="#16191e",
    description="Kimi models.",
    rank=160,
    regions={"International": _INTERNATIONAL, "China": "https://api.moonshot.cn/v1"},
)
