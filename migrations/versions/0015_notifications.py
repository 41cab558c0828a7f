"""notifications: of what a person is told in the app, and by letters"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# The types as they were when this migration was made; it must not follow the tables as they change.
MOMENT = sa.DateTime(timezone=True)
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("topics", sa.String(length=40), nullable=False),
        sa.Column("stop_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("told_run_id", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("put_off_until", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_subscriptions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("user_id", name=op.f("uq_subscriptions_user_id")),
        sqlite_autoincrement=True,
    )
    op.add_column("users", sa.Column("told_topics", sa.String(length=40), server_default="new", nullable=False))


def downgrade() -> None:
    op.drop_column("users", "told_topics")
    op.drop_table("subscriptions")
