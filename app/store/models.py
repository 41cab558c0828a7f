"""The shared table of models: written in bulk, only rows whose facts changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Select, bindparam, exists, select, update

from app.catalog.listing import ListedModel
from app.catalog.matching import Match
from app.extensions import db
from app.store.engine.dialect import insert
from app.store.schema.tables import ListedModelRow, ModelRow, ProviderRow

MatchedModel = tuple[ListedModel, Match]

_INSERT_ONLY = frozenset({"provider_id", "provider_model_id", "first_seen_at", "created_at"})
_BATCH_SIZE = 1_000
_encode = msgspec.json.Encoder(decimal_format="string").encode


def lock_provider(provider_id: int) -> None:
    """Until the transaction ends, let no one else write the provider's shared rows: models and overrides both.

    Each is written in order, but one transaction writes both and takes away from both: two that cross would deadlock.
    """
    db.session.execute(_lock_query(), {"provider_id": provider_id})


@cache
def _lock_query() -> Select[int]:
    return select(ProviderRow.id).where(ProviderRow.id == bindparam("provider_id")).with_for_update(key_share=True)


def save(provider_id: int, matched: Iterable[MatchedModel], now: datetime) -> int:
    """Insert and update what differs from the table, and wake rows that were inactive. Returns the rows written.

    Private models are passed over. Rows go in the order of their ids, so that two workers cannot deadlock.
    """
    known = {
        model_id: (facts_hash, is_active)
        for model_id, facts_hash, is_active in db.session.execute(_known_query(), {"provider_id": provider_id})
    }
    rows = []
    for model, match in matched:
        if model.private:
            continue
        facts_hash = _facts_hash(model, match)
        if known.get(model.id) != (facts_hash, True):
            rows.append(_row_values(provider_id, model, match, facts_hash, now))
    rows.sort(key=lambda row: row["provider_model_id"])
    for start in range(0, len(rows), _BATCH_SIZE):
        _upsert(rows[start : start + _BATCH_SIZE])
    return len(rows)


@cache
def _known_query() -> Select[str, bytes, bool]:
    columns = select(ModelRow.provider_model_id, ModelRow.facts_hash, ModelRow.is_active)
    return columns.where(ModelRow.provider_id == bindparam("provider_id"))


def deactivate(provider_id: int, model_ids: Iterable[str], now: datetime) -> None:
    """Mark models that no key's listing has any more; the rows stay."""
    for batch in _batches(sorted(model_ids)):
        db.session.execute(
            update(ModelRow)
            .where(
                ModelRow.provider_id == provider_id,
                ModelRow.provider_model_id.in_(batch),
                ModelRow.is_active,
            )
            .values(is_active=False, last_seen_at=now, updated_at=now)
            .execution_options(synchronize_session=False)
        )


def deactivate_unlisted(provider_ids: Iterable[int], now: datetime) -> None:
    """Mark models of these providers that no listing in force has any more: their keys were deleted."""
    there = exists().where(
        ListedModelRow.provider_id == ModelRow.provider_id,
        ListedModelRow.provider_model_id == ModelRow.provider_model_id,
    )
    for provider_id in sorted(provider_ids):
        lock_provider(provider_id)
        db.session.execute(
            update(ModelRow)
            .where(ModelRow.provider_id == provider_id, ModelRow.is_active, ~there)
            .values(is_active=False, last_seen_at=now, updated_at=now)
        )


def lost_canonical_ids(provider_id: int, model_ids: Iterable[str]) -> list[str]:
    """Canonical models of these inactive ids that no active model of the provider means any more."""
    active = select(ModelRow.canonical_id).where(
        ModelRow.provider_id == provider_id, ModelRow.is_active, ModelRow.canonical_id.is_not(None)
    )
    lost: set[str] = set()
    for batch in _batches(sorted(model_ids)):
        query = select(ModelRow.canonical_id).where(
            ModelRow.provider_id == provider_id,
            ModelRow.provider_model_id.in_(batch),
            ModelRow.canonical_id.not_in(active),
        )
        lost.update(canonical_id for canonical_id in db.session.scalars(query) if canonical_id)
    return sorted(lost)


def first_seen_times(provider_id: int, model_ids: Sequence[str]) -> dict[str, datetime]:
    """When any key of this installation first listed each model."""
    seen: dict[str, datetime] = {}
    for batch in _batches(model_ids):
        query = select(ModelRow.provider_model_id, ModelRow.first_seen_at).where(
            ModelRow.provider_id == provider_id, ModelRow.provider_model_id.in_(batch)
        )
        seen.update((model_id, moment) for model_id, moment in db.session.execute(query))
    return seen


def _upsert(rows: list[dict[str, Any]]) -> None:
    statement = insert(ModelRow)
    statement = statement.on_conflict_do_update(
        index_elements=["provider_id", "provider_model_id"],
        set_={column: statement.excluded[column] for column in rows[0] if column not in _INSERT_ONLY},
    )
    # On the connection: executemany there is three times as fast as through the session.
    db.session.connection().execute(statement, rows)


def _facts_hash(model: ListedModel, match: Match) -> bytes:
    return hashlib.blake2b(_encode((model, match)), digest_size=16).digest()


def _row_values(provider_id: int, model: ListedModel, match: Match, facts_hash: bytes, now: datetime) -> dict[str, Any]:
    return {
        "provider_id": provider_id,
        "provider_model_id": model.id,
        "model_name": model.name or model.id,
        "description": model.description,
        "kind": model.kind,
        "kind_reason": model.kind_reason,
        "canonical_id": match.canonical_id,
        "match_rule": match.rule,
        "variant": match.variant,
        "snapshot": match.snapshot,
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "modality": model.modality,
        "supports_streaming": model.streaming,
        "supports_function_calling": model.tools,
        "supports_vision": model.vision,
        "supports_reasoning": model.reasoning,
        "supports_structured_output": model.structured_output,
        "input_per_million": model.input_per_million,
        "output_per_million": model.output_per_million,
        "cache_read_per_million": model.cache_read_per_million,
        "cache_write_per_million": model.cache_write_per_million,
        "released_at": model.created_at,
        "deprecated_at": model.deprecated_at,
        "retires_at": model.retires_at,
        "facts_hash": facts_hash,
        "is_active": True,
        "first_seen_at": now,
        "last_seen_at": now,
        "created_at": now,
        "updated_at": now,
    }


def _batches(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _BATCH_SIZE] for start in range(0, len(ids), _BATCH_SIZE))
