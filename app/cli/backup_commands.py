"""`flask backup`: create, verify and restore backups."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
import redis
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from app import clock, config
from app.catalog import humanize
from app.cli import backup
from app.cli.backup import BackupError, Manifest, VerifyResult
from app.cli.errors import report_errors
from app.cli.install import UP_LOCK, flask_app, instance_lock, set_up
from app.cli.output import format_ids, json_option, print_json
from app.extensions import db
from app.jobs import queues
from app.store.accounts import sessions
from app.vault import Keyring

_RESTORE_NOTICE = (
    "Everybody has to sign in again. All else is as it was then: passwords, disabled accounts, and personal tokens and "
    "feed addresses, which count again if they were revoked since. `flask users disable` ends all those of an account."
)

backup_group = AppGroup("backup", help="The database in one file. Vault keys and the session secret are never in it.")


@backup_group.command("create")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@json_option("One object.")
@report_errors
def create(file: Path | None, as_json: bool) -> None:
    """Back the database up as of this moment, while everything runs. Without FILE: into the instance folder."""
    os.umask(0o077)
    target = (file or _default_file()).absolute()
    try:
        manifest = backup.create(target)
    except SQLAlchemyError:
        raise click.ClickException("The database cannot be read: see `flask doctor`. No backup was made.") from None
    if as_json:
        print_json([{"file": str(target), **asdict(manifest)}])
        return
    size = target.stat().st_size / 1024**2
    click.echo(f"Backed up {_describe_contents(manifest)} to {target} ({size:.1f} MB).")
    click.echo(_describe_missing_secrets())


@backup_group.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@json_option("One object.")
@report_errors
def verify(file: Path, as_json: bool) -> None:
    """See that a backup is whole and opens, and, where the private vault keys are, that its API keys do.

    Exit code 1 if anything is wrong.
    """
    result = backup.verify(file, _load_keyring())
    if as_json:
        api_keys = {"opened": result.opened, "do_not_open": result.unopenable} if result.has_keyring else None
        print_json([{**asdict(result.manifest), "api_keys": api_keys}])
    else:
        click.echo(f"{file} is whole: {_describe_contents(result.manifest)}, of {_format_created_at(result.manifest)}.")
        click.echo(_describe_keys(result))
    sys.exit(1 if result.unopenable else 0)


@backup_group.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Replace what the database holds.")
@report_errors
def restore(file: Path, yes: bool) -> None:
    """Put a backup in the database's place and bring it to this version. Stop Modelsync everywhere before."""
    instance = config.current().instance
    busy = f"Modelsync is running on {instance}: stop it, then restore."
    try:
        with instance_lock(instance, UP_LOCK, busy), backup.unpack(file) as (manifest, copy):
            backup.check_revision(manifest)
            backup.check_dialect(manifest)
            _check_no_workers()
            result = backup.verify_unpacked(manifest, copy, _load_keyring())
            if not yes and (existing := backup.describe_existing_data()):
                raise BackupError(f"The database holds {existing}: say --yes to replace all of it by the backup.")
            backup.replace_database(manifest, copy)
            set_up(flask_app())
            sessions.end_all_users()  # some were revoked after the backup
            db.session.commit()
    except SQLAlchemyError:
        raise click.ClickException("The database cannot be used: see `flask doctor`.") from None
    click.echo(
        f"Restored {_describe_contents(manifest)}, of {_format_created_at(manifest)}; the database is at this version."
    )
    click.echo(_describe_keys(result))
    click.echo(_RESTORE_NOTICE)


def _check_no_workers() -> None:
    with contextlib.suppress(redis.RedisError):  # no workers without Redis
        if queues.count_live_workers():
            raise BackupError("Workers are running: stop them and the web processes everywhere, then restore.")


def _load_keyring() -> Keyring | None:
    try:
        return config.load_keyring()
    except config.ConfigError:
        return None


def _default_file() -> Path:
    return config.current().instance / "backups" / f"modelsync-{clock.utc_now():%Y%m%dT%H%M%SZ}.zip"


def _describe_contents(manifest: Manifest) -> str:
    users, keys = manifest.rows.get("users", 0), sum(manifest.vault_versions.values())
    rows = sum(manifest.rows.values())
    return (
        f"{humanize.pluralize(users, 'account')}, {humanize.pluralize(keys, 'sealed API key')} and "
        f"{humanize.pluralize(rows, 'row')} in all (revision {manifest.revision})"
    )


def _format_created_at(manifest: Manifest) -> str:
    return f"{datetime.fromisoformat(manifest.created_at):%Y-%m-%d %H:%M} UTC"


def _describe_keys(result: VerifyResult) -> str:
    total = result.opened + len(result.unopenable)
    if not result.has_keyring:
        needed = ", ".join(result.manifest.vault_versions) or "none"
        return f"Its API keys were not tried: VAULT_PRIVATE_KEYS is not here (versions needed: {needed})."
    if result.unopenable:
        return (
            f"{len(result.unopenable)} of {humanize.pluralize(total, 'API key')} do not open with VAULT_PRIVATE_KEYS "
            f"(numbers {format_ids(result.unopenable)}): put the private key of then into it before you start."
        )
    return f"{humanize.pluralize(total, 'API key')}, all open with VAULT_PRIVATE_KEYS."


def _describe_missing_secrets() -> str:
    """Which secrets the backup lacks, and where they are stored."""
    vault, session = (f"{name} ({_secret_location(name)})" for name in ("VAULT_PRIVATE_KEYS", "SECRET_KEY"))
    return f"It holds neither {vault} nor {session}: keep these too, apart from it. Without the first no API key opens."


def _secret_location(name: str) -> str:
    if os.environ.get(name):
        return "in the environment"
    if path := os.environ.get(f"{name}_FILE"):
        return path
    file = config.secret_path(config.current().instance, name)
    return str(file) if file.is_file() else "not on this machine"
