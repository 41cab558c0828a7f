"""Up to five models side by side: the same fact in the same row, with what differs marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.catalog import humanize
from app.catalog.costs import Prices, Usage, monthly_cost
from app.catalog.listing import CAPABILITIES
from app.store.queries.model_search import ModelLine
from app.web.app import filters

MOST = 5


@dataclass(frozen=True, slots=True)
class Cell:
    words: str
    is_best: bool = False
    """Cheapest, or longest, where not all are."""


@dataclass(frozen=True, slots=True)
class FactRow:
    title: str
    cells: tuple[Cell, ...]
    differs: bool
    best: str = ""
    """What the best cell is called: "lowest", "longest"."""


def rows_of(lines: Sequence[ModelLine], usage: Usage) -> list[FactRow]:
    """Every fact of these models, one row each; the cost of a month last."""
    rows = [_row(title, [read(line) for line in lines], show, best) for title, read, show, best in _FACTS]
    rows += [
        _row(name.replace("_", " ").capitalize(), [name in line.capabilities for line in lines], _yes)
        for name in CAPABILITIES
    ]
    costs = [monthly_cost(usage, prices_of(line)) for line in lines]
    return [*rows, _row("A month", costs, _dollars, "lowest")]


def prices_of(line: ModelLine) -> Prices:
    return Prices(line.input_per_million, line.output_per_million, line.cache_read_per_million)


def _row(title: str, values: Sequence[Any], show: Callable[[Any], str], best: str = "") -> FactRow:
    known = [value for value in values if value is not None]
    differs = len(set(values)) > 1
    goal = _GOALS[best](known) if best and differs and len(known) > 1 else None
    cells = tuple(Cell(show(value), goal is not None and value == goal) for value in values)
    return FactRow(title, cells, differs, best)


_GOALS: dict[str, Callable[[list[Any]], Any]] = {"lowest": min, "longest": max}


def _plain(value: str | None) -> str:
    return value or "–"


def _yes(value: bool) -> str:
    return "yes" if value else "–"


def _tokens(value: int | None) -> str:
    return f"{humanize.number(value)} tokens" if value else "unknown"


def _money(value: Decimal | None) -> str:
    return humanize.money(value)


def _dollars(value: Decimal | None) -> str:
    return "price unknown" if value is None else humanize.dollars(value)


_FACTS: tuple[tuple[str, Callable[[ModelLine], Any], Callable[[Any], str], str], ...] = (
    ("Provider", lambda line: filters.title(line.provider), _plain, ""),
    ("API name", lambda line: line.provider_model_id, _plain, ""),
    ("Canonical model", lambda line: line.canonical_id, _plain, ""),
    ("Kind", lambda line: line.kind, _plain, ""),
    ("Served as", lambda line: ", ".join(filter(None, (line.variant, line.snapshot))), _plain, ""),
    ("Context window", lambda line: line.context_length, _tokens, "longest"),
    ("Longest answer", lambda line: line.max_output_tokens, _tokens, "longest"),
    ("Input price", lambda line: line.input_per_million, _money, "lowest"),
    ("Cached input price", lambda line: line.cache_read_per_million, _money, "lowest"),
    ("Output price", lambda line: line.output_per_million, _money, "lowest"),
    ("End of service", lambda line: line.retires_on, _plain, ""),
)
