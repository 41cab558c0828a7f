"""Anthropic. Pages of up to 1,000 models by `after_id`; 20 without `limit`. All models are chat models.

Limits and `capabilities` are listed since March 2026; earlier answers have names and dates only.
"""

from __future__ import annotations

from app.providers.contract import Provider, key_header, list_at
from app.providers.field_map import FieldMap, always, cursor_if_more
from app.providers.parsing import JsonObject, flag, mapping


def _sees(entry: JsonObject) -> bool | None:
    return flag(mapping(mapping(entry, "capabilities"), "image_input"), "supported")


PROVIDER = Provider(
    slug="anthropic",
    title="Anthropic",
    site="https://www.anthropic.com",
    chat_path="/v1",
    ai_sdk_package="@ai-sdk/anthropic",
    docs_url="https://docs.anthropic.com/en/api/models-list",
    keys_url="https://console.anthropic.com/settings/keys",
    key_hint="sk-ant-…",
    key_prefixes=("sk-ant-",),
    # anthropics/claude-code#28091 (2026-02); docs.anthropic.com/en/api/administration-api.
    refused_keys={
        "sk-ant-oat": "a Claude subscription token, which works in Claude's own apps only",
        "sk-ant-ort": "a Claude subscription token, which works in Claude's own apps only",
        "sk-ant-sid": "a claude.ai session cookie, which is no API key",
        "sk-ant-admin": "an Anthropic admin key, which manages an organization and cannot list models",
    },
    base_url="https://api.anthropic.com",
    build_request=list_at("/v1/models", cursor="after_id", limit="1000"),
    sign=key_header("x-api-key"),
    read=FieldMap(
        next_cursor=cursor_if_more("last_id"),
        classify=always("chat", "every model Anthropic lists is a chat model"),
        name="display_name",
        context_length="max_input_tokens",
        max_output_tokens="max_tokens",
        input_modalities=lambda entry: ("image", "text") if _sees(entry) else (),
        output_modalities=lambda entry: ("text",) if _sees(entry) else (),
        vision=_sees,
        reasoning="capabilities.thinking.supported",
        structured_output="capabilities.structured_outputs.supported",
        created_at="created_at",
    ),
    colour="#d97757",
    description="Claude models.",
    rank=20,
    headers={"anthropic-version": "2023-06-01"},
    format="ANTHROPIC",
)
