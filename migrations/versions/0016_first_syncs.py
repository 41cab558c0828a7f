"""the first sync of a new key, and what each run changed in all"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TRIGGERS = "'manual', 'sign-in', 'cron', 'api', 'cli', 'schedule'"
KINDS = ("changed", "unlisted", "relisted")
COLUMNS = {
    "runs": ("id", *(f"total_{kind}" for kind in KINDS)),
    "results": ("run_id", "provider_id", "comparison_id"),
    "changes": ("comparison_id", "kind", "provider_model_id"),
}


def upgrade() -> None:
    _allow(TRIGGERS, f"{TRIGGERS}, 'new-key'")
    where = sa.text("check_asked_at IS NOT NULL")
    op.create_index(
        "ix_credentials_check_asked_at",
        "credentials",
        ["check_asked_at"],
        unique=False,
        postgresql_where=where,
        sqlite_where=where,
    )
    runs, results, changes = (sa.table(name, *map(sa.column, columns)) for name, columns in COLUMNS.items())
    model = sa.cast(results.c.provider_id, sa.String) + " " + changes.c.provider_model_id
    same_comparison = changes.c.comparison_id == results.c.comparison_id
    for kind in KINDS:
        op.add_column("runs", sa.Column(f"total_{kind}", sa.Integer(), server_default="0", nullable=False))
        total = sa.select(sa.func.count(model.distinct())).select_from(results.join(changes, same_comparison))
        total = total.where(results.c.run_id == runs.c.id, changes.c.kind == kind)
        op.execute(sa.update(runs).values({f"total_{kind}": total.scalar_subquery()}))


def downgrade() -> None:
    for kind in reversed(KINDS):
        op.drop_column("runs", f"total_{kind}")
    op.drop_index("ix_credentials_check_asked_at", table_name="credentials")
    op.execute("UPDATE runs SET trigger = 'manual' WHERE trigger = 'new-key'")
    _allow(f"{TRIGGERS}, 'new-key'", TRIGGERS)


def _allow(before: str, after: str) -> None:
    """Other triggers of runs; on SQLite as in 0004."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_runs_trigger"), "runs", type_="check")
        op.create_check_constraint(op.f("ck_runs_trigger"), "runs", f"trigger IN ({after})")
        return
    op.execute("PRAGMA writable_schema = ON")
    statement = sa.text("UPDATE sqlite_master SET sql = replace(sql, :before, :after) WHERE name = 'runs'")
    op.get_bind().execute(statement, {"before": f"trigger IN ({before})", "after": f"trigger IN ({after})"})
    op.execute("PRAGMA writable_schema = RESET")
