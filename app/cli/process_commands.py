"""`flask setup`, `work` and `schedule`: the processes of an installation on several machines."""

from __future__ import annotations

import contextlib
import signal
import sys
import time

import click
import redis
from flask.cli import with_appcontext
from sqlalchemy.exc import OperationalError

from app import config
from app.cli.doctor import permanent_redis_problem
from app.cli.errors import report_errors
from app.cli.install import describe_unreachable, flask_app, set_up
from app.cli.vault_commands import warn_about_unopenable_keys
from app.extensions import db
from app.jobs import process, queues
from app.store.engine import migrations
from app.store.queries import stats

_POLL_INTERVAL_S = 0.5


@click.command("setup")
@with_appcontext
@report_errors
def setup_command() -> None:
    """Migrate the database to this version and load providers and catalog. `flask up` does it by itself."""
    set_up(flask_app())
    click.echo("The database is up to date.")


@click.command("work")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 256), help="Worker processes.")
@with_appcontext
@report_errors
def work(workers: int) -> None:
    """Run workers in the foreground: on any machine with the same DATABASE_URL, REDIS_URL and vault keys."""
    keyring = config.load_keyring()
    _exit_on_sigterm()
    _wait_for_database()
    warn_about_unopenable_keys(keyring)
    _wait_for_redis()
    process.run_workers(flask_app(), keyring, workers)


@click.command("schedule")
@with_appcontext
def schedule() -> None:
    """Run the scheduler in the foreground: one for an installation."""
    _exit_on_sigterm()
    _wait_for_database()
    _wait_for_redis()
    process.run_scheduler(flask_app())


def _exit_on_sigterm() -> None:
    """Until workers or scheduler install their handlers: PID 1 of a container ignores SIGTERM by default."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def _wait_for_database() -> None:
    """All parts of an installation may start at once, `flask setup` among them."""
    printed = ""
    while problem := _database_problem():
        if problem != printed:
            click.echo(f"{problem} Waiting for that.", err=True)
        printed = problem
        time.sleep(_POLL_INTERVAL_S)


def _database_problem() -> str:
    try:
        is_behind = migrations.is_behind(stats.schema_revision())
        return "The database is not at this version: run `flask setup`." if is_behind else ""
    except OperationalError as error:
        return describe_unreachable(config.current(), error)
    finally:
        db.session.remove()


def _wait_for_redis() -> None:
    """Waits while Redis is unreachable. Raises ClickException for problems that waiting does not solve."""
    is_reported = False
    with contextlib.closing(queues.open_worker_connection(flask_app())) as connection:
        while True:
            try:
                connection.ping()
                return
            except redis.RedisError as error:
                if problem := permanent_redis_problem(error):
                    raise click.ClickException(f"Redis cannot be used: {' '.join(problem)}") from None
            if not is_reported:
                click.echo("Redis cannot be reached: waiting for it.", err=True)
            is_reported = True
            time.sleep(_POLL_INTERVAL_S)
