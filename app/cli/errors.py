"""What every command of the shell does first, and how its known failures are told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from flask import current_app
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import config
from app.cli.install import NotReady, ready
from app.extensions import db
from app.store.engine.db_errors import DatabaseProblem, classify
from app.vault import VaultError

_TROUBLES: dict[DatabaseProblem, str] = {
    "full": "The disk of the database is full: make room, then do it again.",
    "busy": "The database is busy, somebody else is writing to it: do it again in a moment.",
    "read_only": "The database is read-only: nothing can be saved.",
    "crowded": "The database has no free connection: do it again in a moment.",
    "starting": "The database is being started or stopped: do it again in a moment.",
    "damaged": "The database is damaged: restore it from a backup (`flask backup restore`).",
    "away": "The database cannot be reached: look at it and at DATABASE_URL, then do it again.",
}


def sentences(command: Callable[..., Any]) -> Callable[..., Any]:
    """Make the installation ready first; a known failure is one sentence and exit code 1."""

    @functools.wraps(command)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            ready(current_app._get_current_object())  # type: ignore[attr-defined]
            return command(*args, **kwargs)
        except (config.ConfigError, NotReady, VaultError) as error:
            raise click.ClickException(str(error)) from None
        except (DBAPIError, PoolTimeout) as error:
            if (trouble := classify(error)) is None:
                raise
            db.session.rollback()
            raise click.ClickException(_TROUBLES[trouble]) from None

    return told
