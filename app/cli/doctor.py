"""`flask doctor`: is everything as it should be, and if not, what to do."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import click
import redis
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app import config, jobs
from app.catalog import wording
from app.cli.output import print_json
from app.extensions import db
from app.store import catalog, checks
from app.vault import CannotOpen, Opener, Owner

_SKEW = timedelta(seconds=5)
_WAITING = timedelta(minutes=10)
_LEAST_FREE = 200 * 1024 * 1024
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
        config.require_web_secrets(settings)
    except config.ConfigError as error:
        yield Finding("configuration", "bad", str(error), "Set it, or run `flask setup` in development.")
        return
    yield Finding("configuration", "good", f"{mode}, in {settings.instance}")


def _database() -> Iterator[Finding]:
    try:
        version = checks.database_version()
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
    yield from _catalog()
    yield from _runs()
    yield from _keys()


def _catalog() -> Iterator[Finding]:
    if catalog.version():
        yield Finding("catalog", "good", f"version {catalog.version()} in force")
    else:
        yield Finding("catalog", "bad", "none is loaded.", "Run `flask setup`.")


def _runs() -> Iterator[Finding]:
    lost, waiting = checks.stuck_runs(_now(), _WAITING)
    if lost or waiting:
        says = f"{wording.plural(lost, 'run')} without a worker, {waiting} waiting for over ten minutes."
        yield Finding("runs", "warn", says, "They close or start by themselves once workers and scheduler run.")
    else:
        yield Finding("runs", "good", "none is stuck")


def _keys() -> Iterator[Finding]:
    try:
        vault = config.open_vault()
    except config.ConfigError as error:
        # The web's machines are right to lack it.
        yield Finding("API keys", "warn", f"they cannot be tried here: {error}")
        return
    opens = {key.credential_id: _opens(vault, key) for key in checks.sealed_keys()}
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
        yield Finding("API keys", "good", f"{wording.plural(total, 'key')}, all open")


def _opens(vault: Opener, key: checks.SealedKey) -> bool:
    try:
        vault.open(key.sealed, key.version, Owner(key.user_id, key.credential_id, key.provider))
    except CannotOpen:
        return False
    return True


def _queue() -> Iterator[Finding]:
    try:
        seen = jobs.inspect()
    except redis.RedisError:
        embedded = config.current().embedded_redis is not None
        remedy = "Start Modelsync with `flask up`." if embedded else "Start it, or correct REDIS_URL."
        yield Finding("queue", "bad", "Redis cannot be reached.", remedy)
        return
    yield Finding("queue", "good", f"Redis {seen.version}, {wording.plural(seen.queued, 'job')} waiting")
    if seen.evicts:
        yield Finding(
            "queue", "warn", "this Redis may throw jobs away when it is full.", "Set maxmemory-policy noeviction."
        )
    if seen.workers:
        yield Finding("workers", "good", wording.plural(seen.workers, "worker"))
    else:
        yield Finding("workers", "bad", "none is running.", "Start `flask work` (or `flask up`).")
    if seen.has_scheduler:
        yield Finding("scheduler", "good", "running")
    else:
        yield Finding("scheduler", "bad", "none is running.", "Start `flask schedule` (or `flask up`).")
    yield from _clock("Redis", seen.now)


def _clocks() -> Iterator[Finding]:
    try:
        moment = checks.database_now()
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
    folder = config.current().instance
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    says = f"{free / 1024**3:.1f} GB free at {folder}"
    if free < _LEAST_FREE:
        yield Finding("disk", "bad", f"{says}.", "Make room: a full disk stops every sync.")
    else:
        yield Finding("disk", "good", says)


def _now() -> datetime:
    return datetime.now(UTC)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_configuration, _database, _queue, _clocks, _disk)
