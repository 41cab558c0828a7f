"""when a key is due, the server's own keys, cancelled runs, and what was asked of a provider"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The types as they were when this migration was made; it must not follow the tables as they change.
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)

STATES = "'queued', 'running', 'done', 'lost'"
TRIGGERS = "'manual', 'sign-in', 'cron', 'api', 'cli'"


def upgrade() -> None:
    op.add_column("users", sa.Column("is_server", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("users", sa.Column("disabled_at", MOMENT, nullable=True))
    where = {"postgresql_where": sa.text("is_server"), "sqlite_where": sa.text("is_server")}
    op.create_index("uq_users_is_server", "users", ["is_server"], unique=True, **where)
    op.add_column("credentials", sa.Column("due_at", MOMENT, nullable=True))
    op.add_column("credentials", sa.Column("suspect_count", sa.Integer(), server_default="0", nullable=False))
    # All that is there is due now; the first sweep spreads it.
    op.execute("UPDATE credentials SET due_at = CURRENT_TIMESTAMP WHERE is_active")
    where = {"postgresql_where": sa.text("is_active"), "sqlite_where": sa.text("is_active")}
    op.create_index("ix_credentials_due_at", "credentials", ["due_at"], unique=False, **where)
    op.add_column("results", sa.Column("requests", JSON, nullable=True))
    _allow("state", STATES, f"{STATES}, 'cancelled'")
    _allow("trigger", TRIGGERS, f"{TRIGGERS}, 'schedule'")


def downgrade() -> None:
    op.execute("UPDATE runs SET state = 'lost' WHERE state = 'cancelled'")
    op.execute("UPDATE runs SET trigger = 'cron' WHERE trigger = 'schedule'")
    op.execute("DELETE FROM users WHERE is_server")
    _allow("trigger", f"{TRIGGERS}, 'schedule'", TRIGGERS)
    _allow("state", f"{STATES}, 'cancelled'", STATES)
    op.drop_column("results", "requests")
    op.drop_index("ix_credentials_due_at", table_name="credentials")
    op.drop_column("credentials", "suspect_count")
    op.drop_column("credentials", "due_at")
    op.drop_index("uq_users_is_server", table_name="users")
    op.drop_column("users", "disabled_at")
    op.drop_column("users", "is_server")


def _allow(column: str, before: str, after: str) -> None:
    """Other words for a column of runs."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f(f"ck_runs_{column}"), "runs", type_="check")
        op.create_check_constraint(op.f(f"ck_runs_{column}"), "runs", f"{column} IN ({after})")
        return
    # SQLite cannot alter a constraint, and making the table anew would take the results of all runs with it
    # (they follow it). A check is only text in the schema: https://www.sqlite.org/lang_altertable.html, section 8.
    op.execute("PRAGMA writable_schema = ON")
    statement = sa.text("UPDATE sqlite_master SET sql = replace(sql, :before, :after) WHERE name = 'runs'")
    op.get_bind().execute(statement, {"before": f"{column} IN ({before})", "after": f"{column} IN ({after})"})
    op.execute("PRAGMA writable_schema = RESET")
