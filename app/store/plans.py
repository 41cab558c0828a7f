"""Plans: what a sync with the server's own keys would write, with the answers to write it from.

A plan is requested, made by a worker, and applied at most once. Each step is a compare-and-set in one statement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Float, Index, LargeBinary, String, Text, UniqueConstraint, delete, or_, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.orm import Mapped, defer, mapped_column

from app.catalog.changes import Change
from app.extensions import Row, db
from app.store.audit import Actor
from app.store.engine.statements import execute_dml
from app.store.engine.views import ResultCounts, build_view
from app.store.schema.columns import (
    NO_ID_REUSE,
    BigId,
    ErrorColumns,
    Json,
    ResultCountColumns,
    UtcDateTime,
    foreign_key,
)
from app.store.schema.tables import LIVE_STATES, CredentialRow, ProviderRow, RunRow

VALID_FOR = timedelta(hours=24)
"""A plan can be applied for this long."""
KEEP_FOR = timedelta(days=30)
"""A plan is shown for this long."""
MAKE_TIMEOUT = timedelta(minutes=3)
"""A worker still making a plan after this time is considered dead."""
PAGE_SIZE = 25
COUNTS = ("fetched", "chat", "new", "changed", "unlisted", "relisted", "uncatalogued", "skipped")
_BATCH_SIZE = 200


class PlanRow(Row):
    __tablename__ = "plans"
    __table_args__ = (NO_ID_REUSE,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    providers: Mapped[list[str]] = mapped_column(Json)
    """Requested slugs; empty: all."""
    made_by_id: Mapped[int | None] = mapped_column(foreign_key("users.id", on_delete="SET NULL"))
    made_by: Mapped[str] = mapped_column(String(320))
    """As in the audit log: an e-mail address, "command line" or "ADMIN_API_KEY"."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    begun_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    made_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When all answers had arrived. Until then there is nothing to show."""
    catalog_version: Mapped[int | None]
    """The catalog that models were matched by: another may yield other changes from the same answers."""
    error_message: Mapped[str | None] = mapped_column(Text)
    """Why it could not be made."""
    applied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    run_id: Mapped[int | None] = mapped_column(foreign_key("runs.id", on_delete="SET NULL"), unique=True)
    """The run that writes it."""


class PlanPartRow(ResultCountColumns, ErrorColumns, Row):
    """One provider's part: its answer, and what it would change."""

    __tablename__ = "plan_parts"
    __table_args__ = (
        UniqueConstraint("plan_id", "provider_id"),
        Index("ix_plan_parts_before_listing_id", "before_listing_id"),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    plan_id: Mapped[int] = mapped_column(foreign_key("plans.id"))
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id", on_delete="RESTRICT"))
    credential_id: Mapped[int | None] = mapped_column(foreign_key("credentials.id", on_delete="SET NULL"))
    key_number: Mapped[int]
    """The key it was fetched with: another key may get another answer."""
    before_listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="SET NULL"))
    """The list in force when it was fetched; it must still be in force when the plan is applied."""
    outcome: Mapped[str] = mapped_column(String(12))
    changes: Mapped[list[Any]] = mapped_column(Json, default=list)
    """`catalog.changes.Change` objects, in order."""
    duration_s: Mapped[float] = mapped_column(Float, default=0.0)
    answer: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """As encoded by `sync.planning`; None if the provider gave no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart(ResultCounts):
    plan_id: int
    id: int
    provider: str
    provider_id: int
    credential_id: int | None
    key_number: int
    before_listing_id: int | None
    outcome: str
    changes: tuple[Change, ...]
    error_code: str | None
    error_message: str | None
    error_action: str | None
    duration_s: float

    @property
    def has_answer(self) -> bool:
        """Whether there is anything to write."""
        return self.outcome not in ("failed", "skipped")


@dataclass(frozen=True, slots=True)
class Plan:
    id: int
    providers: tuple[str, ...]
    made_by: str
    created_at: datetime
    begun_at: datetime | None
    made_at: datetime | None
    catalog_version: int | None
    error_message: str | None
    applied_at: datetime | None
    run_id: int | None
    parts: tuple[PlanPart, ...] = ()

    @property
    def expires_at(self) -> datetime:
        return (self.made_at or self.created_at) + VALID_FOR

    def state(self, now: datetime) -> str:
        """waiting · failed · ready · applied · expired"""
        if self.applied_at:
            return "applied"
        if self.error_message:
            return "failed"
        if now >= self.expires_at:
            return "expired"
        return "ready" if self.made_at else "waiting"

    def total(self, count: str) -> int:
        return sum(getattr(part, count) for part in self.parts)


@dataclass(frozen=True, slots=True)
class PlannedAnswer:
    """The saved answer that one result of a run is written from."""

    run_id: int
    credential_id: int | None
    key_number: int
    duration_s: float
    answer: bytes


def create(actor: Actor, providers: Collection[str], now: datetime) -> PlanRow:
    """Request a plan over these providers, or all."""
    row = PlanRow(providers=sorted(providers), made_by_id=actor.id, made_by=actor.name, created_at=now)
    db.session.add(row)
    db.session.flush()
    return row


def claim(plan_id: int, now: datetime) -> list[str] | None:
    """Claim a plan to make it; returns its provider slugs. None if it is made, or another worker has it."""
    providers: list[str] | None = db.session.scalar(
        update(PlanRow)
        .where(
            PlanRow.id == plan_id,
            PlanRow.made_at.is_(None),
            or_(PlanRow.begun_at.is_(None), PlanRow.begun_at < now - MAKE_TIMEOUT),
        )
        .values(begun_at=now)
        .returning(PlanRow.providers)
        .execution_options(synchronize_session=False)
    )
    return providers


def settle(plan_id: int, parts: Sequence[Mapping[str, Any]], catalog_version: int, now: datetime) -> bool:
    """Write the fetched parts, once; False if that was done already."""
    if not _finish(plan_id, made_at=now, catalog_version=catalog_version):
        return False
    rows = [{**part, "plan_id": plan_id, "changes": msgspec.to_builtins(part["changes"])} for part in parts]
    if rows:
        db.session.execute(plain_insert(PlanPartRow), rows)
    return True


def mark_failed(plan_id: int, sentence: str, now: datetime) -> bool:
    """Save why it could not be made; False if it was made."""
    return _finish(plan_id, made_at=now, error_message=sentence)


def _finish(plan_id: int, **facts: Any) -> bool:
    is_open = PlanRow.id == plan_id, PlanRow.made_at.is_(None)
    return execute_dml(update(PlanRow).where(*is_open).values(**facts)) > 0


def mark_applied(plan_id: int, run_id: int, now: datetime) -> bool:
    """Assign it to a run; False if another run has it."""
    is_ready = PlanRow.id == plan_id, PlanRow.made_at.is_not(None), PlanRow.applied_at.is_(None)
    return execute_dml(update(PlanRow).where(*is_ready).values(applied_at=now, run_id=run_id)) > 0


def get(plan_id: int) -> Plan | None:
    """One plan with its parts, ordered by slug. Two queries."""
    row = db.session.get(PlanRow, plan_id, populate_existing=True)
    return _to_plan(row, _load_parts([plan_id]).get(plan_id, [])) if row else None


def list_newest(before: int | None = None, size: int = PAGE_SIZE) -> tuple[list[Plan], int | None]:
    """Plans, newest first, without their changes, and the cursor of the next page. Two queries."""
    query = select(PlanRow).order_by(PlanRow.id.desc()).limit(size + 1)
    if before is not None:
        query = query.where(PlanRow.id < before)
    rows = list(db.session.scalars(query.execution_options(populate_existing=True)))
    parts = _load_parts([row.id for row in rows[:size]], with_changes=False)
    return [_to_plan(row, parts.get(row.id, [])) for row in rows[:size]], rows[size - 1].id if len(
        rows
    ) > size else None


def load_answers(plan_id: int) -> dict[int, bytes]:
    """Part id → answer, for parts that have one."""
    query = select(PlanPartRow.id, PlanPartRow.answer).where(
        PlanPartRow.plan_id == plan_id, PlanPartRow.answer.is_not(None)
    )
    return {part_id: answer for part_id, answer in db.session.execute(query) if answer is not None}


def ids_by_run(run_ids: Collection[int]) -> dict[int, int]:
    """Run id → plan id, for runs that apply one."""
    query = select(PlanRow.run_id, PlanRow.id).where(PlanRow.run_id.in_(run_ids))
    return {run_id: plan_id for run_id, plan_id in db.session.execute(query) if run_id is not None}


def load_run_answers(run_ids: Collection[int]) -> list[PlannedAnswer]:
    """All saved answers of the plans that these runs apply."""
    query = (
        select(
            PlanRow.run_id,
            PlanPartRow.credential_id,
            PlanPartRow.key_number,
            PlanPartRow.duration_s,
            PlanPartRow.answer,
        )
        .join(PlanPartRow, PlanPartRow.plan_id == PlanRow.id)
        .where(PlanRow.run_id.in_(run_ids), PlanPartRow.answer.is_not(None))
    )
    return [
        PlannedAnswer(run_id, credential_id, key_number, duration_s, answer)
        for run_id, credential_id, key_number, duration_s, answer in db.session.execute(query)
        if run_id is not None and answer is not None
    ]


def load_current(credential_ids: Collection[int]) -> dict[int, tuple[int | None, int]]:
    """Credential id → (id of the list in force, key number), for active credentials at active providers."""
    query = (
        select(CredentialRow.id, CredentialRow.listing_id, CredentialRow.key_number)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.id.in_(credential_ids), CredentialRow.is_active, ProviderRow.is_active)
    )
    return {credential_id: (listing_id, number) for credential_id, listing_id, number in db.session.execute(query)}


def stale_requests(now: datetime, age: timedelta) -> list[int]:
    """Ids of plans older than `age` that no worker is making: their job was lost with Redis, or the worker died."""
    query = (
        select(PlanRow.id)
        .where(
            PlanRow.made_at.is_(None),
            PlanRow.created_at < now - age,
            PlanRow.created_at > now - VALID_FOR,
            or_(PlanRow.begun_at.is_(None), PlanRow.begun_at < now - MAKE_TIMEOUT),
        )
        .order_by(PlanRow.id)
        .limit(_BATCH_SIZE)
    )
    return list(db.session.scalars(query))


def prune(now: datetime) -> int:
    """Delete one batch of plans older than KEEP_FOR; returns how many."""
    is_live = select(RunRow.id).where(RunRow.id == PlanRow.run_id, RunRow.state.in_(LIVE_STATES)).exists()
    old = (
        select(PlanRow.id).where(PlanRow.created_at < now - KEEP_FOR, ~is_live).order_by(PlanRow.id).limit(_BATCH_SIZE)
    )
    ids = list(db.session.scalars(old))
    if ids:
        db.session.execute(delete(PlanRow).where(PlanRow.id.in_(ids)))
    return len(ids)


def _load_parts(plan_ids: Sequence[int], *, with_changes: bool = True) -> dict[int, list[PlanPart]]:
    query = (
        select(PlanPartRow, ProviderRow.slug)
        .join(ProviderRow, ProviderRow.id == PlanPartRow.provider_id)
        .where(PlanPartRow.plan_id.in_(plan_ids))
        .order_by(ProviderRow.slug)
        .execution_options(populate_existing=True)
    )
    if not with_changes:
        query = query.options(defer(PlanPartRow.changes))
    parts: dict[int, list[PlanPart]] = defaultdict(list)
    for row, slug in db.session.execute(query):
        changes = msgspec.convert(row.changes, tuple[Change, ...]) if with_changes else ()
        parts[row.plan_id].append(build_view(PlanPart, row, provider=slug, changes=changes))
    return parts


def _to_plan(row: PlanRow, parts: Sequence[PlanPart]) -> Plan:
    return build_view(Plan, row, providers=tuple(row.providers), parts=tuple(parts))
