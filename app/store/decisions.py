"""People's permanent decisions about ids and facts, each recorded in the audit log and reversible.

A decision is one row per kind and subject. It takes effect when `sync.catalog.rebuild` applies the decisions to the
sources and matches all models again. Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_type_hints

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from app.catalog.effective import FactConflict
from app.catalog.matching import CanonicalModel
from app.catalog.overrides import MANUAL_PRIORITY, OverrideError, build_override, to_json
from app.extensions import db
from app.store import audit, overrides
from app.store.audit import Actor
from app.store.engine.dialect import upsert
from app.store.engine.statements import execute_dml
from app.store.schema.catalog_tables import AuditRow, CanonicalRow, DecisionRow
from app.store.schema.tables import ProviderRow

AUTO_ADOPT = "adopt automatically"
"""Setting: whether proposals become canonical models automatically."""
ACCEPTED_PREFIX, DISMISSED_PREFIX = "fine/", "dismissed/"
"""Prefixes of settings: accepted conflicts, and dismissed proposals."""

_MAX_REASON_LENGTH = 2_000
_encode = msgspec.json.Encoder(decimal_format="string").encode
_FIELD_TYPES = get_type_hints(CanonicalModel)
_FIXED_FIELDS = frozenset({"id", "lab", "source", "field_sources"})
"""Fields of a canonical model that cannot be decided."""

DecisionState = dict[str, Any]


class DecisionError(ValueError):
    """A decision that cannot be made or undone. The text is one sentence for display."""


@dataclass(frozen=True)
class Decisions:
    """All decisions, as of one query."""

    matches: Mapping[tuple[str, str], str | None]
    """(provider slug, model id) → canonical id, None for "leave it unknown"."""
    canonicals: Mapping[str, CanonicalModel]
    fields: Mapping[str, Mapping[str, Any]]
    """Canonical id → field → value, of the field's type."""
    settings: Mapping[str, Any]


# ------------------------------------------------------------------ read


def load(*kinds: str) -> Decisions:
    """All decisions, or those of some kinds. Raises ValidationError for a row that this version cannot parse."""
    query = select(DecisionRow.kind, DecisionRow.subject, DecisionRow.value).order_by(DecisionRow.id)
    if kinds:
        query = query.where(DecisionRow.kind.in_(kinds))
    values: dict[str, dict[str, Any]] = {"match": {}, "canonical": {}, "field": {}, "setting": {}}
    for kind, subject, value in db.session.execute(query):
        values[kind][subject] = value
    fields: dict[str, dict[str, Any]] = {}
    for subject, value in values["field"].items():
        canonical_id, _, name = subject.rpartition("#")
        if name in _FIELD_TYPES:
            fields.setdefault(canonical_id, {})[name] = msgspec.convert(value["value"], _FIELD_TYPES[name])
    return Decisions(
        matches={_split_match_subject(subject): value["canonical_id"] for subject, value in values["match"].items()},
        canonicals={
            canonical_id: msgspec.convert(value, CanonicalModel) for canonical_id, value in values["canonical"].items()
        },
        fields=fields,
        settings={name: value["value"] for name, value in values["setting"].items()},
    )


def load_setting(name: str) -> Any:
    """The value of a setting; None if it is not set."""
    value = db.session.scalar(_decision_query("setting", name).with_only_columns(DecisionRow.value))
    return value["value"] if value else None


def withdrawn_subjects(action: str) -> frozenset[str]:
    """Subjects of decisions that a person undid: they must not be decided automatically again."""
    undone = select(AuditRow.subject).where(
        AuditRow.action == action, AuditRow.after.is_(None), AuditRow.actor_id.is_not(None)
    )
    return frozenset(db.session.scalars(undone))


# ------------------------------------------------------------------ decide


def save_match(
    slug: str, model_id: str, canonical_id: str | None, actor: Actor, now: datetime, reason: str = ""
) -> AuditRow | None:
    """Map a provider's model id to a canonical id; None leaves it unknown. Raises DecisionError for unknown ones."""
    if db.session.scalar(select(ProviderRow.id).where(ProviderRow.slug == slug)) is None:
        raise DecisionError(f'There is no provider "{slug}".')
    if canonical_id is not None and not is_known(canonical_id):
        raise DecisionError(f'There is no canonical model "{canonical_id}" in the catalog.')
    return save("match", match_subject(slug, model_id), {"canonical_id": canonical_id}, actor, now, reason)


def save_canonical(model: CanonicalModel, actor: Actor, now: datetime, reason: str = "") -> AuditRow | None:
    """Add a canonical model that no source has, or replace what the sources say about it."""
    return save("canonical", model.id, _to_json(model), actor, now, reason)


def save_field(
    canonical_id: str, field: str, value: Any, actor: Actor, now: datetime, reason: str = ""
) -> AuditRow | None:
    """Decide one fact of a canonical model. Raises DecisionError for an invalid field or value."""
    if field not in _FIELD_TYPES or field in _FIXED_FIELDS:
        raise DecisionError(f'A canonical model has no field "{field}" to decide.')
    if not is_known(canonical_id):
        raise DecisionError(f'There is no canonical model "{canonical_id}" in the catalog.')
    stored = _to_json(value)
    try:
        msgspec.convert(stored, _FIELD_TYPES[field])
    except msgspec.ValidationError as error:
        raise DecisionError(f"{field} cannot have this value: {str(error).lower()}.") from None
    return save("field", f"{canonical_id}#{field}", {"value": stored}, actor, now, reason)


def save_setting(name: str, value: Any, actor: Actor, now: datetime, reason: str = "") -> AuditRow | None:
    return save("setting", name, {"value": value}, actor, now, reason)


def save(
    kind: str, subject: str, value: Mapping[str, Any], actor: Actor, now: datetime, reason: str = ""
) -> AuditRow | None:
    """Save a decision in place of any on its subject, with an audit entry; None if an equal one exists."""
    before = _load_state(kind, subject)
    after: DecisionState = {**value, "reason": reason[:_MAX_REASON_LENGTH]} if reason else dict(value)
    if before == after:
        return None
    _restore(kind, subject, after, now)
    return audit.record(actor, kind, subject, before, after, reason, now)


def remove(kind: str, subject: str, actor: Actor, now: datetime, reason: str = "") -> AuditRow | None:
    """Delete a decision, with an audit entry; None if there was none."""
    before = _load_state(kind, subject)
    if before is None:
        return None
    _restore(kind, subject, None, now)
    return audit.record(actor, kind, subject, before, None, reason, now)


def is_known(canonical_id: str) -> bool:
    """Whether the catalog in force has it, or a decision adds it."""
    in_force = select(CanonicalRow.id).where(CanonicalRow.id == canonical_id)
    decided = _decision_query("canonical", canonical_id).with_only_columns(DecisionRow.subject)
    return db.session.scalar(in_force.union(decided)) is not None


# ------------------------------------------------------------------ disagreements


def keep_catalog_value(slug: str, canonical_id: str, conflict: FactConflict, actor: Actor, now: datetime) -> None:
    """The provider is wrong about a field: a manual override enforces the catalog's value."""
    if isinstance(conflict.catalog_value, str):
        raise DecisionError(f"The {conflict.field} of a listed model is the provider's to say.")
    own = (
        one
        for one in overrides.load_for_model(canonical_id)
        if (one.provider_id, one.priority) == (slug, MANUAL_PRIORITY)
    )
    before = next(own, None)
    facts = {**(before.facts if before else {}), conflict.field: conflict.catalog_value}
    reason = before.reason if before and before.reason else "The catalog's word was kept against the provider's."
    try:
        overrides.save(build_override(slug, canonical_id, MANUAL_PRIORITY, facts, reason), actor, now)
    except OverrideError as error:
        raise DecisionError(str(error)) from None


def adopt_provider_value(slug: str, canonical_id: str, conflict: FactConflict, actor: Actor, now: datetime) -> None:
    """The catalog is wrong about a field: it takes the provider's value, for all providers."""
    save_field(canonical_id, conflict.field, conflict.provider_value, actor, now, f"As {slug} lists it.")


def accept_conflict(slug: str, model_id: str, conflict: FactConflict, actor: Actor, now: datetime) -> None:
    """Both values may stay: no conflict until one of them changes."""
    save_setting(accepted_conflict_name(slug, model_id, conflict.field), conflict_values(conflict), actor, now)


def accepted_conflict_name(slug: str, model_id: str, field: str) -> str:
    return f"{ACCEPTED_PREFIX}{slug}/{model_id}#{field}"


def dismissed_proposal_name(canonical_id: str) -> str:
    return DISMISSED_PREFIX + canonical_id


def conflict_values(conflict: FactConflict) -> dict[str, Any]:
    """Both values, as stored in the setting."""
    return dict(_to_json({"catalog": conflict.catalog_value, "provider": conflict.provider_value}))


def match_subject(slug: str, model_id: str) -> str:
    return f"{slug}/{model_id}"


# ------------------------------------------------------------------ undo


def undo(audit_id: int, actor: Actor, now: datetime) -> AuditRow:
    """Undo an entry of the audit log, as a new entry; undoing that one redoes it.

    Raises DecisionError, with nothing written, if the state has changed since the entry.
    """
    entry = db.session.scalar(select(AuditRow).where(AuditRow.id == audit_id).with_for_update())
    if entry is None:
        raise DecisionError("There is no such entry in the audit log.")
    if db.session.scalar(select(AuditRow.id).where(AuditRow.undoes_id == audit_id)):
        raise DecisionError("This was taken back already.")
    if _current_state(entry) != entry.after:
        raise DecisionError(_changed_since_message(entry))
    if entry.action == "override":
        _restore_override(entry, now)
    else:
        _restore(entry.action, entry.subject, entry.before, now)
    try:
        return audit.record(actor, entry.action, entry.subject, entry.after, entry.before, "", now, undoes=entry.id)
    except IntegrityError:  # a concurrent undo; SQLite has no row locks
        db.session.rollback()
        raise DecisionError("This was taken back already.") from None


def _current_state(entry: AuditRow) -> DecisionState | None:
    if entry.action != "override":
        return _load_state(entry.action, entry.subject)
    slug, canonical_id, priority = overrides.parse_subject(entry.subject)
    overrides_of_model = overrides.load_for_model(canonical_id)
    current = next((one for one in overrides_of_model if (one.provider_id, one.priority) == (slug, priority)), None)
    return to_json(current) if current else None


def _restore_override(entry: AuditRow, now: datetime) -> None:
    try:
        overrides.restore(entry.subject, entry.before, now)
    except OverrideError as error:
        raise DecisionError(str(error)) from None


def _changed_since_message(entry: AuditRow) -> str:
    later = db.session.scalars(
        select(AuditRow)
        .where(AuditRow.action == entry.action, AuditRow.subject == entry.subject, AuditRow.id > entry.id)
        .order_by(AuditRow.id.desc())
        .limit(1)
    ).first()
    if later is None:
        return "This changed since, by something that left no entry; so it cannot be taken back."
    day = f"{later.at:%-d %b %Y}"
    return f"This changed since, by entry {later.id} of {later.actor} on {day}: take that one back first."


# ------------------------------------------------------------------ rows


def _decision_query(kind: str, subject: str) -> Any:
    return select(DecisionRow).where(DecisionRow.kind == kind, DecisionRow.subject == subject)


def _load_state(kind: str, subject: str) -> DecisionState | None:
    """A subject's state in the audit log: the decision's value, with its reason if it has one. Locks the row."""
    columns = _decision_query(kind, subject).with_only_columns(DecisionRow.value, DecisionRow.reason)
    row = db.session.execute(columns.with_for_update()).first()
    if row is None:
        return None
    value, reason = row
    return {**value, "reason": reason} if reason else dict(value)


def _restore(kind: str, subject: str, state: Mapping[str, Any] | None, now: datetime) -> None:
    """Set a subject's decision to an audit state; None deletes it."""
    if state is None:
        execute_dml(delete(DecisionRow).where(DecisionRow.kind == kind, DecisionRow.subject == subject))
        return
    value = {name: one for name, one in state.items() if name != "reason"}
    row = {"kind": kind, "subject": subject, "value": value, "reason": state.get("reason", ""), "decided_at": now}
    upsert(DecisionRow, [row], ["kind", "subject"], ["value", "reason", "decided_at"])


def _to_json(value: Any) -> Any:
    """Plain JSON data as read from the database; prices as text, since JSON numbers lose digits in both databases."""
    return msgspec.json.decode(_encode(value))


def _split_match_subject(subject: str) -> tuple[str, str]:
    slug, _, model_id = subject.partition("/")
    return slug, model_id
