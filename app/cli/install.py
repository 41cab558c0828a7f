"""Make an installation ready to be used: secrets, tables, providers, catalog."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import flask_migrate
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from flask import Flask
from sqlalchemy.exc import OperationalError

from app import config
from app.extensions import db
from app.store import rotation
from app.sync.catalog.bootstrap import bootstrap
from app.sync.run import utc_now


class NotReady(Exception):
    """The database cannot be used as it is. Its text is a sentence with the remedy."""


def ready(app: Flask) -> None:
    """For a command of the shell: make what is missing, quietly. Raises ConfigError or NotReady."""
    os.umask(0o077)
    settings: config.Settings = app.config["SETTINGS"]
    if not settings.production and not settings.vault_public_key:
        with _one_at_a_time(settings):
            config.make_secrets(os.environ, settings.instance)
        app.config.from_mapping(config.flask_config(config.load()))
    set_up(app)


def set_up(app: Flask) -> None:
    """Migrate to this version and prepare; does nothing to a database that is up to date.

    Raises NotReady if the database cannot be reached or was made by a newer version.
    """
    settings: config.Settings = app.config["SETTINGS"]
    with app.app_context():
        try:
            with _one_at_a_time(settings):
                _migrate(app, settings)
                bootstrap(utc_now())
                if settings.vault_public_key:
                    rotation.save_known_answer(config.load_public_key(settings), utc_now())
                    db.session.commit()
        except OperationalError as error:
            raise NotReady(unreachable(settings, error)) from None
        finally:
            db.session.remove()


@contextlib.contextmanager
def _one_at_a_time(settings: config.Settings) -> Iterator[None]:
    """Commands typed at one moment on a fresh folder make it once. (PostgreSQL has a lock of its own as well.)"""
    try:
        settings.instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (settings.instance / "setup.lock").open("a")
    except OSError as error:
        raise NotReady(
            f"The folder {settings.instance} cannot be written ({error.strerror}): make it writable, "
            "or name another one in MODELSYNC_INSTANCE."
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _migrate(app: Flask, settings: config.Settings) -> None:
    if settings.database_url.startswith("sqlite:///"):
        Path(settings.database_url.removeprefix("sqlite:///")).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = str(config.ROOT / "migrations")
    scripts = ScriptDirectory(directory)
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is not None:
        try:
            scripts.get_revision(current)
        except CommandError:
            raise NotReady(
                f"This database was made by a newer Modelsync (its revision is {current}): "
                "update this copy, or restore a backup made before the update."
            ) from None
    logging.getLogger("alembic").setLevel(logging.WARNING)
    flask_migrate.upgrade(directory)


def unreachable(settings: config.Settings, error: OperationalError) -> str:
    if settings.database_url.startswith("sqlite"):
        return f"The database file of {settings.instance} cannot be opened ({error.orig}): check the folder's rights."
    # psycopg's text names host and user, never the password; its first line is enough.
    reason = str(error.orig).strip().splitlines()[0]
    return f"The database at DATABASE_URL cannot be reached ({reason}): start it, or correct the address."
