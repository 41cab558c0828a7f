"""marks: models that a person starred or hid, and the columns of their page of models"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=300), nullable=False),
        sa.Column("mark", sa.String(length=8), nullable=False),
        sa.Column("marked_at", MOMENT, nullable=False),
        sa.CheckConstraint("mark IN ('starred', 'hidden', 'plain')", name=op.f("ck_marks_mark")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_marks_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_marks")),
        sa.UniqueConstraint("user_id", "provider", "model_id", name=op.f("uq_marks_user_id_provider_model_id")),
    )
    op.add_column("users", sa.Column("model_columns", sa.String(length=200), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "model_columns")
    op.drop_table("marks")
