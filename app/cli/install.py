"""Prepares an installation: secrets, tables, providers, catalog."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import flask_migrate
from alembic.runtime.migration import MigrationContext
from flask import Flask, current_app
from sqlalchemy.exc import OperationalError

from app import clock, config
from app.extensions import db
from app.paths import RESOURCES
from app.store import rotation
from app.store.engine import migrations
from app.sync.catalog.bootstrap import bootstrap

_SETUP_LOCK = "setup.lock"
"""Serialises concurrent commands on a new instance. On PostgreSQL the migrations take a lock of their own as well."""
UP_LOCK = "up.lock"
"""Held while `flask up` runs on the instance."""


class InstallationError(Exception):
    """The installation cannot be used as it is. The message is a sentence with the remedy."""


def flask_app() -> Flask:
    """The app behind `current_app`."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def prepare(app: Flask) -> None:
    """Before a command: create whatever is missing. Raises ConfigError or InstallationError."""
    os.umask(0o077)
    settings: config.Settings = app.config["SETTINGS"]
    if not settings.production and not settings.vault_public_key:
        with instance_lock(settings.instance, _SETUP_LOCK):
            config.make_secrets(os.environ, settings.instance)
        app.config.from_mapping(config.flask_config(config.load()))
    set_up(app)


def set_up(app: Flask) -> None:
    """Migrate the database and load providers and catalog; a no-op if it is up to date.

    Raises InstallationError if the database cannot be reached or was made by a newer version.
    """
    settings: config.Settings = app.config["SETTINGS"]
    with app.app_context():
        try:
            with instance_lock(settings.instance, _SETUP_LOCK):
                _migrate(settings)
                bootstrap(clock.utc_now())
                if settings.vault_public_key:
                    rotation.save_known_answer(config.load_public_key(settings), clock.utc_now())
                    db.session.commit()
        except OperationalError as error:
            raise InstallationError(describe_unreachable(settings, error)) from None
        finally:
            db.session.remove()


@contextlib.contextmanager
def instance_lock(instance: Path, name: str, busy_message: str = "") -> Iterator[None]:
    """Hold an exclusive lock on a file in the instance folder. Waits for it, or with `busy_message` raises instead.

    Raises InstallationError.
    """
    try:
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (instance / name).open("a")
    except OSError as error:
        raise InstallationError(
            f"The folder {instance} cannot be written ({error.strerror}): make it writable, "
            "or name another one in MODELSYNC_INSTANCE."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy_message else 0))
        except BlockingIOError:
            raise InstallationError(busy_message) from None
        yield


def _migrate(settings: config.Settings) -> None:
    if settings.database_url.startswith("sqlite:///"):
        Path(settings.database_url.removeprefix("sqlite:///")).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    known = migrations.code_revisions()
    if current == known[0]:
        return
    if current is not None and current not in known:
        raise InstallationError(
            f"This database was made by a newer Modelsync (its revision is {current}): "
            "update this copy, or restore a backup made before the update."
        )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    flask_migrate.upgrade(str(RESOURCES / "migrations"))


def describe_unreachable(settings: config.Settings, error: OperationalError) -> str:
    if settings.database_url.startswith("sqlite"):
        return f"The database file of {settings.instance} cannot be opened ({error.orig}): check the folder's rights."
    # psycopg's message names host and user, never the password.
    reason = str(error.orig).strip().splitlines()[0]
    return f"The database at DATABASE_URL cannot be reached ({reason}): start it, or correct the address."
