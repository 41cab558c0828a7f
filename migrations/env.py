"""Run migrations within the app, on its own engine; on PostgreSQL one process at a time."""

from alembic import context
from flask import current_app
from sqlalchemy import text

_LOCK = 0x6D6F64656C73  # any number, the same in every process of ours


def run() -> None:
    extension = current_app.extensions["migrate"]
    with extension.db.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            connection.commit()
        context.configure(connection=connection, target_metadata=extension.db.metadata, **extension.configure_args)
        try:
            with context.begin_transaction():
                context.run_migrations()
        finally:
            if connection.dialect.name == "postgresql":
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
                connection.commit()


if context.is_offline_mode():
    context.configure(
        url=str(current_app.extensions["migrate"].db.engine.url),
        target_metadata=current_app.extensions["migrate"].db.metadata,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    run()
