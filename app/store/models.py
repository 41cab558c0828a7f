"""The shared table of models, with their effective facts: written in bulk, and only rows whose facts changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam, case, exists, func, select, update

from app.catalog.effective import EffectiveFacts, effective_facts, infer_from_kind
from app.catalog.listing import PRICES, ListedModel
from app.catalog.matching import Match
from app.extensions import db
from app.store import catalog, overrides
from app.store.engine.dialect import upsert
from app.store.engine.statements import batches, execute_dml
from app.store.schema.tables import ListedModelRow, ModelRow, ProviderRow

MatchedModel = tuple[ListedModel, Match]

CAPABILITY_COLUMNS = {
    "streaming": ModelRow.supports_streaming,
    "tools": ModelRow.supports_function_calling,
    "vision": ModelRow.supports_vision,
    "reasoning": ModelRow.supports_reasoning,
    "structured_output": ModelRow.supports_structured_output,
}
"""Capability → its column in the owner's documents."""
_FACT_FIELDS = ("context_length", "max_output_tokens", *PRICES)
_INSERT_ONLY = frozenset({"provider_id", "provider_model_id", "first_seen_at", "created_at"})
_BATCH_SIZE = 1_000
_encode = msgspec.json.Encoder(decimal_format="string").encode


def lock_provider(provider_id: int) -> None:
    """Lock the provider's shared rows, models and overrides, against other writers until the transaction ends.

    Each table is written in order, but a transaction that writes and deletes in both could deadlock with another.
    """
    db.session.execute(_LOCK_QUERY, {"provider_id": provider_id})


_LOCK_QUERY = select(ProviderRow.id).where(ProviderRow.id == bindparam("provider_id")).with_for_update(key_share=True)


def save(provider_id: int, matched: Iterable[MatchedModel], now: datetime) -> int:
    """Insert and update what differs from the table, and reactivate inactive rows. Returns the number of rows written.

    Private models are skipped. Rows are written in the order of their ids, so that two workers cannot deadlock.
    """
    slug = db.session.scalar(_SLUG_QUERY, {"provider_id": provider_id}) or ""
    _, index = catalog.load_index()
    manual = overrides.load_manual()
    known = {
        model_id: (facts_hash, is_active)
        for model_id, facts_hash, is_active in db.session.execute(_KNOWN_QUERY, {"provider_id": provider_id})
    }
    rows = []
    for model, match in matched:
        if model.private:
            continue
        canonical = index.models.get(match.canonical_id) if match.canonical_id else None
        override = manual.get((slug, canonical.id)) if canonical else None
        facts = infer_from_kind(effective_facts(slug, canonical, model, override, match.variant))
        facts_hash = _facts_hash(model, match, facts)
        if known.get(model.id) != (facts_hash, True):
            released_on = canonical.released_on if canonical else ""
            rows.append(_row_values(provider_id, model, match, facts, released_on, facts_hash, now))
    rows.sort(key=lambda row: row["provider_model_id"])
    if rows:
        columns = [column for column in rows[0] if column not in _INSERT_ONLY]
        upsert(ModelRow, rows, ["provider_id", "provider_model_id"], columns)
        _save_capabilities(provider_id)
    return len(rows)


def _save_capabilities(provider_id: int) -> None:
    """Record with the provider what any of its models can do; the provider is locked."""
    columns = [func.max(case((column.is_(True), 1), else_=0)) for column in CAPABILITY_COLUMNS.values()]
    query = select(*columns).where(ModelRow.provider_id == provider_id, ModelRow.is_active)
    has = db.session.execute(query).one()
    capabilities = {
        column.key.removeprefix("supports_"): bool(any_has)
        for column, any_has in zip(CAPABILITY_COLUMNS.values(), has, strict=True)
    }
    execute_dml(update(ProviderRow).where(ProviderRow.id == provider_id).values(capabilities=capabilities))


_SLUG_QUERY = select(ProviderRow.slug).where(ProviderRow.id == bindparam("provider_id"))
_KNOWN_QUERY = select(ModelRow.provider_model_id, ModelRow.facts_hash, ModelRow.is_active).where(
    ModelRow.provider_id == bindparam("provider_id")
)


def deactivate(provider_id: int, model_ids: Iterable[str], now: datetime) -> None:
    """Mark models that no key's listing has any more as inactive; the rows stay."""
    for batch in batches(sorted(model_ids), _BATCH_SIZE):
        listed = ModelRow.provider_id == provider_id, ModelRow.provider_model_id.in_(batch), ModelRow.is_active
        execute_dml(update(ModelRow).where(*listed).values(is_active=False, last_seen_at=now, updated_at=now))


def deactivate_unlisted(provider_ids: Iterable[int], now: datetime) -> None:
    """Mark models of these providers as inactive that no listing in force has any more: their keys were deleted."""
    is_listed = exists().where(
        ListedModelRow.provider_id == ModelRow.provider_id,
        ListedModelRow.provider_model_id == ModelRow.provider_model_id,
    )
    for provider_id in sorted(provider_ids):
        lock_provider(provider_id)
        db.session.execute(
            update(ModelRow)
            .where(ModelRow.provider_id == provider_id, ModelRow.is_active, ~is_listed)
            .values(is_active=False, last_seen_at=now, updated_at=now)
        )


def lost_canonical_ids(provider_id: int, model_ids: Iterable[str]) -> list[str]:
    """Canonical ids of these inactive models that no active model of the provider maps to any more."""
    active = select(ModelRow.canonical_id).where(
        ModelRow.provider_id == provider_id, ModelRow.is_active, ModelRow.canonical_id.is_not(None)
    )
    lost: set[str] = set()
    for batch in batches(sorted(model_ids), _BATCH_SIZE):
        query = select(ModelRow.canonical_id).where(
            ModelRow.provider_id == provider_id,
            ModelRow.provider_model_id.in_(batch),
            ModelRow.canonical_id.not_in(active),
        )
        lost.update(canonical_id for canonical_id in db.session.scalars(query) if canonical_id)
    return sorted(lost)


def first_seen_times(provider_id: int, model_ids: Sequence[str]) -> dict[str, datetime]:
    """Model id → when any key of this installation first listed it."""
    first_seen: dict[str, datetime] = {}
    for batch in batches(model_ids, _BATCH_SIZE):
        query = select(ModelRow.provider_model_id, ModelRow.first_seen_at).where(
            ModelRow.provider_id == provider_id, ModelRow.provider_model_id.in_(batch)
        )
        first_seen.update((model_id, at) for model_id, at in db.session.execute(query))
    return first_seen


def to_listed_model(row: ModelRow) -> ListedModel:
    """The model as its provider last listed it."""
    return msgspec.convert(row.provider_facts, ListedModel)


def _facts_hash(model: ListedModel, match: Match, facts: EffectiveFacts) -> bytes:
    return hashlib.blake2b(_encode((model, match, facts)), digest_size=16).digest()


def _row_values(
    provider_id: int,
    model: ListedModel,
    match: Match,
    facts: EffectiveFacts,
    released_on: str,
    facts_hash: bytes,
    now: datetime,
) -> dict[str, Any]:
    stated = msgspec.structs.replace(model, description="")
    return {
        "provider_id": provider_id,
        "provider_model_id": model.id,
        "model_name": facts.name,
        "description": model.description,
        "kind": model.kind,
        "kind_reason": model.kind_reason,
        "canonical_id": match.canonical_id,
        "match_rule": match.rule,
        "variant": match.variant,
        "snapshot": match.snapshot,
        "modality": facts.modality,
        "released_at": model.created_at or _start_of_day(released_on),
        "deprecated_at": model.deprecated_at or _start_of_day(facts.deprecated_on),
        "retires_at": model.retires_at or _start_of_day(facts.retires_on),
        **{name: getattr(facts, name) for name in _FACT_FIELDS},
        **{column.key: getattr(facts, name) for name, column in CAPABILITY_COLUMNS.items()},
        "provider_facts": msgspec.to_builtins(stated, builtin_types=()),
        "facts_hash": facts_hash,
        "is_active": True,
        "first_seen_at": now,
        "last_seen_at": now,
        "created_at": now,
        "updated_at": now,
    }


def _start_of_day(iso_day: str) -> datetime | None:
    """None unless it is a whole date: the catalog has months and years too."""
    if len(iso_day) != _ISO_DAY_LENGTH:
        return None
    day = date.fromisoformat(iso_day)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


_ISO_DAY_LENGTH = 10
