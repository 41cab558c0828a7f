"""`flask vault` and `flask keys rotate`: vault keys, and re-encryption of the API keys to a new one."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import click
from flask.cli import AppGroup
from rich.console import Console
from sqlalchemy.exc import DBAPIError

from app import clock, config
from app.catalog import humanize
from app.cli.errors import require_installation
from app.cli.key_commands import keys_group
from app.cli.output import format_ids, json_option, print_json, print_rows, progress_bar
from app.extensions import db
from app.hardening import keep_memory_private
from app.store import rotation
from app.sync import key_rotation
from app.sync.key_rotation import RotationResult
from app.vault import Keyring, PublicKey, generate_private_key

vault_group = AppGroup("vault", help="The keys that seal API keys.")
_MAX_NAMED = 20


@vault_group.command("new")
@click.option("--version", default=1, type=click.IntRange(1, 10**6), help="Number of the new vault key.")
def new(version: int) -> None:
    """Print a fresh pair of vault keys, for VAULT_PRIVATE_KEYS (workers) and VAULT_PUBLIC_KEY (web)."""
    private = generate_private_key(version)
    click.echo(f"VAULT_PRIVATE_KEYS={private}")
    click.echo(f"VAULT_PUBLIC_KEY={Keyring(private).public}")


@vault_group.command("status")
@json_option()
@require_installation
def status(as_json: bool) -> None:
    """Which vault keys are in use, and how many API keys each of them seals."""
    versions = list_versions()
    print_rows([version.as_json() for version in versions], as_json)
    outdated = sum(version.keys for version in versions if version.is_older)
    if outdated and not as_json:
        click.echo(f"{humanize.pluralize(outdated, 'key')} to be resealed: `flask keys rotate`.")


@dataclass(frozen=True, slots=True)
class VaultKeyVersion:
    """One vault key version, as seen from this machine."""

    version: int
    keys: int
    seals: bool
    """Whether it is the version of VAULT_PUBLIC_KEY."""
    private_key: str
    """at hand · missing · not the right one · unknown (no private keys on this machine)"""
    is_older: bool

    def as_json(self) -> dict[str, object]:
        return {
            "version": self.version,
            "api_keys": self.keys,
            "seals_new_ones": self.seals,
            "private_key": self.private_key,
        }


def list_versions() -> list[VaultKeyVersion]:
    """All versions that seal a key, are at hand or have a known answer, in ascending order."""
    counts = rotation.count_by_version()
    answers = rotation.load_known_answers()
    public_key = config.current().vault_public_key
    current = PublicKey(public_key).version if public_key else 0
    try:
        keyring = config.load_keyring()
    except config.ConfigError:
        keyring = None
    wrong = {answer.version for answer in answers if keyring and not key_rotation.opens_known_answer(keyring, answer)}
    at_hand = set(keyring.versions) if keyring else set()
    versions = sorted(counts.keys() | at_hand | {answer.version for answer in answers} | ({current} - {0}))

    def private_key_state(version: int) -> str:
        if keyring is None:
            return "unknown"
        if version not in at_hand:
            return "missing"
        return "not the right one" if version in wrong else "at hand"

    newest = max([current, *at_hand])
    return [
        VaultKeyVersion(
            version, counts.get(version, 0), version == current, private_key_state(version), version < newest
        )
        for version in versions
    ]


@keys_group.command("rotate")
@json_option("One object.")
@require_installation
def rotate_keys(as_json: bool) -> None:
    """Reseal all API keys to the newest vault key, while everything runs. Stopped at any moment, run it again.

    Exit code 0 if nothing older is left, 1 if some keys do not open.
    """
    keyring = config.load_keyring()
    keep_memory_private()
    _check_pair(keyring)
    try:
        result = _rotate(keyring, quiet=as_json)
    except KeyboardInterrupt:
        raise click.ClickException("Stopped. What was resealed stays so: run `flask keys rotate` to go on.") from None
    except DBAPIError:
        raise click.ClickException(
            "The database cannot be written at present (`flask doctor` says why). What was resealed stays so: "
            "run `flask keys rotate` again to go on."
        ) from None
    _print_json_report(result) if as_json else _print_report(result)
    sys.exit(0 if result.is_whole else 1)


def _rotate(keyring: Keyring, *, quiet: bool) -> RotationResult:
    total = sum(count for version, count in rotation.count_by_version().items() if version < max(keyring.versions))
    db.session.rollback()
    with Console(stderr=True) as console, progress_bar(console, quiet, counts=True) as bar:
        task = bar.add_task("Resealing", total=total) if bar else None

        def advance(count: int) -> None:
            if bar and task is not None:
                bar.advance(task, count)

        return key_rotation.rotate(keyring, clock.utc_now, advance)


def _check_pair(keyring: Keyring) -> None:
    """Raises ClickException unless keys saved during and after the rotation are sealed by the new version too."""
    public_key = config.current().vault_public_key
    if public_key and PublicKey(public_key).fingerprint != PublicKey(keyring.public).fingerprint:
        raise click.ClickException(
            f"VAULT_PUBLIC_KEY is version {PublicKey(public_key).version}, the newest of VAULT_PRIVATE_KEYS is "
            f"{max(keyring.versions)}, and they are no pair: set VAULT_PUBLIC_KEY to the new one everywhere, restart, "
            "and then rotate."
        )


def _print_json_report(result: RotationResult) -> None:
    unopenable = [
        {"number": key.credential_id, "email": key.email, "provider": key.owner.provider} for key in result.unopenable
    ]
    report = {"version": result.version, "resealed": result.resealed, "replaced_meanwhile": result.superseded}
    print_json([{**report, "do_not_open": unopenable, "removable_versions": result.removable}])


def _print_report(result: RotationResult) -> None:
    click.echo(f"Resealed {humanize.pluralize(result.resealed, 'key')} to version {result.version}.")
    if result.superseded:
        superseded = humanize.pluralize(result.superseded, "key")
        click.echo(f"{superseded} had been replaced or removed meanwhile and stayed as saved.")
    if result.unopenable:
        click.echo(f"{humanize.pluralize(len(result.unopenable), 'key')} did not open and stayed as they were:")
        for key in result.unopenable[:_MAX_NAMED]:
            click.echo(f"  number {key.credential_id} of {key.email} at {key.owner.provider}, version {key.version}")
        if len(result.unopenable) > _MAX_NAMED:
            click.echo(f"  … and {len(result.unopenable) - _MAX_NAMED} more: `--json` names all.")
        click.echo("Put back the private key that sealed them, or let their owners enter them again: their pages ask.")
    if result.removable:
        versions = ", ".join(map(str, result.removable))
        click.echo(f"Nothing is sealed by version {versions} any more: it can be removed from VAULT_PRIVATE_KEYS.")
        click.echo("Backups made until now still need it: keep it, apart from them, for as long as you keep those.")


def warn_about_unopenable_keys(keyring: Keyring) -> None:
    """Before workers start: if the private keys may be wrong, try every API key and print those that do not open.

    Does not stop the start: keys that open are synced, the owners of the others are asked to enter them again.
    """
    if not key_rotation.needs_key_check(keyring):
        db.session.rollback()
        return
    check = key_rotation.check_keys(keyring, clock.utc_now())
    if not check.unopenable:
        key_rotation.delete_stale_answers(keyring)
        return
    click.echo(
        f"{len(check.unopenable)} of {humanize.pluralize(check.total, 'API key')} cannot be opened with "
        f"VAULT_PRIVATE_KEYS (numbers {format_ids(check.unopenable)}). "
        "Their owners are asked to enter them again; nothing was deleted. "
        "If you have the private key that sealed them, put it back and restart.",
        err=True,
    )
