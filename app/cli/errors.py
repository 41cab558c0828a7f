"""Decorator of commands: prepares the installation and prints known failures as one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import config
from app.cli.install import InstallationError, flask_app, prepare
from app.extensions import db
from app.store.engine.db_errors import DatabaseProblem, classify
from app.vault import VaultError

_DATABASE_MESSAGES: dict[DatabaseProblem, str] = {
    "full": "The disk of the database is full: make room, then do it again.",
    "busy": "The database is busy, somebody else is writing to it: do it again in a moment.",
    "read_only": "The database is read-only: nothing can be saved.",
    "crowded": "The database has no free connection: do it again in a moment.",
    "starting": "The database is being started or stopped: do it again in a moment.",
    "damaged": "The database is damaged: restore it from a backup (`flask backup restore`).",
    "away": "The database cannot be reached: look at it and at DATABASE_URL, then do it again.",
}


def report_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Prepare the installation first; turn known failures into one sentence and exit code 1."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            prepare(flask_app())
            return command(*args, **kwargs)
        except (config.ConfigError, InstallationError, VaultError) as error:
            raise click.ClickException(str(error)) from None
        except (DBAPIError, PoolTimeout) as error:
            if (problem := classify(error)) is None:
                raise
            db.session.rollback()
            raise click.ClickException(_DATABASE_MESSAGES[problem]) from None

    return wrapped
