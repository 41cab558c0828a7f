"""The `modelsync` command: what `flask` offers in a clone, from any folder and without FLASK_APP."""

from __future__ import annotations

import importlib
import os

import click
from dotenv import load_dotenv
from flask import Flask
from flask.cli import FlaskGroup

from app.paths import WSGI_MODULE, base_folder


def main() -> None:
    """Entry point of the console script."""
    if "FLASK_SKIP_DOTENV" not in os.environ:
        load_dotenv(base_folder(os.environ) / ".env")  # never the current folder's, which may be another project's
    _group()


def _load_app() -> Flask:
    app: Flask = importlib.import_module(WSGI_MODULE).app
    return app


_group = FlaskGroup(
    create_app=_load_app,
    add_default_commands=False,
    add_version_option=False,
    load_dotenv=False,
    set_debug_flag=False,
    help="`modelsync up` starts everything.",
)
_group.params.clear()  # Flask's, which would load another app
click.version_option(package_name="modelsync", prog_name="modelsync", message="%(prog)s %(version)s")(_group)
