"""what the admin's charts and lists are read from: counted days, and indexes of what ended and what fails"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("word", sa.String(length=12), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "slug", "word", name=op.f("pk_tallies")),
    )
    op.create_index("ix_runs_ended_at_state", "runs", ["ended_at", "state"], unique=False)
    columns = ["ended_at", "provider_id", "outcome"]
    op.create_index("ix_results_ended_at_provider_id_outcome", "results", columns, unique=False)
    where = {"postgresql_where": sa.text("outcome = 'failed'"), "sqlite_where": sa.text("outcome = 'failed'")}
    op.create_index("ix_credentials_failed_id", "credentials", ["id"], unique=False, **where)


def downgrade() -> None:
    op.drop_index("ix_credentials_failed_id", table_name="credentials")
    op.drop_index("ix_results_ended_at_provider_id_outcome", table_name="results")
    op.drop_index("ix_runs_ended_at_state", table_name="runs")
    op.drop_table("tallies")
