"""Alibaba Cloud Model Studio (DashScope) in its OpenAI-compatible mode; each region knows its own keys and models.

The envelope has `first_id`, `last_id` and `has_more` (recorded 2026-02 to 2026-05), but the two ids are made up
("model-id-142") and `has_more` was false with everything on one page. Chat, embedding, picture and speech models
share the list and only their ids tell them apart. China's answer is not recorded and taken to be the same. Since 2026
the documentation gives each workspace an address of its own, too, and has another list with limits and prices
(`/api/v1/models`, 2026-09), of which nothing is recorded: neither is used here.
"""

from __future__ import annotations

from app.providers import openai_shape
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import InvalidResponse, build_page, decode_json, entries, text

_REGIONS = {
    "International (Singapore)": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    "US (Virginia)": "https://dashscope-us.aliyuncs.com/compatible-mode/v1",
    "China (Beijing)": "https://dashscope.aliyuncs.com/compatible-mode/v1",
}


def ask(cursor: str | None) -> Request:
    return Request("/models", {"after": cursor} if cursor else {})


def read(body: bytes) -> Page:
    answer = decode_json(body)
    found = entries(answer, "data")
    following = None
    if answer.get("has_more") is True:
        # Should `after` be ignored, the same made-up id comes again, which the fetcher notices.
        following = text(answer, "last_id")
        if not following:
            raise InvalidResponse("says there are more models but not where")
    return build_page(found, openai_shape.read_one, following)


PROVIDER = Provider(
    slug="alibaba",
    title="Alibaba Cloud",
    site="https://www.alibabacloud.com/product/modelstudio",
    keys_url="https://modelstudio.console.alibabacloud.com/?tab=playground#/api-key",
    key_hint="sk-…",
    base_url=_REGIONS["International (Singapore)"],
    ask=ask,
    sign=bearer,
    read=read,
    colour="#c74a00",
    description="Qwen models and others by Alibaba's Model Studio.",
    regions=_REGIONS,
)
