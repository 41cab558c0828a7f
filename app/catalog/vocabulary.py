"""The vocabulary of model ids for `id_parser`: labs, hosts, and what a word of a name can mean.

Extend it when a new lab or host has its own spellings; `tests/catalog/test_matching.py` lists ids that must stay
distinct.
"""

from __future__ import annotations


def _word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Lab, as spelled in the catalog → as spelled in ids. A lab that is missing here has one spelling.
_SPELLINGS_OF_LABS = {
    "01-ai": "zero-one-ai",
    "ai21": "ai21 ai21-labs ai21labs",
    "alibaba": "alibaba alibaba-nlp qwen",
    "allenai": "allenai allen-ai",
    "amazon": "amazon",
    "anthropic": "anthropic",
    "arcee-ai": "arcee arcee-ai",
    "baidu": "baidu",
    "black-forest-labs": "bfl",
    "bytedance": "bytedance bytedance-seed",
    "cohere": "cohere cohereforai coherelabs",
    "deepseek": "deepseek deepseek-ai",
    "google": "google google-deepmind deepmind gemini",
    "ibm": "ibm ibm-granite",
    "inclusionai": "inclusionai",
    "kwaipilot": "kwaipilot kuaishou",
    "liquid": "liquid liquidai",
    "meituan": "meituan meituan-longcat",
    "meta": "meta meta-llama meta-models codellama",
    "microsoft": "microsoft",
    "minimax": "minimax minimaxai",
    "mistral": "mistral mistralai mistral-ai",
    "moonshotai": "moonshotai moonshot moonshot-ai kimi",
    "nousresearch": "nousresearch nous",
    "nvidia": "nvidia",
    "openai": "openai oai",
    "perplexity": "perplexity perplexityai perplexity-ai",
    "prime-intellect": "prime-intellect primeintellect",
    "sarvam": "sarvam sarvamai",
    "stability": "stability stabilityai",
    "stepfun": "stepfun stepfun-ai",
    "tencent": "tencent tencent-hunyuan",
    "xai": "xai x-ai grok",
    "xiaomi": "xiaomi xiaomimimo mimo",
    "zhipuai": "zhipuai zhipu z-ai zai zai-org thudm",
}
LABS = {spelling: lab for lab, spellings in _SPELLINGS_OF_LABS.items() for spelling in spellings.split()}

# Bedrock's vendors beyond the labs above: `writer.palmyra-x5-v1:0`.
VENDORS = LABS.keys() | {"writer", "twelvelabs", "luma"}

# Families named like their lab: in `minimax-m2` and `mistral-small` it is not a prefix to strip.
FAMILIES_NAMED_AS_LABS = _word_set("arcee codellama deepseek gemini grok kimi mimo minimax mistral moonshot qwen")

# Path parts that name who serves, routes or requantises, not who made the model.
HOSTS = _word_set(
    """
    @cf @hf accounts aihubmix alicloud anyscale aws azure azure-ai azure_ai bailian bartowski baseten bedrock cc
    cerebras chutes chutesai cline-pass cloudflare coding cortecs databricks deepinfra default deployments discounted-
    models endpoints eu evroc fal featherless fireworks fireworks-ai fireworks_ai foundation-models free friendli ggml-
    org github global google-vertex groq hf hugging-quants huggingface hyperbolic io-net kilo lambda library litellm
    llmgateway lmstudio lmstudio-community lora mlx-community mm model models mradermacher nanogpt nebius neuralmagic
    nim novita novita-ai nscale nvidia-nim ollama opencode openrouter orcarouter ovhcloud paid parasail perplexity
    pioneer pro public publicai publishers redhatai requesty route routers sambanova scaleway siliconflow snowflake
    stealth synthetic tee thebloke together togetherai unsloth us v1 vercel vertex vertex-ai vertex_ai volcengine
    workers-ai
    """
)

# Provider → its suffixes for region, machines or tests: `qwen-plus-us`, `llama-3.3-70b-fw`.
MARKS = {"alibaba": _word_set("us"), "poe": _word_set("cs di fw n t tm"), "together": _word_set("reference test")}
# Providers that number the editions of other labs' models: Azure's `Llama-3.3-70B-Instruct-9`.
NUMBERED_EDITIONS = frozenset({"azure"})

# How a model is served, never which weights: such a word, in a name or behind a colon, is a variant.
SERVING = _word_set(
    """
    aqlm autoround awq batch bnb cloud dedicated default discounted eco eetq exl2 exl3 free gguf gptq highspeed hf hqq
    imatrix maas marlin mlx nf4 nitro official onnx openvino original paid quantized safetensors serverless spot tee
    tput trtllm ud ultrafast ultraspeed versatile
    """
)
# The same, but only behind a colon: in a name these words can be part of the model.
TAGS = _word_set(
    "beta exacto extended fast flex floor latest nonthinking nothinking online optimized priority reasoning thinking"
)
# Regions, behind a colon or an at sign: `claude-sonnet-4-6@eu`, `qwen-plus:us-east-1`.
REGIONS = _word_set("us eu apac ap asia au ca cn global in jp kr me sa sg uk af")

# Labs whose own models pass a request on to others'. Nobody else serves them.
ROUTER_LABS = _word_set("kilo kilocode martian notdiamond openrouter requesty switchpoint unify")
# Every server may have a router of that name.
ROUTER_WORDS = _word_set("auto best cheap default fast free latest model router smart")

# Faster machines for the same weights; in the names of some labs, tiers of their own.
SPEEDS = _word_set("fast instant lightning turbo")
# Family → the speed words that its lab uses for models of their own. A family that is missing here keeps all of them,
# unless the name has a size: `llama-3.1-8b-instruct-turbo` is a host's, `qwen-turbo` is not.
OWN_SPEEDS = {
    "grok": SPEEDS,
    "gemini": SPEEDS,
    "whisper": SPEEDS,
    "image": SPEEDS,
    "embed": SPEEDS,
    "rerank": SPEEDS,
    "claude": SPEEDS - {"fast"},
    "gpt": SPEEDS - {"fast"},
    "deepseek": frozenset[str](),
    "kimi": SPEEDS - {"fast", "lightning"},
    "glm": SPEEDS - {"fast"},
    "minimax": SPEEDS - {"fast", "lightning"},
    "mimo": SPEEDS - {"fast"},
}

_REASONING = _word_set("thinking reasoning nonthinking nonreasoning nothinking")
# Family → modes that a request switches on or off, and gateways write into the id; and the first version that has such
# a switch: the weights called "thinking" before it are others.
SWITCHES = {
    "claude": (_REASONING, 0.0),
    "gemini": (_REASONING | {"search"}, 2.5),
}
# Reasoning effort: a setting of the request that gateways write into the id.
EFFORTS = _word_set("minimal low medium high xhigh")
TUNES = _word_set("instruct it chat")

# Families by their first word → lab, for ids that do not name it.
FAMILIES = {
    family: lab
    for lab, families in {
        "ai21": "jamba",
        "alibaba": "qwen qwq qvq",
        "amazon": "nova",
        "anthropic": "claude",
        "baidu": "ernie",
        "bytedance": "doubao",
        "cohere": "command",
        "deepseek": "deepseek",
        "google": "gemini gemma",
        "ibm": "granite",
        "meta": "llama codellama",
        "microsoft": "phi",
        "minimax": "minimax",
        "mistral": "codestral devstral magistral ministral mistral mixtral pixtral voxtral",
        "moonshotai": "kimi moonshot",
        "nousresearch": "hermes",
        "nvidia": "nemotron",
        "openai": "chatgpt gpt o1 o3 o4",
        "perplexity": "sonar",
        "stepfun": "step",
        "tencent": "hunyuan",
        "xai": "grok",
        "xiaomi": "mimo",
        "zhipuai": "glm chatglm",
    }.items()
    for family in families.split()
}

# Different spellings of one word.
SYNONYMS = {"think": "thinking", "nonthink": "nonthinking", "experimental": "exp", "embeddings": "embedding"}
