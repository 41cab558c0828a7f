"""What API keys look like, and what the variables that hold them are called. Facts only, each with its source.

Sources of the forms:

- the provider's own documentation, as each provider's file names it in `keys_url` and `key_hint`;
- the public rules of the secret scanners gitleaks (github.com/gitleaks/gitleaks) and Kingfisher
  (github.com/mongodb/kingfisher): `sk-ant-`, OpenAI's `T3BlbkFJ` in the middle and `sk-proj-`, `sk-svcacct-`,
  `sk-admin-`, `sk-None-`, DeepSeek's 32 hexadecimal digits, `gsk_`, `hf_`, `nvapi-`, `pplx-`, `r8_`, `AIza`;
- ai.google.dev/gemini-api/docs/api-key: since 2026 new Gemini keys are authorization keys, which begin with `AQ.`.

Sources of the names: the providers' own SDKs, docs.litellm.ai/docs/set_keys and the AI SDK (ai-sdk.dev/providers).
"""

from __future__ import annotations

import re

SURE: dict[str, tuple[str, ...]] = {
    "sk-ant-": ("anthropic",),
    "sk-or-": ("openrouter",),
    "sk-proj-": ("openai",),
    "sk-svcacct-": ("openai",),
    "sk-admin-": ("openai",),
    "sk-None-": ("openai",),
    "sk-helicone-": ("helicone",),
    "gsk_": ("groq",),
    "AIza": ("google", "google-vertex"),
    "AQ.": ("google", "google-vertex"),
    "xai-": ("xai",),
    "hf_": ("huggingface",),
    "nvapi-": ("nvidia-nim",),
    "pplx-": ("perplexity",),
    "fw_": ("fireworks",),
    "tgp_v1_": ("together",),
    "rc_": ("featherless",),
    "csk-": ("cerebras",),
    "cpk_": ("chutes",),
    "vck_": ("vercel-ai-gateway",),
    "github_pat_": ("github-models",),
    "ghp_": ("github-models",),
    "aimo-": ("aimo",),
}
"""How keys begin that only one company gives out → whose they are, the likeliest first. No prefix begins another."""

ELSEWHERE: dict[str, str] = {
    "r8_": "Replicate",
    "lsv2_": "LangSmith",
    "AKIA": "Amazon Web Services",
}
"""How keys begin of those whose lists cannot be read here."""

PLAIN = ("openai", "deepseek", "alibaba", "moonshot", "silicon", "near", "aihubmix", "anannas", "cherryin")
"""Everyone whose keys begin with a plain `sk-`."""

OPENAI_OLD = re.compile(r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}")
"""OpenAI's keys of before the projects have its name in the middle, in base64."""

UNSURE: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"sk-lm-[^\s]+"), ("lmstudio",)),
    (
        re.compile(r"sk-[0-9a-f]{32}"),
        ("deepseek", "alibaba", *(slug for slug in PLAIN if slug not in ("deepseek", "alibaba"))),
    ),
    (re.compile(r"sk-[^\s]+"), PLAIN),
)
"""Forms of several companies: asked about, never decided here, since a key sent to the wrong one is given away."""

UNSURE_ALONE: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"sk_live_[\w-]+"), ("hyperbolic", "novita")),
    (re.compile(r"sk_[\w-]+"), ("novita",)),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), ("nebius", "hyperbolic")),
    (re.compile(r"v1\.[\w.-]+"), ("nebius",)),
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{16,64}"), ("fal",)),
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), ("sambanova",)),
    (re.compile(r"[0-9a-f]{32}\.[A-Za-z0-9]{16}"), ("zhipu",)),
    (re.compile(r"[0-9a-f]{64}"), ("together",)),
    (re.compile(r"[0-9a-f]{32}"), ("azure", "mistral", "deepinfra")),
    (re.compile(r"[A-Za-z0-9]{32}"), ("mistral", "deepinfra", "azure")),
    (re.compile(r"[A-Za-z0-9]{40}"), ("cohere",)),
    (re.compile(r"[A-Za-z0-9]{84}"), ("azure",)),
    (re.compile(r"[A-Za-z0-9_-]{43}"), ("poe",)),
)
"""Forms that many other secrets have as well: taken for a key only where it stands alone on its line."""

NAMES: dict[str, str] = {
    "AI_GATEWAY_API_KEY": "vercel-ai-gateway",
    "AZURE_AI_API_KEY": "azure",
    "AZURE_OPENAI_API_KEY": "azure",
    "AZURE_OPENAI_KEY": "azure",
    "CO_API_KEY": "cohere",
    "DASHSCOPE_API_KEY": "alibaba",
    "DEEPINFRA_TOKEN": "deepinfra",
    "FAL_API_KEY": "fal",
    "FAL_KEY": "fal",
    "FEATHERLESS_AI_API_KEY": "featherless",
    "FIREWORKS_AI_API_KEY": "fireworks",
    "GEMINI_API_KEY": "google",
    "GOOGLE_AI_API_KEY": "google",
    "GOOGLE_GENERATIVE_AI_API_KEY": "google",
    "GROK_API_KEY": "xai",
    "HF_TOKEN": "huggingface",
    "HUGGINGFACEHUB_API_TOKEN": "huggingface",
    "HUGGING_FACE_HUB_TOKEN": "huggingface",
    "KIMI_API_KEY": "moonshot",
    "LM_STUDIO_API_KEY": "lmstudio",
    "NEARAI_API_KEY": "near",
    "NEAR_AI_API_KEY": "near",
    "NVIDIA_API_KEY": "nvidia-nim",
    "OPEN_ROUTER_API_KEY": "openrouter",
    "OPENAI_KEY": "openai",
    "PERPLEXITYAI_API_KEY": "perplexity",
    "SILICONFLOW_API_KEY": "silicon",
    "TOGETHERAI_API_KEY": "together",
    "TOGETHER_AI_API_KEY": "together",
    "ZAI_API_KEY": "zhipu",
    "ZHIPUAI_API_KEY": "zhipu",
}
"""Names of variables besides `<SLUG>_API_KEY`, which every provider has."""

ADDRESS_ENDINGS = ("_BASE_URL", "_API_BASE", "_API_BASE_URL", "_ENDPOINT", "_HOST", "_URL")
"""How the variable that gives the address beside a key ends; what stands before is the key's own beginning."""
