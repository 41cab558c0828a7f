"""OpenAI. The list has ids and dates only, so the id decides what a model is.

`shutdown_date` is listed since August 2026. Ids that begin with `ft:` are the key owner's fine-tunes.
"""

from __future__ import annotations

from app.catalog.kind import KindDecision, classify_model
from app.providers.contract import PLAIN_SK, Provider, key_pattern
from app.providers.field_map import FieldMap
from app.providers.parsing import JsonObject, identifier


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    # ft:gpt-4o-mini-2024-07-18:my-org:custom-name:id: the base decides the kind, not the name someone chose.
    return classify_model(model_id.split(":")[1] if model_id.startswith("ft:") else model_id)


PROVIDER = Provider(
    slug="openai",
    title="OpenAI",
    site="https://openai.com",
    ai_sdk_package="@ai-sdk/openai",
    docs_url="https://platform.openai.com/docs/api-reference/models/list",
    keys_url="https://platform.openai.com/api-keys",
    key_hint="sk-…",
    key_prefixes=("sk-proj-", "sk-svcacct-", "sk-None-"),
    # platform.openai.com/docs/api-reference/administration, 2026-11.
    refused_keys={
        "sk-admin-": "an OpenAI admin key, which manages an organization and cannot list models",
        "sess-": "a session token of OpenAI's website, which is no API key",
    },
    # Keys from before projects have "OpenAI" in the middle, in base64 (gitleaks' rule).
    key_patterns=(key_pattern(r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}", "certain"), PLAIN_SK),
    key_variables=("OPENAI_KEY",),
    base_url="https://api.openai.com/v1",
    read=FieldMap(
        classify=_classify,
        private=lambda entry: identifier(entry).startswith("ft:"),
        created_at="created",
        retires_at="shutdown_date",
    ),
    colour="#10a37f",
    description="GPT and o-series models.",
    rank=10,
)
