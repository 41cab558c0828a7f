"""Decorators of commands: prepare the installation, print known failures as one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import config
from app.catalog.overrides import OverrideError
from app.cli.install import InstallationError, flask_app, prepare
from app.cli.postgres_tools import BackupError
from app.extensions import db
from app.providers.addresses import InvalidBaseURL
from app.store.accounts.user_actions import UserActionError
from app.store.credentials import TooManyKeys
from app.store.engine.db_errors import DatabaseProblem, classify
from app.sync.http.errors import SyncError
from app.sync.planning import StalePlan, SyncInProgress
from app.vault import VaultError

_KNOWN_ERRORS = (
    BackupError,
    InstallationError,
    InvalidBaseURL,
    OverrideError,
    StalePlan,
    SyncError,
    SyncInProgress,
    TooManyKeys,
    UserActionError,
    VaultError,
    config.ConfigError,
)
"""Their messages are sentences for the operator."""
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
    """Turn known failures into one sentence and exit code 1, and roll back."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except _KNOWN_ERRORS as error:
            db.session.rollback()
            raise click.ClickException(str(error)) from None
        except (DBAPIError, PoolTimeout) as error:
            if (problem := classify(error)) is None:
                raise
            db.session.rollback()
            raise click.ClickException(_DATABASE_MESSAGES[problem]) from None

    return run


def require_installation(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `report_errors`, and prepare the installation first."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        prepare(flask_app())
        return command(*args, **kwargs)

    return report_errors(run)
