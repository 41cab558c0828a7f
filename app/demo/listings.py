"""What the simulated providers list on each day. Ids resemble those of 2025 and 2026; the facts are made up.

Days count from the start of the demo's history. The simulator serves `TODAY` by default, so that Sync Now finds
changes after the history. `data/listings.txt` has the lists of day 0, `data/timeline.jsonl` the events since.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal, TypedDict, get_args

import msgspec

from app import clock

TODAY = 36
DATA = Path(__file__).parent / "data"

SimKind = Literal["chat", "embedding", "image", "video", "speech", "transcription", "realtime", "moderation", "other"]


@dataclass(frozen=True, slots=True)
class SimModel:
    """All facts that any of the shapes can express; each shape uses those that the real API has."""

    id: str
    kind: SimKind = "chat"
    name: str = ""
    created_at: datetime = datetime(2025, 6, 1, tzinfo=UTC)
    context: int = 131_072
    output: int = 8_192
    prompt: Decimal | None = None
    """USD per million tokens, like all prices here; -1 means "varies"."""
    completion: Decimal | None = None
    vision: bool = False
    tools: bool = False
    reasoning: bool = False
    structured: bool = False
    retires_on: str | None = None
    key_substring: str = ""
    """Listed only for keys that contain it, like fine-tuned models."""

    @property
    def title(self) -> str:
        """The name, or one made from the id: `gpt-5.4-mini` → `GPT 5.4 Mini`."""
        return self.name or _title_from_id(self.id)

    @property
    def inputs(self) -> tuple[str, ...]:
        if self.kind == "transcription":
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
        }.get(self.kind, ("text",))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the supported request parameters, as OpenRouter lists them."""
        extra = {"tools": self.tools, "reasoning": self.reasoning, "structured_outputs": self.structured}
        return ("max_tokens", "temperature", "top_p", *(name for name, has in extra.items() if has))


class SimFacts(TypedDict, total=False):
    """Fields of `SimModel` that an event sets."""

    created_at: datetime
    context: int
    output: int
    prompt: Decimal
    completion: Decimal
    vision: bool
    tools: bool
    reasoning: bool
    structured: bool
    retires_on: str
    key_substring: str


class ListEvent(msgspec.Struct, frozen=True):
    """A change of a provider's list at the beginning of a day."""

    day: int
    slug: str
    action: Literal["lists", "unlists", "changes"]
    model_id: str
    facts: SimFacts = {}


@cache
def load_timeline() -> tuple[ListEvent, ...]:
    """All events, in ascending order of days."""
    lines = (DATA / "timeline.jsonl").read_bytes().splitlines()
    return tuple(msgspec.json.decode(line, type=ListEvent) for line in lines)


@cache
def list_models(slug: str, day: int) -> tuple[SimModel, ...]:
    """The provider's list on a day. A provider without a specific list has three plain models."""
    models = {model.id: model for model in _base_models(slug)}
    unlisted = dict(models)
    for event in load_timeline():
        if event.slug != slug or event.day > day:
            continue
        if event.action == "unlists":
            unlisted[event.model_id] = models.pop(event.model_id)
        elif event.action == "changes":
            models[event.model_id] = replace(models[event.model_id], **event.facts)
        else:
            known = unlisted.get(event.model_id) or SimModel(event.model_id)
            models[event.model_id] = replace(known, **event.facts)
    return tuple(models.values())


def invent_models(slug: str, models: Iterable[SimModel], count: int) -> list[SimModel]:
    """`count` chat models with unused ids, otherwise like the first chat model of the list."""
    models = list(models)
    taken = {model.id for model in models}
    pattern = next(model for model in (*models, *_base_models(slug)) if model.kind == "chat")
    stem = _STEMS.get(slug, "new-model")
    ids = (f"{stem}-{number}" for number in range(1, len(taken) + count + 1))
    unused = [model_id for model_id in ids if model_id not in taken][:count]
    created_at = clock.utc_now().replace(microsecond=0)
    return [replace(pattern, id=model_id, name="", created_at=created_at) for model_id in unused]


_STEMS = {
    "openai": "gpt-6-preview",
    "anthropic": "claude-next",
    "google": "gemini-4-preview",
    "groq": "openai/gpt-oss-next",
    "openrouter": "stealth/quasar",
}


@cache
def _load_tables() -> dict[str, list[str]]:
    """Slug → rows of its table; "" for providers without one."""
    tables: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in (DATA / "listings.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            rows = tables[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            rows.append(line)
    return tables


@cache
def _base_models(slug: str) -> tuple[SimModel, ...]:
    tables = _load_tables()
    return tuple(_parse_row(line) for line in tables.get(slug, tables[""]))


def _parse_row(line: str) -> SimModel:
    model_id, day, context, output, prompt, completion, flags = line.split()
    kind: SimKind = flags if flags in get_args(SimKind) else "chat"  # type: ignore[assignment]
    letters = flags if kind == "chat" else ""
    return SimModel(
        id=model_id,
        kind=kind,
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
