"""Read models of the admin's catalog pages: unknown models, proposals, conflicts; a constant number of queries each.

Decisions count at once, before the catalog in force and the models' rows reflect them.
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

from app.catalog.effective import FactConflict, find_conflicts
from app.catalog.listing import CAPABILITIES, LIMITS, PRICES, ListedModel
from app.catalog.matching import Candidate, CanonicalModel, CatalogIndex, identity_key
from app.catalog.overrides import MANUAL_PRIORITY, Override, merge, parse_override
from app.catalog.proposals import Proposal, Sighting, propose
from app.extensions import db
from app.store.decisions import Decisions, accepted_conflict_name, conflict_values, dismissed_proposal_name
from app.store.models import CAPABILITY_COLUMNS, to_listed_model
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
    """Whether it was decided to leave it unknown."""
    candidates: Sequence[Candidate] = ()


@dataclass(frozen=True, slots=True)
class UnknownPage:
    lines: Sequence[UnknownModelView]
    following: int | None
    counts: Mapping[str, int]
    """Provider slug → number of unknown models, regardless of the page's provider filter."""


@dataclass(frozen=True, slots=True)
class ConflictView:
    """A listed model that conflicts with its canonical model."""

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
    """Chat models that no rule matched, latest first, with the most similar canonical models; two queries."""
    pending = _pending_matches(decided)
    counting = _unknown_query(select(ProviderRow.slug, func.count()), left_too, pending).group_by(ProviderRow.slug)
    counts = {row[0]: row[1] for row in db.session.execute(counting)}
    is_left = _DECISION.id.is_not(None) & _DECIDED_ID.is_(None)
    query = _unknown_query(select(ModelRow, ProviderRow.slug, is_left), left_too, pending)
    if provider:
        query = query.where(ProviderRow.slug == provider)
    if before is not None:
        query = query.where(ModelRow.id < before)
    query = query.options(defer(ModelRow.description))  # long, and no line shows it
    rows = db.session.execute(query.order_by(ModelRow.id.desc()).limit(size + 1)).all()
    lines = [_to_unknown_view(row, slug, bool(is_left), index) for row, slug, is_left in rows[:size]]
    return UnknownPage(lines, lines[-1].id if len(rows) > size else None, dict(sorted(counts.items())))


def find_listed_model(slug: str, model_id: str) -> ListedModel | None:
    """A provider's model as last listed; None if no key lists it."""
    query = select(ModelRow).join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
    query = query.where(ProviderRow.slug == slug, ModelRow.provider_model_id == model_id, ModelRow.is_active)
    row = db.session.scalar(query)
    return to_listed_model(row) if row else None


def suggest_ids(typed: str) -> list[str]:
    """Canonical ids that contain the typed text, shortest first."""
    query = (
        select(CanonicalRow.id)
        .where(CanonicalRow.id.contains(typed.strip().lower(), autoescape=True))
        .order_by(func.length(CanonicalRow.id), CanonicalRow.id)
        .limit(_MAX_SUGGESTIONS)
    )
    return list(db.session.scalars(query)) if typed.strip() else []


def list_proposals(decided: Decisions) -> tuple[list[Proposal], int]:
    """(proposals with evidence and without a dismissal, number of unknown models); one query."""
    # columns, not ORM objects: there may be tens of thousands of models
    columns = [column for column in ModelRow.__table__.columns if column.name != "description"]
    query = _unknown_query(
        select(*columns, ProviderRow.slug, _is_in_whole_listing().label("seen_whole")), False, _pending_matches(decided)
    )
    unknown = db.session.execute(query).all()
    sightings = [Sighting(row.slug, to_listed_model(row)) for row in _listed_by_several(unknown) if row.seen_whole]
    proposed = propose(sightings, decided.canonicals)
    return [one for one in proposed if dismissed_proposal_name(one.model.id) not in decided.settings], len(unknown)


def _listed_by_several(unknown: Sequence[Any]) -> list[Any]:
    """Those whose id has the same identity as an id of another provider."""
    by_identity: dict[str, list[Any]] = defaultdict(list)
    for row in unknown:
        by_identity[identity_key(row.provider_model_id)].append(row)
    several = (rows for key, rows in by_identity.items() if key and len({row.provider_id for row in rows}) > 1)
    return [row for rows in several for row in rows]


_DECISION = aliased(DecisionRow)
_DECIDED_ID = _DECISION.value["canonical_id"].as_string()
"""None for "leave it unknown", and without a decision."""


def _unknown_query(columns: Any, left_too: bool, pending: Sequence[tuple[str, str]]) -> Any:
    """Chat models that no rule matched and that are undecided, or (`left_too`) decided to stay unknown."""
    is_there = or_(
        exists().where(CanonicalRow.id == _DECIDED_ID),
        exists().where(DecisionRow.kind == "canonical", DecisionRow.subject == _DECIDED_ID),
    )
    # a decision for a model that is no longer in the catalog does not count
    is_open = or_(_DECISION.id.is_(None), and_(_DECIDED_ID.is_not(None), ~is_there))
    query = (
        columns.select_from(ModelRow)
        .join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        .outerjoin(
            _DECISION,
            and_(_DECISION.kind == "match", _DECISION.subject == ProviderRow.slug + "/" + ModelRow.provider_model_id),
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
    """(provider slug, model id) of models served by decided canonical models, which may not be in force yet."""
    served = (model.served.items() for model in decided.canonicals.values())
    return [(slug, model_id) for items in served for slug, ids in items for model_id in ids]


def _is_in_whole_listing() -> ColumnElement[bool]:
    """Whether a complete listing has the model, not only the provider's documentation."""
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
    """Models with unresolved conflicts with the catalog, and the cursor of the next page.

    SQL preselects candidates; after three batches even a page that is not full ends, with a next one.
    """
    lines: list[ConflictView] = []
    for _ in range(_MAX_BATCHES):
        candidates = _load_candidates(_BATCH_SIZE, decided, before)
        for model_id, line in candidates:
            if len(lines) == size:
                return lines, before
            before = model_id
            lines += [line] if line else []
        if len(candidates) < _BATCH_SIZE:
            return lines, None
    return lines, before


def find_conflict(model_id: int, decided: Decisions) -> ConflictView | None:
    """One entry of that page; None if nothing is left to resolve."""
    candidates = _load_candidates(1, decided, model_id + 1)
    return candidates[0][1] if candidates and candidates[0][0] == model_id else None


def count_conflicts(decided: Decisions) -> tuple[int, bool]:
    """(number of models with conflicts, whether there may be more than were examined); one query."""
    candidates = _load_candidates(_MAX_COUNTED, decided)
    return sum(line is not None for _, line in candidates), len(candidates) == _MAX_COUNTED


def _load_candidates(size: int, decided: Decisions, before: int | None = None) -> list[tuple[int, ConflictView | None]]:
    """The next candidates by descending id, each with its entry if it has conflicts; one query."""
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
    groups = groupby(db.session.execute(query), key=lambda row: row[0].id)
    return [(model_id, _to_conflict_view(list(rows), decided)) for model_id, rows in groups]


def _differs() -> ColumnElement[bool]:
    """A superset of what `find_conflicts` reports; empty fields do not conflict."""
    facts = CanonicalRow.facts
    # a lab's own provider has its name or a common prefix (google and google-vertex, zhipuai and zhipu)
    is_own = or_(ProviderRow.slug.startswith(CanonicalRow.lab), CanonicalRow.lab.startswith(ProviderRow.slug))
    conditions: list[ColumnElement[bool]] = [CanonicalRow.kind != ModelRow.kind]
    for name in CAPABILITIES:
        conditions.append(_model_column(name) != facts[name].as_boolean())
    for name in LIMITS:
        limit = facts[name].as_integer()
        conditions.append(
            or_(_model_column(name) > limit * _TOLERANCE, and_(is_own, _model_column(name) * _TOLERANCE < limit))
        )
    for name in PRICES:
        conditions.append(and_(is_own, ModelRow.variant == "", _model_column(name) != facts[name].as_numeric(18, 9)))
    return or_(*conditions)


def _to_conflict_view(rows: Sequence[Any], decided: Decisions) -> ConflictView | None:
    """rows: a model with each of its manual overrides. None if nothing is left to resolve."""
    row, slug, facts, _ = rows[0]
    canonical = msgspec.convert(facts, CanonicalModel)
    canonical = msgspec.structs.replace(canonical, **decided.fields.get(canonical.id, {}))
    listed = to_listed_model(row)
    manual = [_to_override(slug, override) for *_, override in rows if override]
    conflicts = [
        one
        for one in find_conflicts(slug, canonical, listed, merge(manual) if manual else None, row.variant)
        if decided.settings.get(accepted_conflict_name(slug, listed.id, one.field)) != conflict_values(one)
    ]
    return ConflictView(row.id, slug, listed.id, canonical, conflicts) if conflicts else None


def _to_override(slug: str, row: OverrideRow) -> Override:
    parts = {name: getattr(row, name) for name in ("priority", "reason", "pricing", "limits", "capabilities")}
    return parse_override({"provider_id": slug, "model_id": row.canonical_id, **parts})


def _model_column(name: str) -> Any:
    return CAPABILITY_COLUMNS[name] if name in CAPABILITY_COLUMNS else getattr(ModelRow, name)
