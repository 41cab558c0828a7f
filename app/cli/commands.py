"""Registers the `flask` commands that run within the app. (`flask up` is registered by wsgi.py's entry point.)"""

from __future__ import annotations

from flask import Flask

from app.cli import batch_commands as batch_commands  # adds its commands to sync_group
from app.cli.backup_commands import backup_group
from app.cli.catalog_commands import catalog_group
from app.cli.doctor import doctor
from app.cli.help_commands import config_group, print_recipes
from app.cli.history_commands import history_group
from app.cli.key_commands import keys_group
from app.cli.model_commands import models_group
from app.cli.override_commands import overrides_group
from app.cli.process_commands import schedule, setup_command, work
from app.cli.provider_commands import providers_group
from app.cli.sync_commands import sync_group
from app.cli.token_commands import tokens_group
from app.cli.user_commands import users_group
from app.cli.vault_commands import vault_group


def init_app(app: Flask) -> None:
    accounts = (users_group, keys_group, tokens_group, vault_group, backup_group)
    models = (providers_group, models_group, catalog_group, overrides_group, sync_group, history_group)
    for command in (*accounts, *models, doctor, config_group, print_recipes, setup_command, work, schedule):
        app.cli.add_command(command)
