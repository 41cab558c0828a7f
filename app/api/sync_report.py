"""Response bodies of `/admin/model-sync`, with the field names and sentences of the original specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.catalog import humanize
from app.store.plans import PlanPart
from app.store.queries.results import ProviderResult, count_synced, count_transformed, is_read, list_errors

Report = dict[str, Any]

MAX_CHANGES = 200
"""Maximum number of changes listed in a response."""


def build_report(
    results: Sequence[ProviderResult],
    single: str,
    ids: Mapping[str, int],
    about: Mapping[str, Any],
    *,
    is_whole: bool = True,
) -> Report:
    """Report of a finished sync.

    single: slug to report on alone; empty for the report on many. ids: slug → provider id. about: further details.
    """
    if single:
        result = next(result for result in results if result.provider == single)
        return _provider_report(result, ids, about, _provider_counts(result), is_read(result))
    total = sum(map(count_synced, results))
    return {
        "success": is_whole and any(map(is_read, results)),
        "message": f"{_describe_outcomes(results)}Total synced: {total} models",
        "details": {**_total_counts(results, total), **about},
    }


def build_plan_report(
    results: Sequence[ProviderResult], single: str, ids: Mapping[str, int], about: Mapping[str, Any]
) -> Report:
    """Report of a finished dry run: nothing counts as synced, and the changes are listed."""
    details = {**about, **_change_list([result for result in results if isinstance(result, PlanPart)])}
    if single:
        result = next((result for result in results if result.provider == single), None)
        if result is None:
            return {"success": False, "message": f"Dry run: {single} was not asked.", "details": details}
        counts = {**_provider_counts(result), "models_synced": 0}
        report = _provider_report(result, ids, details, counts, is_read(result))
        would = f"{count_synced(result)} models from {single} would be synced. {_describe_counts(result)}"
        return {**report, "message": "Dry run: " + (would if is_read(result) else report["message"])}
    total = sum(map(count_synced, results))
    return {
        "success": any(map(is_read, results)),
        "message": f"Dry run: {_describe_outcomes(results)}{total} models would be synced",
        "details": {**_total_counts(results, 0), **details},
    }


def build_pending_report(single: str, about: Mapping[str, Any], *, dry_run: bool = False) -> Report:
    subject = ("A plan" if dry_run else "The sync") + (f" of {single}" if single else "")
    prefix, state = ("Dry run: ", "being made") if dry_run else ("", "under way")
    message = f"{prefix}{subject} is {state}: look at status_url."
    return {"success": True, "message": message, "details": {**({"provider": single} if single else {}), **about}}


def _provider_report(
    result: ProviderResult, ids: Mapping[str, int], about: Mapping[str, Any], counts: Mapping[str, Any], success: bool
) -> Report:
    errors = list_errors([result])
    synced = f"Synced {count_synced(result)} models from {result.provider}. {_describe_counts(result)}"
    return {
        "success": success,
        "message": synced if success else f"Nothing was synced from {result.provider}: {errors[0]['error']}",
        "details": {
            "provider": result.provider,
            "provider_id": ids.get(result.provider),
            **counts,
            "outcome": result.outcome,
            "errors": errors,
            **about,
        },
    }


def _describe_outcomes(results: Sequence[ProviderResult]) -> str:
    read = sum(map(is_read, results))
    return f"Processed {len(results)} providers. Success: {read}, Errors: {len(results) - read}. "


def _describe_counts(result: ProviderResult) -> str:
    return f"Fetched: {result.fetched}, Transformed: {count_transformed(result)}, Skipped: {result.skipped}"


def _provider_counts(result: ProviderResult) -> dict[str, int]:
    return {
        "models_fetched": result.fetched,
        "models_transformed": count_transformed(result),
        "models_skipped": result.skipped,
        "models_synced": count_synced(result),
        "models_new": result.new,
        "models_changed": result.changed,
        "models_unlisted": result.unlisted,
    }


def _total_counts(results: Sequence[ProviderResult], total_synced: int) -> dict[str, Any]:
    counts = [_provider_counts(result) for result in results]
    names = ("fetched", "transformed", "skipped", "synced", "new", "changed", "unlisted")
    totals = {f"total_models_{name}": sum(one[f"models_{name}"] for one in counts) for name in names}
    return {
        "providers_processed": len(results),
        **totals,
        "total_models_synced": total_synced,
        "errors": list_errors(results),
    }


def _change_list(parts: Sequence[PlanPart]) -> dict[str, Any]:
    changes = [
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
    return {"changes": changes[:MAX_CHANGES], "changes_left_out": max(0, len(changes) - MAX_CHANGES)}
