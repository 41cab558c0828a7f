"""Results and models as JSON: the same objects for the API and for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex
from app.store.queries.models_of_keys import KeyModels
from app.store.queries.runs import ResultView
from app.store.schema.tables import OUTCOMES

_COUNTS = ("fetched", "chat", "new", "changed", "unlisted", "uncatalogued", "skipped")


class SyncError(msgspec.Struct):
    code: str
    message: str | None


class SyncResult(msgspec.Struct):
    """One key's part in a sync, as `result_json` makes it."""

    provider: str
    label: str
    outcome: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(OUTCOMES)})] | None
    fetched: int
    chat: int
    new: int
    changed: int
    unlisted: int
    uncatalogued: int
    skipped: int
    duration_s: float | None
    error: SyncError | None


class FinishedSync(msgspec.Struct):
    id: int
    synced_at: str
    total_new_models: int
    sync_results: list[SyncResult]


class SyncState(msgspec.Struct, rename="camel"):
    last_sync: FinishedSync | None
    needs_sync: bool


class StartedSync(msgspec.Struct):
    run_id: int
    id: int
    started: bool
    notice: str | None


class QueuedSyncs(msgspec.Struct):
    queued: Annotated[int, msgspec.Meta(description="How many users have an active key.")]
    notice: str | None


def result_json(result: ResultView) -> dict[str, Any]:
    error = {"code": result.error_code, "message": result.error_message} if result.error_code else None
    return {
        "provider": result.provider,
        "label": result.label,
        "outcome": result.outcome,
        **{name: getattr(result, name) for name in _COUNTS},
        "duration_s": None if result.duration_s is None else round(result.duration_s, 3),
        "error": error,
    }


def model_json(
    provider: str,
    model: ListedModel,
    index: CatalogIndex,
    first_seen_at: datetime | None,
    status: str = "listed",
) -> dict[str, Any]:
    match = index.match(provider, model)
    return {
        "provider": provider,
        "provider_model_id": model.id,
        "name": model.name or model.id,
        "kind": model.kind,
        "kind_reason": model.kind_reason,
        "canonical_id": match.canonical_id,
        "match_rule": match.rule,
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "pricing": {
            "input_per_million": _price(model.input_per_million),
            "output_per_million": _price(model.output_per_million),
        },
        "modality": model.modality or None,
        "capabilities": model.capabilities,
        "first_seen_at": first_seen_at.isoformat() if first_seen_at else None,
        "status": status,
    }


def models_json(
    keys: list[KeyModels],
    index: CatalogIndex,
    seen: Mapping[str, Mapping[str, datetime]],
    *,
    everything: bool,
) -> Iterator[dict[str, Any]]:
    """Each model of each provider once, chat models only unless `everything`; the first key that has it speaks."""
    told: set[tuple[str, str]] = set()
    for key in keys:
        for model in key.models:
            if (model.kind == "chat" or everything) and (key.provider, model.id) not in told:
                told.add((key.provider, model.id))
                yield model_json(key.provider, model, index, seen.get(key.provider, {}).get(model.id), _status(model))
    for key in keys if everything else ():
        for model in key.unlisted:
            if (key.provider, model.id) not in told:
                told.add((key.provider, model.id))
                yield model_json(key.provider, model, index, seen.get(key.provider, {}).get(model.id), "unlisted")


def _status(model: ListedModel) -> str:
    """listed · deprecated (an end is announced) · documented (not listed, named in the documentation)"""
    if model.documented:
        return "documented"
    return "deprecated" if model.deprecated_at or model.retires_at else "listed"


def _price(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
