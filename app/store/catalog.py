"""The canonical catalog in force, people's decisions about it, and the mirror of the provider files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Text, bindparam, cast, delete, false, func, or_, select, update

from app import clock
from app.catalog import seed
from app.catalog.matching import CanonicalModel, CatalogIndex
from app.catalog.merge import ManualDecisions, sources_by_field
from app.catalog.sources import PERSON, SOURCES
from app.extensions import db
from app.store import audit
from app.store import sources as live_sources
from app.store.audit import Actor
from app.store.engine.dialect import insert, upsert
from app.store.engine.statements import batches
from app.store.schema.catalog_tables import CanonicalRow, CatalogVersionRow, DecisionRow
from app.store.schema.tables import ModelRow, ProviderRow

_BATCH_SIZE = 500
_LOCK_ID = 0x6D6F64656C  # PostgreSQL advisory lock
_MODEL_KINDS = ("match", "canonical", "field")
_MANUAL_SOURCE = "a person's decision"

_cached_index: tuple[str, CatalogIndex] | None = None
"""(digest, index): process-wide cache of the last index built; the digest is checked on every use."""


@dataclass(frozen=True, slots=True)
class CatalogVersion:
    """The catalog in force."""

    number: int
    digest: str
    """SHA-256 over all inputs, hex."""
    source: str
    """What it was made by: seed, decisions, or the name of a source."""
    model_count: int
    loaded_at: datetime


@dataclass(frozen=True, slots=True)
class SourcedFact:
    field: str
    value: Any
    source: str
    date: str
    """ISO date of the source's last confirmation; empty if unknown."""


# ------------------------------------------------------------------ the version in force


def version_number() -> int:
    """Number of the version in force; 0 before the first."""
    return db.session.scalar(select(func.max(CatalogVersionRow.id))) or 0


def version_in_force() -> CatalogVersion | None:
    row = db.session.scalar(_NEWEST_QUERY)
    if row is None:
        return None
    return CatalogVersion(row.id, row.version, row.source, row.model_count, row.loaded_at)


_NEWEST_QUERY = select(CatalogVersionRow).order_by(CatalogVersionRow.id.desc()).limit(1)


def load_index() -> tuple[int, CatalogIndex]:
    """(number of the version in force, its index); the index is rebuilt if another process changed the catalog."""
    global _cached_index
    current = version_in_force()
    digest = current.digest if current else ""
    if _cached_index is None or _cached_index[0] != digest:
        # The version was read first: if another comes into force now, the digest differs at the next use.
        _cached_index = digest, CatalogIndex(_load_all().values(), load_decisions().matches)
    return current.number if current else 0, _cached_index[1]


def load_models() -> dict[str, CanonicalModel]:
    """All canonical models in force, by id."""
    current = version_in_force()
    if _cached_index is not None and current is not None and _cached_index[0] == current.digest:
        return dict(_cached_index[1].models)
    return _load_all()


def _load_all() -> dict[str, CanonicalModel]:
    # decoding JSON text directly is three times as fast as converting lists and dicts
    facts = db.session.scalars(select(cast(CanonicalRow.facts, Text)))
    decode = msgspec.json.Decoder(CanonicalModel).decode
    return {model.id: model for model in map(decode, facts)}


def lock() -> None:
    """Lock the catalog against concurrent rebuilds until the transaction ends."""
    if db.engine.dialect.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock(_LOCK_ID)))
    else:  # any write locks all of SQLite, also one that changes nothing
        db.session.execute(update(CatalogVersionRow).where(false()).values(source=CatalogVersionRow.source))


def activate(
    digest: str, source: str, before: Mapping[str, CanonicalModel], after: Iterable[CanonicalModel], now: datetime
) -> None:
    """Write the models that differ, and a new version. Call it under `lock`."""
    global _cached_index
    models = {model.id: model for model in after}
    for batch in batches(sorted(before.keys() - models.keys()), _BATCH_SIZE):
        db.session.execute(delete(CanonicalRow).where(CanonicalRow.id.in_(batch)))
    rows = [_row_values(model) for model_id, model in sorted(models.items()) if before.get(model_id) != model]
    upsert(CanonicalRow, rows, ["id"], ["lab", "name", "kind", "facts"])
    db.session.add(CatalogVersionRow(version=digest, source=source, model_count=len(models), loaded_at=now))
    db.session.flush()
    # warm the cache; after a rollback this digest is never looked up
    _cached_index = digest, CatalogIndex(models.values(), load_decisions().matches)


def _row_values(model: CanonicalModel) -> dict[str, Any]:
    facts = msgspec.to_builtins(model, builtin_types=())
    return {"id": model.id, "lab": model.lab, "name": model.name, "kind": model.kind, "facts": facts}


# ------------------------------------------------------------------ what people decided


def load_decisions() -> ManualDecisions:
    """All decisions about models. Those that this version cannot parse are ignored."""
    models: dict[str, CanonicalModel] = {}
    fields: dict[tuple[str, str], Any] = {}
    matches: dict[tuple[str, str], str | None] = {}
    for kind, subject, value in _load_decision_rows():
        if kind == "match":
            provider, _, model_id = subject.partition("/")
            matches[provider, model_id] = value.get("canonical_id")
        elif kind == "field":
            model_id, _, field = subject.rpartition("#")
            fields[model_id, field] = value.get("value")
        elif (model := _parse_canonical(subject, value)) is not None:
            models[subject] = model
    return ManualDecisions(models, fields, matches)


def decisions_digest() -> bytes:
    """Hash over all decisions about models."""
    ordered = sorted((kind, subject, msgspec.json.encode(value)) for kind, subject, value in _load_decision_rows())
    return hashlib.sha256(msgspec.json.encode(ordered)).digest()


def _load_decision_rows() -> list[tuple[str, str, dict[str, Any]]]:
    query = select(DecisionRow.kind, DecisionRow.subject, DecisionRow.value).where(DecisionRow.kind.in_(_MODEL_KINDS))
    return [(kind, subject, value) for kind, subject, value in db.session.execute(query)]


def _parse_canonical(model_id: str, value: Mapping[str, Any]) -> CanonicalModel | None:
    try:
        model = msgspec.convert(value, CanonicalModel)
    except msgspec.ValidationError:
        return None
    fits = model.id == model_id and len(model.id) <= 300 and len(model.lab) <= 100  # column lengths
    return model if fits else None


# ------------------------------------------------------------------ who says so


def sourced_facts(model: CanonicalModel) -> list[SourcedFact]:
    """Every known fact of a model, with its source and date."""
    names, letters = _source_names(), sources_by_field(model)
    decided = _decision_days(model.id) if PERSON in letters.values() else {}
    facts = []
    for field, letter in letters.items():
        name, date = names.get(letter, ("", ""))
        facts.append(SourcedFact(field, getattr(model, field), name, decided.get(field, date)))
    return facts


def _source_names() -> dict[str, tuple[str, str]]:
    names = {letter: (source.name, source.date) for letter, source in seed.load().header.sources.items()}
    dates = live_sources.fetch_dates()
    names |= {name: (SOURCES[name].title, dates[name].date().isoformat()) for name in dates}
    return names | {PERSON: (_MANUAL_SOURCE, "")}


def _decision_days(model_id: str) -> dict[str, str]:
    """Field → ISO date, for fields that a person decided individually."""
    query = select(DecisionRow.subject, DecisionRow.decided_at).where(
        DecisionRow.kind == "field", DecisionRow.subject.startswith(f"{model_id}#", autoescape=True)
    )
    return {subject.rpartition("#")[2]: at.date().isoformat() for subject, at in db.session.execute(query)}


# ------------------------------------------------------------------ providers


def descriptions(provider_id: int) -> dict[str, str]:
    """Model id → description, which listings do not include."""
    query = select(ModelRow.provider_model_id, ModelRow.description).where(
        ModelRow.provider_id == provider_id, ModelRow.description != ""
    )
    return {row.provider_model_id: row.description for row in db.session.execute(query)}


def mirror_providers(files: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Update the providers table from the provider files, except for an admin's own settings."""
    query = select(ProviderRow.slug, ProviderRow.is_active, ProviderRow.last_synced_at)
    states = {slug: _sync_state(is_active, synced_at) for slug, is_active, synced_at in db.session.execute(query)}
    for file in files:
        state = states.get(file["slug"], _sync_state(True, None))
        facts = {**file, "models_api": file["models_api"] | state}
        statement = insert(ProviderRow).values(created_at=now, updated_at=now, **facts)
        new = {name: statement.excluded[name] for name in facts if name != "slug"}
        differs = or_(*(getattr(ProviderRow, name).is_distinct_from(value) for name, value in new.items()))
        db.session.execute(
            statement.on_conflict_do_update(index_elements=["slug"], set_={**new, "updated_at": now}, where=differs)
        )


def _sync_state(is_active: bool, synced_at: datetime | None) -> dict[str, Any]:
    """The parts of `ProviderRow.models_api` that no provider file states."""
    return {"enabled": is_active, "last_synced": clock.isoformat_utc(synced_at) or None}


def admin_base_urls() -> dict[str, str]:
    """Slug → base URL set by an admin."""
    query = select(ProviderRow.slug, ProviderRow.admin_base_url).where(ProviderRow.admin_base_url.is_not(None))
    return {slug: url for slug, url in db.session.execute(query) if url}


def update_provider(
    row: ProviderRow, *, is_active: bool, frequency: str | None, base_url: str | None, actor: Actor, now: datetime
) -> None:
    """Save an admin's settings (frequency, base_url: None for the provider file's), audited if they change."""
    before = _provider_settings(row)
    row.is_active, row.admin_update_frequency, row.admin_base_url = is_active, frequency, base_url
    row.models_api = row.models_api | {"enabled": is_active}
    if (after := _provider_settings(row)) != before:
        audit.record(actor, "provider", row.slug, before, after, "", now)


def _provider_settings(row: ProviderRow) -> dict[str, Any]:
    return {
        "enabled": row.is_active,
        "update frequency": row.admin_update_frequency or "the provider file's",
        "base URL": row.admin_base_url or "the provider's own",
    }


def mark_synced(provider_ids: Collection[int], now: datetime, no_later_than: datetime) -> None:
    """Record that providers' lists were just fetched, unless it was recorded since `no_later_than`."""
    values = {"provider_ids": list(provider_ids), "no_later_than": no_later_than}
    if stale := db.session.execute(_STALE_QUERY, values).all():
        rows = [
            {"stale_id": row.id, "at": now, "api": row.models_api | {"last_synced": clock.isoformat_utc(now)}}
            for row in stale
        ]
        db.session.connection().execute(_MARK_SYNCED, rows)


_PROVIDER_IDS: BindParameter[list[int]] = bindparam("provider_ids", expanding=True)
_STALE_QUERY = (
    select(ProviderRow.id, ProviderRow.models_api)
    .where(
        ProviderRow.id.in_(_PROVIDER_IDS),
        ProviderRow.last_synced_at.is_(None) | (ProviderRow.last_synced_at < bindparam("no_later_than")),
    )
    .with_for_update(skip_locked=True, key_share=True)  # another holder of the lock is recording the same
)
_MARK_SYNCED = (
    update(ProviderRow)
    .where(ProviderRow.id == bindparam("stale_id"))
    .values(last_synced_at=bindparam("at"), models_api=bindparam("api"))
)
