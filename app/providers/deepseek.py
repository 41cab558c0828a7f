"""DeepSeek. A handful of ids without facts or dates (recorded 2025-03); all are chat models."""

from __future__ import annotations

from app.providers.contract import PLAIN_SK, Provider, key_pattern
from app.providers.field_map import FieldMap, always

PROVIDER = Provider(
    slug="deepseek",
    title="DeepSeek",
    site="https://www.deepseek.com",
    docs_url="https://api-docs.deepseek.com/api/list-models",
    keys_url="https://platform.deepseek.com/api_keys",
    key_hint="sk-…",
    # 32 hexadecimal digits: Kingfisher's rule.
    key_patterns=(key_pattern(r"sk-[0-9a-f]{32}", "shared", odds=2), PLAIN_SK),
    base_url="https://api.deepseek.com",
    read=FieldMap(classify=always("chat", "DeepSeek lists chat models only")),
    colour="#4d6bfe",
    description="DeepSeek's own models.",
    rank=70,
)
