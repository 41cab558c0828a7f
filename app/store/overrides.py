"""Manual overrides: people's decisions about a provider's offer of a canonical model, which sync never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Select, delete, select

from app.catalog.matching import CatalogIndex
from app.catalog.override_files import OverrideEntry
from app.catalog.overrides import (
    HIGHEST_PRIORITY,
    MANUAL_PRIORITY,
    Fact,
    Override,
    OverrideError,
    build_override,
    decode_override,
    merge,
    parse_override,
    resolve_canonical_id,
    to_json,
)
from app.extensions import db
from app.store import audit, catalog, credentials
from app.store.audit import Actor
from app.store.engine.dialect import upsert
from app.store.engine.statements import execute_dml
from app.store.schema.catalog_tables import OverrideRow
from app.store.schema.tables import ProviderRow

OverrideKey = tuple[str, str, int]
"""Provider slug, canonical id, priority: one override."""

SECTIONS = ("pricing", "limits", "capabilities")
_UPDATED_COLUMNS = ("provider_model_id", "reason", *SECTIONS, "updated_at")


# ------------------------------------------------------------------ read


def load_manual() -> dict[tuple[str, str], Override]:
    """(provider slug, canonical id) → merged manual override; for each field the highest priority wins."""
    by_key: dict[tuple[str, str], list[Override]] = {}
    for override in _load(_MANUAL_QUERY):
        by_key.setdefault((override.provider_id, override.model_id), []).append(override)
    return {key: merge(overrides) for key, overrides in by_key.items()}


def manual_digest() -> bytes:
    """Hash over all manual overrides, for cache validation."""
    query = (
        select(OverrideRow.provider_id, OverrideRow.canonical_id, OverrideRow.priority, OverrideRow.pricing)
        .add_columns(OverrideRow.limits, OverrideRow.capabilities)
        .where(OverrideRow.priority >= MANUAL_PRIORITY)
        .order_by(OverrideRow.provider_id, OverrideRow.canonical_id, OverrideRow.priority)
    )
    rows = [list(row) for row in db.session.execute(query)]
    return hashlib.sha256(msgspec.json.encode(rows, order="deterministic")).digest()


def load_for_model(canonical_id: str) -> list[Override]:
    """All overrides of a canonical model, by provider, highest priority first."""
    query = _OVERRIDE_QUERY.where(OverrideRow.canonical_id == canonical_id)
    return _load(query.order_by(ProviderRow.slug, OverrideRow.priority.desc()))


def export(slug: str | None = None, *, only_manual: bool = False) -> list[Override]:
    """All overrides (slug: of this provider), ordered by provider, canonical id and priority."""
    query = _OVERRIDE_QUERY.order_by(ProviderRow.slug, OverrideRow.canonical_id, OverrideRow.priority)
    if slug:
        query = query.where(ProviderRow.slug == slug)
    if only_manual:
        query = query.where(OverrideRow.priority >= MANUAL_PRIORITY)
    return _load(query)


_OVERRIDE_QUERY: Select[*tuple[Any, ...]] = select(
    ProviderRow.slug,
    OverrideRow.canonical_id,
    OverrideRow.priority,
    OverrideRow.reason,
    *(getattr(OverrideRow, name) for name in SECTIONS),
).join(ProviderRow, ProviderRow.id == OverrideRow.provider_id)
_MANUAL_QUERY = _OVERRIDE_QUERY.where(OverrideRow.priority >= MANUAL_PRIORITY)


def _load(query: Select[*tuple[Any, ...]]) -> list[Override]:
    names = ("provider_id", "model_id", "priority", "reason", *SECTIONS)
    return [decode_override(dict(zip(names, row, strict=True))) for row in db.session.execute(query)]


# ------------------------------------------------------------------ a person's decisions


def save(override: Override, actor: Actor, now: datetime) -> Override:
    """Save a manual override in place of the one with its provider, model and priority, with an audit entry.

    Returns it as saved, with the model's alias resolved to its canonical id. An equal override is not written again.
    Raises OverrideError for a priority reserved for sync, an unknown provider or an unknown model.
    """
    (entry,) = _validate_entries([OverrideEntry(override)])
    _save_all([entry.override], actor, now)
    return entry.override


def amend(
    slug: str, model: str, priority: int, facts: Mapping[str, Fact], reason: str, actor: Actor, now: datetime
) -> Override:
    """Add facts (`catalog.overrides.FACT_FIELDS`) to the override of this priority, or create it.

    model: the canonical id or an alias. Returns the override as saved. Raises as `save` does.
    """
    (entry,) = _validate_entries([OverrideEntry(build_override(slug, model, priority, facts, reason))])
    key = override_key(entry.override)
    before = _load_manual_by_key([key]).get(key)
    override = build_override(*key, {**before.facts, **facts}, reason) if before else entry.override
    _save_all([override], actor, now)
    return override


def remove(slug: str, canonical_id: str, priority: int, actor: Actor, now: datetime) -> Override | None:
    """Delete a manual override, with an audit entry. Returns it; None if there was none."""
    _check_manual(priority)
    subject = format_subject((slug, canonical_id, priority))
    before = restore(subject, None, now)
    if before:
        audit.record(actor, "override", subject, to_json(before), None, before.reason, now)
    return before


def restore(subject: str, state: Mapping[str, Any] | None, now: datetime) -> Override | None:
    """Set the override of an audit subject to an audit state; None deletes it. The caller writes the audit entry.

    Returns the previous override. Raises OverrideError for an invalid subject or state, and for a provider that no
    longer exists.
    """
    key = parse_subject(subject)
    before = _load_manual_by_key([key]).get(key)
    if state is None:
        _delete(key)
        return before
    override = parse_override(dict(state))
    if override_key(override) != key:
        raise OverrideError(f"This is the state of {format_subject(override_key(override))}, not of {subject}.")
    _write([override], now)
    return before


def format_subject(key: OverrideKey) -> str:
    """The audit subject of an override: `groq/meta/llama-3.1-8b@100`."""
    slug, canonical_id, priority = key
    return f"{slug}/{canonical_id}@{priority}"


def parse_subject(subject: str) -> OverrideKey:
    """The reverse of `format_subject`. Raises OverrideError for any other text."""
    slug, _, rest = subject.partition("/")
    canonical_id, _, priority = rest.rpartition("@")
    if not (slug and canonical_id and priority.isascii() and priority.isdigit()):
        raise OverrideError(f"{subject} names no override.")
    return slug, canonical_id, int(priority)


@dataclass(frozen=True)
class OverrideImportResult:
    """Numbers of overrides."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: int = 0
    """Priority below 100: sync makes those itself."""


def import_all(entries: Sequence[OverrideEntry], actor: Actor, now: datetime) -> OverrideImportResult:
    """Save all manual overrides among `entries`, or none; other existing ones stay.

    Raises OverrideError for the first invalid entry, naming its place, before anything is written.
    """
    valid = _validate_entries([entry for entry in entries if entry.override.is_manual])
    added, changed = _save_all([entry.override for entry in valid], actor, now)
    return OverrideImportResult(added, changed, len(valid) - added - changed, len(entries) - len(valid))


def _validate_entries(entries: Sequence[OverrideEntry]) -> list[OverrideEntry]:
    """The entries with canonical ids. Raises OverrideError for an invalid one."""
    slugs = set(credentials.providers_by_slug())
    _, index = catalog.load_index()
    places: dict[OverrideKey, str] = {}
    valid = []
    for entry in entries:
        override = _resolve_entry(entry, slugs, index)
        key = override_key(override)
        if key in places:
            raise entry.error(
                f"it has the provider, model and priority of another one, {places[key] or format_subject(key)}."
            )
        places[key] = entry.place
        valid.append(OverrideEntry(override, entry.place))
    return valid


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
    """Write those that differ from the stored ones, with audit entries. Returns (number added, number changed)."""
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
    query = _MANUAL_QUERY
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
                **section_columns(override),
            }
        )
    write_rows(rows)


def _delete(key: OverrideKey) -> None:
    slug, canonical_id, priority = key
    _check_manual(priority)
    execute_dml(
        delete(OverrideRow).where(
            OverrideRow.provider_id == select(ProviderRow.id).where(ProviderRow.slug == slug).scalar_subquery(),
            OverrideRow.canonical_id == canonical_id,
            OverrideRow.priority == priority,
        )
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


def section_columns(override: Override) -> dict[str, Any]:
    """Its JSON columns. Prices as text, since JSON numbers lose digits in both databases."""
    sections = to_json(override)
    return {"reason": override.reason, **{section: sections.get(section) for section in SECTIONS}}


def write_rows(rows: Sequence[dict[str, Any]]) -> None:
    upsert(OverrideRow, rows, ["provider_id", "canonical_id", "priority"], _UPDATED_COLUMNS)
