"""`flask doctor`: checks the installation and names remedies."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import click
import redis
from alembic.runtime.migration import MigrationContext
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app import clock, config
from app.catalog import humanize
from app.cli import backup
from app.cli.output import format_ids, json_option, print_json
from app.extensions import db
from app.jobs import monitoring
from app.store import catalog, rotation
from app.store.engine import diagnostics, migrations
from app.store.engine.db_errors import classify
from app.sync import key_rotation
from app.vault import Keyring

_MAX_SKEW = timedelta(seconds=5)
_MAX_WAITING = timedelta(minutes=10)
_MIN_FREE_BYTES = 200 * 1024 * 1024
_MAX_BACKUP_DAYS = 7
_MAX_CONNECTION_SHARE = 0.8  # share of PostgreSQL's max_connections
_OLDEST_QUEUE_SERVER = 8
"""Major version. Redis 7.4, the one before, was maintained until 30 November 2026 (redis.io, product lifecycle)."""
_MARKS = {"good": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: str
    """good · warn · bad"""
    says: str
    remedy: str = ""


@click.command("doctor")
@json_option()
@with_appcontext
def doctor(as_json: bool) -> None:
    """Check configuration, database, queue, workers, keys, clocks and disk. Exit code 1 if anything is wrong."""
    findings = []
    for check in CHECKS:
        for finding in check():
            findings.append(finding)
            if not as_json:
                _print_finding(finding)
    if as_json:
        print_json(asdict(finding) for finding in findings)
    sys.exit(1 if any(finding.state == "bad" for finding in findings) else 0)


def _print_finding(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    click.echo(f"{click.style(mark, fg=colour, bold=True)} {finding.check}: {finding.says}")
    if finding.remedy:
        click.echo(f"    {finding.remedy}")


def _check_configuration() -> Iterator[Finding]:
    settings = config.current()
    mode = "production" if settings.production else "development"
    try:
        if os.environ.get("MODELSYNC_ROLE", "web") == "web":  # other roles must not have the web's secrets
            config.require_web_secrets(settings)
    except config.ConfigError as error:
        yield Finding("configuration", "bad", str(error), "Set it, or run `flask setup` in development.")
        return
    yield Finding("configuration", "good", f"{mode}, in {settings.instance}")


def _check_database() -> Iterator[Finding]:
    try:
        version = diagnostics.database_version()
        with db.engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        yield Finding("database", "bad", f"it cannot be reached ({reason}).", "Start it, or correct DATABASE_URL.")
        return
    head = migrations.code_revisions()[0]
    if revision != head:
        yield Finding("database", "bad", f"{version}, at revision {revision} instead of {head}.", "Run `flask setup`.")
        return
    yield Finding("database", "good", f"{version}, up to date")
    yield from _check_writable()
    yield from _check_connections()
    yield from _check_catalog()
    yield from _check_runs()
    yield from _check_keys()


def _check_writable() -> Iterator[Finding]:
    """A readable database may still not be writable."""
    try:
        diagnostics.check_writable()
    except DBAPIError as error:
        db.session.rollback()
        says, remedy = {
            "full": ("its disk is full.", "Make room: nothing new can be saved until then."),
            "read_only": (
                "it is read-only.",
                "Point DATABASE_URL at the primary server, or correct the file's rights.",
            ),
            "busy": ("somebody holds a lock on it.", "Ask again; if it stays so, stop whoever else has it open."),
        }.get(classify(error) or "", ("it cannot be written.", "See its own log."))
        yield Finding("database", "bad", says, remedy)


def _check_connections() -> Iterator[Finding]:
    if (usage := diagnostics.connection_usage()) is None:
        return
    used, limit = usage
    says = f"{used} of {limit} in use"
    if used > limit * _MAX_CONNECTION_SHARE:
        remedy = "Lower DATABASE_POOL_SIZE or the number of processes, or raise max_connections."
        yield Finding("connections", "warn", f"{says}.", remedy)
    else:
        yield Finding("connections", "good", says)


def _check_catalog() -> Iterator[Finding]:
    if catalog.version_number():
        yield Finding("catalog", "good", f"version {catalog.version_number()} in force")
    else:
        yield Finding("catalog", "bad", "none is loaded.", "Run `flask setup`.")


def _check_runs() -> Iterator[Finding]:
    lost, waiting = diagnostics.count_stuck_runs(clock.utc_now(), _MAX_WAITING)
    if lost or waiting:
        says = f"{humanize.pluralize(lost, 'run')} without a worker, {waiting} waiting for over ten minutes."
        yield Finding("runs", "warn", says, "They close or start by themselves once workers and scheduler run.")
    else:
        yield Finding("runs", "good", "none is stuck")


def _check_keys() -> Iterator[Finding]:
    try:
        keyring = config.load_keyring()
    except config.ConfigError as error:
        # Expected on web machines.
        yield Finding("API keys", "warn", f"they cannot be tried here: {error}")
        return
    yield from _check_vault_pair(keyring)
    yield from _check_vault_versions(keyring)
    can_open = {
        key.credential_id: key_rotation.can_open(keyring, key) for batch in rotation.iter_batches() for key in batch
    }
    total, unopenable = len(can_open), [credential_id for credential_id, opens in can_open.items() if not opens]
    if unopenable:
        yield Finding(
            "API keys",
            "bad",
            f"{len(unopenable)} of {total} do not open (numbers {format_ids(unopenable)}).",
            "Put the private vault key that sealed them back into VAULT_PRIVATE_KEYS, or have their owners enter them "
            "again. Nothing was deleted.",
        )
    else:
        yield Finding("API keys", "good", f"{humanize.pluralize(total, 'key')}, all open")


def _check_vault_pair(keyring: Keyring) -> Iterator[Finding]:
    """The web's public key must belong to the newest private key of the workers."""
    public_key = config.current().vault_public_key
    if public_key and public_key.strip().partition(":")[2] != keyring.public.partition(":")[2]:
        yield Finding(
            "API keys",
            "bad",
            "VAULT_PUBLIC_KEY does not belong to VAULT_PRIVATE_KEYS: what is saved now cannot be opened.",
            "Set the pair that `flask vault new` printed, the same on all machines.",
        )


def _check_vault_versions(keyring: Keyring) -> Iterator[Finding]:
    """Whether the private keys open their known answers, and whether older versions still seal API keys."""
    wrong = [
        answer.version
        for answer in rotation.load_known_answers()
        if not key_rotation.opens_known_answer(keyring, answer)
    ]
    if wrong:
        yield Finding(
            "vault",
            "bad",
            f"what was sealed at set-up by version {', '.join(map(str, wrong))} does not open with VAULT_PRIVATE_KEYS.",
            "Put the private key of that version back. If it is lost: owners of keys that do not open are asked to "
            "enter them again, and once all open, the next start of the workers forgets the lost vault key.",
        )
    newest, counts = max(keyring.versions), rotation.count_by_version()
    outdated = sum(count for version, count in counts.items() if version < newest)
    if outdated:
        says = f"{humanize.pluralize(outdated, 'API key')} sealed by an older vault key than version {newest}."
        yield Finding("vault", "warn", says, "Reseal with `flask keys rotate`; everything may run meanwhile.")
    elif not wrong:
        yield Finding("vault", "good", f"version {newest} seals all, and opens what was sealed at set-up")


def _check_backup() -> Iterator[Finding]:
    if (last_backup := backup.last_backup()) is None:
        return  # other tools may make the backups
    made_at, file = last_backup
    days = (clock.utc_now() - made_at) // timedelta(days=1)
    says = f"the last one was made {f'{days} days ago' if days > 1 else 'within two days'}: {file}"
    if days > _MAX_BACKUP_DAYS:
        yield Finding("backup", "warn", f"{says}.", "Make one with `flask backup create`.")
    else:
        yield Finding("backup", "good", says)


def _check_queue() -> Iterator[Finding]:
    try:
        queues = monitoring.inspect_queues()
    except redis.RedisError as error:
        yield Finding("queue", "bad", *(permanent_redis_problem(error) or _redis_unreachable()))
        return
    server = f"{queues.server} {queues.version}"
    yield Finding("queue", "good", f"{server}, {humanize.pluralize(queues.queued, 'job')} waiting")
    if int(queues.version.partition(".")[0]) < _OLDEST_QUEUE_SERVER:
        yield Finding(
            "queue",
            "warn",
            f"{server} is old: its makers fix security holes in newer versions only.",
            f"Use Valkey or Redis {_OLDEST_QUEUE_SERVER} or later, unless your distribution patches this version.",
        )
    if queues.evicts:
        yield Finding(
            "queue", "warn", "this Redis may throw jobs away when it is full.", "Set maxmemory-policy noeviction."
        )
    if queues.workers:
        yield Finding("workers", "good", humanize.pluralize(queues.workers, "worker"))
    else:
        yield Finding("workers", "bad", "none is running.", "Start `flask work` (or `flask up`).")
    if queues.has_scheduler:
        yield Finding("scheduler", "good", "running")
    else:
        yield Finding("scheduler", "bad", "none is running.", "Start `flask schedule` (or `flask up`).")
    yield from _compare_clocks("Redis", queues.now)


def permanent_redis_problem(error: redis.RedisError) -> tuple[str, str] | None:
    """(problem, remedy) for an error that does not go away by waiting; None for others.

    Does not repeat the error's own message, which may name the user of REDIS_URL.
    """
    if isinstance(error, redis.AuthenticationError):
        return "it refuses the password of REDIS_URL.", "Correct it there (or user and password, if it has users)."
    if isinstance(error, redis.ResponseError):
        return (
            "it answers, but not to what Modelsync needs.",
            "See that the user of REDIS_URL may use all commands, and that its database exists.",
        )
    cause: BaseException | None = error
    while cause and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = cause.verify_message.strip().rstrip(".")
        return (
            f"its certificate is not trusted ({reason}).",
            "Name the authority that signed it by ?ssl_ca_certs=/path in REDIS_URL, and Redis by the name in it.",
        )
    if isinstance(cause, ssl.SSLError):
        return (
            f"no TLS connection can be made ({cause.reason}).",
            "Use rediss:// at a port that speaks TLS only, and a certificate in ssl_ca_certs that can be read.",
        )
    return None


def _redis_unreachable() -> tuple[str, str]:
    embedded = config.current().embedded_redis is not None
    remedy = "Start Modelsync with `flask up`." if embedded else "Start it, or correct REDIS_URL (rediss:// for TLS)."
    return "Redis cannot be reached.", remedy


def _check_database_clock() -> Iterator[Finding]:
    try:
        database_time = diagnostics.database_clock()
    except SQLAlchemyError:
        return  # reported by _check_database
    if database_time:
        yield from _compare_clocks("the database", database_time)


def _compare_clocks(other: str, time: datetime) -> Iterator[Finding]:
    skew = abs(clock.utc_now() - time)
    if skew > _MAX_SKEW:
        yield Finding(
            "clock",
            "warn",
            f"this machine and {other} differ by {skew.total_seconds():.0f} s.",
            "Synchronise the clocks (NTP): leases and the badge of new models depend on them.",
        )
    else:
        yield Finding("clock", "good", f"this machine and {other} agree")


def _check_disk() -> Iterator[Finding]:
    folders = {config.current().instance}
    if file := diagnostics.sqlite_path():
        folders.add(file.parent)
    for folder in sorted(folders):
        yield _check_free_space(folder)


def _check_free_space(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    says = f"{free / 1024**3:.1f} GB free at {folder}"
    if free < _MIN_FREE_BYTES:
        return Finding("disk", "bad", f"{says}.", "Make room: a full disk stops every sync.")
    return Finding("disk", "good", says)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _check_configuration,
    _check_database,
    _check_queue,
    _check_database_clock,
    _check_disk,
    _check_backup,
)
