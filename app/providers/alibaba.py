"""Alibaba Cloud Model Studio (DashScope) in its OpenAI-compatible mode; each region has its own keys and models.

The envelope has `first_id`, `last_id` and `has_more` (recorded 2026-02 to 2026-05), but both ids are made up
("model-id-142") and `has_more` was false with everything on one page. Chat, embedding, image and speech models share
the list; only their ids tell them apart. China's answer was not recorded and is assumed to be the same. Since 2026 the
documentation also gives each workspace its own address, and has another list with limits and prices (`/api/v1/models`,
2026-09); neither was recorded, so neither is used.
"""

from __future__ import annotations

from app.providers.contract import PLAIN_SK, Provider, key_pattern, list_at
from app.providers.field_map import FieldMap, cursor_if_more

_REGIONS = {
    "International (Singapore)": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    "US (Virginia)": "https://dashscope-us.aliyuncs.com/compatible-mode/v1",
    "China (Beijing)": "https://dashscope.aliyuncs.com/compatible-mode/v1",
}

PROVIDER = Provider(
    slug="alibaba",
    title="Alibaba Cloud",
    site="https://www.alibabacloud.com/product/modelstudio",
    docs_url="https://www.alibabacloud.com/help/en/model-studio/",
    keys_url="https://modelstudio.console.alibabacloud.com/?tab=playground#/api-key",
    key_hint="sk-…",
    key_patterns=(key_pattern(r"sk-[0-9a-f]{32}", "shared", odds=2), PLAIN_SK),
    key_variables=("DASHSCOPE_API_KEY",),
    base_url=_REGIONS["International (Singapore)"],
    build_request=list_at("/models", cursor="after"),
    # If `after` is ignored, the same made-up id comes back, which the fetcher detects as a loop.
    read=FieldMap(next_cursor=cursor_if_more("last_id"), created_at="created"),
    colour="#c74a00",
    description="Qwen models and others by Alibaba's Model Studio.",
    rank=150,
    regions=_REGIONS,
)
