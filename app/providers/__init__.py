"""Everyone whose list we can read. One file per provider: where to ask, how to sign, how to read.

To add a provider:

1. Copy the nearest file to `app/providers/<slug>.py` (dashes as underscores) and change what is peculiar to it.
2. Add its module to `PROVIDERS` below.
3. Put one real answer, without keys, into `tests/providers/answers/<slug>/` and run `pytest tests/providers`:
   the tests say what is expected.

No migration, form, template, route or setting is needed: they all walk `PROVIDERS`.
"""

from __future__ import annotations

from app.providers import (
    aihubmix,
    aimo,
    alibaba,
    anannas,
    anthropic,
    azure,
    cerebras,
    cherryin,
    chutes,
    cohere,
    deepinfra,
    deepseek,
    fal,
    featherless,
    fireworks,
    github_models,
    google,
    google_vertex,
    groq,
    helicone,
    huggingface,
    hyperbolic,
    lmstudio,
    mistral,
    moonshot,
    near,
    nebius,
    novita,
    nvidia_nim,
    ollama,
    openai,
    openai_compatible,
    openrouter,
    perplexity,
    poe,
    sambanova,
    silicon,
    together,
    vercel_ai_gateway,
    vllm,
    xai,
    zhipu,
)
from app.providers.contract import Provider

PROVIDERS: dict[str, Provider] = {
    module.PROVIDER.slug: module.PROVIDER
    for module in (
        openai,
        anthropic,
        google,
        groq,
        openrouter,
        mistral,
        deepseek,
        together,
        fireworks,
        deepinfra,
        xai,
        cerebras,
        cohere,
        perplexity,
        featherless,
        huggingface,
        google_vertex,
        near,
        fal,
        chutes,
        aimo,
        anannas,
        aihubmix,
        helicone,
        vercel_ai_gateway,
        nebius,
        novita,
        alibaba,
        silicon,
        moonshot,
        zhipu,
        cherryin,
        sambanova,
        nvidia_nim,
        hyperbolic,
        github_models,
        poe,
        azure,
        ollama,
        lmstudio,
        vllm,
        openai_compatible,
    )
}


def get(slug: str) -> Provider | None:
    return PROVIDERS.get(slug)
