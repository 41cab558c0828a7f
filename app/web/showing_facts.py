"""The facts of a canonical model as lines for people, each with who says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.catalog import wording
from app.store.catalog import SourcedFact


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


def lines(facts: Iterable[SourcedFact]) -> list[FactLine]:
    """What is known of a model, in the order above."""
    known = {fact.field: fact for fact in facts}
    return [
        FactLine(title, _shown(name, known[name].value), _source(known[name]))
        for name, title in _TITLES.items()
        if name in known
    ]


def _source(fact: SourcedFact) -> str:
    return f"{fact.source}, {fact.date}" if fact.date else fact.source


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{wording.money(value)} per million tokens" if value else "free"
    if isinstance(value, int):
        return f"{wording.number(value)} tokens"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
