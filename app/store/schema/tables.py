"""Columns, constraints and indexes. ORM classes are rows; an AI model's is `ModelRow`.

Times are aware UTC, prices `Decimal` in USD per million tokens.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from flask_login import UserMixin
from sqlalchemy import (
    BigInteger,
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
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Row
from app.store.schema.columns import NO_ID_REUSE, BigId, Json, UsdPerMillion, UtcDateTime, enum_check, foreign_key

LIVE_STATES = ("queued", "running")
RUN_STATES = (*LIVE_STATES, "done", "lost", "cancelled")
TRIGGERS = ("manual", "sign-in", "cron", "api", "cli", "schedule")
OUTCOMES = ("complete", "unchanged", "partial", "suspect", "failed", "skipped")
THEMES = ("system", "light", "dark")
MARKS = ("starred", "hidden", "plain")
CHANGE_KINDS = ("new", "changed", "unlisted", "relisted")


class UserRow(Row, UserMixin):
    __tablename__ = "users"
    __table_args__ = (
        Index(
            "uq_users_is_server",
            "is_server",
            unique=True,
            postgresql_where=text("is_server"),
            sqlite_where=text("is_server"),
        ),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    """Normalised, lower case."""
    password_hash: Mapped[str] = mapped_column(String(255))
    auth_stamp: Mapped[str] = mapped_column(String(43))
    """Part of every session's identity: a new one signs all sessions out."""
    is_admin: Mapped[bool] = mapped_column(default=False, server_default=false())
    sync_on_sign_in: Mapped[bool] = mapped_column(default=True, server_default=true())
    changes_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The person has seen every change whose result ended no later than this."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_sign_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    is_server: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The installation itself: it holds the keys of the server's environment, and nobody signs in as it."""
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when an admin keeps the account from signing in and from syncing."""
    theme: Mapped[str] = mapped_column(String(6), default="system", server_default="system")
    """One of THEMES."""
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC", server_default="UTC")
    """Name of an IANA zone, in which this person is shown moments."""
    model_columns: Mapped[str | None] = mapped_column(String(200))
    """The columns of their page of models, with commas between; none until they choose."""
    told_topics: Mapped[str] = mapped_column(String(40), default="new", server_default="new")
    """Of which topics (`catalog.topics`, commas between) the app tells; letters are asked for in `subscriptions`."""
    second_factor_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when signing in asks for a code beside the password."""

    @property
    def has_password(self) -> bool:
        """Whether there is one to type: who signs in by OpenID Connect alone has none."""
        return self.password_hash.startswith("$")

    @property
    def is_active(self) -> bool:
        """Flask-Login's question: whether a session of theirs counts."""
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
    models_api: Mapped[dict[str, Any]] = mapped_column(Json)
    """`{"endpoints": […], "update_frequency"}` as in the owner's documents; `enabled` is `is_active`."""
    admin_base_url: Mapped[str | None] = mapped_column(String(500))
    """An admin's own setting, as the next one and `is_active`: kept when the files are mirrored."""
    admin_update_frequency: Mapped[str | None] = mapped_column(String(10))
    last_synced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CredentialRow(Row):
    """One user's API key for one provider. What came of its last sync or check stands on it too."""

    __tablename__ = "credentials"
    __table_args__ = (
        UniqueConstraint("user_id", "provider_id", "label"),
        Index(
            "ix_credentials_active_user_id",
            "user_id",
            postgresql_where=text("is_active"),
            sqlite_where=text("is_active"),
        ),
        Index("ix_credentials_due_at", "due_at", postgresql_where=text("is_active"), sqlite_where=text("is_active")),
        Index(
            "ix_credentials_failed_id",
            "id",
            postgresql_where=text("outcome = 'failed'"),
            sqlite_where=text("outcome = 'failed'"),
        ),
        CheckConstraint("(sealed_key IS NULL) = (vault_version IS NULL)", name="sealed_with_version"),
        CheckConstraint(
            f"outcome IS NULL OR outcome IN ({', '.join(repr(word) for word in OUTCOMES)})", name="outcome"
        ),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id", on_delete="RESTRICT"))
    label: Mapped[str] = mapped_column(String(60), default="")
    key_hint: Mapped[str] = mapped_column(String(20), default="")
    sealed_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    """None where the provider's list is public and its owner gave no key."""
    vault_version: Mapped[int | None]
    base_url: Mapped[str | None] = mapped_column(String(500))
    """A region's address or the owner's own server; None for the provider's own address."""
    key_number: Mapped[int] = mapped_column(default=1)
    """Counts replacements, so that an answer to the old key is not taken for one to the new."""
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="RESTRICT"))
    """The last good listing, kept through every failure."""
    listed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a provider last confirmed it."""
    listed_key_number: Mapped[int | None]
    """Which key gave it: another key's list is no measure for what a new key may lack."""
    listing_is_whole: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether all its pages were read; if not, what a next answer adds is no news."""
    suspect_listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="RESTRICT"))
    """An answer that was kept aside."""
    suspect_accepted: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Its owner said that the answer kept aside is right: the next equal one is taken."""
    suspect_count: Mapped[int] = mapped_column(default=0, server_default="0")
    """How many answers in a row were the one kept aside."""
    check_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Set while a worker is to ask the provider about a newly saved key."""
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(12))
    model_count: Mapped[int | None]
    chat_count: Mapped[int | None]
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_action: Mapped[str | None] = mapped_column(Text)
    put_off_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The provider asked not to be asked with this key before then."""
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it is synced next by itself; None: never."""
    validators: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """By which to ask whether the list changed since the last good answer: see `store.asked`."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ListingRow(Row):
    """A listing under the hash of its content, however many keys gave it."""

    __tablename__ = "listings"
    __table_args__ = (
        Index("ix_listings_is_shown", "id", postgresql_where=text("is_shown"), sqlite_where=text("is_shown")),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id", on_delete="RESTRICT"))
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    model_count: Mapped[int]
    chat_count: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """The canonical form, zlib-compressed."""
    is_shown: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether `listed_models` has its rows: so while it is in force for some key."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ComparisonRow(Row):
    """The changes between two listings, computed once and shared by everyone who went from one to the other."""

    __tablename__ = "comparisons"
    __table_args__ = (NO_ID_REUSE,)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    """SHA-256 over all that decides the changes: see `store.listings.comparison_key`."""
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
    """One attempt to sync a user's credentials. At most one of a user's is live."""

    __tablename__ = "runs"
    __table_args__ = (
        enum_check("state", RUN_STATES),
        enum_check("trigger", TRIGGERS),
        Index(
            "uq_runs_live_user_id",
            "user_id",
            unique=True,
            postgresql_where=text("state IN ('queued', 'running')"),
            sqlite_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_runs_user_id_id", "user_id", "id"),
        Index(
            "ix_runs_state_id",
            "state",
            "id",
            postgresql_where=text("state <> 'done'"),
            sqlite_where=text("state <> 'done'"),
        ),
        Index(
            "ix_runs_live_lease_until",
            "lease_until",
            postgresql_where=text("state IN ('queued', 'running')"),
            sqlite_where=text("state IN ('queued', 'running')"),
        ),
        Index("ix_runs_ended_at_state", "ended_at", "state"),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    trigger: Mapped[str] = mapped_column(String(10))
    state: Mapped[str] = mapped_column(String(10), default="queued")
    is_whole: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether all active keys of the user were asked, not those of one provider only."""
    attempt: Mapped[int] = mapped_column(default=0)
    """Counts claims: a worker that lost its lease cannot write for a later one."""
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """A running run whose lease is over is lost; whoever looks next closes it."""
    total_new_models: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ResultRow(Row):
    """One credential's part in a run: waiting, then fetching (`started_at`), then its outcome."""

    __tablename__ = "results"
    __table_args__ = (
        CheckConstraint(
            f"outcome IS NULL OR outcome IN ({', '.join(repr(word) for word in OUTCOMES)})", name="outcome"
        ),
        UniqueConstraint("run_id", "credential_id"),
        Index("ix_results_user_id_ended_at", "user_id", "ended_at"),
        Index("ix_results_credential_id", "credential_id"),
        Index(
            "ix_results_user_id_news",
            "user_id",
            "ended_at",
            postgresql_where=text("new > 0"),
            sqlite_where=text("new > 0"),
        ),
        Index(
            "ix_results_credential_id_comparison_id",
            "credential_id",
            "comparison_id",
            postgresql_where=text("comparison_id IS NOT NULL"),
            sqlite_where=text("comparison_id IS NOT NULL"),
        ),
        Index("ix_results_provider_id_run_id", "provider_id", "run_id"),
        Index("ix_results_ended_at_provider_id_outcome", "ended_at", "provider_id", "outcome"),
        NO_ID_REUSE,
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run_id: Mapped[int] = mapped_column(foreign_key("runs.id"))
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    credential_id: Mapped[int | None] = mapped_column(foreign_key("credentials.id", on_delete="SET NULL"))
    """None once the key was deleted; what it saw stays."""
    provider_id: Mapped[int] = mapped_column(foreign_key("providers.id", on_delete="RESTRICT"))
    label: Mapped[str] = mapped_column(String(60), default="")
    outcome: Mapped[str | None] = mapped_column(String(12))
    fetched: Mapped[int] = mapped_column(default=0)
    chat: Mapped[int] = mapped_column(default=0)
    new: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    unlisted: Mapped[int] = mapped_column(default=0)
    relisted: Mapped[int] = mapped_column(default=0)
    uncatalogued: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    skipped_entries: Mapped[list[Any] | None] = mapped_column(Json)
    """`[[entry, reason], …]`, the first fifty of what could not be read."""
    requests: Mapped[list[Any] | None] = mapped_column(Json)
    """What was asked for it: see `sync.fetch.Asking`."""
    before_listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="RESTRICT"))
    listing_id: Mapped[int | None] = mapped_column(foreign_key("listings.id", on_delete="RESTRICT"))
    """What the provider answered; of a suspect result it is kept aside and not in force."""
    comparison_id: Mapped[int | None] = mapped_column(foreign_key("comparisons.id", on_delete="RESTRICT"))
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_action: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ModelRow(Row):
    """A model as its provider lists it, shared by all users, in the columns of the owner's documents.

    Rows are written when a fact changed, not at every sync: how fresh they are says `providers.last_synced_at`.
    """

    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("provider_id", "provider_model_id"),
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
    context_length: Mapped[int | None] = mapped_column(BigInteger)
    max_output_tokens: Mapped[int | None] = mapped_column(BigInteger)
    modality: Mapped[str] = mapped_column(Text, default="")
    supports_streaming: Mapped[bool | None]
    supports_function_calling: Mapped[bool | None]
    supports_vision: Mapped[bool | None]
    supports_reasoning: Mapped[bool | None]
    supports_structured_output: Mapped[bool | None]
    input_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    output_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    cache_read_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    cache_write_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
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
    facts_hash: Mapped[bytes] = mapped_column(LargeBinary(16))
    """Of the listed model and its match: equal means nothing to write."""
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Some key's current listing has it."""
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When it was last written or, of an inactive one, last listed."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ListedModelRow(Row):
    """A model of a listing in force, with its effective facts: what the page of models searches, filters and sorts.

    Made from the listing, the catalog and the overrides, and made anew whenever one of them changes: it holds
    nothing that is not elsewhere. Unlike `models` it also has what belongs to one customer.
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
    """Lower case, the canonical name first where there is one: all who serve a model stand together."""
    search: Mapped[str] = mapped_column(Text)
    """What a search looks through, in lower case: the id, the canonical id, the name.

    As `sort_name`, no longer than an index of PostgreSQL takes: see `listed`.
    """
    kind: Mapped[str] = mapped_column(String(20))
    kind_reason: Mapped[str] = mapped_column(Text)
    canonical_id: Mapped[str | None] = mapped_column(String(300))
    match_rule: Mapped[str] = mapped_column(String(20))
    variant: Mapped[str] = mapped_column(Text)
    snapshot: Mapped[str] = mapped_column(Text)
    context_length: Mapped[int | None] = mapped_column(BigInteger)
    max_output_tokens: Mapped[int | None] = mapped_column(BigInteger)
    streaming: Mapped[bool | None]
    tools: Mapped[bool | None]
    vision: Mapped[bool | None]
    reasoning: Mapped[bool | None]
    structured_output: Mapped[bool | None]
    input_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    output_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    cache_read_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    cache_write_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    documented: Mapped[str] = mapped_column(String(10))
    deprecated_on: Mapped[str] = mapped_column(String(10))
    """ISO days, as the next; empty where nobody says so."""
    retires_on: Mapped[str] = mapped_column(String(10))
    successor: Mapped[str] = mapped_column(String(300))


class MarkRow(Row):
    """What a person thinks of a model. It names the model in words, so that no sync and no rematch takes it away."""

    __tablename__ = "marks"
    __table_args__ = (UniqueConstraint("user_id", "provider", "model_id"), enum_check("mark", MARKS))

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(foreign_key("users.id"))
    provider: Mapped[str] = mapped_column(String(64))
    """Slug of the provider whose model is meant; empty for a canonical model, whoever serves it."""
    model_id: Mapped[str] = mapped_column(String(300))
    """The provider's id, or the canonical one."""
    mark: Mapped[str] = mapped_column(String(8))
    """One of MARKS: "plain" says that a mark of the canonical model does not count at this provider."""
    marked_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TallyRow(Row):
    """How many results of a provider, or runs of all, ended so on a day that is over: charts need not count anew."""

    __tablename__ = "tallies"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    """From midnight to midnight UTC."""
    slug: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the provider; empty for whole runs."""
    word: Mapped[str] = mapped_column(String(12), primary_key=True)
    """The outcome of the results, or the state in which the runs ended."""
    count: Mapped[int]
