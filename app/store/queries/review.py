"""One read per page of the admin's catalog pages: frozen lines, in a number of queries that does not grow.

What was decided a moment ago counts at once, before the catalog in force and the models' rows follow it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, exists, func, or_, select, tuple_
from sqlalchemy.orm import aliased, defer

from app.catalog.effective import FactConflict
from app.catalog.effective import find_conflicts as conflicts_of
from app.catalog.listing import CAPABILITIES, LIMITS, PRICES, ListedModel
from app.catalog.matching import Candidate, CanonicalModel, CatalogIndex, identity_key
from app.catalog.overrides import MANUAL_PRIORITY, Override, from_json, merge
from app.catalog.proposals import Proposal, Sighting, propose
from app.extensions import db
from app.store.decisions import Decisions, accepted_conflict_name, conflict_values, dismissed_proposal_name
from app.store.schema.catalog_tables import CanonicalRow, DecisionRow, OverrideRow
from app.store.schema.tables import CredentialRow, ListedModelRow, ModelRow, ProviderRow

PAGE_SIZE = 25
_BATCH_SIZE, _MAX_BATCHES = 200, 3
_MAX_COUNTED = 1_000
_MAX_SUGGESTIONS = 20
_TOLERANCE = 1.05


@dataclass(frozen=True, slots=True)
class UnknownModelView:
    id: int
    provider: str
    first_seen_at: datetime
    listed: ListedModel
    is_left: bool
    """Someone decided to leave it unknown."""
    candidates: Sequence[Candidate] = ()


@dataclass(frozen=True, slots=True)
class UnknownPage:
    lines: Sequence[UnknownModelView]
    following: int | None
    counts: Mapping[str, int]
    """Provider slug → how many of its models are unknown, whichever provider the page shows."""


@dataclass(frozen=True, slots=True)
class ConflictView:
    """One listed model that says otherwise than its canonical one."""

    id: int
    provider: str
    model_id: str
    canonical: CanonicalModel
    conflicts: Sequence[FactConflict]


# ------------------------------------------------------------------ unknown models


def list_unknown(
    index: CatalogIndex,
    decided: Decisions,
    provider: str = "",
    *,
    left_too: bool = False,
    before: int | None = None,
    size: int = PAGE_SIZE,
) -> UnknownPage:
    """Chat models that no rule matched, the latest first, with the nearest canonical models; two queries."""
    pending = _pending_matches(decided)
    counting = _unknown_query(select(ProviderRow.slug, func.count()), left_too, pending).group_by(ProviderRow.slug)
    counts = {row[0]: row[1] for row in db.session.execute(counting)}
    is_left = _DECISION.id.is_not(None) & _DECIDED_ID.is_(None)
    query = _unknown_query(select(ModelRow, ProviderRow.slug, is_left), left_too, pending)
    if provider:
        query = query.where(ProviderRow.slug == provider)
    if before is not None:
        query = query.where(ModelRow.id < before)
    found = db.session.execute(_without_description(query).order_by(ModelRow.id.desc()).limit(size + 1)).all()
    lines = [_to_unknown_view(row, slug, bool(is_left), index) for row, slug, is_left in found[:size]]
    return UnknownPage(lines, lines[-1].id if len(found) > size else None, dict(sorted(counts.items())))


def find_listed_model(slug: str, model_id: str) -> ListedModel | None:
    """A provider's chat model as it was last listed; None if no key lists it."""
    query = select(ModelRow).join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
    query = query.where(ProviderRow.slug == slug, ModelRow.provider_model_id == model_id, ModelRow.is_active)
    row = db.session.scalar(query)
    return to_listed_model(row) if row else None


def suggest_ids(typed: str) -> list[str]:
    """Canonical ids that contain what was typed, the shortest first."""
    query = (
        select(CanonicalRow.id)
        .where(CanonicalRow.id.contains(typed.strip().lower(), autoescape=True))
        .order_by(func.length(CanonicalRow.id), CanonicalRow.id)
        .limit(_MAX_SUGGESTIONS)
    )
    return list(db.session.scalars(query)) if typed.strip() else []


def list_proposals(decided: Decisions) -> tuple[list[Proposal], int]:
    """What providers give evidence for and nobody dismissed, and how many models are unknown; one query."""
    # Rows, not ORM objects: there may be tens of thousands that one provider alone has.
    columns = [column for column in ModelRow.__table__.columns if column.name != "description"]
    query = _unknown_query(
        select(*columns, ProviderRow.slug, _is_in_whole_listing().label("seen_whole")), False, _pending_matches(decided)
    )
    unknown = db.session.execute(query).all()
    sightings = [Sighting(row.slug, to_listed_model(row)) for row in _listed_by_several(unknown) if row.seen_whole]
    proposed = propose(sightings, decided.canonicals)
    return [one for one in proposed if dismissed_proposal_name(one.model.id) not in decided.settings], len(unknown)


def _listed_by_several(unknown: Sequence[Any]) -> list[Any]:
    """Those whose id means what an id of another provider means."""
    by_identity: dict[str, list[Any]] = defaultdict(list)
    for row in unknown:
        by_identity[identity_key(row.provider_model_id)].append(row)
    several = (rows for key, rows in by_identity.items() if key and len({row.provider_id for row in rows}) > 1)
    return [row for rows in several for row in rows]


_DECISION = aliased(DecisionRow)
_DECIDED_ID = _DECISION.value["canonical_id"].as_string()
"""None for "leave it unknown", as where there is no decision."""


def _unknown_query(columns: Any, left_too: bool, pending: Sequence[tuple[str, str]]) -> Any:
    """Of the chat models that no rule matched, those about which nothing is decided, or nothing but to leave them."""
    is_there = or_(
        exists().where(CanonicalRow.id == _DECIDED_ID),
        exists().where(DecisionRow.kind == "canonical", DecisionRow.subject == _DECIDED_ID),
    )
    # A decision for a model that the catalog lost says nothing any more.
    is_open = or_(_DECISION.id.is_(None), and_(_DECIDED_ID.is_not(None), ~is_there))
    query = (
        columns.select_from(ModelRow)
        .join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        .outerjoin(
            _DECISION,
            and_(
                _DECISION.kind == "match",
                _DECISION.subject == ProviderRow.slug + "/" + ModelRow.provider_model_id,
            ),
        )
        .where(
            ModelRow.kind == "chat",
            ModelRow.canonical_id.is_(None),
            ModelRow.is_active,
            or_(is_open, _DECIDED_ID.is_(None)) if left_too else is_open,
        )
    )
    return query.where(tuple_(ProviderRow.slug, ModelRow.provider_model_id).not_in(pending)) if pending else query


def _pending_matches(decided: Decisions) -> list[tuple[str, str]]:
    """What the canonical models serve that people made: the catalog in force may not have the last of them yet."""
    served = (model.served.items() for model in decided.canonicals.values())
    return [(slug, model_id) for items in served for slug, ids in items for model_id in ids]


def _is_in_whole_listing() -> ColumnElement[bool]:
    """Whether a listing that was read to its end has the model, not only the provider's documentation."""
    return exists().where(
        CredentialRow.provider_id == ModelRow.provider_id,
        CredentialRow.is_active,
        CredentialRow.listing_is_whole,
        ListedModelRow.listing_id == CredentialRow.listing_id,
        ListedModelRow.provider_model_id == ModelRow.provider_model_id,
        ListedModelRow.documented == "",
    )


def _to_unknown_view(row: ModelRow, slug: str, is_left: bool, index: CatalogIndex) -> UnknownModelView:
    listed = to_listed_model(row)
    return UnknownModelView(row.id, slug, row.first_seen_at, listed, is_left, index.candidates(slug, listed))


# ------------------------------------------------------------------ conflicts


def list_conflicts(
    decided: Decisions, before: int | None = None, size: int = PAGE_SIZE
) -> tuple[list[ConflictView], int | None]:
    """Models that say otherwise than the catalog, where nobody settled it, and the cursor of the next page.

    SQL finds those that may; a page that is not full after three batches has a next one all the same.
    """
    lines: list[ConflictView] = []
    for _ in range(_MAX_BATCHES):
        found = _load_candidates(_BATCH_SIZE, decided, before)
        for model_id, line in found:
            if len(lines) == size:
                return lines, before
            before = model_id
            lines += [line] if line else []
        if len(found) < _BATCH_SIZE:
            return lines, None
    return lines, before


def find_conflict(model_id: int, decided: Decisions) -> ConflictView | None:
    """One line of that page; None where nothing is left to settle."""
    found = _load_candidates(1, decided, model_id + 1)
    return found[0][1] if found and found[0][0] == model_id else None


def count_conflicts(decided: Decisions) -> tuple[int, bool]:
    """How many models the page of conflicts has, and whether there may be more than were looked at; one query."""
    found = _load_candidates(_MAX_COUNTED, decided)
    return sum(line is not None for _, line in found), len(found) == _MAX_COUNTED


def _load_candidates(size: int, decided: Decisions, before: int | None = None) -> list[tuple[int, ConflictView | None]]:
    """The next models, by falling id, that may say otherwise, each with its line if it does; one query."""
    some = (
        select(ModelRow.id)
        .join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        .join(CanonicalRow, CanonicalRow.id == ModelRow.canonical_id)
        .where(ModelRow.is_active, _differs())
        .order_by(ModelRow.id.desc())
        .limit(size)
    )
    if before is not None:
        some = some.where(ModelRow.id < before)
    query = (
        select(ModelRow, ProviderRow.slug, CanonicalRow.facts, OverrideRow)
        .join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        .join(CanonicalRow, CanonicalRow.id == ModelRow.canonical_id)
        .outerjoin(
            OverrideRow,
            and_(
                OverrideRow.provider_id == ModelRow.provider_id,
                OverrideRow.canonical_id == ModelRow.canonical_id,
                OverrideRow.priority >= MANUAL_PRIORITY,
            ),
        )
        .where(ModelRow.id.in_(select(some.subquery().c.id)))
        .order_by(ModelRow.id.desc())
        .options(defer(ModelRow.description))
    )
    found = groupby(db.session.execute(query), key=lambda found: found[0].id)
    return [(model_id, _to_conflict_view(list(rows), decided)) for model_id, rows in found]


def _differs() -> ColumnElement[bool]:
    """Whatever `catalog.overrides.conflicts` may call a conflict, and somewhat more; empty fields are none."""
    facts = CanonicalRow.facts
    # A lab's own provider has its name, or one that begins alike (google and google-vertex, zhipuai and zhipu).
    own = or_(ProviderRow.slug.startswith(CanonicalRow.lab), CanonicalRow.lab.startswith(ProviderRow.slug))
    told: list[ColumnElement[bool]] = [CanonicalRow.kind != ModelRow.kind]
    for name in CAPABILITIES:
        told.append(_model_column(name) != facts[name].as_boolean())
    for name in LIMITS:
        limit = facts[name].as_integer()
        told.append(or_(_model_column(name) > limit * _TOLERANCE, and_(own, _model_column(name) * _TOLERANCE < limit)))
    for name in PRICES:
        told.append(and_(own, ModelRow.variant == "", _model_column(name) != facts[name].as_numeric(18, 9)))
    return or_(*told)


def _to_conflict_view(rows: Sequence[Any], decided: Decisions) -> ConflictView | None:
    """rows: a model with each of its manual overrides; None where nothing is left to settle."""
    row, slug, facts, _ = rows[0]
    canonical = msgspec.convert(facts, CanonicalModel)
    canonical = msgspec.structs.replace(canonical, **decided.fields.get(canonical.id, {}))
    listed = to_listed_model(row)
    said = [_to_override(slug, override) for *_, override in rows if override]
    found = [
        one
        for one in conflicts_of(slug, canonical, listed, merge(said) if said else None, row.variant)
        if decided.settings.get(accepted_conflict_name(slug, listed.id, one.field)) != conflict_values(one)
    ]
    return ConflictView(row.id, slug, listed.id, canonical, found) if found else None


def _to_override(slug: str, row: OverrideRow) -> Override:
    parts = {name: getattr(row, name) for name in ("priority", "reason", "pricing", "limits", "capabilities")}
    return from_json({"provider_id": slug, "model_id": row.canonical_id, **parts})


# ------------------------------------------------------------------ a row of `models` as a listed model

_CAPABILITY_COLUMNS = {
    "streaming": ModelRow.supports_streaming,
    "tools": ModelRow.supports_function_calling,
    "vision": ModelRow.supports_vision,
    "reasoning": ModelRow.supports_reasoning,
    "structured_output": ModelRow.supports_structured_output,
}
_SAME_FIELDS = (*LIMITS, *PRICES, "deprecated_at", "retires_at")


def to_listed_model(row: ModelRow) -> ListedModel:
    """As its provider last listed it, as far as the row keeps that."""
    taken, _, given = row.modality.partition("->")
    return ListedModel(
        id=row.provider_model_id,
        name=row.model_name if row.model_name != row.provider_model_id else "",
        kind=row.kind,  # type: ignore[arg-type]  # written from a ListedModel
        kind_reason=row.kind_reason,
        input_modalities=tuple(filter(None, taken.split("+"))),
        output_modalities=tuple(filter(None, given.split("+"))),
        created_at=row.released_at,
        **{name: getattr(row, name) for name in _SAME_FIELDS},
        **{name: getattr(row, column.key) for name, column in _CAPABILITY_COLUMNS.items()},
    )


def _model_column(name: str) -> Any:
    return _CAPABILITY_COLUMNS[name] if name in _CAPABILITY_COLUMNS else getattr(ModelRow, name)


def _without_description(query: Any) -> Any:
    """Without the prose, which no line shows."""
    return query.options(defer(ModelRow.description))
