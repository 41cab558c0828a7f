"""Runs as CSV and JSON, streamed batch by batch, so memory use does not depend on their number."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from app import clock
from app.store.queries.runs import ResultView, RunView
from app.store.schema.tables import OUTCOMES

TYPES = {"csv": "text/csv", "json": "application/json"}
COUNTS = ("new", "changed", "unlisted", "relisted")
COLUMNS = ("id", "user", "trigger", "state", "created_at", "started_at", "ended_at", *COUNTS, *OUTCOMES, "results")
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")


def write_csv(batches: Iterable[list[RunView]]) -> Iterator[str]:
    """One line per run: counts of its results by outcome, and a summary of each."""
    yield _csv_lines([COLUMNS])
    for runs in batches:
        yield _csv_lines([[_escape_formula(value) for value in _csv_row(run)] for run in runs])


def write_json(batches: Iterable[list[RunView]]) -> Iterator[str]:
    """An array with one object per run, one line each."""
    separator = "[\n"
    for runs in batches:
        for run in runs:
            yield separator + json.dumps(_run_object(run))
            separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def _escape_formula(value: Any) -> Any:
    """Prevents CSV injection: spreadsheets would run a cell that starts like a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_PREFIXES) else value


def _csv_row(run: RunView) -> list[Any]:
    outcomes = Counter(result.outcome for result in run.results)
    times = (run.created_at, run.started_at, run.ended_at)
    return [
        run.id,
        run.email,
        run.trigger,
        run.state,
        *(clock.isoformat(moment) for moment in times),
        *(run.total(count) for count in COUNTS),
        *(outcomes[outcome] for outcome in OUTCOMES),
        "; ".join(_describe_result(result) for result in run.results),
    ]


def _describe_result(result: ResultView) -> str:
    key = f"{result.provider} ({result.label})" if result.label else result.provider
    message = result.error_message if result.outcome in ("failed", "suspect") else ""
    return f"{key}: {result.outcome or result.state}" + (f", {message}" if message else "")


def _run_object(run: RunView) -> dict[str, Any]:
    return {
        "id": run.id,
        "user": run.email,
        "trigger": run.trigger,
        "state": run.state,
        "created_at": clock.isoformat(run.created_at),
        "started_at": clock.isoformat(run.started_at) or None,
        "ended_at": clock.isoformat(run.ended_at) or None,
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
        "ended_at": clock.isoformat(result.ended_at) or None,
        "error_code": result.error_code,
        "error_message": result.error_message,
        "error_action": result.error_action,
    }
