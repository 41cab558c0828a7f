"""What a sync with the server's own keys came to, in the fields and sentences of the owner's documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.catalog import humanize
from app.store.plans import PlanPart
from app.store.queries.runs import ResultView
from app.store.queries.stats import READ_OUTCOMES

Line = ResultView | PlanPart
"""One provider's part of a run, or of a plan for one: both count the same things under the same names."""
Report = dict[str, Any]

MOST_CHANGES = 200
"""So many changes an answer names."""


def is_read(line: Line) -> bool:
    return line.outcome in READ_OUTCOMES


def transformed(line: Line) -> int:
    """Models that could be read, of those that were fetched."""
    return line.fetched - line.skipped


def synced(line: Line) -> int:
    """Models that are in force now: what is kept aside is not."""
    return transformed(line) if is_read(line) else 0


def errors_of(lines: Sequence[Line]) -> list[dict[str, str]]:
    return [
        {"provider": line.provider, "error": line.error_message or "It was not synced."}
        for line in lines
        if not is_read(line)
    ]


def answered(
    lines: Sequence[Line], single: str, ids: Mapping[str, int], about: Mapping[str, Any], *, is_whole: bool = True
) -> Report:
    """A sync that is over. single: the provider as which to answer; empty: as for many. ids: slug → provider's id."""
    if single:
        line = next(line for line in lines if line.provider == single)
        return _one(line, ids, about, _counts(line), is_read(line))
    read = [line for line in lines if is_read(line)]
    total = sum(map(synced, lines))
    message = f"Processed {len(lines)} providers. Success: {len(read)}, Errors: {len(lines) - len(read)}. "
    return {
        "success": bool(read) and is_whole,
        "message": f"{message}Total synced: {total} models",
        "details": {**_totals(lines, total), **about},
    }


def dry(lines: Sequence[Line], single: str, ids: Mapping[str, int], about: Mapping[str, Any]) -> Report:
    """A plan that was made: nothing is synced, but what would change is named."""
    told = {**about, **_changes([line for line in lines if isinstance(line, PlanPart)])}
    if single:
        line = next((line for line in lines if line.provider == single), None)
        if line is None:
            return {"success": False, "message": f"Dry run: {single} was not asked.", "details": told}
        counts = {**_counts(line), "models_synced": 0}
        response = _one(line, ids, told, counts, is_read(line))
        would = f"{synced(line)} models from {single} would be synced. {_fetched(line)}"
        return {**response, "message": "Dry run: " + (would if is_read(line) else response["message"])}
    read = [line for line in lines if is_read(line)]
    message = f"Processed {len(lines)} providers. Success: {len(read)}, Errors: {len(lines) - len(read)}. "
    return {
        "success": bool(read),
        "message": f"Dry run: {message}{sum(map(synced, lines))} models would be synced",
        "details": {**_totals(lines, 0), **told},
    }


def under_way(single: str, about: Mapping[str, Any], *, dry_run: bool = False) -> Report:
    what = ("A plan" if dry_run else "The sync") + (f" of {single}" if single else "")
    said = f"{'Dry run: ' if dry_run else ''}{what} is {'being made' if dry_run else 'under way'}: look at status_url."
    return {"success": True, "message": said, "details": {**({"provider": single} if single else {}), **about}}


def _one(
    line: Line, ids: Mapping[str, int], about: Mapping[str, Any], counts: Mapping[str, Any], success: bool
) -> Report:
    said = f"Synced {synced(line)} models from {line.provider}. {_fetched(line)}"
    errors = errors_of([line])
    return {
        "success": success,
        "message": said if success else f"Nothing was synced from {line.provider}: {errors[0]['error']}",
        "details": {
            "provider": line.provider,
            "provider_id": ids.get(line.provider),
            **counts,
            "outcome": line.outcome,
            "errors": errors,
            **about,
        },
    }


def _fetched(line: Line) -> str:
    return f"Fetched: {line.fetched}, Transformed: {transformed(line)}, Skipped: {line.skipped}"


def _counts(line: Line) -> dict[str, int]:
    return {
        "models_fetched": line.fetched,
        "models_transformed": transformed(line),
        "models_skipped": line.skipped,
        "models_synced": synced(line),
        "models_new": line.new,
        "models_changed": line.changed,
        "models_unlisted": line.unlisted,
    }


def _totals(lines: Sequence[Line], total_synced: int) -> dict[str, Any]:
    return {
        "providers_processed": len(lines),
        "total_models_fetched": sum(line.fetched for line in lines),
        "total_models_transformed": sum(map(transformed, lines)),
        "total_models_skipped": sum(line.skipped for line in lines),
        "total_models_synced": total_synced,
        "total_models_new": sum(line.new for line in lines),
        "total_models_changed": sum(line.changed for line in lines),
        "total_models_unlisted": sum(line.unlisted for line in lines),
        "errors": errors_of(lines),
    }


def _changes(parts: Sequence[PlanPart]) -> dict[str, Any]:
    told = [
        {
            "provider": part.provider,
            "kind": change.kind,
            "model_id": change.model_id,
            "name": change.name,
            "fields": [{"field": one.field, "before": one.before, "after": one.after} for one in change.fields],
            "sentence": humanize.describe_change(change),
        }
        for part in parts
        for change in part.changes
    ]
    return {"changes": told[:MOST_CHANGES], "changes_left_out": max(0, len(told) - MOST_CHANGES)}
