"""The canonical catalog in force, what people decided about it, and the mirror of the provider files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Select, Text, bindparam, cast, delete, false, func, select, update

from app.catalog import seed
from app.catalog.matching import CanonicalModel, CatalogIndex
from app.catalog.merge import ManualDecisions, sources_by_field
from app.catalog.sources import PERSON, SOURCES
from app.extensions import db
from app.store import audit
from app.store import sources as live_sources
from app.store.audit import Actor
from app.store.engine.dialect import insert
from app.store.schema.catalog_tables import CanonicalRow, CatalogVersionRow, DecisionRow
from app.store.schema.tables import ModelRow, ProviderRow

_BATCH_SIZE = 500
_LOCK_ID = 0x6D6F64656C  # any number that nothing else in the database locks by
_MODEL_KINDS = ("match", "canonical", "field")
_MANUAL_SOURCE = "a person's decision"

_cached_index: tuple[str, CatalogIndex] | None = None
"""The last index built, by the digest of all that went into it: a cache only, asked for its digest every time."""


@dataclass(frozen=True, slots=True)
class CatalogVersion:
    """Which catalog is in force."""

    number: int
    digest: str
    """SHA-256 over all that went into it, hex."""
    source: str
    """What made it: seed, decisions, or the name of a source."""
    model_count: int
    loaded_at: datetime


@dataclass(frozen=True, slots=True)
class SourcedFact:
    field: str
    value: Any
    source: str
    date: str
    """Day on which the source last said so, empty where that is not known."""


# ------------------------------------------------------------------ what is in force


def version_number() -> int:
    """The version in force; 0 while no catalog was loaded."""
    return db.session.scalar(select(func.max(CatalogVersionRow.id))) or 0


def version_in_force() -> CatalogVersion | None:
    row = db.session.scalar(_newest_query())
    if row is None:
        return None
    return CatalogVersion(row.id, row.version, row.source, row.model_count, row.loaded_at)


@cache
def _newest_query() -> Select[CatalogVersionRow]:
    return select(CatalogVersionRow).order_by(CatalogVersionRow.id.desc()).limit(1)


def load_index() -> tuple[int, CatalogIndex]:
    """The version in force and its index, built when another process changed the catalog."""
    global _cached_index
    current = version_in_force()
    digest = current.digest if current else ""
    if _cached_index is None or _cached_index[0] != digest:
        # The version was read first: should another be put in force between, this one is built again next time.
        _cached_index = digest, CatalogIndex(_load_all().values(), load_decisions().matches)
    return current.number if current else 0, _cached_index[1]


def load_models() -> dict[str, CanonicalModel]:
    """All canonical models in force, by id."""
    current = version_in_force()
    if _cached_index is not None and current is not None and _cached_index[0] == current.digest:
        return dict(_cached_index[1].models)
    return _load_all()


def _load_all() -> dict[str, CanonicalModel]:
    # As text, and decoded in one go: through plain lists and dicts it takes three times as long.
    facts = db.session.scalars(select(cast(CanonicalRow.facts, Text)))
    decode = msgspec.json.Decoder(CanonicalModel).decode
    return {model.id: model for model in map(decode, facts)}


def lock() -> None:
    """Hold the catalog until the transaction ends: whoever builds another one waits here."""
    if db.engine.dialect.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock(_LOCK_ID)))
    else:  # any write holds all of SQLite; one that changes nothing will do
        db.session.execute(update(CatalogVersionRow).where(false()).values(source=CatalogVersionRow.source))


def activate(
    digest: str, source: str, before: Mapping[str, CanonicalModel], after: Iterable[CanonicalModel], now: datetime
) -> None:
    """Write what differs, and the version that says so. To be called under `lock`."""
    global _cached_index
    wanted = {model.id: model for model in after}
    gone = sorted(before.keys() - wanted.keys())
    for start in range(0, len(gone), _BATCH_SIZE):
        db.session.execute(delete(CanonicalRow).where(CanonicalRow.id.in_(gone[start : start + _BATCH_SIZE])))
    rows = [_row_values(model) for model_id, model in sorted(wanted.items()) if before.get(model_id) != model]
    statement = insert(CanonicalRow)
    statement = statement.on_conflict_do_update(
        index_elements=["id"], set_={name: statement.excluded[name] for name in ("lab", "name", "kind", "facts")}
    )
    for start in range(0, len(rows), _BATCH_SIZE):
        db.session.connection().execute(statement, rows[start : start + _BATCH_SIZE])
    db.session.add(CatalogVersionRow(version=digest, source=source, model_count=len(wanted), loaded_at=now))
    db.session.flush()
    # Ready for those who ask next. Should this be rolled back, nobody asks for it by this digest.
    _cached_index = digest, CatalogIndex(wanted.values(), load_decisions().matches)


def _row_values(model: CanonicalModel) -> dict[str, Any]:
    facts = msgspec.to_builtins(model, builtin_types=())
    return {"id": model.id, "lab": model.lab, "name": model.name, "kind": model.kind, "facts": facts}


# ------------------------------------------------------------------ what people decided


def load_decisions() -> ManualDecisions:
    """All that people settled about models. One that cannot be understood any more is passed over."""
    made: dict[str, CanonicalModel] = {}
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
            made[subject] = model
    return ManualDecisions(made, fields, matches)


def decisions_digest() -> bytes:
    """Changes whenever a decision about models does."""
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
    fits = model.id == model_id and len(model.id) <= 300 and len(model.lab) <= 100  # as its columns are
    return model if fits else None


# ------------------------------------------------------------------ who says so


def source_labels() -> dict[str, str]:
    """What a model's `field_sources` calls a source → its name and date, as a page shows them. One query."""
    return {letter: f"{name}, {date}" if date else name for letter, (name, date) in _source_names().items()}


def sourced_facts(model: CanonicalModel) -> list[SourcedFact]:
    """Every known fact of a model with who says so, and when."""
    named, told_by = _source_names(), sources_by_field(model)
    decided = _decision_days(model.id) if PERSON in told_by.values() else {}
    facts = []
    for field, letter in told_by.items():
        name, date = named.get(letter, ("", ""))
        facts.append(SourcedFact(field, getattr(model, field), name, decided.get(field, date)))
    return facts


def _source_names() -> dict[str, tuple[str, str]]:
    named = {letter: (source.name, source.date) for letter, source in seed.load().header.sources.items()}
    dates = live_sources.fetch_dates()
    named |= {name: (SOURCES[name].title, dates[name].date().isoformat()) for name in dates}
    return named | {PERSON: (_MANUAL_SOURCE, "")}


def _decision_days(model_id: str) -> dict[str, str]:
    """Field → day, of the fields that a person settled one by one."""
    query = select(DecisionRow.subject, DecisionRow.decided_at).where(
        DecisionRow.kind == "field", DecisionRow.subject.startswith(f"{model_id}#", autoescape=True)
    )
    return {subject.rpartition("#")[2]: at.date().isoformat() for subject, at in db.session.execute(query)}


# ------------------------------------------------------------------ providers


def descriptions(provider_id: int) -> dict[str, str]:
    """Id → the prose about it, which listings do not keep."""
    query = select(ModelRow.provider_model_id, ModelRow.description).where(
        ModelRow.provider_id == provider_id, ModelRow.description != ""
    )
    return {row.provider_model_id: row.description for row in db.session.execute(query)}


def mirror_providers(files: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Make the providers table say what the provider files say; an admin's own settings stay as they are."""
    for facts in files:
        statement = insert(ProviderRow).values(created_at=now, updated_at=now, **facts)
        changed = {name: statement.excluded[name] for name in facts if name != "slug"}
        differs = [
            getattr(ProviderRow, name).is_distinct_from(statement.excluded[name]) for name in _compared_fields(facts)
        ]
        where = differs[0]
        for one in differs[1:]:
            where = where | one
        db.session.execute(
            statement.on_conflict_do_update(index_elements=["slug"], set_={**changed, "updated_at": now}, where=where)
        )


def admin_base_urls() -> dict[str, str]:
    """Slug → the base URL that an admin set for a provider."""
    query = select(ProviderRow.slug, ProviderRow.admin_base_url).where(ProviderRow.admin_base_url.is_not(None))
    return {slug: url for slug, url in db.session.execute(query) if url}


def update_provider(
    row: ProviderRow, *, is_active: bool, frequency: str | None, base_url: str | None, actor: Actor, now: datetime
) -> None:
    """An admin's own settings; frequency, base_url: None for the provider file's. What changes is an audit entry."""
    before = _provider_settings(row)
    row.is_active, row.admin_update_frequency, row.admin_base_url = is_active, frequency, base_url
    if (after := _provider_settings(row)) != before:
        audit.record(actor, "provider", row.slug, before, after, "", now)


def _provider_settings(row: ProviderRow) -> dict[str, Any]:
    return {
        "enabled": row.is_active,
        "update frequency": row.admin_update_frequency or "the provider file's",
        "base URL": row.admin_base_url or "the provider's own",
    }


def mark_synced(provider_ids: Collection[int], now: datetime, no_later_than: datetime) -> None:
    """Note that providers' lists were just read, unless it was noted since `no_later_than`: one row for all users."""
    stale = db.session.scalars(_stale_query(), {"provider_ids": list(provider_ids), "no_later_than": no_later_than})
    if found := list(stale):
        db.session.execute(
            update(ProviderRow)
            .where(ProviderRow.id.in_(found))
            .values(last_synced_at=now)
            .execution_options(synchronize_session=False)
        )


@cache
def _stale_query() -> Select[int]:
    ids: BindParameter[list[int]] = bindparam("provider_ids", expanding=True)
    is_stale = ProviderRow.last_synced_at.is_(None) | (ProviderRow.last_synced_at < bindparam("no_later_than"))
    # Whoever holds a row is noting the same: nobody waits for it, in whatever order two come by the rows.
    query = select(ProviderRow.id).where(ProviderRow.id.in_(ids), is_stale)
    return query.with_for_update(skip_locked=True, key_share=True)


def _compared_fields(facts: Mapping[str, Any]) -> list[str]:
    return [name for name in facts if name != "slug"]
