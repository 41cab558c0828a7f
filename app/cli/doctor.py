"""`flask doctor`: is everything as it should be, and if not, what to do."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import redis
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app import config
from app.catalog import humanize
from app.cli import backup
from app.cli.output import print_json
from app.extensions import db
from app.jobs import monitoring
from app.store import catalog, rotation
from app.store.engine import diagnostics
from app.store.engine.db_errors import classify
from app.sync import key_rotation
from app.vault import Keyring, SealContext, UnsealError

_SKEW = timedelta(seconds=5)
_WAITING = timedelta(minutes=10)
_LEAST_FREE = 200 * 1024 * 1024
_BACKUP_DAYS = 7
_CROWDED = 0.8  # of the connections a PostgreSQL allows
_MARKS = {"good": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: str
    """good · warn · bad"""
    says: str
    remedy: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@with_appcontext
def doctor(as_json: bool) -> None:
    """Check configuration, database, queue, workers, keys, clocks and disk. Exit code 1 if anything is wrong."""
    findings = []
    for check in CHECKS:
        for finding in check():
            findings.append(finding)
            if not as_json:
                _show(finding)
    if as_json:
        print_json(asdict(finding) for finding in findings)
    sys.exit(1 if any(finding.state == "bad" for finding in findings) else 0)


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    click.echo(f"{click.style(mark, fg=colour, bold=True)} {finding.check}: {finding.says}")
    if finding.remedy:
        click.echo(f"    {finding.remedy}")


def _configuration() -> Iterator[Finding]:
    settings = config.current()
    mode = "production" if settings.production else "development"
    try:
        if os.environ.get("MODELSYNC_ROLE", "web") == "web":  # the other roles are right to lack the web's secrets
            config.require_web_secrets(settings)
    except config.ConfigError as error:
        yield Finding("configuration", "bad", str(error), "Set it, or run `flask setup` in development.")
        return
    yield Finding("configuration", "good", f"{mode}, in {settings.instance}")


def _database() -> Iterator[Finding]:
    try:
        version = diagnostics.database_version()
        with db.engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        yield Finding("database", "bad", f"it cannot be reached ({reason}).", "Start it, or correct DATABASE_URL.")
        return
    head = ScriptDirectory(str(config.ROOT / "migrations")).get_current_head()
    if revision != head:
        yield Finding("database", "bad", f"{version}, at revision {revision} instead of {head}.", "Run `flask setup`.")
        return
    yield Finding("database", "good", f"{version}, up to date")
    yield from _writing()
    yield from _connections()
    yield from _catalog()
    yield from _runs()
    yield from _keys()


def _writing() -> Iterator[Finding]:
    """A database may be read and yet not be written."""
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


def _connections() -> Iterator[Finding]:
    if (found := diagnostics.connection_usage()) is None:
        return
    used, most = found
    says = f"{used} of {most} in use"
    if used > most * _CROWDED:
        remedy = "Lower DATABASE_POOL_SIZE or the number of processes, or raise max_connections."
        yield Finding("connections", "warn", f"{says}.", remedy)
    else:
        yield Finding("connections", "good", says)


def _catalog() -> Iterator[Finding]:
    if catalog.version_number():
        yield Finding("catalog", "good", f"version {catalog.version_number()} in force")
    else:
        yield Finding("catalog", "bad", "none is loaded.", "Run `flask setup`.")


def _runs() -> Iterator[Finding]:
    lost, waiting = diagnostics.count_stuck_runs(_now(), _WAITING)
    if lost or waiting:
        says = f"{humanize.pluralize(lost, 'run')} without a worker, {waiting} waiting for over ten minutes."
        yield Finding("runs", "warn", says, "They close or start by themselves once workers and scheduler run.")
    else:
        yield Finding("runs", "good", "none is stuck")


def _keys() -> Iterator[Finding]:
    try:
        vault = config.load_keyring()
    except config.ConfigError as error:
        # The web's machines are right to lack it.
        yield Finding("API keys", "warn", f"they cannot be tried here: {error}")
        return
    yield from _pair(vault)
    yield from _vault(vault)
    opens = {key.credential_id: _opens(vault, key) for key in diagnostics.iter_sealed_keys()}
    total, shut = len(opens), [credential_id for credential_id, does in opens.items() if not does]
    if shut:
        some = ", ".join(map(str, shut[:10])) + (" …" if len(shut) > 10 else "")
        yield Finding(
            "API keys",
            "bad",
            f"{len(shut)} of {total} do not open (numbers {some}).",
            "Put the private vault key that sealed them back into VAULT_PRIVATE_KEYS, or have their owners enter them "
            "again. Nothing was deleted.",
        )
    else:
        yield Finding("API keys", "good", f"{humanize.pluralize(total, 'key')}, all open")


def _pair(vault: Keyring) -> Iterator[Finding]:
    """What the web seals with must be the newest of what the workers open with."""
    sealed_with = config.current().vault_public_key
    if sealed_with and sealed_with.strip().partition(":")[2] != vault.public.partition(":")[2]:
        yield Finding(
            "API keys",
            "bad",
            "VAULT_PUBLIC_KEY does not belong to VAULT_PRIVATE_KEYS: what is saved now cannot be opened.",
            "Set the pair that `flask vault new` printed, the same on all machines.",
        )


def _vault(vault: Keyring) -> Iterator[Finding]:
    """Are the private keys the right ones, and is anything still sealed by an older one?"""
    wrong = [
        answer.version for answer in rotation.load_known_answers() if not key_rotation.opens_known_answer(vault, answer)
    ]
    if wrong:
        yield Finding(
            "vault",
            "bad",
            f"what was sealed at set-up by version {', '.join(map(str, wrong))} does not open with VAULT_PRIVATE_KEYS.",
            "Put the private key of that version back. If it is lost: owners of keys that do not open are asked to "
            "enter them again, and once all open, the next start of the workers forgets the lost vault key.",
        )
    newest, counts = max(vault.versions), rotation.count_by_version()
    old = sum(count for version, count in counts.items() if version < newest)
    if old:
        says = f"{humanize.pluralize(old, 'API key')} sealed by an older vault key than version {newest}."
        yield Finding("vault", "warn", says, "Reseal with `flask keys rotate`; everything may run meanwhile.")
    elif not wrong:
        yield Finding("vault", "good", f"version {newest} seals all, and opens what was sealed at set-up")


def _backup() -> Iterator[Finding]:
    if (found := backup.last()) is None:
        return  # backups may be made by other means
    made_at, file = found
    days = (_now() - made_at) // timedelta(days=1)
    says = f"the last one was made {f'{days} days ago' if days > 1 else 'within two days'}: {file}"
    if days > _BACKUP_DAYS:
        yield Finding("backup", "warn", f"{says}.", "Make one with `flask backup create`.")
    else:
        yield Finding("backup", "good", says)


def _opens(vault: Keyring, key: diagnostics.StoredKey) -> bool:
    try:
        vault.open(key.sealed, key.version, SealContext(key.user_id, key.credential_id, key.provider))
    except UnsealError:
        return False
    return True


def _queue() -> Iterator[Finding]:
    try:
        seen = monitoring.inspect_queues()
    except redis.RedisError as error:
        yield Finding("queue", "bad", *(lasting_trouble(error) or _unreachable()))
        return
    yield Finding("queue", "good", f"Redis {seen.version}, {humanize.pluralize(seen.queued, 'job')} waiting")
    if seen.evicts:
        yield Finding(
            "queue", "warn", "this Redis may throw jobs away when it is full.", "Set maxmemory-policy noeviction."
        )
    if seen.workers:
        yield Finding("workers", "good", humanize.pluralize(seen.workers, "worker"))
    else:
        yield Finding("workers", "bad", "none is running.", "Start `flask work` (or `flask up`).")
    if seen.has_scheduler:
        yield Finding("scheduler", "good", "running")
    else:
        yield Finding("scheduler", "bad", "none is running.", "Start `flask schedule` (or `flask up`).")
    yield from _clock("Redis", seen.now)


def lasting_trouble(error: redis.RedisError) -> tuple[str, str] | None:
    """What is wrong and what to do, where waiting for Redis will not help.

    Never the error's own text alone: it may name the user of REDIS_URL.
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
        why = cause.verify_message.strip().rstrip(".")
        return (
            f"its certificate is not trusted ({why}).",
            "Name the authority that signed it by ?ssl_ca_certs=/path in REDIS_URL, and Redis by the name in it.",
        )
    if isinstance(cause, ssl.SSLError):
        return (
            f"no TLS connection can be made ({cause.reason}).",
            "Use rediss:// at a port that speaks TLS only, and a certificate in ssl_ca_certs that can be read.",
        )
    return None


def _unreachable() -> tuple[str, str]:
    embedded = config.current().embedded_redis is not None
    remedy = "Start Modelsync with `flask up`." if embedded else "Start it, or correct REDIS_URL (rediss:// for TLS)."
    return "Redis cannot be reached.", remedy


def _clocks() -> Iterator[Finding]:
    try:
        moment = diagnostics.database_clock()
    except SQLAlchemyError:
        return  # told already
    if moment:
        yield from _clock("the database", moment)


def _clock(whose: str, moment: datetime) -> Iterator[Finding]:
    skew = abs(_now() - moment)
    if skew > _SKEW:
        yield Finding(
            "clock",
            "warn",
            f"this machine and {whose} differ by {skew.total_seconds():.0f} s.",
            "Synchronise the clocks (NTP): leases and the badge of new models depend on them.",
        )
    else:
        yield Finding("clock", "good", f"this machine and {whose} agree")


def _disk() -> Iterator[Finding]:
    folders = {config.current().instance}
    if file := diagnostics.sqlite_path():
        folders.add(file.parent)
    for folder in sorted(folders):
        yield _room(folder)


def _room(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    says = f"{free / 1024**3:.1f} GB free at {folder}"
    if free < _LEAST_FREE:
        return Finding("disk", "bad", f"{says}.", "Make room: a full disk stops every sync.")
    return Finding("disk", "good", says)


def _now() -> datetime:
    return datetime.now(UTC)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_configuration, _database, _queue, _clocks, _disk, _backup)
