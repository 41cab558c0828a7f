"""Plans: what a sync with the server's own keys would write, kept with the answers it would be written from.

A plan is asked for, made by a worker, and applied at most once. Each step is a compare-and-set in one statement.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Float, Index, LargeBinary, String, Text, UniqueConstraint, delete, or_, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.orm import Mapped, mapped_column

from app.catalog.changes import Change
from app.extensions import Row, db
from app.store.audit import Actor
from app.store.schema.columns import NO_ID_REUSE, BigId, Json, UtcDateTime, foreign_key
from app.store.schema.tables import LIVE_STATES, CredentialRow, ProviderRow, RunRow

VALID_FOR = timedelta(hours=24)
"""After this a plan is not applied any more."""
KEEP_FOR = timedelta(days=30)
"""After this it is not shown any more either."""
MAKE_TIMEOUT = timedelta(minutes=3)
"""A worker that began to make a plan this long ago is taken for dead."""
PAGE_SIZE = 25
COUNTS = ("fetched", "chat", "new", "changed", "unlisted", "relisted", "uncatalogued", "skipped")
_BATCH_SIZE = 200


class PlanRow(Row):
    __tablename__ = "plans"
    __table_args__ = (NO_ID_REUSE,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    providers: Mapped[list[str]] = mapped_column(Json)
    """Slugs that were asked for; empty: all."""
    made_by_id: Mapped[int | None] = mapped_column(foreign_key("users.id", on_delete="SET NULL"))
    made_by: Mapped[str] = mapped_column(String(320))
    """As in the audit log: an e-mail address, "command line" or "ADMIN_API_KEY"."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    begun_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    made_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When all answers were in. Until then there is nothing to see."""
    catalog_version: Mapped[int | None]
    """By which models were matched: another one may see other changes in the same answers."""
    error_message: Mapped[str | None] = mapped_column(Text)
    """Why it could not be made."""
    applied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    run_id: Mapped[int | None] = mapped_column(foreign_key("runs.id", on_delete="SET NULL"), unique=True)
    """The run that writes it."""


class PlanPartRow(Row):
    """One provider's part: its answer as it was read, and what would change by it."""

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
    """Which key was asked with: another key's answer is another answer."""
    before_listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="SET NULL"))
    """The list in force when it was asked; it has to be in force still when the plan is applied."""
    outcome: Mapped[str] = mapped_column(String(12))
    fetched: Mapped[int] = mapped_column(default=0)
    chat: Mapped[int] = mapped_column(default=0)
    new: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    unlisted: Mapped[int] = mapped_column(default=0)
    relisted: Mapped[int] = mapped_column(default=0)
    uncatalogued: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    changes: Mapped[list[Any]] = mapped_column(Json, default=list)
    """Of `catalog.changes.Change`, in its order."""
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_action: Mapped[str | None] = mapped_column(Text)
    duration_s: Mapped[float] = mapped_column(Float, default=0.0)
    answer: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """As `sync.planning` keeps it; None where the provider gave none."""


@dataclass(frozen=True, slots=True)
class PlanPart:
    plan_id: int
    id: int
    provider: str
    provider_id: int
    credential_id: int | None
    key_number: int
    before_listing_id: int | None
    outcome: str
    fetched: int
    chat: int
    new: int
    changed: int
    unlisted: int
    relisted: int
    uncatalogued: int
    skipped: int
    changes: tuple[Change, ...]
    error_code: str | None
    error_message: str | None
    error_action: str | None
    duration_s: float

    @property
    def has_answer(self) -> bool:
        """Whether there is something to write."""
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
    """The answer that a part of a run is written from."""

    run_id: int
    credential_id: int | None
    key_number: int
    duration_s: float
    answer: bytes


def create(actor: Actor, providers: Collection[str], now: datetime) -> PlanRow:
    """A plan to be made, over these providers or all."""
    row = PlanRow(providers=sorted(providers), made_by_id=actor.id, made_by=actor.name, created_at=now)
    db.session.add(row)
    db.session.flush()
    return row


def claim(plan_id: int, now: datetime) -> list[str] | None:
    """Take it to be made: the slugs that it is over. None if it is made, or another worker is at it."""
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
    """Write what came of asking, once; False if that was done already."""
    if not _finish(plan_id, made_at=now, catalog_version=catalog_version):
        return False
    rows = [{**part, "plan_id": plan_id, "changes": msgspec.to_builtins(part["changes"])} for part in parts]
    if rows:
        db.session.execute(plain_insert(PlanPartRow), rows)
    return True


def mark_failed(plan_id: int, sentence: str, now: datetime) -> bool:
    """Write why it could not be made."""
    return _finish(plan_id, made_at=now, error_message=sentence)


def _finish(plan_id: int, **facts: Any) -> bool:
    done = db.session.execute(
        update(PlanRow)
        .where(PlanRow.id == plan_id, PlanRow.made_at.is_(None))
        .values(**facts)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def mark_applied(plan_id: int, run_id: int, now: datetime) -> bool:
    """Give it to a run; False if another one has it."""
    done = db.session.execute(
        update(PlanRow)
        .where(PlanRow.id == plan_id, PlanRow.made_at.is_not(None), PlanRow.applied_at.is_(None))
        .values(applied_at=now, run_id=run_id)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def get(plan_id: int) -> Plan | None:
    """One plan with its parts, by slug. Two queries."""
    row = db.session.get(PlanRow, plan_id, populate_existing=True)
    return _to_plan(row, _load_parts([plan_id]).get(plan_id, [])) if row else None


def list_newest(before: int | None = None, size: int = PAGE_SIZE) -> tuple[list[Plan], int | None]:
    """The newest first, with the cursor of the next page. Two queries."""
    query = select(PlanRow).order_by(PlanRow.id.desc()).limit(size + 1)
    if before is not None:
        query = query.where(PlanRow.id < before)
    rows = list(db.session.scalars(query.execution_options(populate_existing=True)))
    parts = _load_parts([row.id for row in rows[:size]], with_changes=False)
    return [_to_plan(row, parts.get(row.id, [])) for row in rows[:size]], rows[size - 1].id if len(
        rows
    ) > size else None


def load_answers(plan_id: int) -> dict[int, bytes]:
    """Part → its answer, of those that have one."""
    query = select(PlanPartRow.id, PlanPartRow.answer).where(
        PlanPartRow.plan_id == plan_id, PlanPartRow.answer.is_not(None)
    )
    return {part_id: answer for part_id, answer in db.session.execute(query) if answer is not None}


def ids_by_run(run_ids: Collection[int]) -> dict[int, int]:
    """Run → plan, of those runs that write one."""
    query = select(PlanRow.run_id, PlanRow.id).where(PlanRow.run_id.in_(run_ids))
    return {run_id: plan_id for run_id, plan_id in db.session.execute(query) if run_id is not None}


def load_run_answers(run_ids: Collection[int]) -> list[PlannedAnswer]:
    """All answers of the plans that these runs write."""
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
    """Credential → (list in force, number of its key), of those that are active, at providers that are."""
    query = (
        select(CredentialRow.id, CredentialRow.listing_id, CredentialRow.key_number)
        .join(ProviderRow, ProviderRow.id == CredentialRow.provider_id)
        .where(CredentialRow.id.in_(credential_ids), CredentialRow.is_active, ProviderRow.is_active)
    )
    return {credential_id: (listing_id, number) for credential_id, listing_id, number in db.session.execute(query)}


def stale_requests(now: datetime, for_so_long: timedelta) -> list[int]:
    """Plans that nobody makes: their job may have been lost with Redis, or its worker died."""
    query = (
        select(PlanRow.id)
        .where(
            PlanRow.made_at.is_(None),
            PlanRow.created_at < now - for_so_long,
            PlanRow.created_at > now - VALID_FOR,
            or_(PlanRow.begun_at.is_(None), PlanRow.begun_at < now - MAKE_TIMEOUT),
        )
        .order_by(PlanRow.id)
        .limit(_BATCH_SIZE)
    )
    return list(db.session.scalars(query))


def prune(now: datetime) -> int:
    """Take away one batch of what is too old to show; the number of plans."""
    is_live = select(RunRow.id).where(RunRow.id == PlanRow.run_id, RunRow.state.in_(LIVE_STATES)).exists()
    old = (
        select(PlanRow.id).where(PlanRow.created_at < now - KEEP_FOR, ~is_live).order_by(PlanRow.id).limit(_BATCH_SIZE)
    )
    ids = list(db.session.scalars(old))
    if ids:
        db.session.execute(delete(PlanRow).where(PlanRow.id.in_(ids)))
    return len(ids)


def _load_parts(plan_ids: Sequence[int], *, with_changes: bool = True) -> dict[int, list[PlanPart]]:
    told = [PlanPartRow.changes] if with_changes else []
    query = (
        select(
            PlanPartRow.plan_id,
            PlanPartRow.id,
            ProviderRow.slug,
            PlanPartRow.provider_id,
            PlanPartRow.credential_id,
            PlanPartRow.key_number,
            PlanPartRow.before_listing_id,
            PlanPartRow.outcome,
            *(getattr(PlanPartRow, name) for name in COUNTS),
            PlanPartRow.error_code,
            PlanPartRow.error_message,
            PlanPartRow.error_action,
            PlanPartRow.duration_s,
            *told,
        )
        .join(ProviderRow, ProviderRow.id == PlanPartRow.provider_id)
        .where(PlanPartRow.plan_id.in_(plan_ids))
        .order_by(ProviderRow.slug)
    )
    found: dict[int, list[PlanPart]] = {}
    for row in db.session.execute(query):
        facts = dict(row._mapping)
        changes = msgspec.convert(facts.pop("changes", ()), tuple[Change, ...])
        part = PlanPart(provider=facts.pop("slug"), changes=changes, **facts)
        found.setdefault(part.plan_id, []).append(part)
    return found


def _to_plan(row: PlanRow, parts: Sequence[PlanPart]) -> Plan:
    return Plan(
        id=row.id,
        providers=tuple(row.providers),
        made_by=row.made_by,
        created_at=row.created_at,
        begun_at=row.begun_at,
        made_at=row.made_at,
        catalog_version=row.catalog_version,
        error_message=row.error_message,
        applied_at=row.applied_at,
        run_id=row.run_id,
        parts=tuple(parts),
    )
