"""`flask up` runs all processes of an installation until Ctrl-C, `flask web` the web server alone."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
from rich.console import Console

from app import config
from app.cli import supervisor
from app.cli.embedded_redis import redis_process
from app.cli.install import UP_LOCK, InstallationError, instance_lock, set_up
from app.cli.supervisor import Process, Supervisor
from app.extensions import db
from app.paths import instance_folder

_DEMO_ACCOUNTS = "alice@demo.example, bob@demo.example, carol@demo.example (admin)"
_DEMO_EXCLUDED = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "VAULT_", "APP_ENV", "SMTP_URL", "MAIL_FROM", "OIDC_")


class StartError(Exception):
    """Nothing was started. The message is a sentence with the remedy."""


@click.command("up")
@click.option("--host", default="127.0.0.1", envvar="HOST", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, envvar="PORT", show_default=True, type=click.IntRange(1, 65_535), help="Port.")
@click.option(
    "--workers", default=2, envvar="WORKERS", show_default=True, type=click.IntRange(1, 256), help="Sync workers."
)
@click.option(
    "--web-workers", default=1, envvar="WEB_WORKERS", show_default=True, type=click.IntRange(1, 64), help="Web workers."
)
@click.option("--demo", is_flag=True, help="Simulated providers, three accounts and weeks of history, kept apart.")
def up(host: str, port: int, workers: int, web_workers: int, demo: bool) -> None:
    """Start everything: database, queue, workers, scheduler and web server. Ctrl-C stops it all."""
    os.umask(0o077)  # files in the instance folder are private
    for number in (signal.SIGTERM, signal.SIGINT):  # SIGINT too: shells ignore it for background jobs
        signal.signal(number, _interrupt)
    try:
        environ = _demo_environment() if demo else dict(os.environ)
        _start(environ, host, port, workers, web_workers)
    except (config.ConfigError, InstallationError, StartError, supervisor.ProcessFailed) as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)  # interrupted during start-up


@click.command("web")
@click.option("--host", default="127.0.0.1", envvar="HOST", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, envvar="PORT", show_default=True, type=click.IntRange(1, 65_535), help="Port.")
@click.option(
    "--web-workers", default=1, envvar="WEB_WORKERS", show_default=True, type=click.IntRange(1, 64), help="Web workers."
)
def web(host: str, port: int, web_workers: int) -> None:
    """Run the web server in the foreground: on any machine with the same DATABASE_URL and REDIS_URL."""
    process = supervisor.web_process(host, port, web_workers)
    environ = {name: value for name, value in os.environ.items() if name != "FLASK_RUN_FROM_CLI"}
    os.chdir(process.cwd)
    # gunicorn takes over: one process with its own signals, and with the secrets of its role only.
    os.execve(process.command[0], process.command, Supervisor(environ, None).environment(process))  # noqa: S606


def _start(environ: dict[str, str], host: str, port: int, workers: int, web_workers: int) -> None:
    production = environ.get("APP_ENV") == "production"
    instance = config.load(environ).instance
    if not production:
        config.make_secrets(environ, instance)
    settings = config.load(environ)
    config.require_web_secrets(settings)
    if settings.mail_from:
        config.load_mail_server(environ)
    if config.load_keyring(environ).public.partition(":")[2] != settings.vault_public_key.strip().partition(":")[2]:
        raise StartError(
            "VAULT_PUBLIC_KEY does not belong to VAULT_PRIVATE_KEYS: set the pair `flask vault new` prints."
        )
    busy = (
        f"Modelsync is running on {instance} already: use that one, stop it, "
        "or name another folder in MODELSYNC_INSTANCE."
    )
    with instance_lock(instance, UP_LOCK, busy):
        _check_port(host, port)
        logs = None if production else instance / "log"
        with Supervisor(environ, logs) as processes:
            if settings.embedded_redis:
                processes.start(redis_process(settings.embedded_redis))
                processes.wait_for_socket(settings.embedded_redis)
            demo = _start_demo(environ, settings, processes) if "MODELSYNC_DEMO" in environ else ""
            processes.start(supervisor.web_process(host, port, web_workers))  # loads while the database is migrated
            _set_up(environ)
            processes.start(supervisor.worker_process(workers))
            processes.start(supervisor.scheduler_process())
            processes.wait_for_http(_base_url(host, port) + "/health")
            _print_summary(settings, _base_url(host, port), processes.running, logs, demo)
            processes.watch()


def _set_up(environ: dict[str, str]) -> None:
    from app import create_app
    from app.cli.vault_commands import warn_about_unopenable_keys

    app = create_app(config.load(environ))
    set_up(app)
    with app.app_context():
        warn_about_unopenable_keys(config.load_keyring(environ))
        db.session.remove()
        db.engine.dispose()


def _start_demo(environ: dict[str, str], settings: config.Settings, processes: Supervisor) -> str:
    """Start the simulated providers, on the first start with accounts and history. Returns the sign-in hint."""
    from app import create_app
    from app.demo import seed

    port = _free_port()
    token = secrets.token_urlsafe(24)
    environ |= {"MODELSYNC_DEMO_URL": f"http://127.0.0.1:{port}", "MODELSYNC_DEMO_TOKEN": token}
    environ |= seed.base_urls(port)
    config.save_demo_base_urls(settings.instance, seed.base_urls(port))
    processes.start(Process("simulator", [sys.executable, "-m", "app.demo", "--port", str(port)]))
    processes.wait_for_socket(("127.0.0.1", port))
    app = create_app(config.load(environ))
    set_up(app)
    with app.app_context():
        seed.seed(config.load_keyring(environ), config.load_public_key(settings))
        db.session.remove()
        db.engine.dispose()
    return f"Demo accounts: {_DEMO_ACCOUNTS}; the password is {seed.PASSWORD}"


def _demo_environment() -> dict[str, str]:
    """An environment isolated from real data: its own instance folder, embedded database and Redis."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_DEMO_EXCLUDED)}
    instance = instance_folder(environ) / "demo"
    return environ | {"MODELSYNC_INSTANCE": str(instance), "MODELSYNC_DEMO": "1"}


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartError(
                f"Port {port} of {host} cannot be used ({error.strerror}): stop what uses it, or take another: "
                f"`flask up --port {port + 1 if port < 65_535 else 8000}`."
            ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _base_url(host: str, port: int) -> str:
    display_host = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{display_host}:{port}"


def _print_summary(settings: config.Settings, address: str, processes: list[str], logs: Path | None, demo: str) -> None:
    console = Console(highlight=False)
    database = "SQLite" if settings.database_url.startswith("sqlite") else "PostgreSQL"
    queue = "embedded Redis" if settings.embedded_redis else "Redis of REDIS_URL"
    console.print()
    console.print(
        "  [bold]Modelsync is ready[/bold]" + ("  [black on yellow] demo, with simulated providers [/]" if demo else "")
    )
    console.print()
    console.print(f"  Open    [bold]{address}[/bold]")
    console.print(f"  Runs    {', '.join(processes)}")
    console.print(f"  Data    {database} and {queue}, in {settings.instance}", soft_wrap=True)
    if logs:
        console.print(f"  Logs    {logs}", soft_wrap=True)
    if demo:
        console.print(f"  Sign in {demo}", soft_wrap=True)
    console.print("  Stop    Ctrl-C")
    console.print()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
