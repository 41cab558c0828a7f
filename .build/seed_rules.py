"""What `make_seed.py` knows about ids besides `app.catalog.sources.names`: renames, serving variants, kinds."""

from __future__ import annotations

import re

# genai-prices' provider slug → ours.
GENAI_PROVIDERS = {
    "x-ai": "xai",
    "aws": "bedrock",
    "moonshotai": "moonshot",
    "zhipuai": "zhipu",
    "zai": "zhipu",
    "huggingface_publicai": "huggingface",
    "huggingface_together": "huggingface",
    "huggingface_novita": "huggingface",
    "huggingface_groq": "huggingface",
    "huggingface_nebius": "huggingface",
    "huggingface_cerebras": "huggingface",
    "huggingface_sambanova": "huggingface",
    "huggingface_hyperbolic": "huggingface",
    "huggingface_fireworks-ai": "huggingface",
}
# Gateways that hand on another provider's ids: they know models that the provider has dropped.
MIRRORS = frozenset({"kilo", "openrouter-names"})
WIDE_GATEWAYS = frozenset({"nano-gpt"})
# Labs whose open models others tune and name after them: there an id must name its organisation.
TUNED_LABS = frozenset({"meta", "alibaba", "google", "mistral", "zhipuai"})
# Providers that serve nothing but their own lab's models.
OWN_ONLY = frozenset({"openai", "anthropic", "google", "xai", "deepseek", "cohere", "mistral"})
# Path parts that only say who serves, routes or requantises.
HOST_PREFIXES = frozenset(
    [
        "models",
        "tee",
        "public",
        "bailian",
        "volcengine",
        "vertex",
        "novita",
        "cline-pass",
        "siliconflow",
        "unsloth",
        "fireworks",
        "fireworks_ai",
        "azure",
        "pro",
        "lora",
        "hf",
        "neuralmagic",
        "scaleway",
        "deepinfra",
        "cortecs",
        "ovhcloud",
        "baseten",
        "stealth",
        "nanogpt",
        "pioneer",
        "routers",
        "free",
        "workers-ai",
        "together",
        "vertex_ai",
        "@cf",
        "oai",
        "us",
        "eu",
        "global",
        "qwen2",
        "accounts",
        "coding",
        "discounted-models",
        "mm",
        "cc",
        "aws",
        "redhatai",
        "parasail",
        "nscale",
        "llmgateway",
        "paid",
        "kilo",
        "requesty",
        "orcarouter",
        "evroc",
        "publicai",
    ]
)

# Renames between hosts (keys as `identify` makes them) that no rule finds.
SAME = {
    "qwen-3-coder": "qwen-3-coder-480b-a35b-instruct",
    "qwen-3-coder-480b": "qwen-3-coder-480b-a35b-instruct",
    "qwen-3-coder-480b-a35b": "qwen-3-coder-480b-a35b-instruct",
    "qwen-3-coder-30b-a3b": "qwen-3-coder-30b-a3b-instruct",
    "qwen-3-235b-a22b-2507": "qwen-3-235b-a22b-instruct-2507",
    "qwen-3-30b-a3b-2507": "qwen-3-30b-a3b-instruct-2507",
    "qwen-qwq-32b": "qwq-32b",
    "llama-4-scout": "llama-4-scout-17b-16e-instruct",
    "llama-4-scout-17b-16e": "llama-4-scout-17b-16e-instruct",
    "llama-4-scout-17b-instruct": "llama-4-scout-17b-16e-instruct",
    "llama-4-maverick": "llama-4-maverick-17b-128e-instruct",
    "llama-4-maverick-17b-128e": "llama-4-maverick-17b-128e-instruct",
    "llama-4-maverick-17b-instruct": "llama-4-maverick-17b-128e-instruct",
    "llama-3-3-70b": "llama-3-3-70b-instruct",
    "llama-3-3-70b-versatile": "llama-3-3-70b-instruct",
    "llama-3-1-8b-instant": "llama-3-1-8b-instruct",
    "llama-3-1-70b-versatile": "llama-3-1-70b-instruct",
    "llama-3-70b-8192": "llama-3-70b-instruct",
    "llama-3-8b-8192": "llama-3-8b-instruct",
    "kimi-k2": "kimi-k2-0711",
    "kimi-k2-instruct": "kimi-k2-0711",
    "kimi-k2-0711-preview": "kimi-k2-0711",
    "kimi-k2-0905-preview": "kimi-k2-0905",
    "kimi-k2-instruct-0905": "kimi-k2-0905",
    "deepseek-chat-v3-0324": "deepseek-v3-0324",
    "deepseek-chat-v3-1": "deepseek-v3-1",
    "command-a-03-2025": "command-a",
    "deepseek-tng-r1t2-chimera": "deepseek-r1t2-chimera",
    "claude-3-5-sonnet-june": "claude-3-5-sonnet-20240620",
    "gpt-4-0613": "gpt-4",
    "gpt-35-turbo": "gpt-3-5-turbo",
    "gpt-3-5-turbo-0125": "gpt-3-5-turbo",
    "gpt-35-turbo-0125": "gpt-3-5-turbo",
    "gpt-4-turbo-2024-04-09": "gpt-4-turbo",
    "grok-4-0709": "grok-4",
    "grok-4-07-09": "grok-4",
    "kimi-k2-instruct-0711": "kimi-k2-0711",
    "moonshot-kimi-k2-instruct": "kimi-k2-0711",
    "open-mistral-nemo": "mistral-nemo",
    "open-mistral-nemo-2407": "mistral-nemo",
    "mistral-nemo-instruct-2407": "mistral-nemo",
    "open-mistral-7b": "mistral-7b",
    "open-mixtral-8x7b": "mixtral-8x7b-instruct",
    "mixtral-8x7b-32768": "mixtral-8x7b-instruct",
    "mixtral-8x7b-instruct-v0-1": "mixtral-8x7b-instruct",
    "open-mixtral-8x22b": "mixtral-8x22b-instruct",
    "mixtral-8x22b-instruct-v0-1": "mixtral-8x22b-instruct",
}
# Ids that mean another model at a host than at the lab itself, where they move on with each release.
SAME_AT_HOSTS = {"deepseek-chat": "deepseek-v3"}
SAME_AT_BEDROCK = {"r1": "deepseek-r1", "v3": "deepseek-v3-1", "v3-2": "deepseek-v3-2"}
# Dated editions that are models of their own: the sources name several of one name, with facts and prices of their own
# (gpt-4o of May 2024 costs twice that of August). Elsewhere a date is a snapshot of the model named.
OWN_SNAPSHOTS = re.compile(
    r"^(?:openai-|alibaba-|deepseek-)?(claude-3-5-sonnet-20240620"
    r"|(gpt-4o|gpt-4o-(audio|realtime)-preview|gpt-4o-mini-(transcribe|tts)|gpt-(audio|realtime)-mini"
    r"|qwen-?(plus|turbo)|qwen-?3-(max|5-plus)|deepseek-v4-(flash|pro))-20\d\d-?\d\d-?\d\d)$"
)

DATE = re.compile(r"[-@](20\d{2}-?[01]\d-?[0-3]\d)(?=$|[-:])")
VARIANT_TAG = re.compile(
    r":(free|batch|(?:no)?thinking(?:[:-]?\w+)?|online|nitro|extended|floor|exacto|beta|latest|cloud|fp8|discounted)$"
)
SERVING = re.compile(
    r"-(fp8|fp4|nvfp4|mxfp4|int4|int8|bf16|fp16|awq|gptq|gguf|mlx|tee|maas|tput|free|cloud|fp8-tput|fp8-dynamic"
    r"|w4a16|4bit|8bit|original|latest|default|batch|spot|ultrafast|fp8-fast)$"
)
# What some hosts append to the names of these families for the same weights on faster machines.
FASTER = re.compile(
    r"^((?:gpt-|o3|claude-|gemma|(?:meta-)?llama|deepseek|qwen|hermes|kimi|mistral|nemotron|marin).*)-fast$"
    r"|^((?:deepseek|gemma|gpt-oss)-.*)-turbo$"
)
# The same name with its parts in another order, or spelt differently.
RESPELT = (
    (re.compile(r"(?<=\d)p(?=\d)"), "-"),
    (re.compile(r"^gpt-4-?o(?=$|-)"), "gpt-4o"),
    (re.compile(r"^(llama|qwen)-v(?=\d)"), r"\1-"),
    (re.compile(r"^(llama-3-\d+b)-(?:chat|instruct)-hf$"), r"\1-instruct"),
    (re.compile(r"^(qwen-3-.*b)-04-28$"), r"\1"),
    (re.compile(r"^gpt-35-"), "gpt-3-5-"),
    (re.compile(r"-instruct-(turbo|lite)$"), "-instruct"),
    (re.compile(r"^claude-([4-9](?:-\d)?)-(opus|sonnet|haiku|fable|mythos)"), r"claude-\2-\1"),
    (re.compile(r"^claude-(opus|sonnet|haiku)-(3(?:-\d)?)(?=$|-)"), r"claude-\2-\1"),
    (re.compile(r"^(claude-.*?)(?:-think(?:ing)?(?:-\w+)?|-v\d(?:-\d)?)$"), r"\1"),
    (re.compile(r"^(claude-(?:opus|sonnet)-4)-0$"), r"\1"),
    (re.compile(r"^gemini-(flash|pro)-(\d-\d)(?=$|-)"), r"gemini-\2-\1"),
    (re.compile(r"^(gemini-(?!embedding).*)-00\d$"), r"\1"),
    (re.compile(r"^(gemma-.*)-it$"), r"\1"),
    (re.compile(r"^(nova-.*)-v1$"), r"\1"),
    (re.compile(r"^((?:o\d|gpt-5).*)-(?:minimal|low|medium|high|xhigh)$"), r"\1"),
)
# A lab's name before its own model's name.
LAB_IN_SLUG = re.compile(  # a lab's name before its own model's name
    r"^(openai|anthropic|x-?ai|z-?ai|zai-org|google|moonshotai|minimaxai|deepseek-ai|deepseek|meta|mistralai|gemini|qwen|cohere"
    r"|nvidia)-"
    r"(?=gpt-|claude-|grok-|glm-|gemini-|gemma-?\d|kimi-|minimax-|deepseek-|llama-|mistral-|qwen-?\d|codellama|command-|embed-|rerank-"
    r"|nemotron|llama)"
)
BEDROCK = re.compile(
    r"^(?:(?:us|eu|apac|au|jp|ca|in|global|us-gov)\.)?([a-z0-9]+)\.(.+?)(?:-v\d+|-\d(?=:))?(?::\d+.*)?$"
)

KINDS = (
    ("moderation", re.compile(r"(moderation|llama-guard|prompt-guard|shieldgemma|content-safety|guardian)")),
    ("rerank", re.compile(r"rerank")),
    ("embedding", re.compile(r"(embed|^bge-|^e5-|^gte-|multilingual-e5|voyage-(?!.*rerank))")),
    (
        "audio",
        re.compile(r"(whisper|(^|-)tts(-|$)|transcri|(^|-)(asr|stt)(-|$)|playai|orpheus|lyria|speech|^voxtral.*tts)"),
    ),
    ("realtime", re.compile(r"(realtime|(^|-)live(-|$)|livetranslate|native-audio)")),
    ("ocr", re.compile(r"(^|-)ocr(-|$)")),
    (
        "image",
        re.compile(
            r"(dall-e|imagen|gpt-image|chatgpt-image|flux|seedream|stable-diffusion|ideogram|recraft"
            r"|nano-banana|gemini-.*-image|qwen-image|imagine-image)"
        ),
    ),
    ("video", re.compile(r"(^veo|^sora|imagine-video|(^|-)kling|seedance|^wan-?\d|^ray-)")),
    ("completion", re.compile(r"^(gpt-3-5-turbo-instruct.*|davinci-002|babbage-002)$")),
)
