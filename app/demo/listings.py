"""What the simulated providers list, on which day. Ids look like those of 2025 and 2026; the facts are made up.

Days count from the first day of the demo's history; `TODAY` is what the simulator serves when nobody says
otherwise, so that pressing Sync Now after the history finds something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Literal

from app import clock

TODAY = 36

SimKind = Literal["chat", "embedding", "image", "video", "speech", "transcription", "realtime", "moderation", "other"]


@dataclass(frozen=True, slots=True)
class SimModel:
    """All facts that any of the shapes can express; each shape says what the real API would say of them."""

    id: str
    does: SimKind = "chat"
    name: str = ""
    created_at: datetime = datetime(2025, 6, 1, tzinfo=UTC)
    context: int = 131_072
    output: int = 8_192
    prompt: Decimal | None = None
    """USD per million tokens, as all prices here; -1 stands for "varies"."""
    completion: Decimal | None = None
    vision: bool = False
    tools: bool = False
    reasoning: bool = False
    structured: bool = False
    retires_on: str | None = None
    seen_by: str = ""
    """Only keys with this word in them list it, as with fine-tunes; empty for all keys."""

    @property
    def title(self) -> str:
        """Its name, or one made from the id: `gpt-5.4-mini` → `GPT 5.4 Mini`."""
        return self.name or _title_from_id(self.id)

    @property
    def inputs(self) -> tuple[str, ...]:
        if self.does == "transcription":
            return ("audio",)
        return ("text", "image") if self.vision else ("text",)

    @property
    def outputs(self) -> tuple[str, ...]:
        return {
            "embedding": ("embeddings",),
            "image": ("text", "image"),
            "video": ("video",),
            "speech": ("speech",),
            "transcription": ("transcription",),
        }.get(self.does, ("text",))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the request parameters it takes, as OpenRouter lists them."""
        extra = {"tools": self.tools, "reasoning": self.reasoning, "structured_outputs": self.structured}
        return ("max_tokens", "temperature", "top_p", *(name for name, has in extra.items() if has))


@dataclass(frozen=True, slots=True)
class ListEvent:
    """Something that happens to a provider's list at the beginning of a day."""

    day: int
    slug: str
    does: Literal["lists", "unlists", "changes"]
    model_id: str
    facts: dict[str, Any] = field(default_factory=dict)


@cache
def list_models(slug: str, day: int) -> tuple[SimModel, ...]:
    """The provider's list on a day. A provider without a list of its own gets three plain models."""
    models = {model.id: model for model in _base_models(slug)}
    absent = dict(models)
    for event in TIMELINE:
        if event.slug != slug:
            continue
        if event.day > day:
            break
        if event.does == "unlists":
            absent[event.model_id] = models.pop(event.model_id)
        elif event.does == "changes":
            models[event.model_id] = replace(models[event.model_id], **event.facts)
        else:
            known = absent.get(event.model_id) or SimModel(event.model_id)
            models[event.model_id] = replace(known, **event.facts)
    return tuple(models.values())


def invent_models(slug: str, models: Iterable[SimModel], count: int) -> list[SimModel]:
    """`count` chat models that `models` does not have yet, like the first chat model among them."""
    models = list(models)
    taken = {model.id for model in models}
    pattern = next(model for model in (*models, *_base_models(slug)) if model.does == "chat")
    stem = _STEMS.get(slug, "new-model")
    found: list[SimModel] = []
    number = 1
    while len(found) < count:
        model_id = f"{stem}-{number}"
        if model_id not in taken:
            found.append(replace(pattern, id=model_id, name="", created_at=clock.utc_now().replace(microsecond=0)))
        number += 1
    return found


_STEMS = {
    "openai": "gpt-6-preview",
    "anthropic": "claude-next",
    "google": "gemini-4-preview",
    "groq": "openai/gpt-oss-next",
    "openrouter": "stealth/quasar",
}

_CHAT = {
    "vision": True,
    "tools": True,
    "reasoning": True,
    "structured": True,
    "context": 1_000_000,
    "output": 128_000,
}

_FINE_TUNE = {"seen_by": "work", "tools": True, "created_at": datetime(2026, 1, 20, tzinfo=UTC)}

TIMELINE: tuple[ListEvent, ...] = (
    ListEvent(0, "openai", "lists", "ft:gpt-4o-mini-2024-07-18:demo:support:9xTr41", _FINE_TUNE),
    ListEvent(4, "openrouter", "changes", "deepseek/deepseek-v4-flash", {"prompt": Decimal("0.11")}),
    ListEvent(5, "openai", "lists", "gpt-5.5", {"created_at": datetime(2026, 4, 23, tzinfo=UTC), **_CHAT}),
    ListEvent(5, "openai", "lists", "gpt-5.5-pro", {"created_at": datetime(2026, 4, 23, tzinfo=UTC), **_CHAT}),
    ListEvent(
        6,
        "openrouter",
        "lists",
        "openai/gpt-5.5",
        {
            **_CHAT,
            "prompt": Decimal(5),
            "completion": Decimal(30),
            "created_at": datetime(2026, 4, 24, tzinfo=UTC),
        },
    ),
    ListEvent(8, "groq", "changes", "openai/gpt-oss-120b", {"prompt": Decimal("0.12"), "completion": Decimal("0.5")}),
    ListEvent(10, "groq", "unlists", "moonshotai/kimi-k2-instruct-0905"),
    ListEvent(12, "google", "lists", "gemini-3.1-flash-lite", {**_CHAT, "output": 65_536}),
    ListEvent(15, "anthropic", "changes", "claude-sonnet-4-6", {"context": 1_000_000, "output": 128_000}),
    ListEvent(17, "groq", "lists", "moonshotai/kimi-k2-instruct-0905"),
    ListEvent(
        18,
        "openrouter",
        "changes",
        "moonshotai/kimi-k2.6",
        {"prompt": Decimal("0.6"), "completion": Decimal("2.5")},
    ),
    ListEvent(20, "openai", "unlists", "chatgpt-4o-latest"),
    ListEvent(22, "openrouter", "changes", "qwen/qwen3-coder", {"context": 1_048_576}),
    ListEvent(22, "openrouter", "unlists", "openrouter/owl-alpha"),
    ListEvent(25, "google", "changes", "gemma-4-31b-it", {"context": 262_144}),
    ListEvent(
        27,
        "anthropic",
        "lists",
        "claude-opus-4-8",
        {**_CHAT, "created_at": datetime(2026, 7, 14, tzinfo=UTC)},
    ),
    ListEvent(
        28,
        "openrouter",
        "lists",
        "anthropic/claude-opus-4.8",
        {**_CHAT, "prompt": Decimal(5), "completion": Decimal(25)},
    ),
    ListEvent(
        30,
        "groq",
        "lists",
        "qwen/qwen3.8-27b",
        {
            "tools": True,
            "reasoning": True,
            "prompt": Decimal("0.3"),
            "completion": Decimal("0.9"),
            "output": 40_960,
        },
    ),
    ListEvent(31, "openai", "changes", "gpt-4o-2024-05-13", {"retires_on": "2026-12-31"}),
    ListEvent(33, "openai", "lists", "gpt-5.6-mini", {**_CHAT, "created_at": datetime(2026, 8, 11, tzinfo=UTC)}),
    ListEvent(33, "openrouter", "changes", "z-ai/glm-5.1", {"prompt": Decimal("0.9"), "completion": Decimal(3)}),
    ListEvent(36, "google", "lists", "gemini-3.5-pro-preview", {**_CHAT, "output": 65_536}),
    ListEvent(
        36,
        "openrouter",
        "lists",
        "google/gemini-3.5-pro-preview",
        {**_CHAT, "prompt": Decimal(2), "completion": Decimal(12)},
    ),
    ListEvent(36, "openrouter", "changes", "openai/gpt-5.5", {"prompt": Decimal(4), "completion": Decimal(24)}),
)
"""In the order of the days."""


@cache
def _base_models(slug: str) -> tuple[SimModel, ...]:
    table = _TABLES.get(slug, _PLAIN)
    return tuple(_parse_row(line) for line in table.strip().splitlines())


def _parse_row(line: str) -> SimModel:
    """`id  date  context  output  prompt  completion  flags`; `-` for a price the provider does not say."""
    model_id, day, context, output, prompt, completion, flags = line.split()
    does = _KINDS.get(flags, "chat")
    letters = flags if does == "chat" else ""
    return SimModel(
        id=model_id,
        does=does,
        created_at=datetime.fromisoformat(day).replace(tzinfo=UTC),
        context=int(context),
        output=int(output),
        prompt=None if prompt == "-" else Decimal(prompt),
        completion=None if completion == "-" else Decimal(completion),
        vision="v" in letters,
        tools="t" in letters,
        reasoning="r" in letters,
        structured="s" in letters,
    )


_KINDS: dict[str, SimKind] = {
    "EMBEDDING": "embedding",
    "IMAGE": "image",
    "VIDEO": "video",
    "SPEECH": "speech",
    "TRANSCRIPTION": "transcription",
    "REALTIME": "realtime",
    "MODERATION": "moderation",
    "OTHER": "other",
}


def _title_from_id(model_id: str) -> str:
    words = re.split(r"[-_ ]", model_id.rpartition("/")[2].replace(":", " "))
    return " ".join(_SPELLINGS.get(word, word if word[:1].isdigit() else word.capitalize()) for word in words)


_SPELLINGS = {
    "gpt": "GPT",
    "tts": "TTS",
    "oss": "OSS",
    "glm": "GLM",
    "deepseek": "DeepSeek",
    "it": "IT",
    "vl": "VL",
}

_PLAIN = """
plain-large  2026-01-10  200000  32000  2    8    vtrs
plain-small  2026-01-10  200000  32000  0.2  0.8  ts
plain-embed  2026-01-10  8192    1      0.1  -    EMBEDDING
"""

# id  date  context  output  USD per million in and out  v(ision) t(ools) r(easoning) s(tructured), or what it does
_TABLES = {
    "openai": """
gpt-5.4                          2026-03-05 1050000 128000 - - vtrs
gpt-5.4-2026-03-05               2026-03-05 1050000 128000 - - vtrs
gpt-5.4-pro                      2026-03-05 1050000 128000 - - vtrs
gpt-5.4-mini                     2026-03-17 400000 128000 - - vtrs
gpt-5.3-chat-latest              2026-03-02 128000 16384 - - vts
gpt-5.3-codex                    2026-02-24 400000 128000 - - vtrs
gpt-5.2                          2025-12-09 400000 128000 - - vtrs
gpt-5.2-2025-12-11               2025-12-09 400000 128000 - - vtrs
gpt-5.2-pro                      2025-12-09 400000 128000 - - vtrs
gpt-5.2-codex                    2026-01-13 400000 128000 - - vtrs
gpt-5.1                          2025-11-10 400000 128000 - - vtrs
gpt-5.1-codex-max                2025-11-18 400000 128000 - - vtrs
gpt-5                            2025-08-05 400000 128000 - - vtrs
gpt-5-2025-08-07                 2025-08-01 400000 128000 - - vtrs
gpt-5-mini                       2025-08-05 400000 128000 - - vtrs
gpt-5-nano                       2025-08-05 400000 128000 - - vtrs
gpt-5-search-api                 2025-09-24 400000 128000 - - vts
chatgpt-4o-latest                2024-08-13 128000 16384 - - v
o1                               2024-12-16 200000 100000 - - vtrs
o1-pro                           2025-03-17 200000 100000 - - vtrs
o3                               2025-04-09 200000 100000 - - vtrs
o3-mini                          2025-01-17 200000 100000 - - trs
o3-deep-research                 2025-06-26 200000 100000 - - vr
o4-mini                          2025-04-09 200000 100000 - - vtrs
gpt-4.1                          2025-04-10 1047576 32768 - - vts
gpt-4.1-mini                     2025-04-10 1047576 32768 - - vts
gpt-4.1-nano                     2025-04-10 1047576 32768 - - vts
gpt-4o                           2024-05-10 128000 16384 - - vts
gpt-4o-2024-05-13                2024-05-10 128000 4096 - - vts
gpt-4o-2024-11-20                2025-02-12 128000 16384 - - vts
gpt-4o-mini                      2024-07-16 128000 16384 - - vts
gpt-4-turbo                      2024-04-05 128000 4096 - - vt
gpt-3.5-turbo                    2023-02-28 16385 4096 - - t
gpt-3.5-turbo-instruct           2023-08-24 4096 4096 - - OTHER
davinci-002                      2023-08-21 16384 16384 - - OTHER
text-embedding-3-small           2024-01-22 8192 1 - - EMBEDDING
text-embedding-3-large           2024-01-22 8192 1 - - EMBEDDING
text-embedding-ada-002           2022-12-16 8192 1 - - EMBEDDING
omni-moderation-latest           2024-11-15 32768 1 - - MODERATION
gpt-image-1.5                    2025-11-19 0 0 - - IMAGE
gpt-image-1-mini                 2025-09-26 0 0 - - IMAGE
dall-e-3                         2023-10-31 0 0 - - IMAGE
sora-2                           2025-10-05 0 0 - - VIDEO
tts-1-hd                         2023-11-03 0 0 - - SPEECH
gpt-4o-mini-tts                  2025-03-19 0 0 - - SPEECH
whisper-1                        2023-02-27 0 0 - - TRANSCRIPTION
gpt-4o-transcribe                2025-03-15 0 0 - - TRANSCRIPTION
gpt-4o-mini-transcribe           2025-03-15 0 0 - - TRANSCRIPTION
gpt-realtime                     2025-08-27 0 0 - - REALTIME
gpt-realtime-mini                2025-10-03 0 0 - - REALTIME
gpt-4o-realtime-preview          2024-09-30 0 0 - - REALTIME
""",
    "anthropic": """
claude-opus-4-7                  2026-04-14 1000000 128000 - - vtrs
claude-sonnet-4-6                2026-02-17 200000 64000 - - vtrs
claude-opus-4-6                  2026-02-04 1000000 128000 - - vtrs
claude-opus-4-5-20251101         2025-11-24 200000 64000 - - vtrs
claude-opus-4-5                  2025-11-24 200000 64000 - - vtrs
claude-haiku-4-5-20251001        2025-10-15 200000 64000 - - vtrs
claude-haiku-4-5                 2025-10-15 200000 64000 - - vtrs
claude-sonnet-4-5-20250929       2025-09-29 200000 64000 - - vtrs
claude-sonnet-4-5                2025-09-29 200000 64000 - - vtrs
claude-opus-4-1-20250805         2025-08-05 200000 32000 - - vtrs
claude-opus-4-1                  2025-08-05 200000 32000 - - vtrs
claude-opus-4-20250514           2025-05-22 200000 32000 - - vtr
claude-opus-4-0                  2025-05-22 200000 32000 - - vtr
claude-sonnet-4-20250514         2025-05-22 200000 64000 - - vtr
claude-sonnet-4-0                2025-05-22 200000 64000 - - vtr
claude-3-7-sonnet-20250219       2025-02-24 200000 64000 - - vtr
claude-3-7-sonnet-latest         2025-02-24 200000 64000 - - vtr
claude-3-5-sonnet-20241022       2024-10-22 200000 8192 - - vt
claude-3-5-sonnet-20240620       2024-06-20 200000 8192 - - vt
claude-3-5-haiku-20241022        2024-10-22 200000 8192 - - vt
claude-3-5-haiku-latest          2024-10-22 200000 8192 - - vt
claude-3-opus-20240229           2024-02-29 200000 4096 - - vt
claude-3-sonnet-20240229         2024-02-29 200000 4096 - - vt
claude-3-haiku-20240307          2024-03-07 200000 4096 - - vt
claude-2.1                       2023-11-21 200000 4096 - - -
claude-2.0                       2023-07-11 100000 4096 - - -
""",
    "google": """
gemini-3.1-pro-preview           2026-02-19 1048576 65536 - - vtrs
gemini-3-pro-preview             2025-11-18 1048576 65536 - - vtrs
gemini-3-flash-preview           2025-12-17 1048576 65536 - - vtrs
gemini-2.5-pro                   2025-06-17 1048576 65536 - - vtrs
gemini-2.5-flash                 2025-06-17 1048576 65536 - - vtrs
gemini-2.5-flash-lite            2025-07-22 1048576 65536 - - vtrs
gemini-2.5-flash-preview-09-2025 2025-09-25 1048576 65536 - - vtrs
gemini-2.0-flash                 2025-02-05 1048576 8192 - - vts
gemini-2.0-flash-001             2025-02-05 1048576 8192 - - vts
gemini-2.0-flash-lite            2025-02-25 1048576 8192 - - vts
gemini-flash-latest              2025-09-25 1048576 65536 - - vtrs
gemini-flash-lite-latest         2025-09-25 1048576 65536 - - vtrs
gemini-pro-latest                2025-09-25 1048576 65536 - - vtrs
gemini-robotics-er-1.5-preview   2025-09-25 1048576 65536 - - vr
gemini-2.5-computer-use-preview-10-2025  2025-10-07 131072 65536 - - vr
deep-research-pro-preview-12-2025  2025-12-11 131072 65536 - - r
gemma-3-4b-it                    2025-03-12 32768 8192 - - v
gemma-3-12b-it                   2025-03-12 32768 8192 - - v
gemma-3-27b-it                   2025-03-12 131072 8192 - - v
gemma-3n-e4b-it                  2025-05-20 8192 2048 - - -
gemma-4-26b-a4b-it               2026-04-02 131072 8192 - - vr
gemma-4-31b-it                   2026-04-02 131072 8192 - - vr
gemini-2.5-flash-image           2025-10-02 32768 32768 - - IMAGE
gemini-3-pro-image-preview       2025-11-20 131072 32768 - - IMAGE
imagen-4.0-generate-001          2025-08-14 480 8192 - - IMAGE
imagen-4.0-ultra-generate-001    2025-08-14 480 8192 - - IMAGE
gemini-2.5-flash-preview-tts     2025-05-20 8192 16384 - - SPEECH
gemini-2.5-pro-preview-tts       2025-05-20 8192 16384 - - SPEECH
veo-3.0-generate-001             2025-09-09 480 8192 - - VIDEO
veo-3.1-generate-preview         2025-10-15 480 8192 - - VIDEO
gemini-embedding-001             2025-07-14 2048 1 - - EMBEDDING
text-embedding-004               2024-05-14 2048 1 - - EMBEDDING
gemini-2.5-flash-native-audio-latest  2025-12-12 131072 8192 - - REALTIME
aqa                              2023-12-06 7168 1024 - - OTHER
""",
    "groq": """
llama-3.3-70b-versatile          2024-12-06 131072 32768 0.59 0.79 t
llama-3.1-8b-instant             2023-09-03 131072 131072 0.05 0.08 t
meta-llama/llama-4-maverick-17b-128e-instruct  2025-04-05 131072 8192 0.2 0.6 vts
meta-llama/llama-4-scout-17b-16e-instruct  2025-04-05 131072 8192 0.11 0.34 vts
openai/gpt-oss-120b              2025-08-05 131072 65536 0.15 0.6 trs
openai/gpt-oss-20b               2025-08-05 131072 65536 0.075 0.3 trs
moonshotai/kimi-k2-instruct      2025-07-14 131072 16384 1 3 t
moonshotai/kimi-k2-instruct-0905  2025-09-05 262144 16384 1 3 ts
qwen/qwen3-32b                   2025-05-28 131072 40960 0.29 0.59 tr
qwen/qwen3.6-27b                 2026-04-22 131072 40960 0.25 0.8 trs
deepseek-r1-distill-llama-70b    2025-01-26 131072 131072 0.75 0.99 tr
groq/compound                    2025-09-04 131072 8192 - - t
groq/compound-mini               2025-09-04 131072 8192 - - t
gemma2-9b-it                     2023-09-03 8192 8192 0.2 0.2 t
mistral-saba-24b                 2025-02-17 32768 32768 0.79 0.79 t
allam-2-7b                       2025-01-23 4096 4096 - - -
minimax/minimax-m2.5             2026-02-16 196608 65536 0.3 1.2 tr
zai/glm-4.7-flash                2026-01-20 131072 65536 0.07 0.4 tr
meta-llama/llama-guard-4-12b     2025-05-30 131072 1024 0.2 0.2 MODERATION
meta-llama/llama-prompt-guard-2-22m  2025-05-30 512 512 0.03 0.03 MODERATION
meta-llama/llama-prompt-guard-2-86m  2025-05-30 512 512 0.04 0.04 MODERATION
openai/gpt-oss-safeguard-20b     2025-10-29 131072 65536 0.075 0.3 MODERATION
whisper-large-v3                 2023-09-03 448 448 - - TRANSCRIPTION
whisper-large-v3-turbo           2024-10-01 448 448 - - TRANSCRIPTION
canopylabs/orpheus-v1-english    2025-12-19 4000 50000 22 - SPEECH
canopylabs/orpheus-arabic-saudi  2025-12-19 4000 50000 40 - SPEECH
""",
    "openrouter": """
openai/gpt-5.4                   2026-03-05 1050000 128000 2.5 15 vtrs
openai/gpt-5.4-mini              2026-03-17 400000 128000 0.75 4.5 vtrs
openai/gpt-5.2                   2025-12-10 400000 128000 1.75 14 vtrs
openai/gpt-5-mini                2025-08-07 400000 128000 0.25 2 vtrs
openai/gpt-5-nano                2025-08-07 400000 128000 0.05 0.4 vtrs
openai/gpt-4.1                   2025-04-14 1047576 32768 2 8 vts
openai/gpt-4o                    2024-05-13 128000 16384 2.5 10 vts
openai/o3                        2025-04-16 200000 100000 2 8 vtrs
openai/o4-mini                   2025-04-16 200000 100000 1.1 4.4 vtrs
openai/gpt-oss-120b              2025-08-05 131072 131072 0.039 0.18 trs
openai/gpt-oss-20b:free          2025-08-05 131072 131072 0 0 tr
anthropic/claude-opus-4.7        2026-04-16 1000000 128000 5 25 vtrs
anthropic/claude-opus-4.6        2026-02-05 1000000 128000 5 25 vtrs
anthropic/claude-sonnet-4.6      2026-02-17 1000000 128000 3 15 vtrs
anthropic/claude-sonnet-4.5      2025-09-29 1000000 64000 3 15 vtrs
anthropic/claude-haiku-4.5       2025-10-15 200000 64000 1 5 vtrs
~anthropic/claude-sonnet-latest  2026-05-01 1000000 128000 3 15 vtrs
google/gemini-3.1-pro-preview    2026-02-19 1048576 65536 2 12 vtrs
google/gemini-3.1-flash-lite     2026-05-07 1048576 65536 0.25 1.5 vtrs
google/gemini-2.5-pro            2025-06-17 1048576 65536 1.25 10 vtrs
google/gemini-2.5-flash          2025-06-17 1048576 65535 0.3 2.5 vtrs
google/gemini-2.5-flash-image    2025-10-07 32768 32768 0.3 2.5 IMAGE
google/gemma-4-31b-it            2026-04-02 262144 131072 0.13 0.38 vtrs
google/gemma-4-31b-it:free       2026-04-02 262144 32768 0 0 vtr
x-ai/grok-4.3                    2026-05-01 1000000 64000 1.25 2.5 vtrs
x-ai/grok-4.20                   2026-03-31 2000000 64000 1.25 2.5 vtrs
x-ai/grok-code-fast-1            2025-08-26 256000 10000 0.2 1.5 trs
deepseek/deepseek-v4-pro         2026-04-24 1048576 384000 0.435 0.87 trs
deepseek/deepseek-v4-flash       2026-04-24 1048576 384000 0.14 0.28 trs
deepseek/deepseek-r1-0528        2025-05-28 163840 65536 0.5 2.15 tr
deepseek/deepseek-chat-v3.1      2025-08-21 32768 7168 0.15 0.75 trs
moonshotai/kimi-k2.6             2026-04-20 262144 65536 0.75 3.5 vtrs
moonshotai/kimi-k2-0905          2025-09-04 262144 65536 0.4 2 ts
qwen/qwen3.6-plus                2026-04-02 1000000 65536 0.325 1.95 vtrs
qwen/qwen3-coder                 2025-07-23 262144 65536 0.22 1.8 ts
qwen/qwen3-coder:free            2025-07-23 262000 65536 0 0 t
qwen/qwen3-32b                   2025-04-28 40960 40960 0.08 0.28 trs
qwen/qwen3-vl-235b-a22b-instruct  2025-09-23 262144 16384 0.2 0.88 vts
z-ai/glm-5.1                     2026-04-07 202752 65535 1.05 3.5 trs
z-ai/glm-4.6                     2025-09-30 204800 204800 0.39 1.9 trs
minimax/minimax-m2.7             2026-03-18 196608 131072 0.3 1.2 tr
mistralai/mistral-medium-3-5     2026-04-30 262144 65536 1.5 7.5 vtrs
mistralai/mistral-small-3.2-24b-instruct  2025-06-20 128000 16384 0.075 0.2 vts
mistralai/codestral-2508         2025-08-01 256000 65536 0.3 0.9 ts
meta-llama/llama-4-maverick      2025-04-05 1048576 16384 0.15 0.6 vts
meta-llama/llama-3.3-70b-instruct  2024-12-06 131072 16384 0.1 0.32 t
meta-llama/llama-guard-4-12b     2025-04-30 163840 16384 0.18 0.18 MODERATION
nvidia/nemotron-nano-9b-v2:free  2025-09-05 128000 32768 0 0 trs
cohere/command-a                 2025-03-13 256000 8192 2.5 10 s
perplexity/sonar-pro             2025-03-07 200000 8000 3 15 v
xiaomi/mimo-v2.5-pro             2026-04-22 1048576 131072 1 3 tr
openrouter/owl-alpha             2026-04-28 1048756 262144 0 0 t
openrouter/auto                  2023-11-08 2000000 32768 -1 -1 -
""",
}
