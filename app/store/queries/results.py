"""Counts and JSON of one provider's part of a run or plan: the same for the API and for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.store.plans import PlanPart
from app.store.queries.runs import ResultView
from app.store.schema.tables import READ_OUTCOMES

ProviderResult = ResultView | PlanPart
"""Both have the same counts under the same names."""

_COUNTS = ("fetched", "chat", "new", "changed", "unlisted", "uncatalogued", "skipped")


def is_read(result: ProviderResult) -> bool:
    return result.outcome in READ_OUTCOMES


def count_transformed(result: ProviderResult) -> int:
    """Fetched models that could be parsed."""
    return result.fetched - result.skipped


def count_synced(result: ProviderResult) -> int:
    """Models now in force; a quarantined answer counts as none."""
    return count_transformed(result) if is_read(result) else 0


def list_errors(results: Sequence[ProviderResult]) -> list[dict[str, str]]:
    return [
        {"provider": result.provider, "error": result.error_message or "It was not synced."}
        for result in results
        if not is_read(result)
    ]


def result_json(result: ResultView) -> dict[str, Any]:
    return {
        "provider": result.provider,
        "label": result.label,
        "outcome": result.outcome,
        **{name: getattr(result, name) for name in _COUNTS},
        "duration_s": None if result.duration_s is None else round(result.duration_s, 3),
        "error": {"code": result.error_code, "message": result.error_message} if result.error_code else None,
    }
