"""plans: what a sync would write, kept with the answers it would be written from"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# The types as they were when this migration was made; it must not follow the tables as they change.
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COUNTS = ("fetched", "chat", "new", "changed", "unlisted", "relisted", "uncatalogued", "skipped")


def upgrade() -> None:
    op.create_table(
        "plans",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("providers", JSON, nullable=False),
        sa.Column("made_by_id", BIG_ID, nullable=True),
        sa.Column("made_by", sa.String(length=320), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("begun_at", MOMENT, nullable=True),
        sa.Column("made_at", MOMENT, nullable=True),
        sa.Column("catalog_version", sa.Integer(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("applied_at", MOMENT, nullable=True),
        sa.Column("run_id", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(["made_by_id"], ["users.id"], name=op.f("fk_plans_made_by_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_plans_run_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("run_id", name=op.f("uq_plans_run_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "plan_parts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("plan_id", BIG_ID, nullable=False),
        sa.Column("provider_id", sa.Integer(), nullable=False),
        sa.Column("credential_id", BIG_ID, nullable=True),
        sa.Column("key_number", sa.Integer(), nullable=False),
        sa.Column("before_listing_id", BIG_ID, nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("error_code", sa.String(length=40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_action", sa.Text(), nullable=True),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_parts_plan_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["providers.id"], name=op.f("fk_plan_parts_provider_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["credentials.id"], name=op.f("fk_plan_parts_credential_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["before_listing_id"], ["listings.id"], name=op.f("fk_plan_parts_before_listing_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_parts")),
        sa.UniqueConstraint("plan_id", "provider_id", name=op.f("uq_plan_parts_plan_id_provider_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_plan_parts_before_listing_id", "plan_parts", ["before_listing_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_plan_parts_before_listing_id", table_name="plan_parts")
    op.drop_table("plan_parts")
    op.drop_table("plans")
