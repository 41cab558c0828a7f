"""vault: a known answer sealed to each public vault key, to see whether the private ones at hand are the right ones"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "known_answers",
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("public_key", name=op.f("pk_known_answers")),
    )


def downgrade() -> None:
    op.drop_table("known_answers")
