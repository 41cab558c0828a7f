"""What people settled for good about ids and facts, each step noted in the audit log and reversible.

A decision is one row under its kind and subject. Nothing here takes effect by itself: `sync.refresh.rebuild` lays the
decisions over the sources and has the models matched again. Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_type_hints

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from app.catalog.matching import CanonicalModel
from app.catalog.overrides import MANUAL_PRIORITY, FactConflict, OverrideError, from_facts, to_json
from app.extensions import db
from app.store import audit, overrides
from app.store.audit import Actor
from app.store.engine.dialect import insert
from app.store.schema.catalog_tables import AuditRow, CanonicalRow, DecisionRow
from app.store.schema.tables import ProviderRow

AUTO_ADOPT = "adopt automatically"
"""Setting: whether what is proposed becomes a canonical model by itself."""
ACCEPTED_PREFIX, DISMISSED_PREFIX = "fine/", "dismissed/"
"""Families of settings: disagreements that are to stay as they are, and proposals that nobody wants."""

_MAX_REASON_LENGTH = 2_000
_encode = msgspec.json.Encoder(decimal_format="string").encode
_FIELD_TYPES = get_type_hints(CanonicalModel)
_FIXED_FIELDS = frozenset({"id", "lab", "source", "field_sources"})
"""Fields of a canonical model that no `field` decision can be about."""

DecisionState = dict[str, Any]


class DecisionError(ValueError):
    """A decision that cannot be taken, or taken back. Its text is one sentence for people."""


@dataclass(frozen=True)
class Decisions:
    """All of them, as they were read: in one query."""

    matches: Mapping[tuple[str, str], str | None]
    """(provider slug, model id) → canonical id, None for "leave it unknown"."""
    canonicals: Mapping[str, CanonicalModel]
    fields: Mapping[str, Mapping[str, Any]]
    """Canonical id → field → value, of the field's own type."""
    settings: Mapping[str, Any]


# ------------------------------------------------------------------ read


def load(*kinds: str) -> Decisions:
    """All decisions, or those of some kinds. Raises ValidationError for a row that this version cannot read."""
    query = select(DecisionRow.kind, DecisionRow.subject, DecisionRow.value).order_by(DecisionRow.id)
    if kinds:
        query = query.where(DecisionRow.kind.in_(kinds))
    found: dict[str, dict[str, Any]] = {"match": {}, "canonical": {}, "field": {}, "setting": {}}
    for kind, subject, value in db.session.execute(query):
        found[kind][subject] = value
    fields: dict[str, dict[str, Any]] = {}
    for subject, value in found["field"].items():
        canonical_id, _, name = subject.rpartition("#")
        if name in _FIELD_TYPES:
            fields.setdefault(canonical_id, {})[name] = msgspec.convert(value["value"], _FIELD_TYPES[name])
    return Decisions(
        matches={_split_match_subject(subject): value["canonical_id"] for subject, value in found["match"].items()},
        canonicals={
            canonical_id: msgspec.convert(value, CanonicalModel) for canonical_id, value in found["canonical"].items()
        },
        fields=fields,
        settings={name: value["value"] for name, value in found["setting"].items()},
    )


def load_matches() -> Mapping[tuple[str, str], str | None]:
    """(provider slug, model id) → canonical id, None for "leave it unknown"."""
    return load("match").matches


def load_canonicals() -> Mapping[str, CanonicalModel]:
    """Canonical id → the model that a person, or the catalog by itself, made."""
    return load("canonical").canonicals


def load_fields() -> Mapping[str, Mapping[str, Any]]:
    """Canonical id → field → the value it is to have."""
    return load("field").fields


def load_setting(name: str) -> Any:
    """The value of a setting; None if nobody set it."""
    value = db.session.scalar(_decision_query("setting", name).with_only_columns(DecisionRow.value))
    return value["value"] if value else None


def withdrawn_subjects(action: str) -> frozenset[str]:
    """Subjects about which something was decided and then taken back by a person: not to be decided anew by itself."""
    undone = select(AuditRow.subject).where(
        AuditRow.action == action, AuditRow.after.is_(None), AuditRow.actor_id.is_not(None)
    )
    return frozenset(db.session.scalars(undone))


# ------------------------------------------------------------------ decide


def save_match(
    slug: str, model_id: str, canonical_id: str | None, actor: Actor, now: datetime, reason: str = ""
) -> AuditRow | None:
    """What a provider means by an id; None leaves it unknown. Raises DecisionError for an unknown provider or model."""
    if db.session.scalar(select(ProviderRow.id).where(ProviderRow.slug == slug)) is None:
        raise DecisionError(f'There is no provider "{slug}".')
    if canonical_id is not None and not is_known(canonical_id):
        raise DecisionError(f'There is no canonical model "{canonical_id}" in the catalog.')
    return save("match", match_subject(slug, model_id), {"canonical_id": canonical_id}, actor, now, reason)


def save_canonical(model: CanonicalModel, actor: Actor, now: datetime, reason: str = "") -> AuditRow | None:
    """A canonical model that no source has, or in place of what the sources say of it."""
    return save("canonical", model.id, _to_json(model), actor, now, reason)


def save_field(
    canonical_id: str, field: str, value: Any, actor: Actor, now: datetime, reason: str = ""
) -> AuditRow | None:
    """One fact of a canonical model. Raises DecisionError for a field or a value that it cannot have."""
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
    """Store a decision in place of the one on its subject, and note it. None where it is there already."""
    before = _load_state(kind, subject)
    after: DecisionState = {**value, "reason": reason[:_MAX_REASON_LENGTH]} if reason else dict(value)
    if before == after:
        return None
    _restore(kind, subject, after, now)
    return audit.record(actor, kind, subject, before, after, reason, now)


def remove(kind: str, subject: str, actor: Actor, now: datetime, reason: str = "") -> AuditRow | None:
    """Take a decision away, noted. None if there was none."""
    before = _load_state(kind, subject)
    if before is None:
        return None
    _restore(kind, subject, None, now)
    return audit.record(actor, kind, subject, before, None, reason, now)


def is_known(canonical_id: str) -> bool:
    """Whether the catalog in force has it, or will have it by a decision."""
    query = select(CanonicalRow.id).where(CanonicalRow.id == canonical_id)
    made = _decision_query("canonical", canonical_id).with_only_columns(DecisionRow.subject)
    return db.session.scalar(query.union(made)) is not None


# ------------------------------------------------------------------ disagreements


def keep_catalog_value(slug: str, canonical_id: str, found: FactConflict, actor: Actor, now: datetime) -> None:
    """The provider is wrong about a field: a person's override holds the catalog's value against it."""
    if isinstance(found.catalog_value, str):
        raise DecisionError(f"The {found.field} of a listed model is the provider's to say.")
    own = (
        one
        for one in overrides.load_for_model(canonical_id)
        if (one.provider_id, one.priority) == (slug, MANUAL_PRIORITY)
    )
    before = next(own, None)
    facts = {**(before.facts if before else {}), found.field: found.catalog_value}
    reason = before.reason if before and before.reason else "The catalog's word was kept against the provider's."
    try:
        overrides.save(from_facts(slug, canonical_id, MANUAL_PRIORITY, facts, reason), actor, now)
    except OverrideError as error:
        raise DecisionError(str(error)) from None


def adopt_provider_value(slug: str, canonical_id: str, found: FactConflict, actor: Actor, now: datetime) -> None:
    """The catalog is wrong about a field: it is to say what the provider says, for all who serve the model."""
    save_field(canonical_id, found.field, found.provider_value, actor, now, f"As {slug} lists it.")


def accept_conflict(slug: str, model_id: str, found: FactConflict, actor: Actor, now: datetime) -> None:
    """Both may say what they say now: no conflict until one of them says something else."""
    save_setting(accepted_conflict_name(slug, model_id, found.field), conflict_values(found), actor, now)


def accepted_conflict_name(slug: str, model_id: str, field: str) -> str:
    return f"{ACCEPTED_PREFIX}{slug}/{model_id}#{field}"


def dismissed_proposal_name(canonical_id: str) -> str:
    return DISMISSED_PREFIX + canonical_id


def conflict_values(found: FactConflict) -> dict[str, Any]:
    """What both sides say, as a setting keeps it."""
    return dict(_to_json({"catalog": found.catalog_value, "provider": found.provider_value}))


def match_subject(slug: str, model_id: str) -> str:
    return f"{slug}/{model_id}"


# ------------------------------------------------------------------ undo


def undo(audit_id: int, actor: Actor, now: datetime) -> AuditRow:
    """Take an entry of the audit log back, its own entry in that log; to take that one back is to redo it.

    Raises DecisionError, with nothing written, where the state is not what the entry left any more.
    """
    entry = db.session.scalar(select(AuditRow).where(AuditRow.id == audit_id).with_for_update())
    if entry is None:
        raise DecisionError("There is no such entry in the audit log.")
    if db.session.scalar(select(AuditRow.id).where(AuditRow.undoes_id == audit_id)):
        raise DecisionError("This was taken back already.")
    found = _current_state(entry)
    if found != entry.after:
        raise DecisionError(_changed_since_message(entry))
    if entry.action == "override":
        _restore_override(entry, now)
    else:
        _restore(entry.action, entry.subject, entry.before, now)
    try:
        return audit.record(actor, entry.action, entry.subject, entry.after, entry.before, "", now, undoes=entry.id)
    except IntegrityError:  # another admin was quicker by a moment; SQLite has no row to lock
        db.session.rollback()
        raise DecisionError("This was taken back already.") from None


def _current_state(entry: AuditRow) -> DecisionState | None:
    if entry.action != "override":
        return _load_state(entry.action, entry.subject)
    slug, canonical_id, priority = overrides.parse_subject(entry.subject)
    same = (
        one for one in overrides.load_for_model(canonical_id) if (one.provider_id, one.priority) == (slug, priority)
    )
    found = next(same, None)
    return to_json(found) if found else None


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
    """What the audit log calls the state of a subject: the decision's value, and its reason where it has one."""
    columns = _decision_query(kind, subject).with_only_columns(DecisionRow.value, DecisionRow.reason)
    found = db.session.execute(columns.with_for_update()).first()
    if found is None:
        return None
    value, reason = found
    return {**value, "reason": reason} if reason else dict(value)


def _restore(kind: str, subject: str, state: Mapping[str, Any] | None, now: datetime) -> None:
    """Make a subject's decision what a state says, None for "no decision"."""
    if state is None:
        where = (DecisionRow.kind == kind, DecisionRow.subject == subject)
        db.session.execute(delete(DecisionRow).where(*where).execution_options(synchronize_session=False))
        return
    value = {name: one for name, one in state.items() if name != "reason"}
    statement = insert(DecisionRow).values(
        kind=kind, subject=subject, value=value, reason=state.get("reason", ""), decided_at=now
    )
    changed = {name: statement.excluded[name] for name in ("value", "reason", "decided_at")}
    db.session.execute(statement.on_conflict_do_update(index_elements=["kind", "subject"], set_=changed))


def _to_json(value: Any) -> Any:
    """As a database gives it back; prices as text, since neither database's JSON keeps the digits of a number."""
    return msgspec.json.decode(_encode(value))


def _split_match_subject(subject: str) -> tuple[str, str]:
    slug, _, model_id = subject.partition("/")
    return slug, model_id
