"""Any server that answers `/models` more or less as OpenAI does: llama.cpp, LiteLLM, new-api, Copilot and many more.

They agree on little, so the reader is generous about where a fact stands and strict about what it means. Names are read
as snake_case (`availableContextTokens`, `max-model-len`), and facts of nested sections count as if they stood at the
top, where a name that is already there wins. `created` is ignored, since many put the time of the request there. Prices
count only where their unit is certain. From the servers' documentation and code and from public reports, which
tests/providers/test_openai_compatible.py names, read from September to December 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from app.catalog.kind import KindDecision, classify_model
from app.catalog.listing import Kind
from app.providers.contract import Provider
from app.providers.field_map import Extractor, FieldMap, first, per_million, per_token
from app.providers.parsing import JsonObject, NotAModel, identifier, mapping, strings, text

# ------------------------------------------------------------------ entries in one form

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-\s]")
_MAX_DEPTH = 4
_OWN_NAMES = frozenset(
    (
        "id",
        "name",
        "object",
        "type",
        "created",
        "model",
        "supported",
        "label",
        "status",
        "state",
        "lifecycle",
        "enabled",
        "disabled",
        "is_active",
        "archived",
        "deleted",
        "task",
        "mode",
        "kind",
        "category",
        "domain",
        "endpoint",
    )
)
"""Names that are about the section that they stand in, so a nested one tells nothing about the model."""
_OTHER_THINGS = re.compile(
    r"default|param|args|policy|status|state|permission|billing|rate_limit|link|train|tun(e|ing)"
)
"""Sections about something other than what the model can do."""


@lru_cache(maxsize=4_096)
def _snake_case(name: str) -> str:
    return _WORD_STARTS.sub("_", name).lower()


def _convert_names(value: Any, depth: int = _MAX_DEPTH) -> Any:
    if isinstance(value, dict) and depth:
        return {_snake_case(key): _convert_names(inner, depth - 1) for key, inner in value.items()}
    return value


def _normalize(entry: JsonObject) -> JsonObject:
    """The entry with names in snake_case, and with the facts of its sections at the top, shallow ones first."""
    normalized: dict[str, Any] = _convert_names(entry)
    sections: list[Mapping[str, Any]] = [normalized, _read_properties(normalized)]
    facts: dict[str, Any] = {}
    for depth in range(_MAX_DEPTH):
        inner: list[Mapping[str, Any]] = []
        for section in sections:
            for name, value in section.items():
                if isinstance(value, dict):
                    if isinstance(value.get("supported"), bool):  # Anthropic's form of a flag
                        facts.setdefault(name, value["supported"])
                    if not _OTHER_THINGS.search(name):
                        inner.append(value)
                elif value is not None and value != "" and not (depth and name in _OWN_NAMES):
                    facts.setdefault(name, value)
        sections = inner
    return {name: value for name, value in normalized.items() if isinstance(value, dict)} | facts


def _read_properties(entry: JsonObject) -> dict[str, Any]:
    """Cloudflare's list of properties as an object, with prices whose unit it names under names that tell it.

    https://developers.cloudflare.com/api, Workers AI, model search; read in November 2026.
    """
    listed = entry.get("properties")
    properties: dict[str, Any] = {}
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and (name := text(one, "property_id")):
            properties[_snake_case(name)] = one.get("value")
    prices = properties.get("price")
    for price in prices if isinstance(prices, list) else ():
        if isinstance(price, dict) and text(price, "currency") == "USD":
            for side in ("input", "output"):
                if text(price, "unit").lower() == f"per m {side} tokens":
                    properties[f"{side}_price_per_million"] = price.get("price")
    return properties


# ------------------------------------------------------------------ ids

_ID_KEYS = ("id", "model_id", "model_name", "name", "model_uid", "key")
_OPAQUE_ID = re.compile(r"sha256:.*|[0-9a-f]{8,64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A row's number or a hash, as Cloudflare, Databricks and Docker Model Runner put beside the name that they take."""
_CALLABLE_NAME = re.compile(r"[@\w][\w.:/@+-]*")
_PLACEHOLDERS = frozenset(
    (
        "all-team-models",
        "all-proxy-models",
        "all-org-models",
        "no-default-models",
        "none",
        "null",
        "undefined",
        "no-model",
        "no_model",
        "no-models",
        "inactive",
        "koboldcpp/inactive",
    )
)
"""LiteLLM's names for groups of models; what text-generation-webui, KoboldCpp and others list while none is loaded."""
_PROJECTOR = re.compile(r"(^|[/\\_.-])mmproj([_.-]|$)")
"""The part of a GGUF model that sees; llama.cpp's router lists it beside the models."""


def _read_id(entry: JsonObject) -> str:
    """The id by which the server takes the model. Raises InvalidEntry, or NotAModel for what only looks like one."""
    key = next((key for key in _ID_KEYS if key in entry), "id")
    model_id = identifier(entry, key)
    if key == "id" and _OPAQUE_ID.fullmatch(model_id):
        names = (text(entry, "name"), *strings(entry, "tags")[:1])
        model_id = next((name for name in names if _CALLABLE_NAME.fullmatch(name)), model_id)
    lowered = model_id.lower()
    if not {*"*{}<>"}.isdisjoint(model_id):
        raise NotAModel("its id is a wildcard")
    if lowered in _PLACEHOLDERS:
        raise NotAModel("its id is a placeholder")
    if _PROJECTOR.search(lowered):
        raise NotAModel("it is a projector, a part of another model")
    _require_offered(entry)
    return model_id


# ------------------------------------------------------------------ states

_ENDED = frozenset(
    (
        "shutdown",
        "shut_down",
        "disabled",
        "retired",
        "discontinued",
        "withdrawn",
        "removed",
        "deleted",
        "archived",
        "terminated",
        "eol",
    )
)
"""States of a model that cannot be called. Unloaded, legacy, deprecated or retiring ones can."""
_STATES = ("status", "state", "policy.state", "status.value", "lifecycle", "lifecycle_status", "model_lifecycle.status")
_FLAGS = (("enabled", False), ("is_active", False), ("disabled", True), ("archived", True), ("deleted", True))


def _require_offered(entry: JsonObject) -> None:
    """Raises NotAModel for a model that its server lists and does not serve.

    Volcengine lists `status: Shutdown`, Copilot `policy.state: disabled`; its `model_picker_enabled` is about a menu.
    """
    for path in _STATES:
        section, _, key = path.rpartition(".")
        state = text(mapping(entry, section) if section else entry, key)
        if _snake_case(state) in _ENDED:
            raise NotAModel(f"it is not offered: its {path} is {state}")
    for flag, value in _FLAGS:
        if entry.get(flag) is value:
            raise NotAModel(f"it is not offered: its {flag} is {str(value).lower()}")


# ------------------------------------------------------------------ kinds

_KIND_WORDS: dict[Kind, str] = {
    "chat": """
        chat llm vlm mllm language languagemodel text textgeneration texttotext imagetexttotext audiotexttotext
        videotexttotext anytoany visualquestionanswering conversational textchat chatcompletion chatcompletions
        completionchat generatecontent responses response openai openairesponse openairesponses anthropic gemini
        messages multimodal visionlanguage visionlanguagemodel deepthinking imageunderstanding videounderstanding
        """,
    "completion": "completion completions textcompletion completionfim fim codecompletion",
    "embedding": """
        embedding embeddings embed embedder textembedding textembeddings multimodalembedding multimodalembeddings
        imageembedding imageembeddings embedcontent featureextraction sentencesimilarity vectorization
        """,
    "rerank": "rerank reranker reranking textranking textrerank jinarerank scoring",
    "image": """
        image images imagegeneration imagegenerations imagesgenerations texttoimage imagetoimage imageedit imageediting
        imageedits imagesedits imagevariation imagesvariations t2i i2i inpaint inpainting outpaint outpainting upscale
        upscaling upscaler diffusion stablediffusion textto3d imageto3d 3dgeneration
        """,
    "video": """
        video videos videogeneration videogenerations videosgenerations openaivideo texttovideo imagetovideo
        videotovideo
        videoedit videoediting t2v i2v v2v
        """,
    "audio": """
        tts audio speech audiospeech texttospeech speechsynthesis texttoaudio audiogeneration texttomusic music
        musicgeneration texttosound soundgeneration soundeffects voicecloning audiotoaudio
        """,
    "transcription": """
        asr stt transcription transcriptions transcribe audiotranscription audiotranscriptions audiotranslation
        audiotranslations automaticspeechrecognition speechrecognition speechtotext audiototext
        """,
    "realtime": "realtime speechtospeech s2s realtimevoice",
    "moderation": "moderation moderations textmoderation contentmoderation guard guardrail guardrails safety",
    "ocr": "ocr documentparsing documentai",
    "other": """
        textclassification tokenclassification zeroshotclassification classification classifier imageclassification
        objectdetection imagesegmentation depthestimation timeseries timeseriesforecast timeseriesforecasting
        fillmask translation summarization reward rewardmodel search vectorstore voiceactivitydetection dumbpipe
        """,
}
_KINDS = {word: kind for kind, words in _KIND_WORDS.items() for word in words.split()}
_KIND_FIELDS = (
    "task_type",
    "task",
    "tasks",
    "mode",
    "model_info.mode",
    "capabilities.type",
    "type",
    "model_type",
    "model_spec.type",
    "pipeline_tag",
    "kind",
    "category",
    "categories",
    "functions",
    "domain",
    "supported_generation_methods",
)
"""Fields that name what a model is for, the most exact first."""
_ENDPOINT_FIELDS = ("supported_endpoint_types", "supported_endpoints", "endpoint_types", "endpoints", "endpoint")
"""Fields that name how it is called, which some servers fill in too generously."""
_SOUND = ("audio", "speech")
"""Words for models that speak and for models that listen."""


def _classify(model_id: str, entry: JsonObject, outputs: tuple[str, ...]) -> KindDecision:
    for field in (*_KIND_FIELDS, *_ENDPOINT_FIELDS):
        words = _words_at(entry, field)
        if field == "supported_endpoint_types":  # New API puts its default, "openai", beside the type that counts
            words = tuple(word for word in words if word != "openai") or words
        if declared := _first_kind(words):
            return _decide(model_id, declared, field, outputs, prefer_id=field in _ENDPOINT_FIELDS)
    declared = _first_kind(_telling_capabilities(entry))
    return (
        _decide(model_id, declared, "capabilities", outputs) if declared else classify_model(model_id, outputs=outputs)
    )


def _decide(
    model_id: str, declared: tuple[Kind, str], field: str, outputs: tuple[str, ...], *, prefer_id: bool = False
) -> KindDecision:
    kind, word = declared
    if word.lower() in _SOUND and (by_id := classify_model(model_id)).kind in ("transcription", "realtime"):
        return by_id
    because = f"its {field} {'include' if field.endswith('s') else 'is'} {word}"
    return classify_model(model_id, declared=kind, because=because, outputs=outputs, prefer_id=prefer_id)


def _first_kind(words: Iterable[str]) -> tuple[Kind, str] | None:
    """Chat if one of the words names it, else the first kind that one names, with that word."""
    kinds = [(kind, word) for word in words if (kind := _kind_of(word))]
    return next((one for one in kinds if one[0] == "chat"), kinds[0] if kinds else None)


def _telling_capabilities(entry: JsonObject) -> Iterable[str]:
    """The words among its capabilities that are more than an ability of a chat model."""
    words = _words_at(entry, "capabilities")
    if any(_kind_of(word) in ("chat", "completion") for word in words):  # Ollama and llama.cpp call chat "completion"
        return ()
    telling = ("embedding", "rerank") if len(words) > 1 else ("embedding", "rerank", "image", "video", "transcription")
    return [word for word in words if _kind_of(word) in telling]


@lru_cache(maxsize=4_096)
def _kind_of(word: str) -> Kind | None:
    """The kind that a word names, in any spelling: TextToVideo, text-to-video, llm/v1/chat, POST /v1/images/edits."""
    parts = [part for part in re.split(r"[/\s]", word) if part]
    tails = (parts, parts[-2:], parts[-1:]) if "/" in word else (parts,)
    folded = (re.sub(r"[^a-z0-9]", "", "".join(tail).lower()) for tail in tails)
    return next((_KINDS[one] for one in folded if one in _KINDS), None)


def _words_at(entry: JsonObject, path: str) -> tuple[str, ...]:
    """The words in a text, a list, a list of named objects, a named object, or an object of flags."""
    *sections, key = path.split(".")
    for section in sections:
        entry = mapping(entry, section)
    return tuple(_words(entry[key])) if key in entry else ()


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [value.get("id"), value.get("name"), *(key for key, flag in value.items() if flag is True)]
    for one in value[:200] if isinstance(value, list) else (value,):
        if isinstance(one, dict):
            yield from _words([one.get("id"), one.get("name")])
        elif isinstance(one, str) and 0 < len(one) <= 100 and one.isprintable():
            yield one


# ------------------------------------------------------------------ facts

_FEATURES = (
    "supported_features",
    "supported_parameters",
    "supported_capabilities",
    "features",
    "capabilities",
    "model_ability",
)
_MODALITIES = {"images": "image", "picture": "image", "speech": "audio", "voice": "audio", "embeddings": "embedding"}


def _capability(names: str, features: str) -> Extractor:
    """Whether one of the flags `names` is set, or one of `features` listed; no list says that a feature is missing."""
    flags = names.split()
    targets = frozenset(features.split())

    def extract(entry: JsonObject) -> bool | None:
        values = [entry[name] for name in flags if name in entry]
        if any(value is True or (isinstance(value, list) and value) for value in values):
            return True
        listed = (word for field in _FEATURES if field in entry for word in strings(entry, field))
        if any(_snake_case(word) in targets for word in listed):
            return True
        return False if any(value is False for value in values) else None

    return extract


def _modalities(direction: str) -> Extractor:
    """Input or output modalities, in small letters; from `text+image->text` where nothing else tells them."""
    paths = (
        f"{direction}_modalities",
        f"supported_{direction}_modalities",
        f"modalities.{direction}",
        f"{direction}_modality",
    )

    def extract(entry: JsonObject) -> tuple[str, ...]:
        words = next(filter(None, (_words_at(entry, path) for path in paths)), ())
        if not words:
            before, arrow, after = text(entry, "modality").partition("->")
            words = tuple((before if direction == "input" else after).split("+")) if arrow else ()
        return tuple(dict.fromkeys(_MODALITIES.get(word, word) for word in map(str.lower, words) if word))

    return extract


_read_inputs = _modalities("input")


def _require_dollars(extract: Extractor) -> Extractor:
    """A price, unless the entry names another currency."""

    def read(entry: JsonObject) -> Decimal | None:
        price: Decimal | None = extract(entry)
        return price if text(entry, "currency").upper() in ("", "USD", "$") else None

    return read


def _price(side: str, per_token_names: str, venice_path: str) -> Extractor:
    """USD per million tokens where a name tells the unit, LiteLLM's price per token, whose 0 is its default, or
    Venice's price, per million by its documentation (docs.venice.ai, read in December 2026).
    """
    names = [f"{side}_{word}_per_{unit}" for word in ("price", "cost", "token_price") for unit in _MILLIONS]
    names += [f"{side}_per_{unit}" for unit in _MILLIONS]
    by_million = per_million("|".join((*names, venice_path)))
    return _require_dollars(first(by_million, per_token(per_token_names, zero_is_unknown=True)))


_MILLIONS = ("million", "million_tokens", "1m", "1m_tokens", "m_tokens", "mtok")


def _hugging_face_id(entry: JsonObject) -> str:
    repository = text(entry, "hugging_face_id") or text(entry, "huggingface_id")
    source = text(entry, "model_source")  # Venice's link
    return repository or (source.removeprefix(_HUB).strip("/") if source.startswith(_HUB) else "")


_HUB = "https://huggingface.co/"


def _display_name(entry: JsonObject) -> str:
    return (
        text(entry, "display_name")
        or text(mapping(entry, "model_spec"), "name")
        or text(entry, "name")
        or text(entry, "label")
    )


PROVIDER = Provider(
    slug="openai-compatible",
    title="Any OpenAI-compatible server",
    sentence_name="your server",
    site="https://platform.openai.com/docs/api-reference/models/list",
    docs_url="https://platform.openai.com/docs/api-reference/models/list",
    keys_url="https://platform.openai.com/docs/api-reference/models/list",
    key_hint="whatever your server asks for, if anything",
    base_url="http://localhost:8080/v1",
    read=FieldMap(
        array=("data", "models"),  # llama.cpp sends both; its `data` is in OpenAI's shape
        normalize=_normalize,
        id=_read_id,
        classify=_classify,
        private=True,
        name=_display_name,
        # What the server was started with comes before what the model could do.
        context_length=(
            "n_ctx|loaded_context_length|max_model_len|context_length|context_window|context_size|max_context_length"
            "|max_context_window_tokens|max_context_window|max_context_tokens|max_context_size|max_context"
            "|available_context_tokens|context_window_tokens|context_tokens|context_limit|token_limit|num_ctx|ctx_size"
            "|limit.context|limits.context|max_sequence_length|max_seq_len|max_position_embeddings"
            "|max_input_tokens|max_prompt_tokens|max_input_token_length|input_token_limit|n_ctx_train"
        ),
        max_output_tokens=(
            "max_output_tokens|max_completion_tokens|max_output_length|max_output_token_length|max_completion_token_length"
            "|max_output|output_token_limit|max_tokens_output|limit.output|limits.output"
        ),
        input_modalities=_read_inputs,
        output_modalities=_modalities("output"),
        streaming=_capability(
            "streaming supports_streaming supports_native_streaming response_streaming_supported", "streaming"
        ),
        tools=_capability(
            "tool_calls tool_call tools tool_calling tool_use function_calling function_call functions_calling"
            " supports_tools supports_tool_calls supports_tool_calling supports_tool_use supports_function_calling"
            " supports_functions trained_for_tool_use",
            "tools tool_choice tool_calls tool_calling tool_use function_calling",
        ),
        vision=first(
            _capability(
                "vision supports_vision supports_image supports_images supports_image_in supports_image_input"
                " image_input",
                "vision image_input image_understanding",
            ),
            lambda entry: "image" in inputs if (inputs := _read_inputs(entry)) else None,
        ),
        reasoning=_capability(
            "reasoning thinking supports_reasoning supports_thinking supports_reasoning_effort reasoning_effort"
            " adaptive_thinking",
            "reasoning thinking reasoning_effort",
        ),
        structured_output=_capability(
            "structured_output structured_outputs json_schema response_schema supports_response_schema"
            " supports_structured_output supports_structured_outputs supports_json_schema",
            "structured_output structured_outputs json_schema response_schema",
        ),
        input_per_million=_price("input", "input_cost_per_token", "model_spec.pricing.input.usd"),
        output_per_million=_price("output", "output_cost_per_token", "model_spec.pricing.output.usd"),
        cache_read_per_million=_price(
            "cache_read", "cache_read_input_token_cost", "model_spec.pricing.cache_input.usd"
        ),
        cache_write_per_million=_price(
            "cache_write", "cache_creation_input_token_cost", "model_spec.pricing.cache_write.usd"
        ),
        hugging_face_id=_hugging_face_id,
    ),
    colour="#475569",
    description="Your own server, by its base URL.",
    rank=990,
    public=True,
    update_frequency="manual",
    base_url_example="https://models.example.com/v1",
    fallback_paths=("/v1/models",),
    private=True,
)
