"""The facts of a canonical model for display, each with its source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.catalog import humanize
from app.catalog.listing import PRICES, PriceTier
from app.store.catalog import SourcedFact


@dataclass(frozen=True, slots=True)
class FactLine:
    title: str
    value: str
    source: str
    """Name and date of the source."""


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
    "price_tiers": "Above {} input tokens",
    "released_on": "Released",
    "knowledge_cutoff": "Knowledge until",
    "deprecated_on": "Deprecated",
    "retires_on": "End of service",
    "successor": "Successor",
    "open_weights": "Open weights",
}


def fact_lines(facts: Iterable[SourcedFact]) -> list[FactLine]:
    """The known facts of a model, in the order of `_TITLES`."""
    known = {fact.field: fact for fact in facts}
    return [
        FactLine(title, value, format_source(known[name]))
        for name in _TITLES
        if name in known
        for title, value in _titled_values(name, known[name].value)
    ]


def _titled_values(name: str, value: Any) -> list[tuple[str, str]]:
    """(title, value) pairs; price tiers give one pair per tier."""
    if name == "price_tiers":
        return [(_TITLES[name].format(humanize.format_tokens(tier.above_tokens)), _format_tier(tier)) for tier in value]
    return [(_TITLES[name], _format_value(value))]


def _format_tier(tier: PriceTier) -> str:
    prices = ((name.removesuffix("_per_million").replace("_", " "), getattr(tier, name)) for name in PRICES)
    text = ", ".join(f"{humanize.format_price(price)} {name}" for name, price in prices if price is not None)
    return f"{text} per million tokens"


def format_source(fact: SourcedFact) -> str:
    return f"{fact.source}, {fact.date}" if fact.date else fact.source


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{humanize.format_price(value)} per million tokens" if value else "free"
    if isinstance(value, int):
        return f"{humanize.format_tokens(value)} tokens"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
