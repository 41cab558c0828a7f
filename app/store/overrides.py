"""The overrides: what sync found a provider to say, and what people decided, which sync never touches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, delete, exists, select

from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex, Match
from app.catalog.override_files import OverrideEntry
from app.catalog.overrides import (
    HIGHEST_PRIORITY,
    MANUAL_PRIORITY,
    Fact,
    Override,
    OverrideError,
    from_facts,
    from_json,
    from_listing,
    from_state,
    merge,
    resolve_canonical_id,
    to_json,
)
from app.extensions import db
from app.store import audit, catalog, credentials
from app.store.audit import Actor
from app.store.engine.dialect import insert
from app.store.schema.catalog_tables import OverrideRow
from app.store.schema.tables import ModelRow, ProviderRow

MatchedModel = tuple[ListedModel, Match]
OverrideKey = tuple[str, str, int]
"""Provider slug, canonical id, priority: one override."""

_BATCH_SIZE = 1_000
_SECTIONS = ("pricing", "limits", "capabilities")
_UPDATED_COLUMNS = ("provider_model_id", "reason", *_SECTIONS, "updated_at")


# ------------------------------------------------------------------ made by sync


def save_auto(provider_id: int, slug: str, pairs: Iterable[MatchedModel], index: CatalogIndex, now: datetime) -> int:
    """Make the overrides of a listing, one for each canonical chat model in it. Returns the rows written.

    Private models are passed over. Of several ids of one canonical model the plainest speaks for it. Only rows that
    differ are written, in the order of their ids, so that two workers cannot deadlock.
    """
    known = _load_auto_states(provider_id)
    rows = [
        {
            "provider_id": provider_id,
            "canonical_id": canonical_id,
            "provider_model_id": model.id,
            "priority": 0,
            "created_at": now,
            "updated_at": now,
            **_section_columns(from_listing(slug, index.models[canonical_id], model)),
        }
        for canonical_id, model in sorted(_representatives(pairs).items())
        if canonical_id in index.models
    ]
    different = [row for row in rows if known.get(row["canonical_id"]) != _comparable_state(row)]
    _upsert(different)
    return len(different)


def remove_auto(provider_id: int, canonical_ids: Iterable[str]) -> None:
    """Take away what sync made for models that no key's listing has any more; a person's overrides stay."""
    ids = sorted(canonical_ids)
    for start in range(0, len(ids), _BATCH_SIZE):
        batch = ids[start : start + _BATCH_SIZE]
        _remove_auto(OverrideRow.provider_id == provider_id, OverrideRow.canonical_id.in_(batch))


def remove_unserved() -> None:
    """Take away what sync made for canonical models that no active model means: after a change of the catalog, when
    an id may mean another one than before."""
    served = exists().where(
        ModelRow.provider_id == OverrideRow.provider_id,
        ModelRow.canonical_id == OverrideRow.canonical_id,
        ModelRow.is_active,
    )
    _remove_auto(~served)


def _remove_auto(*conditions: ColumnElement[bool]) -> None:
    """Locks what it deletes in the order in which `write_auto` writes, against a deadlock with it."""
    query = (
        select(OverrideRow.id)
        .where(OverrideRow.priority < MANUAL_PRIORITY, *conditions)
        .order_by(OverrideRow.provider_id, OverrideRow.canonical_id, OverrideRow.priority)
        .with_for_update()
    )
    ids = list(db.session.scalars(query))
    for start in range(0, len(ids), _BATCH_SIZE):
        db.session.execute(delete(OverrideRow).where(OverrideRow.id.in_(ids[start : start + _BATCH_SIZE])))


def _representatives(pairs: Iterable[MatchedModel]) -> dict[str, ListedModel]:
    """Canonical id → the listed model that stands for it: the plain one before variants and snapshots, then the
    shortest id."""
    found: dict[str, tuple[tuple[bool, int, str], ListedModel]] = {}
    for model, match in pairs:
        if model.private or model.kind != "chat" or not match.canonical_id:
            continue
        rank = (bool(match.variant or match.snapshot), len(model.id), model.id)
        if match.canonical_id not in found or rank < found[match.canonical_id][0]:
            found[match.canonical_id] = rank, model
    return {canonical_id: model for canonical_id, (_, model) in found.items()}


def _load_auto_states(provider_id: int) -> dict[str, tuple[Any, ...]]:
    found = db.session.execute(_auto_query(), {"provider_id": provider_id})
    return {canonical_id: tuple(state) for canonical_id, *state in found}


@cache
def _auto_query() -> Select[*tuple[Any, ...]]:
    columns = (OverrideRow.provider_model_id, *(getattr(OverrideRow, part) for part in _SECTIONS))
    query = select(OverrideRow.canonical_id, *columns)
    return query.where(OverrideRow.provider_id == bindparam("provider_id"), OverrideRow.priority == 0)


def _comparable_state(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["provider_model_id"], *(row[part] for part in _SECTIONS))


# ------------------------------------------------------------------ read


def load_manual() -> dict[tuple[str, str], Override]:
    """(provider slug, canonical id) → what people decided about it; field by field the highest priority wins."""
    found: dict[tuple[str, str], list[Override]] = {}
    for override in _load(_manual_query()):
        found.setdefault((override.provider_id, override.model_id), []).append(override)
    return {key: merge(overrides) for key, overrides in found.items()}


def manual_digest() -> bytes:
    """Changes whenever what people decided does: pages show it, so they are to be made anew."""
    query = (
        select(OverrideRow.provider_id, OverrideRow.canonical_id, OverrideRow.priority, OverrideRow.pricing)
        .add_columns(OverrideRow.limits, OverrideRow.capabilities)
        .where(OverrideRow.priority >= MANUAL_PRIORITY)
        .order_by(OverrideRow.provider_id, OverrideRow.canonical_id, OverrideRow.priority)
    )
    rows = [list(row) for row in db.session.execute(query)]
    return hashlib.sha256(msgspec.json.encode(rows, order="deterministic")).digest()


def load_for_model(canonical_id: str) -> list[Override]:
    """All overrides of a canonical model, by provider, the one that wins first."""
    query = _override_query().where(OverrideRow.canonical_id == canonical_id)
    return _load(query.order_by(ProviderRow.slug, OverrideRow.priority.desc()))


def export(slug: str | None = None, *, only_manual: bool = False) -> list[Override]:
    """All overrides (slug: of this provider), by provider, canonical id and priority."""
    query = _override_query().order_by(ProviderRow.slug, OverrideRow.canonical_id, OverrideRow.priority)
    if slug:
        query = query.where(ProviderRow.slug == slug)
    if only_manual:
        query = query.where(OverrideRow.priority >= MANUAL_PRIORITY)
    return _load(query)


def _override_query() -> Select[Any]:
    columns = (OverrideRow.canonical_id, OverrideRow.priority, OverrideRow.reason)
    parts = (getattr(OverrideRow, part) for part in _SECTIONS)
    return select(ProviderRow.slug, *columns, *parts).join(ProviderRow, ProviderRow.id == OverrideRow.provider_id)


@cache
def _manual_query() -> Select[Any]:
    return _override_query().where(OverrideRow.priority >= MANUAL_PRIORITY)


def _load(query: Select[Any]) -> list[Override]:
    names = ("provider_id", "model_id", "priority", "reason", *_SECTIONS)
    return [from_state(dict(zip(names, row, strict=True))) for row in db.session.execute(query)]


# ------------------------------------------------------------------ a person's decisions


def save(override: Override, actor: Actor, now: datetime) -> Override:
    """Store a person's override in place of the one with its provider, model and priority; noted in the audit log.

    Returns it as stored: with the canonical id for another plain name of the model. Nothing is written or noted
    where it is there already. Raises OverrideError for a priority of sync, an unknown provider, an unknown model.
    """
    (entry,) = _validate_entries([OverrideEntry(override)])
    _save_all([entry.override], actor, now)
    return entry.override


def amend(
    slug: str, model: str, priority: int, facts: Mapping[str, Fact], reason: str, actor: Actor, now: datetime
) -> Override:
    """Settle some facts (`catalog.overrides.FACTS`) beside those that the override of this priority settled before.

    model: the canonical id or another plain name of it. Returns the override as stored. Raises as `put` does.
    """
    (entry,) = _validate_entries([OverrideEntry(from_facts(slug, model, priority, facts, reason))])
    key = override_key(entry.override)
    before = _load_manual_by_key([key]).get(key)
    override = from_facts(*key, {**before.facts, **facts}, reason) if before else entry.override
    _save_all([override], actor, now)
    return override


def remove(slug: str, canonical_id: str, priority: int, actor: Actor, now: datetime) -> Override | None:
    """Take a person's override away, noted in the audit log. Returns it; None if there was none."""
    _check_manual(priority)
    subject = format_subject((slug, canonical_id, priority))
    before = restore(subject, None, now)
    if before:
        audit.record(actor, "override", subject, to_json(before), None, before.reason, now)
    return before


def restore(subject: str, state: Mapping[str, Any] | None, now: datetime) -> Override | None:
    """Make the override of an audit entry's subject what a state of that log says, None for "none there".

    Returns what stood there before. Notes nothing: that is its caller's. Raises OverrideError for a subject or a
    state that no override has, and where its provider is gone.
    """
    key = parse_subject(subject)
    before = _load_manual_by_key([key]).get(key)
    if state is None:
        _delete(key)
        return before
    override = from_json(dict(state))
    if override_key(override) != key:
        raise OverrideError(f"This is the state of {format_subject(override_key(override))}, not of {subject}.")
    _write([override], now)
    return before


def format_subject(key: OverrideKey) -> str:
    """`groq/meta/llama-3.1-8b@100`, as the audit log calls an override."""
    slug, canonical_id, priority = key
    return f"{slug}/{canonical_id}@{priority}"


def parse_subject(subject: str) -> OverrideKey:
    """The reverse of `subject_of`. Raises OverrideError for another text."""
    slug, _, rest = subject.partition("/")
    canonical_id, _, priority = rest.rpartition("@")
    if not (slug and canonical_id and priority.isascii() and priority.isdigit()):
        raise OverrideError(f"{subject} names no override.")
    return slug, canonical_id, int(priority)


@dataclass(frozen=True)
class OverrideImportResult:
    """What an import did, in numbers of overrides."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    passed_over: int = 0
    """Below priority 100: sync makes those itself."""


def import_all(entries: Sequence[OverrideEntry], actor: Actor, now: datetime) -> OverrideImportResult:
    """Take over all manual overrides among `entries`, or none; those that are not among them stay as they are.

    Raises OverrideError for the first entry that cannot be taken, naming its place, before anything is written.
    """
    taken = _validate_entries([entry for entry in entries if entry.override.is_manual])
    added, changed = _save_all([entry.override for entry in taken], actor, now)
    return OverrideImportResult(added, changed, len(taken) - added - changed, len(entries) - len(taken))


def _validate_entries(entries: Sequence[OverrideEntry]) -> list[OverrideEntry]:
    """The entries with canonical ids. Raises OverrideError for one that cannot be taken."""
    slugs = set(credentials.providers_by_slug())
    _, index = catalog.load_index()
    places: dict[OverrideKey, str] = {}
    taken = []
    for entry in entries:
        override = _resolve_entry(entry, slugs, index)
        key = override_key(override)
        if key in places:
            raise entry.error(
                f"it has the provider, model and priority of another one, {places[key] or format_subject(key)}."
            )
        places[key] = entry.place
        taken.append(OverrideEntry(override, entry.place))
    return taken


def _resolve_entry(entry: OverrideEntry, slugs: set[str], index: CatalogIndex) -> Override:
    override = entry.override
    if not MANUAL_PRIORITY <= override.priority <= HIGHEST_PRIORITY:
        raise entry.error(_priority_message(override.priority))
    if override.provider_id not in slugs:
        raise entry.error(f'there is no provider "{override.provider_id}": see `flask providers list`.')
    canonical_id = resolve_canonical_id(index, override.provider_id, override.model_id)
    if canonical_id is None:
        raise entry.error(
            f'there is no canonical model "{override.model_id}": '
            f"see `flask catalog match {override.provider_id} {override.model_id}`."
        )
    return msgspec.structs.replace(override, model_id=canonical_id)


def _save_all(overrides: Sequence[Override], actor: Actor, now: datetime) -> tuple[int, int]:
    """Write and note those that differ from what is there. Returns how many are new and how many changed."""
    before = _load_manual_by_key([override_key(override) for override in overrides])
    different = [override for override in overrides if before.get(override_key(override)) != override]
    _write(different, now)
    for override in different:
        was = before.get(override_key(override))
        audit.record(
            actor,
            "override",
            format_subject(override_key(override)),
            to_json(was) if was else None,
            to_json(override),
            override.reason,
            now,
        )
    changed = sum(override_key(override) in before for override in different)
    return len(different) - changed, changed


def override_key(override: Override) -> OverrideKey:
    return override.provider_id, override.model_id, override.priority


def _load_manual_by_key(keys: Sequence[OverrideKey]) -> dict[OverrideKey, Override]:
    query = _override_query().where(OverrideRow.priority >= MANUAL_PRIORITY)
    if len(keys) == 1:
        query = query.where(ProviderRow.slug == keys[0][0], OverrideRow.canonical_id == keys[0][1])
    return {override_key(override): override for override in _load(query)}


def _write(overrides: Sequence[Override], now: datetime) -> None:
    ids = {slug: row.id for slug, row in credentials.providers_by_slug().items()}
    rows = []
    for override in sorted(overrides, key=override_key):
        _check_manual(override.priority)
        if override.provider_id not in ids:
            raise OverrideError(f'There is no provider "{override.provider_id}" any more.')
        rows.append(
            {
                "provider_id": ids[override.provider_id],
                "canonical_id": override.model_id,
                "provider_model_id": "",
                "priority": override.priority,
                "created_at": now,
                "updated_at": now,
                **_section_columns(override),
            }
        )
    _upsert(rows)


def _delete(key: OverrideKey) -> None:
    slug, canonical_id, priority = key
    _check_manual(priority)
    provider_id = select(ProviderRow.id).where(ProviderRow.slug == slug).scalar_subquery()
    db.session.execute(
        delete(OverrideRow)
        .where(
            OverrideRow.provider_id == provider_id,
            OverrideRow.canonical_id == canonical_id,
            OverrideRow.priority == priority,
        )
        .execution_options(synchronize_session=False)
    )


def _check_manual(priority: int) -> None:
    if priority < MANUAL_PRIORITY:
        raise OverrideError(_priority_message(priority).capitalize())


def _priority_message(priority: int) -> str:
    return (
        f"a manual override has a priority from {MANUAL_PRIORITY} to {HIGHEST_PRIORITY}, not {priority}: "
        "those below are made by sync and replaced by it."
    )


# ------------------------------------------------------------------ rows


def _section_columns(override: Override) -> dict[str, Any]:
    """The columns of what it says. Prices as text: neither database's JSON keeps the digits of a number."""
    said = to_json(override)
    return {"reason": override.reason, **{part: said.get(part) for part in _SECTIONS}}


def _upsert(rows: Sequence[dict[str, Any]]) -> None:
    statement = insert(OverrideRow)
    statement = statement.on_conflict_do_update(
        index_elements=["provider_id", "canonical_id", "priority"],
        set_={column: statement.excluded[column] for column in _UPDATED_COLUMNS},
    )
    for start in range(0, len(rows), _BATCH_SIZE):
        # On the connection: executemany there is three times as fast as through the session.
        db.session.connection().execute(statement, rows[start : start + _BATCH_SIZE])
