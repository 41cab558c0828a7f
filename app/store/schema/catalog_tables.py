"""Tables of the catalog: canonical models, their sources, overrides, decisions, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row
from app.store.schema.columns import NO_ID_REUSE, BigId, Json, UtcDateTime, enum_check, foreign_key

REFRESH_TRIGGERS = ("schedule", "button", "cli")
REFRESH_OUTCOMES = ("updated", "unchanged", "refused", "failed")
DECISION_KINDS = ("match", "canonical", "field", "setting")
MANUAL_PRIORITY = 100
"""Sync writes and replaces overrides below it; those at or above it are a person's and stay."""


class CanonicalRow(Row):
    __tablename__ = "canonical_models"

    id: Mapped[str] = mapped_column(String(300), primary_key=True)
    lab: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(20))
    facts: Mapped[dict[str, Any]] = mapped_column(Json)
    """A complete `catalog.matching.CanonicalModel`."""


class CatalogVersionRow(Row):
    """The newest row is the catalog in force. A new one has all models matched again."""

    __tablename__ = "catalog_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(String(64))
    """SHA-256 over all inputs, hex. An earlier one may recur, when a decision is undone."""
    source: Mapped[str] = mapped_column(String(40))
    model_count: Mapped[int]
    loaded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CatalogSourceRow(Row):
    """The last good answer of a public catalog, in our own format; it survives every failure."""

    __tablename__ = "catalog_sources"

    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    """modelsdev · litellm · openrouter · aihubmix"""
    url: Mapped[str] = mapped_column(String(500))
    etag: Mapped[str] = mapped_column(String(200), default="")
    last_modified: Mapped[str] = mapped_column(String(100), default="")
    content: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """Its claims, canonical JSON, zlib-compressed; None before the first good answer."""
    content_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    model_count: Mapped[int] = mapped_column(default=0)
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it was last fetched, successfully or not."""
    fetched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it last sent or confirmed `content`: the date of every fact from it."""
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)


class CatalogRefreshRow(Row):
    """One attempt to refresh the catalog from one source."""

    __tablename__ = "catalog_refreshes"
    __table_args__ = (enum_check("trigger", REFRESH_TRIGGERS), enum_check("outcome", REFRESH_OUTCOMES), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    source: Mapped[str] = mapped_column(String(20))
    trigger: Mapped[str] = mapped_column(String(10))
    outcome: Mapped[str] = mapped_column(String(10))
    message: Mapped[str] = mapped_column(Text, default="")
    """Reason for a refusal or failure, or what was omitted, in one sentence."""
    model_count: Mapped[int] = mapped_column(default=0)
    """Models of the source."""
    added: Mapped[int] = mapped_column(default=0)
    """Canonical models; so are `changed` and `removed`."""
    changed: Mapped[int] = mapped_column(default=0)
    removed: Mapped[int] = mapped_column(default=0)
    changes: Mapped[list[Any]] = mapped_column(Json, default=list)
    """`[["added" | "changed" | "removed", canonical id, [[field, before, after], …]], …]`, the first five hundred."""
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime)


class OverrideRow(Row):
    """What one provider says (priority below 100) or a person decided (100 or above) about a canonical model."""

    __tablename__ = "overrides"
    __table_args__ = (
        UniqueConstraint("provider_id", "canonical_id", "priority"),
        Index("ix_overrides_canonical_id", "canonical_id"),
        CheckConstraint("priority >= 0 AND priority <= 1000000", name="priority"),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id"))
    canonical_id: Mapped[str] = mapped_column(String(300))
    provider_model_id: Mapped[str] = mapped_column(String(300), default="")
    """The id that sync made the override from."""
    priority: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text, default="")
    pricing: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """As in the owner's documents: `{"input": {"per_million_tokens": 5.0, "currency": "USD"}, …}`."""
    limits: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """`{"context_window": 32000, "max_output_tokens": 4096}`"""
    capabilities: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """`{"tools": true, "vision": false, …}`"""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DecisionRow(Row):
    """A permanent decision about ids and facts, by a person or, where an admin allowed it, automatic."""

    __tablename__ = "decisions"
    __table_args__ = (enum_check("kind", DECISION_KINDS), UniqueConstraint("kind", "subject"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    subject: Mapped[str] = mapped_column(String(500))
    """match: `provider/model id` · canonical: canonical id · field: `canonical id#field` · setting: its name"""
    value: Mapped[dict[str, Any]] = mapped_column(Json)
    """match: `{"canonical_id": id or null for "leave it unknown"}` · canonical: a CanonicalModel ·
    field: `{"value": …}` · setting: `{"value": …}`"""
    reason: Mapped[str] = mapped_column(Text, default="")
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AuditRow(Row):
    """Who changed what in the catalog, with the state before and after, for undo."""

    __tablename__ = "audit_log"
    __table_args__ = (NO_ID_REUSE,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor_id: Mapped[int | None] = mapped_column(foreign_key("users.id", on_delete="SET NULL"))
    actor: Mapped[str] = mapped_column(String(320))
    """An e-mail address, "command line" or "automatic"."""
    action: Mapped[str] = mapped_column(String(20))
    """override · match · canonical · field · setting"""
    subject: Mapped[str] = mapped_column(String(500))
    before: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """None if it did not exist."""
    after: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """None if it was removed."""
    reason: Mapped[str] = mapped_column(Text, default="")
    undoes_id: Mapped[int | None] = mapped_column(foreign_key("audit_log.id", on_delete="SET NULL"), unique=True)
    """The entry that this one undid."""
