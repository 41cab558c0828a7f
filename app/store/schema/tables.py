"""Columns, constraints and indexes. ORM classes are rows; an AI model's is `ModelRow`.

Times are aware UTC, prices `Decimal` in USD per million tokens.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from flask_login import UserMixin
from sqlalchemy import (
    CheckConstraint,
    Computed,
    Date,
    Index,
    LargeBinary,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row
from app.store.schema.columns import (
    NO_ID_REUSE,
    BigId,
    ErrorColumns,
    Json,
    ModelFactColumns,
    ResultCountColumns,
    UtcDateTime,
    enum_check,
    foreign_key,
    partial_index,
)

LIVE_STATES = ("queued", "running")
RUN_STATES = (*LIVE_STATES, "done", "lost", "cancelled")
TRIGGERS = ("manual", "sign-in", "cron", "api", "cli", "schedule", "new-key")
OUTCOMES = ("complete", "unchanged", "partial", "suspect", "failed", "skipped")
READ_OUTCOMES = ("complete", "unchanged", "partial")
"""Outcomes with an answer. A provider that never sends a complete list is always `partial`."""
THEMES = ("system", "light", "dark")
MARKS = ("starred", "hidden", "plain")
CHANGE_KINDS = ("new", "changed", "unlisted", "relisted")


class UserRow(Row, UserMixin):  # type: ignore[misc]  # Flask-Login publishes no types
    __tablename__ = "users"
    __table_args__ = (partial_index("uq_users_is_server", "is_server", where="is_server", unique=True), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    """Normalised, lower case."""
    password_hash: Mapped[str] = mapped_column(String(255))
    auth_stamp: Mapped[str] = mapped_column(String(43))
    """Part of every session's identity: changing it ends all sessions."""
    is_admin: Mapped[bool] = mapped_column(default=False, server_default=false())
    sync_on_sign_in: Mapped[bool] = mapped_column(default=True, server_default=true())
    changes_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The user has seen every change whose result ended no later than this."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_sign_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    is_server: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The installation's own account: owns the keys of the server's environment; it has no sign-in."""
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When an admin disabled the account: it cannot sign in or sync."""
    theme: Mapped[str] = mapped_column(String(6), default="system", server_default="system")
    """One of THEMES."""
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC", server_default="UTC")
    """Name of the IANA time zone in which times are shown."""
    model_columns: Mapped[str | None] = mapped_column(String(200))
    """Columns of the models page, comma-separated; None until chosen."""
    told_topics: Mapped[str] = mapped_column(String(40), default="new", server_default="new")
    """Topics (`catalog.topics`, comma-separated) of in-app notifications; e-mails are in `subscriptions`."""
    second_factor_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When two-factor authentication was enabled; None: it is off."""

    @property
    def has_password(self) -> bool:
        """False for accounts that sign in by OpenID Connect only."""
        return self.password_hash.startswith("$")

    @property
    def is_active(self) -> bool:
        """Whether sessions of the account are valid (Flask-Login's interface)."""
        return self.disabled_at is None and not self.is_server

    def get_id(self) -> str:
        return f"{self.id}.{self.auth_stamp}"


class ProviderRow(Row):
    """Mirrors a file of `app/providers`, so that SQL can refer to it."""

    __tablename__ = "providers"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text, default="")
    base_url: Mapped[str] = mapped_column(String(500))
    api_key_env_var: Mapped[str] = mapped_column(String(100))
    site_url: Mapped[str] = mapped_column(String(500))
    color: Mapped[str] = mapped_column(String(20))
    priority: Mapped[str] = mapped_column(String(10), default="slow", server_default="slow")
    """ "fast" for the providers that are shown first, "slow" for all others."""
    capabilities: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, server_default="{}")
    """Capability → whether any of its listed models has it: see `store.models`."""
    models_api: Mapped[dict[str, Any]] = mapped_column(Json)
    """`{"endpoints": […], "enabled", "update_frequency", "last_synced"}` as in the owner's documents."""
    admin_base_url: Mapped[str | None] = mapped_column(String(500))
    """Set by an admin, as are the next one and `is_active`: mirroring the files does not change them."""
    admin_update_frequency: Mapped[str | None] = mapped_column(String(10))
    last_synced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CredentialRow(ErrorColumns, Row):
    """One user's API key for one provider, with the result of its last sync."""

    __tablename__ = "credentials"
    __table_args__ = (
        UniqueConstraint("user_id", "provider_id", "label"),
        partial_index("ix_credentials_active_user_id", "user_id", where="is_active"),
        partial_index("ix_credentials_due_at", "due_at", where="is_active"),
        partial_index("ix_credentials_check_asked_at", "check_asked_at", where="check_asked_at IS NOT NULL"),
        partial_index("ix_credentials_failed_id", "id", where="outcome = 'failed'"),
        CheckConstraint("(sealed_key IS NULL) = (vault_version IS NULL)", name="sealed_with_version"),
        enum_check("outcome", OUTCOMES, nullable=True),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id", on_delete="RESTRICT"))
    label: Mapped[str] = mapped_column(String(60), default="")
    key_hint: Mapped[str] = mapped_column(String(20), default="")
    sealed_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    """None where the provider's list is public and no key was given."""
    vault_version: Mapped[int | None]
    base_url: Mapped[str | None] = mapped_column(String(500))
    """A region's endpoint or the owner's own server; None for the provider's default."""
    key_number: Mapped[int] = mapped_column(default=1)
    """Counts replacements, to tell an answer to the old key from one to the new."""
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="RESTRICT"))
    """The last good listing, kept through every failure."""
    listed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the provider last confirmed it."""
    listed_key_number: Mapped[int | None]
    """The key it was fetched with: another key's list says nothing about what a new key lacks."""
    listing_is_whole: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether all its pages were read; if not, additions of the next answer do not count as new."""
    suspect_listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="RESTRICT"))
    """An answer held for review."""
    suspect_accepted: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The owner accepted the answer held for review: the next equal one is applied."""
    suspect_count: Mapped[int] = mapped_column(default=0, server_default="0")
    """Consecutive answers equal to the one held for review."""
    check_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the key was saved, until its first sync has a result."""
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(12))
    model_count: Mapped[int | None]
    chat_count: Mapped[int | None]
    put_off_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Retry-After deadline: no request with this key before then."""
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the next scheduled sync is due; None: never."""
    validators: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """HTTP validators of the last good answer: see `store.http_cache`."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ListingRow(Row):
    """A listing, addressed by the hash of its content and shared by all keys that got it."""

    __tablename__ = "listings"
    __table_args__ = (partial_index("ix_listings_is_shown", "id", where="is_shown"), NO_ID_REUSE)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id", on_delete="RESTRICT"))
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    model_count: Mapped[int]
    chat_count: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """The canonical form, zlib-compressed."""
    is_shown: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether `listed_models` has its rows, as it does while the listing is in force for some key."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ComparisonRow(Row):
    """The changes between two listings, computed once and shared by all results with that transition."""

    __tablename__ = "comparisons"
    __table_args__ = (NO_ID_REUSE,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 over everything that determines the changes: see `store.listings.comparison_key`."""
    new: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    unlisted: Mapped[int] = mapped_column(default=0)
    relisted: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ChangeRow(Row):
    __tablename__ = "changes"
    __table_args__ = (enum_check("kind", CHANGE_KINDS), UniqueConstraint("comparison_id", "provider_model_id"))

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    comparison_id: Mapped[int] = mapped_column(foreign_key("comparisons.id"))
    kind: Mapped[str] = mapped_column(String(10))
    provider_model_id: Mapped[str] = mapped_column(String(300))
    model_name: Mapped[str] = mapped_column(Text)
    fields: Mapped[list[Any]] = mapped_column(Json, default=list)
    """`[[field, before, after], …]` of a changed model."""


class RunRow(Row):
    """One attempt to sync a user's credentials. A user has at most one live run."""

    __tablename__ = "runs"
    __table_args__ = (
        enum_check("state", RUN_STATES),
        enum_check("trigger", TRIGGERS),
        partial_index("uq_runs_live_user_id", "user_id", where="state IN ('queued', 'running')", unique=True),
        Index("ix_runs_user_id_id", "user_id", "id"),
        partial_index("ix_runs_state_id", "state", "id", where="state <> 'done'"),
        partial_index("ix_runs_live_lease_until", "lease_until", where="state IN ('queued', 'running')"),
        Index("ix_runs_ended_at_state", "ended_at", "state"),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    trigger: Mapped[str] = mapped_column(String(10))
    state: Mapped[str] = mapped_column(String(10), default="queued")
    is_whole: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the run covers all active keys of the user."""
    attempt: Mapped[int] = mapped_column(default=0)
    """Counts claims: a worker that lost its lease cannot write once another has claimed the run."""
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """A running run with an expired lease is lost; the next process to look closes it."""
    total_new_models: Mapped[int] = mapped_column(default=0)
    """Like the other totals, set when the run ends: see `store.runs._totals`."""
    total_changed: Mapped[int] = mapped_column(default=0, server_default="0")
    total_unlisted: Mapped[int] = mapped_column(default=0, server_default="0")
    total_relisted: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ResultRow(ResultCountColumns, ErrorColumns, Row):
    """One credential's part in a run: waiting, then fetching (`started_at`), then its outcome."""

    __tablename__ = "results"
    __table_args__ = (
        enum_check("outcome", OUTCOMES, nullable=True),
        UniqueConstraint("run_id", "credential_id"),
        Index("ix_results_user_id_ended_at", "user_id", "ended_at"),
        Index("ix_results_credential_id", "credential_id"),
        partial_index("ix_results_user_id_news", "user_id", "ended_at", where="new > 0"),
        partial_index(
            "ix_results_credential_id_comparison_id",
            "credential_id",
            "comparison_id",
            where="comparison_id IS NOT NULL",
        ),
        Index("ix_results_provider_id_run_id", "provider_id", "run_id"),
        Index("ix_results_ended_at_provider_id_outcome", "ended_at", "provider_id", "outcome"),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[int] = mapped_column(foreign_key("runs.id"))
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    credential_id: Mapped[int | None] = mapped_column(foreign_key("credentials.id", on_delete="SET NULL"))
    """None once the key was deleted; its results stay."""
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id", on_delete="RESTRICT"))
    label: Mapped[str] = mapped_column(String(60), default="")
    outcome: Mapped[str | None] = mapped_column(String(12))
    skipped_entries: Mapped[list[Any] | None] = mapped_column(Json)
    """`[[entry, reason], …]`, the first fifty entries that could not be read."""
    requests: Mapped[list[Any] | None] = mapped_column(Json)
    """The HTTP requests of this result: see `sync.http.fetch`."""
    before_listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="RESTRICT"))
    listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="RESTRICT"))
    """The provider's answer; a suspect one is held for review and not in force."""
    comparison_id: Mapped[int | None] = mapped_column(foreign_key("comparisons.id", on_delete="RESTRICT"))
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ModelRow(ModelFactColumns, Row):
    """A model of a provider with its effective facts, shared by all users, in the columns of the owner's documents.

    Rows are written when a fact changed, not at every sync. People query the view `models`, where `updated_at` and
    `last_seen_at` of an active model are no earlier than `providers.last_synced_at`, which confirmed it.
    """

    __tablename__ = "shared_models"
    __table_args__ = (
        UniqueConstraint("provider_id", "provider_model_id", name="uq_models_provider_id_provider_model_id"),
        Index("ix_models_canonical_id", "canonical_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id", on_delete="RESTRICT"))
    provider_model_id: Mapped[str] = mapped_column(String(300))
    model_name: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, default="")
    kind: Mapped[str] = mapped_column(String(20))
    kind_reason: Mapped[str] = mapped_column(Text, default="")
    canonical_id: Mapped[str | None] = mapped_column(String(300))
    match_rule: Mapped[str] = mapped_column(String(20))
    variant: Mapped[str] = mapped_column(Text, default="", server_default="")
    """How it is served ("free", "fp8"), as far as its id says so."""
    snapshot: Mapped[str] = mapped_column(Text, default="", server_default="")
    modality: Mapped[str] = mapped_column(Text, default="")
    supports_streaming: Mapped[bool | None]
    supports_function_calling: Mapped[bool | None]
    supports_vision: Mapped[bool | None]
    supports_reasoning: Mapped[bool | None]
    supports_structured_output: Mapped[bool | None]
    pricing_prompt: Mapped[Decimal | None] = mapped_column(
        Numeric(24, 15), Computed("input_per_million / 1000000", persisted=True)
    )
    """USD per token, as the owner's documents query it."""
    pricing_completion: Mapped[Decimal | None] = mapped_column(
        Numeric(24, 15), Computed("output_per_million / 1000000", persisted=True)
    )
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deprecated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    retires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    provider_facts: Mapped[dict[str, Any]] = mapped_column(Json)
    """A `ListedModel` as JSON, without its description: what the provider itself stated."""
    facts_hash: Mapped[bytes] = mapped_column(LargeBinary(16))
    """Hash of the listed model, its match and its effective facts: if equal, there is nothing to write."""
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether some key's current listing has it."""
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When it was last written or, if inactive, last listed."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ListedModelRow(ModelFactColumns, Row):
    """A model of a listing in force, with its effective facts: what the models page searches, filters and sorts.

    A projection of the listing, the catalog and the overrides, rebuilt whenever one of them changes. Unlike `models`
    it includes models that belong to one customer.
    """

    __tablename__ = "listed_models"
    __table_args__ = (
        Index("ix_listed_models_name", "listing_id", "kind", "sort_name", "provider_model_id"),
        Index("ix_listed_models_input", "listing_id", "kind", "input_per_million", "provider_model_id"),
        Index("ix_listed_models_context", "listing_id", "kind", "context_length", "provider_model_id"),
        Index("ix_listed_models_search", "listing_id", "kind", "search", "provider_model_id"),
        Index("ix_listed_models_canonical_id", "canonical_id"),
    )

    listing_id: Mapped[int] = mapped_column(foreign_key("listings.id"), primary_key=True)
    provider_model_id: Mapped[str] = mapped_column(String(300), primary_key=True)
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id"))
    name: Mapped[str] = mapped_column(Text)
    sort_name: Mapped[str] = mapped_column(Text)
    """Lower-case canonical name, or the listed name without one: offers of the same model sort together."""
    search: Mapped[str] = mapped_column(Text)
    """Search text in lower case: id, canonical id, name.

    Like `sort_name`, truncated to what a PostgreSQL index holds: see `store.listed_models`.
    """
    kind: Mapped[str] = mapped_column(String(20))
    kind_reason: Mapped[str] = mapped_column(Text)
    canonical_id: Mapped[str | None] = mapped_column(String(300))
    match_rule: Mapped[str] = mapped_column(String(20))
    variant: Mapped[str] = mapped_column(Text)
    snapshot: Mapped[str] = mapped_column(Text)
    streaming: Mapped[bool | None]
    tools: Mapped[bool | None]
    vision: Mapped[bool | None]
    reasoning: Mapped[bool | None]
    structured_output: Mapped[bool | None]
    documented: Mapped[str] = mapped_column(String(10))
    deprecated_on: Mapped[str] = mapped_column(String(10))
    """ISO date, as is the next; empty if unknown."""
    retires_on: Mapped[str] = mapped_column(String(10))
    successor: Mapped[str] = mapped_column(String(300))


class MarkRow(Row):
    """A user's star on a model, or its being hidden. It refers to the model by id text, so that it survives syncs."""

    __tablename__ = "marks"
    __table_args__ = (UniqueConstraint("user_id", "provider", "model_id"), enum_check("mark", MARKS))

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    provider: Mapped[str] = mapped_column(String(64))
    """Slug of the provider; empty for a canonical model at any provider."""
    model_id: Mapped[str] = mapped_column(String(300))
    """The provider's id, or the canonical one."""
    mark: Mapped[str] = mapped_column(String(8))
    """One of MARKS: "plain" cancels a mark of the canonical model at this provider."""
    marked_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TallyRow(Row):
    """Daily number of a provider's results by outcome, or of all runs by state, for past days; read by charts."""

    __tablename__ = "tallies"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    """From midnight to midnight UTC."""
    slug: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The provider; empty for whole runs."""
    word: Mapped[str] = mapped_column(String(12), primary_key=True)
    """The outcome of the results, or the final state of the runs."""
    count: Mapped[int]
