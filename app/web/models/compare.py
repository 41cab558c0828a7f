"""Comparison of up to five models: one row per fact, differences marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.catalog import humanize
from app.catalog.costs import Prices, Usage, monthly_cost
from app.catalog.listing import CAPABILITIES
from app.providers import provider_title
from app.store.queries.model_detail import Offer
from app.store.queries.model_search import ModelView

MAX_COMPARED = 5


@dataclass(frozen=True, slots=True)
class ComparisonCell:
    words: str
    is_best: bool = False
    """Cheapest or longest, if the values differ."""


@dataclass(frozen=True, slots=True)
class FactComparison:
    title: str
    cells: tuple[ComparisonCell, ...]
    differs: bool
    best: str = ""
    """Label of the best cell: "lowest", "longest"."""


def compare_models(lines: Sequence[ModelView], usage: Usage) -> list[FactComparison]:
    """One row per fact; the monthly cost last."""
    rows = [_row(title, [read(line) for line in lines], show, best) for title, read, show, best in _FACTS]
    rows += [
        _row(name.replace("_", " ").capitalize(), [name in line.capabilities for line in lines], _format_flag)
        for name in CAPABILITIES
    ]
    costs = [monthly_cost(usage, prices_of(line)) for line in lines]
    return [*rows, _row("A month", costs, _format_cost, "lowest")]


def prices_of(line: ModelView | Offer) -> Prices:
    return Prices(line.input_per_million, line.output_per_million, line.cache_read_per_million)


def _row(title: str, values: Sequence[Any], format_value: Callable[[Any], str], best: str = "") -> FactComparison:
    known = [value for value in values if value is not None]
    differs = len(set(values)) > 1
    best_value = _BEST[best](known) if best and differs and len(known) > 1 else None
    cells = tuple(
        ComparisonCell(format_value(value), best_value is not None and value == best_value) for value in values
    )
    return FactComparison(title, cells, differs, best)


_BEST: dict[str, Callable[[list[Any]], Any]] = {"lowest": min, "longest": max}


def _format_text(value: str | None) -> str:
    return value or "–"


def _format_flag(value: bool) -> str:
    return "yes" if value else "–"


def _format_tokens(value: int | None) -> str:
    return f"{humanize.format_tokens(value)} tokens" if value else "unknown"


def _format_price(value: Decimal | None) -> str:
    return humanize.format_price(value)


def _format_cost(value: Decimal | None) -> str:
    return "price unknown" if value is None else humanize.format_dollars(value)


_FACTS: tuple[tuple[str, Callable[[ModelView], Any], Callable[[Any], str], str], ...] = (
    ("Provider", lambda line: provider_title(line.provider), _format_text, ""),
    ("API name", lambda line: line.provider_model_id, _format_text, ""),
    ("Canonical model", lambda line: line.canonical_id, _format_text, ""),
    ("Kind", lambda line: line.kind, _format_text, ""),
    ("Served as", lambda line: ", ".join(filter(None, (line.variant, line.snapshot))), _format_text, ""),
    ("Context window", lambda line: line.context_length, _format_tokens, "longest"),
    ("Longest answer", lambda line: line.max_output_tokens, _format_tokens, "longest"),
    ("Input price", lambda line: line.input_per_million, _format_price, "lowest"),
    ("Cached input price", lambda line: line.cache_read_per_million, _format_price, "lowest"),
    ("Output price", lambda line: line.output_per_million, _format_price, "lowest"),
    ("End of service", lambda line: line.retires_on, _format_text, ""),
)
