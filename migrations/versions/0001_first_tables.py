"""first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The types as they were when this migration was made; it must not follow the tables as they change.
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
USD = sa.Numeric(18, 9).with_variant(sa.Float(), "sqlite")

# The owner's documents query finished syncs under this name.
HISTORY_VIEW = """
CREATE VIEW model_sync_history AS
SELECT runs.id, runs.user_id, runs.total_new_models, runs.ended_at AS synced_at, runs.created_at,
       (SELECT {aggregate}({build}(
            'provider', providers.slug, 'label', results.label, 'outcome', results.outcome,
            'fetched', results.fetched, 'chat', results.chat, 'new', results.new, 'changed', results.changed,
            'unlisted', results.unlisted, 'relisted', results.relisted, 'uncatalogued', results.uncatalogued, 'skipped', results.skipped,
            'error', results.error_message))
        FROM results JOIN providers ON providers.id = results.provider_id
        WHERE results.run_id = runs.id) AS sync_results
FROM runs
WHERE runs.state = 'done'
"""


def upgrade() -> None:
    op.create_table(
        "canonical_models",
        sa.Column("id", sa.String(length=300), nullable=False),
        sa.Column("lab", sa.String(length=100), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("facts", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canonical_models")),
    )
    op.create_table(
        "catalog_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("model_count", sa.Integer(), nullable=False),
        sa.Column("loaded_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_versions")),
        sa.UniqueConstraint("version", name=op.f("uq_catalog_versions_version")),
    )
    op.create_table(
        "comparisons",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("new", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("unlisted", sa.Integer(), nullable=False),
        sa.Column("relisted", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparisons")),
        sa.UniqueConstraint("key", name=op.f("uq_comparisons_key")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "providers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("base_url", sa.String(length=500), nullable=False),
        sa.Column("api_key_env_var", sa.String(length=100), nullable=False),
        sa.Column("site_url", sa.String(length=500), nullable=False),
        sa.Column("color", sa.String(length=20), nullable=False),
        sa.Column("models_api", JSON, nullable=False),
        sa.Column("admin_base_url", sa.String(length=500), nullable=True),
        sa.Column("admin_update_frequency", sa.String(length=10), nullable=True),
        sa.Column("last_synced_at", MOMENT, nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_providers")),
        sa.UniqueConstraint("slug", name=op.f("uq_providers_slug")),
    )
    op.create_table(
        "users",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("auth_stamp", sa.String(length=43), nullable=False),
        sa.Column("is_admin", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("sync_on_sign_in", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("changes_seen_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_sign_in_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "changes",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("comparison_id", BIG_ID, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("provider_model_id", sa.String(length=300), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("fields", JSON, nullable=False),
        sa.CheckConstraint("kind IN ('new', 'changed', 'unlisted', 'relisted')", name=op.f("ck_changes_kind")),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name=op.f("fk_changes_comparison_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
        sa.UniqueConstraint(
            "comparison_id", "provider_model_id", name=op.f("uq_changes_comparison_id_provider_model_id")
        ),
    )
    op.create_table(
        "listings",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("model_count", sa.Integer(), nullable=False),
        sa.Column("chat_count", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["providers.id"], name=op.f("fk_listings_provider_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listings")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_listings_fingerprint")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "models",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("provider_model_id", sa.String(length=300), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("kind_reason", sa.Text(), nullable=False),
        sa.Column("canonical_id", sa.String(length=300), nullable=True),
        sa.Column("match_rule", sa.String(length=20), nullable=False),
        sa.Column("context_length", sa.BigInteger(), nullable=True),
        sa.Column("max_output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("supports_streaming", sa.Boolean(), nullable=True),
        sa.Column("supports_function_calling", sa.Boolean(), nullable=True),
        sa.Column("supports_vision", sa.Boolean(), nullable=True),
        sa.Column("supports_reasoning", sa.Boolean(), nullable=True),
        sa.Column("supports_structured_output", sa.Boolean(), nullable=True),
        sa.Column("input_per_million", USD, nullable=True),
        sa.Column("output_per_million", USD, nullable=True),
        sa.Column("cache_read_per_million", USD, nullable=True),
        sa.Column("cache_write_per_million", USD, nullable=True),
        sa.Column(
            "pricing_prompt",
            sa.Numeric(precision=24, scale=15),
            sa.Computed("input_per_million / 1000000", persisted=True),
            nullable=True,
        ),
        sa.Column(
            "pricing_completion",
            sa.Numeric(precision=24, scale=15),
            sa.Computed("output_per_million / 1000000", persisted=True),
            nullable=True,
        ),
        sa.Column("released_at", MOMENT, nullable=True),
        sa.Column("deprecated_at", MOMENT, nullable=True),
        sa.Column("retires_at", MOMENT, nullable=True),
        sa.Column("facts_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["providers.id"], name=op.f("fk_models_provider_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("provider_id", "provider_model_id", name=op.f("uq_models_provider_id_provider_model_id")),
    )
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.create_index("ix_models_canonical_id", ["canonical_id"], unique=False)

    op.create_table(
        "runs",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("trigger", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("is_whole", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("total_new_models", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'lost')", name=op.f("ck_runs_state")),
        sa.CheckConstraint("trigger IN ('manual', 'sign-in', 'cron', 'api', 'cli')", name=op.f("ck_runs_trigger")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_runs_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(
            "ix_runs_live_lease_until",
            ["lease_until"],
            unique=False,
            postgresql_where=sa.text("state IN ('queued', 'running')"),
            sqlite_where=sa.text("state IN ('queued', 'running')"),
        )
        batch_op.create_index("ix_runs_user_id_id", ["user_id", "id"], unique=False)
        batch_op.create_index(
            "uq_runs_live_user_id",
            ["user_id"],
            unique=True,
            postgresql_where=sa.text("state IN ('queued', 'running')"),
            sqlite_where=sa.text("state IN ('queued', 'running')"),
        )

    op.create_table(
        "credentials",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=60), nullable=False),
        sa.Column("key_hint", sa.String(length=20), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.Column("vault_version", sa.Integer(), nullable=True),
        sa.Column("base_url", sa.String(length=500), nullable=True),
        sa.Column("key_number", sa.Integer(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("listing_id", BIG_ID, nullable=True),
        sa.Column("listed_at", MOMENT, nullable=True),
        sa.Column("listed_key_number", sa.Integer(), nullable=True),
        sa.Column("listing_is_whole", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("suspect_listing_id", BIG_ID, nullable=True),
        sa.Column("suspect_accepted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("check_asked_at", MOMENT, nullable=True),
        sa.Column("checked_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("model_count", sa.Integer(), nullable=True),
        sa.Column("chat_count", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_action", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('complete', 'unchanged', 'partial', 'suspect', 'failed', 'skipped')",
            name=op.f("ck_credentials_outcome"),
        ),
        sa.CheckConstraint(
            "(sealed_key IS NULL) = (vault_version IS NULL)", name=op.f("ck_credentials_sealed_with_version")
        ),
        sa.ForeignKeyConstraint(
            ["suspect_listing_id"],
            ["listings.id"],
            name=op.f("fk_credentials_suspect_listing_id"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listings.id"], name=op.f("fk_credentials_listing_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["providers.id"], name=op.f("fk_credentials_provider_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_credentials_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
        sa.UniqueConstraint("user_id", "provider_id", "label", name=op.f("uq_credentials_user_id_provider_id_label")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("credentials", schema=None) as batch_op:
        batch_op.create_index(
            "ix_credentials_active_user_id",
            ["user_id"],
            unique=False,
            postgresql_where=sa.text("is_active"),
            sqlite_where=sa.text("is_active"),
        )

    op.create_table(
        "results",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("run_id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("credential_id", BIG_ID, nullable=True),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=60), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("fetched", sa.Integer(), nullable=False),
        sa.Column("chat", sa.Integer(), nullable=False),
        sa.Column("new", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("unlisted", sa.Integer(), nullable=False),
        sa.Column("relisted", sa.Integer(), nullable=False),
        sa.Column("uncatalogued", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("skipped_entries", JSON, nullable=True),
        sa.Column("before_listing_id", BIG_ID, nullable=True),
        sa.Column("listing_id", BIG_ID, nullable=True),
        sa.Column("comparison_id", BIG_ID, nullable=True),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_action", sa.Text(), nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('complete', 'unchanged', 'partial', 'suspect', 'failed', 'skipped')",
            name=op.f("ck_results_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["before_listing_id"], ["listings.id"], name=op.f("fk_results_before_listing_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparisons.id"], name=op.f("fk_results_comparison_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["credentials.id"], name=op.f("fk_results_credential_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listings.id"], name=op.f("fk_results_listing_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["providers.id"], name=op.f("fk_results_provider_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_results_run_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_results_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results")),
        sa.UniqueConstraint("run_id", "credential_id", name=op.f("uq_results_run_id_credential_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.create_index(
            "ix_results_credential_id_comparison_id",
            ["credential_id", "comparison_id"],
            unique=False,
            postgresql_where=sa.text("comparison_id IS NOT NULL"),
            sqlite_where=sa.text("comparison_id IS NOT NULL"),
        )
        batch_op.create_index("ix_results_provider_id_run_id", ["provider_id", "run_id"], unique=False)
        batch_op.create_index("ix_results_user_id_ended_at", ["user_id", "ended_at"], unique=False)
    postgres = op.get_bind().dialect.name == "postgresql"
    names = ("jsonb_agg", "jsonb_build_object") if postgres else ("json_group_array", "json_object")
    op.execute(HISTORY_VIEW.format(aggregate=names[0], build=names[1]))


def downgrade() -> None:
    op.execute("DROP VIEW model_sync_history")
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.drop_index("ix_results_user_id_ended_at")
        batch_op.drop_index("ix_results_provider_id_run_id")
        batch_op.drop_index(
            "ix_results_credential_id_comparison_id",
            postgresql_where=sa.text("comparison_id IS NOT NULL"),
            sqlite_where=sa.text("comparison_id IS NOT NULL"),
        )

    op.drop_table("results")
    with op.batch_alter_table("credentials", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_credentials_active_user_id", postgresql_where=sa.text("is_active"), sqlite_where=sa.text("is_active")
        )

    op.drop_table("credentials")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_runs_live_user_id",
            postgresql_where=sa.text("state IN ('queued', 'running')"),
            sqlite_where=sa.text("state IN ('queued', 'running')"),
        )
        batch_op.drop_index("ix_runs_user_id_id")
        batch_op.drop_index(
            "ix_runs_live_lease_until",
            postgresql_where=sa.text("state IN ('queued', 'running')"),
            sqlite_where=sa.text("state IN ('queued', 'running')"),
        )

    op.drop_table("runs")
    with op.batch_alter_table("models", schema=None) as batch_op:
        batch_op.drop_index("ix_models_canonical_id")

    op.drop_table("models")
    op.drop_table("listings")
    op.drop_table("changes")
    op.drop_table("users")
    op.drop_table("providers")
    op.drop_table("comparisons")
    op.drop_table("catalog_versions")
    op.drop_table("canonical_models")
