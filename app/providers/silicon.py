"""SiliconFlow. Two regions with separate accounts. The list has ids only; `created` is 0 and `owned_by` empty.

Recorded in January 2026. The id decides what a model is. The API can filter by `type` and `sub_type`, and clients use
that, but its values and their coverage are not confirmed: a list assembled from filtered ones would lose whatever none
of them covers, so the whole list is read. `Pro/` is a paid tier of the same model and `LoRA/` a base for adapters:
both are ids of their own.
"""

from __future__ import annotations

from app.providers.contract import PLAIN_SK, Provider
from app.providers.field_map import IDS_AND_DATES

_CHINA = "https://api.siliconflow.cn/v1"

PROVIDER = Provider(
    slug="silicon",
    title="SiliconFlow",
    site="https://siliconflow.cn",
    docs_url="https://docs.siliconflow.cn",
    keys_url="https://cloud.siliconflow.cn/account/ak",
    key_hint="sk-…",
    key_patterns=(PLAIN_SK,),
    key_variables=("SILICONFLOW_API_KEY",),
    base_url=_CHINA,
    read=IDS_AND_DATES,
    colour="#86198f",
    description="Open models, many of them Chinese.",
    regions={"China": _CHINA, "International": "https://api.siliconflow.com/v1"},
)
