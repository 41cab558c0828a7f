"""NEAR AI Cloud. Its list is public. Built from its server's published source (2026-08), not from a recording.

`pricing` mixes two units: `input` and `output` are numbers in USD per million tokens, the rest (`prompt`,
`completion`, `input_cache_read` …) texts in USD per token. Read are the first two, the only ones in older answers, and
from the rest only what they lack: the cache price. Models priced per image have 0 there, so 0 means unknown.
Modalities come flat, and in camel case within `architecture`. Whether `created` is the model's own date could not be
confirmed.
"""

from __future__ import annotations

from app.providers.contract import PLAIN_SK, Provider
from app.providers.field_map import FieldMap, contains, other_if, per_million, per_token
from app.providers.parsing import flag

PROVIDER = Provider(
    slug="near",
    title="NEAR AI",
    site="https://near.ai",
    docs_url="https://docs.near.ai",
    keys_url="https://cloud.near.ai",
    key_hint="sk-…",
    key_patterns=(PLAIN_SK,),
    key_variables=("NEARAI_API_KEY", "NEAR_AI_API_KEY"),
    base_url="https://cloud-api.near.ai/v1",
    read=FieldMap(
        classify=other_if(lambda entry: flag(entry, "is_ready") is False, "the provider marks it as not ready"),
        name="name",
        description="description",
        context_length="context_length",
        max_output_tokens="max_output_length",
        input_modalities="input_modalities|architecture.inputModalities",
        output_modalities="output_modalities|architecture.outputModalities",
        tools=contains("supported_features", "tools"),
        reasoning=contains("supported_features", "reasoning"),
        structured_output=contains("supported_features", "structured_outputs"),
        input_per_million=per_million("pricing.input", zero_is_unknown=True),
        output_per_million=per_million("pricing.output", zero_is_unknown=True),
        cache_read_per_million=per_token("pricing.input_cache_read", zero_is_unknown=True),
        deprecated_at="deprecation_date",
        hugging_face_id="hugging_face_id",
    ),
    colour="#0b7a55",
    description="Private inference in trusted hardware, and other vendors' models.",
    public=True,
)
