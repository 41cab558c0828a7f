"""GitHub Models. The catalog is a bare array with limits and modalities, without prices or dates.

`capabilities` is empty where nothing is known of a model. Embedding models have the `rate_limit_tier` and the output
modality "embeddings" and no output limit (recorded 2025-07 and 2026-04; phi-3.5-vision had no outputs at all).
"""

from __future__ import annotations

from app.catalog.kind import classify_model
from app.catalog.listing import ListedModel
from app.providers.contract import Page, Provider, Request, bearer
from app.providers.parsing import (
    JsonObject,
    build_page,
    decode_json,
    entries,
    identifier,
    integer,
    mapping,
    strings,
    text,
)


def ask(_cursor: str | None) -> Request:
    return Request("/catalog/models")


def read(body: bytes) -> Page:
    return build_page(entries(decode_json(body), None), _read_one)


def _read_one(entry: JsonObject) -> ListedModel:
    model_id = identifier(entry)
    inputs, outputs = strings(entry, "supported_input_modalities"), strings(entry, "supported_output_modalities")
    capabilities, limits = strings(entry, "capabilities"), mapping(entry, "limits")
    embeds = text(entry, "rate_limit_tier") == "embeddings"
    kind, reason = classify_model(
        model_id,
        declared="embedding" if embeds else None,
        because="its rate limit tier is embeddings",
        outputs=outputs,
    )
    return ListedModel(
        id=model_id,
        name=text(entry, "name"),
        description=text(entry, "summary"),
        kind=kind,
        kind_reason=reason,
        context_length=integer(limits, "max_input_tokens"),
        max_output_tokens=integer(limits, "max_output_tokens"),
        input_modalities=tuple(sorted(inputs)),
        output_modalities=tuple(sorted(outputs)),
        streaming="streaming" in capabilities if capabilities else None,
        tools="tool-calling" in capabilities if capabilities else None,
        vision="image" in inputs if inputs else None,
        reasoning="reasoning" in capabilities if capabilities else None,
    )


PROVIDER = Provider(
    slug="github-models",
    title="GitHub Models",
    site="https://github.com/marketplace/models",
    keys_url="https://github.com/settings/personal-access-tokens",
    key_hint="github_pat_… (with models: read)",
    base_url="https://models.github.ai",
    ask=ask,
    sign=bearer,
    read=read,
    colour="#24292f",
    description="Models of several makers with a GitHub token.",
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
)
