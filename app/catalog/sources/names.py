"""Names in public catalogs: provider slugs, first-party providers of labs, and labs by the form of an id."""

from __future__ import annotations

import re

from app.catalog.vocabulary import LABS

UNREADABLE_PROVIDERS = frozenset({"bedrock"})
"""Providers whose lists we cannot read, and whose ids the catalog records all the same."""

# Source's provider slug → ours, where they differ.
MODELSDEV_PROVIDERS = {
    "togetherai": "together",
    "fireworks-ai": "fireworks",
    "google-vertex-anthropic": "google-vertex",
    "nearai": "near",
    "vercel": "vercel-ai-gateway",
    "novita-ai": "novita",
    "alibaba-cn": "alibaba",
    "siliconflow": "silicon",
    "siliconflow-cn": "silicon",
    "moonshotai": "moonshot",
    "moonshotai-cn": "moonshot",
    "zhipuai": "zhipu",
    "zai": "zhipu",
    "nvidia": "nvidia-nim",
    "azure-cognitive-services": "azure",
    "amazon-bedrock": "bedrock",
    "ollama-cloud": "ollama",
    "fal-ai": "fal",
}
LITELLM_PROVIDERS = {
    "text-completion-openai": "openai",
    "gemini": "google",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "cohere_chat": "cohere",
    "vercel_ai_gateway": "vercel-ai-gateway",
    "dashscope": "alibaba",
    "nvidia_nim": "nvidia-nim",
    "azure_ai": "azure",
    "bedrock_converse": "bedrock",
    "featherless_ai": "featherless",
    "zai": "zhipu",
    "meta_llama": "llama",
    "amazon_nova": "nova",
    "minimax": "minimax",
    "vertex_ai-anthropic_models": "google-vertex",
    "vertex_ai-mistral_models": "google-vertex",
    "vertex_ai-llama_models": "google-vertex",
    "vertex_ai-language-models": "google-vertex",
    "vertex_ai-deepseek_models": "google-vertex",
    "vertex_ai-qwen_models": "google-vertex",
    "vertex_ai-openai_models": "google-vertex",
    "vertex_ai-ai21_models": "google-vertex",
}

FIRST_PARTY = {
    lab: frozenset({lab})
    for lab in (
        *("openai", "anthropic", "google", "xai", "mistral", "deepseek", "cohere", "perplexity", "alibaba", "minimax"),
        *("xiaomi", "inception", "upstage", "morph", "sakana", "poolside", "thinkingmachines", "sarvam", "groq"),
    )
} | {
    "moonshotai": frozenset({"moonshot"}),
    "zhipuai": frozenset({"zhipu"}),
    "stepfun": frozenset({"stepfun", "stepfun-ai"}),
    "amazon": frozenset({"bedrock", "nova"}),
    "meta": frozenset({"llama", "meta"}),
    "arcee-ai": frozenset({"arcee"}),
    "meituan": frozenset({"longcat"}),
    "inclusionai": frozenset({"bailing"}),
    "tencent": frozenset({"tencent-tokenhub"}),
}
"""Lab → its first-party providers: their facts take precedence, and only their prices count as list prices."""
CHINA_PRICED = frozenset({"alibaba-cn", "moonshotai-cn", "siliconflow-cn"})
"""Provider slugs of models.dev with prices of the Chinese market."""
WELL_KEPT = ("openrouter", "vercel-ai-gateway")
"""Gateways whose facts are maintained well enough that their plain "no" counts, best first."""

LAB_OF_SLUG = tuple(
    (re.compile(pattern), lab)
    for pattern, lab in (
        (
            r"(chatgpt|gpt-?\d|gpt-(oss|image|audio|realtime|chat)|o\d($|-)|text-(embedding-(3|ada)|davinci|moderation)"
            r"|davinci|babbage|dall-e|whisper|tts-1|codex|computer-use-preview|omni-moderation|sora)",
            "openai",
        ),
        (r"claude", "anthropic"),
        (r"(gemini|gemma|palm|imagen|veo|lyria|learnlm|medlm|codegemma|shieldgemma|nano-banana)", "google"),
        (r"(qwen|qwq|qvq|tongyi)", "alibaba"),
        (r"(grok)", "xai"),
        (
            r"(mistral|mixtral|ministral|magistral|codestral|devstral|pixtral|voxtral|mathstral|leanstral|open-mi|labs-)",
            "mistral",
        ),
        (r"(deepseek-r1t|deepseek-tng|tng-)", "tngtech"),
        (r"deepseek", "deepseek"),
        (r"(glm|chatglm|cogview|cogvideo)", "zhipuai"),
        (r"(kimi|moonshot)", "moonshotai"),
        (r"(minimax|abab)", "minimax"),
        (r"(llama-(?!.*nemotron)|code-?llama|muse-)", "meta"),
        (r"(command|c4ai|aya-|embed-(english|multilingual|v)|rerank-(english|multilingual|v)|north-)", "cohere"),
        (r"(sonar|r1-1776|pplx)", "perplexity"),
        (r"phi-\d", "microsoft"),
        (r"(nova-|titan-)", "amazon"),
        (r"(nemotron|.*nemotron)", "nvidia"),
        (r"granite-", "ibm"),
        (r"jamba", "ai21"),
        (r"mimo-", "xiaomi"),
        (r"step-", "stepfun"),
        (r"(ernie)", "baidu"),
        (r"(hunyuan|hy\d)", "tencent"),
        (r"(doubao|seed-|seedream|seedance)", "bytedance"),
        (r"(ling-|ring-)", "inclusionai"),
        (r"(hermes-)", "nousresearch"),
        (r"mercury", "inception"),
        (r"flux", "black-forest-labs"),
        (r"longcat", "meituan"),
        (r"palmyra", "writer"),
        (r"solar-", "upstage"),
        (r"lfm", "liquid"),
        (r"olmo", "allenai"),
        (r"(kat-)", "kwaipilot"),
        (r"allam", "sdaia"),
        (r"internvl", "opengvlab"),
        (r"morph-", "morph"),
    )
)
"""Pattern of an id without an organisation → the lab whose model it is."""
KNOWN_LABS = frozenset(lab for _, lab in LAB_OF_SLUG) | frozenset(LABS.values()) | frozenset(FIRST_PARTY)
NOT_MODELS = re.compile(
    r"^(claude(-(opus|sonnet|haiku|fable))?|gpt(-mini)?|grok|auto|search|community|model-router|auto-router|router|free|bodybuilder|switchpoint|kilo-auto|best|default"
    r"|.*(kindness|coding-plan).*|container|codex-auto-review|ft-.*|file-search.*|.*-x-\d+.*)$"
)
"""Ids of routers, model families and services instead of models."""
ROUTER_LABS = frozenset({"openrouter", "kilo-auto", "switchpoint", "ambient", "routers", "preset", "poetools"})

LITELLM_MODES = {
    "chat": "chat",
    "responses": "chat",
    "completion": "completion",
    "embedding": "embedding",
    "image_generation": "image",
    "image_edit": "image",
    "audio_transcription": "audio",
    "audio_speech": "audio",
    "video_generation": "video",
    "rerank": "rerank",
    "moderation": "moderation",
    "realtime": "realtime",
    "ocr": "ocr",
}
