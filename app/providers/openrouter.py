"""OpenRouter, an aggregator. `/models` is public; `/models/user` lists what a key may use.

The latter follows the account's provider preferences, privacy settings and guardrails (openrouter.ai/docs, "List models
filtered by user provider preferences, privacy settings, and guardrails", 2026-11).

Prices are texts in USD per token; "-1" means that the price varies (routers such as openrouter/auto).
`expiration_date` is the day a model leaves; 2098-12-31 has been used for "never". `supported_parameters` name
capabilities. Since August 2026 the envelope has `links.next`, null so far. Rows whose id begins with `~` point to the
latest model of a family, which `alias_target.slug` names.
"""

from __future__ import annotations

from app.providers.contract import Provider, list_at
from app.providers.field_map import Extractor, FieldMap, per_token, timestamp_before
from app.providers.parsing import JsonObject, keys


def _supports(parameter: str) -> Extractor:
    def extract(entry: JsonObject) -> bool | None:
        parameters = keys(entry, "supported_parameters")
        return parameter in parameters if parameters else None

    return extract


PROVIDER = Provider(
    slug="openrouter",
    title="OpenRouter",
    site="https://openrouter.ai",
    docs_url="https://openrouter.ai/docs",
    keys_url="https://openrouter.ai/settings/keys",
    key_hint="sk-or-…",
    key_prefixes=("sk-or-",),
    key_variables=("OPEN_ROUTER_API_KEY",),
    base_url="https://openrouter.ai/api/v1",
    build_keyed_request=list_at("/models/user"),
    list_scope="key",
    read=FieldMap(
        sort_modalities=False,
        name="name",
        description="description",
        context_length="context_length|top_provider.context_length",
        max_output_tokens="top_provider.max_completion_tokens",
        input_modalities="architecture.input_modalities",
        output_modalities="architecture.output_modalities",
        tools=_supports("tools"),
        reasoning=_supports("reasoning"),
        structured_output=_supports("structured_outputs"),
        input_per_million=per_token("pricing.prompt"),
        output_per_million=per_token("pricing.completion"),
        cache_read_per_million=per_token("pricing.input_cache_read"),
        cache_write_per_million=per_token("pricing.input_cache_write"),
        created_at="created",
        retires_at=timestamp_before(2090, "expiration_date"),
        canonical_slug="alias_target.slug|canonical_slug",
        hugging_face_id="hugging_face_id",
    ),
    colour="#6467f2",
    description="Hundreds of models of many providers behind one key.",
    rank=50,
    public=True,
    update_frequency="realtime",
)
