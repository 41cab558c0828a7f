"""the catalog keeps itself fresh; overrides, decisions and their log; the page of models by SQL"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The types as they were when this migration was made; it must not follow the tables as they change.
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
USD = sa.Numeric(18, 9).with_variant(sa.Float(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "catalog_sources",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("etag", sa.String(length=200), nullable=False),
        sa.Column("last_modified", sa.String(length=100), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("content_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("model_count", sa.Integer(), nullable=False),
        sa.Column("checked_at", MOMENT, nullable=True),
        sa.Column("fetched_at", MOMENT, nullable=True),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_catalog_sources")),
    )
    op.create_table(
        "catalog_refreshes",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("trigger", sa.String(length=10), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("model_count", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "outcome IN ('updated', 'unchanged', 'refused', 'failed')", name=op.f("ck_catalog_refreshes_outcome")
        ),
        sa.CheckConstraint("trigger IN ('schedule', 'button', 'cli')", name=op.f("ck_catalog_refreshes_trigger")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_refreshes")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "decisions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column("value", JSON, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind IN ('match', 'canonical', 'field', 'setting')", name=op.f("ck_decisions_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_decisions_kind_subject")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_log",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor_id", BIG_ID, nullable=True),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column("before", JSON, nullable=True),
        sa.Column("after", JSON, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("undoes_id", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(["actor_id"], ["users.id"], name=op.f("fk_audit_log_actor_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["undoes_id"], ["audit_log.id"], name=op.f("fk_audit_log_undoes_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("undoes_id", name=op.f("uq_audit_log_undoes_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "overrides",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("canonical_id", sa.String(length=300), nullable=False),
        sa.Column("provider_model_id", sa.String(length=300), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("pricing", JSON, nullable=True),
        sa.Column("limits", JSON, nullable=True),
        sa.Column("capabilities", JSON, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("priority >= 0 AND priority <= 1000000", name=op.f("ck_overrides_priority")),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["providers.id"], name=op.f("fk_overrides_provider_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_overrides")),
        sa.UniqueConstraint(
            "provider_id", "canonical_id", "priority", name=op.f("uq_overrides_provider_id_canonical_id_priority")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_overrides_canonical_id", "overrides", ["canonical_id"])
    op.create_table(
        "listed_models",
        sa.Column("listing_id", BIG_ID, nullable=False),
        sa.Column("provider_model_id", sa.String(length=300), nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sort_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("kind_reason", sa.Text(), nullable=False),
        sa.Column("canonical_id", sa.String(length=300), nullable=True),
        sa.Column("match_rule", sa.String(length=20), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("context_length", sa.BigInteger(), nullable=True),
        sa.Column("max_output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("streaming", sa.Boolean(), nullable=True),
        sa.Column("tools", sa.Boolean(), nullable=True),
        sa.Column("vision", sa.Boolean(), nullable=True),
        sa.Column("reasoning", sa.Boolean(), nullable=True),
        sa.Column("structured_output", sa.Boolean(), nullable=True),
        sa.Column("input_per_million", USD, nullable=True),
        sa.Column("output_per_million", USD, nullable=True),
        sa.Column("cache_read_per_million", USD, nullable=True),
        sa.Column("cache_write_per_million", USD, nullable=True),
        sa.Column("documented", sa.String(length=10), nullable=False),
        sa.Column("deprecated_on", sa.String(length=10), nullable=False),
        sa.Column("retires_on", sa.String(length=10), nullable=False),
        sa.Column("successor", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listings.id"], name=op.f("fk_listed_models_listing_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["providers.id"], name=op.f("fk_listed_models_provider_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("listing_id", "provider_model_id", name=op.f("pk_listed_models")),
    )
    op.create_index("ix_listed_models_canonical_id", "listed_models", ["canonical_id"])
    for name, column in (("context", "context_length"), ("input", "input_per_million"), ("name", "sort_name")):
        op.create_index(
            f"ix_listed_models_{name}", "listed_models", ["listing_id", "kind", column, "provider_model_id"]
        )
    with op.batch_alter_table("catalog_versions") as versions:
        versions.drop_constraint(op.f("uq_catalog_versions_version"), type_="unique")
    # What is in force is shown by the start that follows; see app/sync/catalog/bootstrap.py.
    op.add_column("listings", sa.Column("is_shown", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index(
        "ix_listings_is_shown",
        "listings",
        ["id"],
        postgresql_where=sa.text("is_shown"),
        sqlite_where=sa.text("is_shown"),
    )
    op.add_column("models", sa.Column("variant", sa.Text(), server_default="", nullable=False))
    op.add_column("models", sa.Column("snapshot", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("models", "snapshot")
    op.drop_column("models", "variant")
    op.drop_index("ix_listings_is_shown", "listings")
    op.drop_column("listings", "is_shown")
    # A catalog that came twice: its newest time is enough for the version before this one.
    op.execute("DELETE FROM catalog_versions WHERE id NOT IN (SELECT max(id) FROM catalog_versions GROUP BY version)")
    with op.batch_alter_table("catalog_versions") as versions:
        versions.create_unique_constraint(op.f("uq_catalog_versions_version"), ["version"])
    op.drop_table("listed_models")
    op.drop_table("overrides")
    op.drop_table("audit_log")
    op.drop_table("decisions")
    op.drop_table("catalog_refreshes")
    op.drop_table("catalog_sources")
