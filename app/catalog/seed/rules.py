"""What `make.py` knows about names: providers, labs, renames, serving variants and kinds of model."""

from __future__ import annotations

import re

OUR_PROVIDERS = frozenset(
    [
        "openai",
        "anthropic",
        "google",
        "groq",
        "openrouter",
        "mistral",
        "deepseek",
        "together",
        "fireworks",
        "deepinfra",
        "xai",
        "cerebras",
        "cohere",
        "perplexity",
        "featherless",
        "huggingface",
        "google-vertex",
        "near",
        "fal",
        "chutes",
        "aimo",
        "anannas",
        "aihubmix",
        "helicone",
        "vercel-ai-gateway",
        "nebius",
        "novita",
        "alibaba",
        "silicon",
        "moonshot",
        "zhipu",
        "cherryin",
        "sambanova",
        "nvidia-nim",
        "hyperbolic",
        "github-models",
        "poe",
        "azure",
        "ollama",
        "lmstudio",
        "vllm",
        "bedrock",
    ]
)

# Their provider slug -> ours, per source.  A slug that is already ours stands for itself.
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

# Which providers speak for a lab: their facts go first and only their prices count as list prices.
FIRST_PARTY = {
    "openai": {"openai"},
    "anthropic": {"anthropic"},
    "google": {"google"},
    "xai": {"xai"},
    "mistral": {"mistral"},
    "deepseek": {"deepseek"},
    "cohere": {"cohere"},
    "perplexity": {"perplexity"},
    "alibaba": {"alibaba"},
    "moonshotai": {"moonshot"},
    "zhipuai": {"zhipu"},
    "minimax": {"minimax"},
    "xiaomi": {"xiaomi"},
    "stepfun": {"stepfun", "stepfun-ai"},
    "inception": {"inception"},
    "upstage": {"upstage"},
    "amazon": {"bedrock", "nova"},
    "meta": {"llama", "meta"},
    "arcee-ai": {"arcee"},
    "morph": {"morph"},
    "sakana": {"sakana"},
    "poolside": {"poolside"},
    "thinkingmachines": {"thinkingmachines"},
    "sarvam": {"sarvam"},
    "meituan": {"longcat"},
    "inclusionai": {"bailing"},
    "groq": {"groq"},
    "tencent": {"tencent-tokenhub"},
}
CHINA_PRICED = frozenset({"alibaba-cn", "moonshotai-cn", "siliconflow-cn"})
WELL_KEPT = ("openrouter", "vercel-ai-gateway")
# Gateways which hand on another provider's ids: they know of models which that provider has dropped.
MIRRORS = frozenset({"kilo", "openrouter-names"})
WIDE_GATEWAYS = frozenset({"nano-gpt"})
# Labs whose open models others tune and name after them: there an id must name its organisation.
TUNED_LABS = frozenset({"meta", "alibaba", "google", "mistral", "zhipuai"})
# Providers which serve nothing but their own lab's models.
OWN_ONLY = frozenset({"openai", "anthropic", "google", "xai", "deepseek", "cohere", "mistral"})

# Organisation prefix of an id -> lab.  Prefixes which only host, requantise or route tell nothing.
LAB_OF_PREFIX = {
    "qwen": "alibaba",
    "alibaba": "alibaba",
    "alibaba-nlp": "alibaba",
    "meta-llama": "meta",
    "meta": "meta",
    "mistralai": "mistral",
    "mistral-ai": "mistral",
    "mistral": "mistral",
    "x-ai": "xai",
    "moonshot": "moonshotai",
    "moonshot-ai": "moonshotai",
    "kimi": "moonshotai",
    "z-ai": "zhipuai",
    "zai-org": "zhipuai",
    "zai": "zhipuai",
    "thudm": "zhipuai",
    "deepseek-ai": "deepseek",
    "minimaxai": "minimax",
    "xiaomimimo": "xiaomi",
    "mimo": "xiaomi",
    "bytedance-seed": "bytedance",
    "stepfun-ai": "stepfun",
    "ibm-granite": "ibm",
    "liquidai": "liquid",
    "ai21-labs": "ai21",
    "cohereforai": "cohere",
    "coherelabs": "cohere",
    "perplexityai": "perplexity",
    "gemini": "google",
    "bfl": "black-forest-labs",
    "arcee": "arcee-ai",
    "meituan-longcat": "meituan",
    "primeintellect": "prime-intellect",
    "sarvamai": "sarvam",
    "kuaishou": "kwaipilot",
    "grok": "xai",
    "xai": "xai",
    "codellama": "meta",
    "meta-models": "meta",
    "zero-one-ai": "01-ai",
    "stabilityai": "stability",
    "google-deepmind": "google",
    "tencent-hunyuan": "tencent",
    "allen-ai": "allenai",
    "nous": "nousresearch",
}
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
        (
            r"(command|c4ai|aya-|embed-(english|multilingual|v)|rerank-(english|multilingual|v)|north-)",
            "cohere",
        ),
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
KNOWN_LABS = frozenset(lab for _, lab in LAB_OF_SLUG) | frozenset(LAB_OF_PREFIX.values()) | frozenset(FIRST_PARTY)
NOT_MODELS = re.compile(
    r"^(claude(-(opus|sonnet|haiku|fable))?|gpt(-mini)?|grok|auto|search|community|model-router|auto-router|router|free|bodybuilder|switchpoint|kilo-auto|best|default"
    r"|.*(kindness|coding-plan).*|container|codex-auto-review|ft-.*|file-search.*|.*-x-\d+.*)$"
)
ROUTER_LABS = frozenset({"openrouter", "kilo-auto", "switchpoint", "ambient", "routers", "preset", "poetools"})

# Renames between hosts (keys as ``identify`` makes them) that no rule finds.
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
# The same name with its parts in another order, or spelt otherwise.
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
