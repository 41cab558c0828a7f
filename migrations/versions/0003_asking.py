"""when a key may be asked with again, and by what to ask whether its list changed"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The types as they were when this migration was made; it must not follow the tables as they change.
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("credentials", sa.Column("put_off_until", MOMENT, nullable=True))
    op.add_column("credentials", sa.Column("validators", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("credentials", "validators")
    op.drop_column("credentials", "put_off_until")
