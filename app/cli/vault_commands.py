"""`flask vault`, and `flask keys rotate`: which vault keys seal the API keys, and how to move to a new one."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass

import click
from flask.cli import AppGroup, with_appcontext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import DBAPIError

from app import config
from app.catalog import humanize
from app.cli.errors import sentences
from app.cli.output import print_json, print_table
from app.extensions import db
from app.hardening import keep_memory_private
from app.store import rotation
from app.sync import key_rotation
from app.sync.key_rotation import RotationResult
from app.sync.run import utc_now
from app.vault import Keyring, PublicKey, generate_private_key

vault_group = AppGroup("vault", help="The keys that seal API keys.")
_MOST_NAMED = 20


@vault_group.command("new")
@click.option("--version", default=1, type=click.IntRange(1, 10**6), help="Number of the new vault key.")
def new(version: int) -> None:
    """Print a fresh pair of vault keys, for VAULT_PRIVATE_KEYS (workers) and VAULT_PUBLIC_KEY (web)."""
    private = generate_private_key(version)
    click.echo(f"VAULT_PRIVATE_KEYS={private}")
    click.echo(f"VAULT_PUBLIC_KEY={Keyring(private).public}")


@vault_group.command("status")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@sentences
def status(as_json: bool) -> None:
    """Which vault keys are in use, and how many API keys each of them seals."""
    lines = versions_in_use()
    if as_json:
        print_json([line.as_json() for line in lines])
        return
    print_table([line.as_json() for line in lines])
    old = [line for line in lines if line.is_older and line.keys]
    if old:
        click.echo(f"{humanize.pluralize(sum(line.keys for line in old), 'key')} to be resealed: `flask keys rotate`.")


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version of the vault key, and what is known of it on this machine."""

    version: int
    keys: int
    seals: bool
    """It is that of VAULT_PUBLIC_KEY."""
    private_key: str
    """at hand · missing · not the right one · unknown: this machine has no private keys"""
    is_older: bool

    def as_json(self) -> dict[str, object]:
        return {
            "version": self.version,
            "api_keys": self.keys,
            "seals_new_ones": self.seals,
            "private_key": self.private_key,
        }


def versions_in_use() -> list[VersionLine]:
    """By version: all that seal a key, are at hand, or have a known answer."""
    used = rotation.count_by_version()
    answers = rotation.load_known_answers()
    written = config.current().vault_public_key
    current = PublicKey(written).version if written else 0
    try:
        vault = config.load_keyring()
    except config.ConfigError:
        vault = None
    wrong = {one.version for one in answers if vault and not key_rotation.opens_known_answer(vault, one)}
    at_hand = set(vault.versions) if vault else set()
    versions = sorted(used.keys() | at_hand | {one.version for one in answers} | ({current} - {0}))

    def private(version: int) -> str:
        if vault is None:
            return "unknown"
        if version not in at_hand:
            return "missing"
        return "not the right one" if version in wrong else "at hand"

    newest = max([current, *at_hand])
    return [
        VersionLine(version, used.get(version, 0), version == current, private(version), version < newest)
        for version in versions
    ]


@click.command("rotate")
@click.option("--json", "as_json", is_flag=True, help="One object.")
@with_appcontext
@sentences
def rotate_keys(as_json: bool) -> None:
    """Reseal all API keys to the newest vault key, while everything runs. Stopped at any moment, run it again.

    Exit code 0 if nothing older is left, 1 if some keys do not open.
    """
    vault = config.load_keyring()
    keep_memory_private()
    _refuse_unpaired(vault)
    try:
        done = _rotated(vault, quiet=as_json)
    except KeyboardInterrupt:
        raise click.ClickException("Stopped. What was resealed stays so: run `flask keys rotate` to go on.") from None
    except DBAPIError:
        raise click.ClickException(
            "The database cannot be written at present (`flask doctor` says why). What was resealed stays so: "
            "run `flask keys rotate` again to go on."
        ) from None
    _tell_json(done) if as_json else _tell(done)
    sys.exit(0 if done.is_whole else 1)


def _rotated(vault: Keyring, *, quiet: bool) -> RotationResult:
    total = sum(count for version, count in rotation.count_by_version().items() if version < max(vault.versions))
    db.session.rollback()
    with Console(stderr=True) as console, _progress(console, quiet) as bar:
        task = bar.add_task("Resealing", total=total) if bar else None

        def advance(count: int) -> None:
            if bar and task is not None:
                bar.advance(task, count)

        return key_rotation.rotate(vault, utc_now, advance)


def _progress(console: Console, quiet: bool) -> nullcontext[None] | Progress:
    if quiet or not console.is_terminal:
        return nullcontext()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _refuse_unpaired(vault: Keyring) -> None:
    """What people save during and after a rotation must be sealed by the new key too."""
    written = config.current().vault_public_key
    if written and PublicKey(written).fingerprint != PublicKey(vault.public).fingerprint:
        raise click.ClickException(
            f"VAULT_PUBLIC_KEY is version {PublicKey(written).version}, the newest of VAULT_PRIVATE_KEYS is "
            f"{max(vault.versions)}, and they are no pair: set VAULT_PUBLIC_KEY to the new one everywhere, restart, "
            "and then rotate."
        )


def _tell_json(done: RotationResult) -> None:
    shut = [{"number": key.credential_id, "email": key.email, "provider": key.owner.provider} for key in done.shut]
    told = {"version": done.version, "resealed": done.resealed, "replaced_meanwhile": done.overtaken}
    print_json([{**told, "do_not_open": shut, "removable_versions": done.removable}])


def _tell(done: RotationResult) -> None:
    click.echo(f"Resealed {humanize.pluralize(done.resealed, 'key')} to version {done.version}.")
    if done.overtaken:
        click.echo(
            f"{humanize.pluralize(done.overtaken, 'key')} had been replaced or removed meanwhile and stayed as saved."
        )
    if done.shut:
        click.echo(f"{humanize.pluralize(len(done.shut), 'key')} did not open and stayed as they were:")
        for key in done.shut[:_MOST_NAMED]:
            click.echo(f"  number {key.credential_id} of {key.email} at {key.owner.provider}, version {key.version}")
        if len(done.shut) > _MOST_NAMED:
            click.echo(f"  … and {len(done.shut) - _MOST_NAMED} more: `--json` names all.")
        click.echo("Put back the private key that sealed them, or let their owners enter them again: their pages ask.")
    if done.removable:
        versions = ", ".join(map(str, done.removable))
        click.echo(f"Nothing is sealed by version {versions} any more: it can be removed from VAULT_PRIVATE_KEYS.")
        click.echo("Backups made until now still need it: keep it, apart from them, for as long as you keep those.")


def warn_of_shut_keys(vault: Keyring) -> None:
    """As workers start: if the private keys may be the wrong ones, try every API key and say which do not open.

    The app starts all the same: what does open is synced, and the owners of the rest are asked for them on their page.
    """
    if not key_rotation.needs_key_check(vault):
        db.session.rollback()
        return
    tried = key_rotation.check_keys(vault, utc_now())
    if not tried.shut:
        key_rotation.delete_stale_answers(vault)
        return
    some = ", ".join(map(str, tried.shut[:10])) + (" …" if len(tried.shut) > 10 else "")
    click.echo(
        f"{len(tried.shut)} of {humanize.pluralize(tried.total, 'API key')} cannot be opened with VAULT_PRIVATE_KEYS "
        f"(numbers {some}). Their owners are asked to enter them again; nothing was deleted. "
        "If you have the private key that sealed them, put it back and restart.",
        err=True,
    )
