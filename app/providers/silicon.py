"""SiliconFlow. Two regions with accounts of their own. The list names ids; `created` is 0 and `owned_by` empty.

Recorded in January 2026. What a model is has to be told from its id. The API can filter by `type` and `sub_type`,
and clients use it, but its words and their coverage are not confirmed: a list put together from filtered ones
would lose whatever none of them names, so the one whole list is read. `Pro/` is a paid tier of the same model and
`LoRA/` a base for adapters: both are ids of their own.
"""

from __future__ import annotations

from app.providers import openai_shape
from app.providers.contract import Provider, bearer

_CHINA = "https://api.siliconflow.cn/v1"

PROVIDER = Provider(
    slug="silicon",
    title="SiliconFlow",
    site="https://siliconflow.cn",
    keys_url="https://cloud.siliconflow.cn/account/ak",
    key_hint="sk-…",
    base_url=_CHINA,
    ask=openai_shape.ask,
    sign=bearer,
    read=openai_shape.read,
    colour="#86198f",
    description="Open models, many of them Chinese.",
    regions={"China": _CHINA, "International": "https://api.siliconflow.com/v1"},
)
