"""Runs as CSV and as JSON, one batch after the other, so that no number of them fills the memory."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from app.store.queries.runs import ResultView, RunView
from app.store.schema.tables import OUTCOMES
from app.web.app import filters

TYPES = {"csv": "text/csv", "json": "application/json"}
COUNTS = ("new", "changed", "unlisted", "relisted")
COLUMNS = ("id", "user", "trigger", "state", "created_at", "started_at", "ended_at", *COUNTS, *OUTCOMES, "results")
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")


def write_csv(batches: Iterable[list[RunView]]) -> Iterator[str]:
    """A line for each run; of its results how many had which outcome, and what each said."""
    yield _csv_lines([COLUMNS])
    for runs in batches:
        yield _csv_lines([[_escape_formula(value) for value in _csv_row(run)] for run in runs])


def write_json(batches: Iterable[list[RunView]]) -> Iterator[str]:
    """An array with an object for each run, a line each."""
    before = "[\n"
    for runs in batches:
        for run in runs:
            yield before + json.dumps(_run_object(run))
            before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _escape_formula(value: Any) -> Any:
    """A table program would take some beginnings for a formula, and run it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_PREFIXES) else value


def _csv_row(run: RunView) -> list[Any]:
    outcomes = Counter(result.outcome for result in run.results)
    moments = (run.created_at, run.started_at, run.ended_at)
    return [
        run.id,
        run.email,
        run.trigger,
        run.state,
        *(filters.isoformat(moment) for moment in moments),
        *(run.total(count) for count in COUNTS),
        *(outcomes[outcome] for outcome in OUTCOMES),
        "; ".join(_describe_result(result) for result in run.results),
    ]


def _describe_result(result: ResultView) -> str:
    who = f"{result.provider} ({result.label})" if result.label else result.provider
    said = result.error_message if result.outcome in ("failed", "suspect") else ""
    return f"{who}: {result.outcome or result.state}" + (f", {said}" if said else "")


def _run_object(run: RunView) -> dict[str, Any]:
    return {
        "id": run.id,
        "user": run.email,
        "trigger": run.trigger,
        "state": run.state,
        "created_at": filters.isoformat(run.created_at),
        "started_at": filters.isoformat(run.started_at) or None,
        "ended_at": filters.isoformat(run.ended_at) or None,
        "results": [_result_object(result) for result in run.results],
    }


def _result_object(result: ResultView) -> dict[str, Any]:
    return {
        "provider": result.provider,
        "label": result.label,
        "outcome": result.outcome,
        "listed": result.fetched,
        "chat": result.chat,
        **{count: getattr(result, count) for count in COUNTS},
        "not_in_catalog": result.uncatalogued,
        "skipped": result.skipped,
        "took_s": result.duration_s,
        "ended_at": filters.isoformat(result.ended_at) or None,
        "error_code": result.error_code,
        "error_message": result.error_message,
        "error_action": result.error_action,
    }
