"""the indexes that deleting a key, the badge and a filter by state look up by"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_results_credential_id", "results", ["credential_id"])
    news = {"postgresql_where": sa.text("new > 0"), "sqlite_where": sa.text("new > 0")}
    op.create_index("ix_results_user_id_news", "results", ["user_id", "ended_at"], **news)
    odd = {"postgresql_where": sa.text("state <> 'done'"), "sqlite_where": sa.text("state <> 'done'")}
    op.create_index("ix_runs_state_id", "runs", ["state", "id"], **odd)


def downgrade() -> None:
    op.drop_index("ix_runs_state_id", table_name="runs")
    op.drop_index("ix_results_user_id_news", table_name="results")
    op.drop_index("ix_results_credential_id", table_name="results")
