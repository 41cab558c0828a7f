"""What every command of the shell does first, and how its known failures are told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from flask import current_app

from app import config
from app.cli.install import NotReady, ready
from app.vault import VaultError


def sentences(command: Callable[..., Any]) -> Callable[..., Any]:
    """Make the installation ready first; a known failure is one sentence and exit code 1."""

    @functools.wraps(command)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            ready(current_app._get_current_object())  # type: ignore[attr-defined]
            return command(*args, **kwargs)
        except (config.ConfigError, NotReady, VaultError) as error:
            raise click.ClickException(str(error)) from None

    return told
