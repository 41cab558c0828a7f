"""The facts of a canonical model as lines for people, each with who says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.catalog import wording
from app.catalog.identity import CanonicalModel


@dataclass(frozen=True, slots=True)
class FactLine:
    title: str
    value: str
    source: str
    """Name and date of who says so."""


_TITLES = {
    "family": "Family",
    "context_length": "Context window",
    "max_output_tokens": "Longest answer",
    "input_modalities": "Takes",
    "output_modalities": "Gives",
    "tools": "Tool use",
    "vision": "Vision",
    "reasoning": "Reasoning",
    "structured_output": "Structured output",
    "streaming": "Streaming",
    "input_per_million": "Input price of the lab",
    "output_per_million": "Output price of the lab",
    "cache_read_per_million": "Cache read price of the lab",
    "cache_write_per_million": "Cache write price of the lab",
    "released_on": "Released",
    "knowledge_cutoff": "Knowledge until",
    "deprecated_on": "Deprecated",
    "retires_on": "End of service",
    "successor": "Successor",
    "open_weights": "Open weights",
}


def lines(model: CanonicalModel, sources: Mapping[str, str]) -> list[FactLine]:
    """What is known of `model`, in the order above. sources: letter → name and date of the source."""
    return [
        FactLine(title, _shown(name, value), sources.get(model.field_sources.get(name, model.source), ""))
        for name, title in _TITLES.items()
        if (value := getattr(model, name)) not in (None, "", ())
    ]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{wording.money(value)} per million tokens" if value else "free"
    if isinstance(value, int):
        return f"{wording.number(value)} tokens"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
