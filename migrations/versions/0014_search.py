"""the text that the page of models is searched by, and names short enough for PostgreSQL's indexes

What is listed holds nothing of its own: it is made anew by the start that follows; see app/sync/catalog/bootstrap.py.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _empty()
    op.add_column("listed_models", sa.Column("search", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("listed_models") as table:
        table.alter_column("search", existing_type=sa.Text(), existing_nullable=False, server_default=None)
    op.create_index("ix_listed_models_search", "listed_models", ["listing_id", "kind", "search", "provider_model_id"])


def downgrade() -> None:
    _empty()
    op.drop_index("ix_listed_models_search", table_name="listed_models")
    op.drop_column("listed_models", "search")


def _empty() -> None:
    op.execute("DELETE FROM listed_models")
    op.execute("UPDATE listings SET is_shown = false WHERE is_shown")
