"""`flask backup`: the database in one file, looked at, and put back."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import redis
from flask import current_app
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from app import config, jobs
from app.catalog import humanize
from app.cli import backup
from app.cli.backup import BackupError, Manifest, Verified
from app.cli.install import NotReady, set_up
from app.cli.output import print_json
from app.extensions import db
from app.store.accounts import sessions
from app.vault import Keyring

_AS_THEN = (
    "Everybody has to sign in again. All else is as it was then: passwords, disabled accounts, and personal tokens and "
    "feed addresses, which count again if they were revoked since. `flask users disable` ends all those of an account."
)

backup_group = AppGroup("backup", help="The database in one file. Vault keys and the session secret are never in it.")


@backup_group.command("create")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One object.")
def create(file: Path | None, as_json: bool) -> None:
    """Back the database up as of this moment, while everything runs. Without FILE: into the instance folder."""
    os.umask(0o077)
    target = (file or _default_file()).absolute()
    try:
        manifest = backup.create(target)
    except BackupError as error:
        raise click.ClickException(str(error)) from None
    except SQLAlchemyError:
        raise click.ClickException("The database cannot be read: see `flask doctor`. No backup was made.") from None
    if as_json:
        print_json([{"file": str(target), **asdict(manifest)}])
        return
    size = target.stat().st_size / 1024**2
    click.echo(f"Backed up {_what(manifest)} to {target} ({size:.1f} MB).")
    click.echo(_apart())


@backup_group.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One object.")
def verify(file: Path, as_json: bool) -> None:
    """See that a backup is whole and opens, and, where the private vault keys are, that its API keys do.

    Exit code 1 if anything is wrong.
    """
    try:
        found = backup.verify(file, _vault())
    except BackupError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        keys = {"opened": found.opened, "do_not_open": found.shut} if found.tried else None
        print_json([{**asdict(found.manifest), "api_keys": keys}])
    else:
        click.echo(f"{file} is whole: {_what(found.manifest)}, of {_moment(found.manifest)}.")
        click.echo(_keys(found))
    sys.exit(1 if found.shut else 0)


@backup_group.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Replace what the database holds.")
def restore(file: Path, yes: bool) -> None:
    """Put a backup in the database's place and bring it to this version. Stop Modelsync everywhere before."""
    settings = config.current()
    try:
        with backup.stopped(settings.instance), backup.unpacked(file) as (manifest, copy):
            backup.refuse_newer(manifest)
            backup.refuse_other_kind(manifest)
            _refuse_workers()
            found = backup.look_into(manifest, copy, _vault())
            if not yes and (missed := backup.in_the_way()):
                raise BackupError(f"The database holds {missed}: say --yes to replace all of it by the backup.")
            backup.put_in_place(manifest, copy)
            set_up(current_app._get_current_object())  # type: ignore[attr-defined]
            sessions.end_all_users()  # some of them had ended since
            db.session.commit()
    except (BackupError, NotReady, config.ConfigError) as error:
        raise click.ClickException(str(error)) from None
    except SQLAlchemyError:
        raise click.ClickException("The database cannot be used: see `flask doctor`.") from None
    click.echo(f"Restored {_what(manifest)}, of {_moment(manifest)}; the database is at this version.")
    click.echo(_keys(found))
    click.echo(_AS_THEN)


def _refuse_workers() -> None:
    with contextlib.suppress(redis.RedisError):  # without its queue nobody works
        if jobs.count_live_workers():
            raise BackupError("Workers are running: stop them and the web processes everywhere, then restore.")


def _vault() -> Keyring | None:
    try:
        return config.load_keyring()
    except config.ConfigError:
        return None


def _default_file() -> Path:
    return config.current().instance / "backups" / f"modelsync-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip"


def _what(manifest: Manifest) -> str:
    users, keys = manifest.rows.get("users", 0), sum(manifest.vault_versions.values())
    rows = sum(manifest.rows.values())
    return (
        f"{humanize.pluralize(users, 'account')}, {humanize.pluralize(keys, 'sealed API key')} and "
        f"{humanize.pluralize(rows, 'row')} in all (revision {manifest.revision})"
    )


def _moment(manifest: Manifest) -> str:
    return f"{datetime.fromisoformat(manifest.created_at):%Y-%m-%d %H:%M} UTC"


def _keys(found: Verified) -> str:
    total = found.opened + len(found.shut)
    if not found.tried:
        needed = ", ".join(found.manifest.vault_versions) or "none"
        return f"Its API keys were not tried: VAULT_PRIVATE_KEYS is not here (versions needed: {needed})."
    if found.shut:
        some = ", ".join(map(str, found.shut[:10])) + (" …" if len(found.shut) > 10 else "")
        return (
            f"{len(found.shut)} of {humanize.pluralize(total, 'API key')} do not open with VAULT_PRIVATE_KEYS "
            f"(numbers {some}): put the private key of then into it before you start."
        )
    return f"{humanize.pluralize(total, 'API key')}, all open with VAULT_PRIVATE_KEYS."


def _apart() -> str:
    """What a backup lacks, and where that is."""
    vault, session = (f"{name} ({_place_of(name)})" for name in ("VAULT_PRIVATE_KEYS", "SECRET_KEY"))
    return f"It holds neither {vault} nor {session}: keep these too, apart from it. Without the first no API key opens."


def _place_of(name: str) -> str:
    if os.environ.get(name):
        return "in the environment"
    if path := os.environ.get(f"{name}_FILE"):
        return path
    kept = config.secret_path(config.current().instance, name)
    return str(kept) if kept.is_file() else "not on this machine"
