"""`flask sync run|cancel|due`: syncs of one user's keys. (`batch_commands` adds those with the server's keys.)"""

from __future__ import annotations

import sys
from datetime import timedelta

import click
from flask.cli import AppGroup

from app import clock, config
from app.cli import sync_runner
from app.cli.errors import require_installation
from app.cli.output import json_option, print_json, print_rows
from app.cli.user_commands import load_user
from app.jobs import enqueue
from app.providers import PROVIDERS
from app.store import due, runs

sync_group = AppGroup("sync", help="Syncs.")


@sync_group.command("run")
@click.argument("email")
@click.option("--provider", type=click.Choice(list(PROVIDERS)), help="Only this provider's keys.")
@click.option("--dry-run", is_flag=True, help="Ask and compare, but write nothing.")
@json_option("Print one JSON object at the end.")
@require_installation
def sync_run(email: str, provider: str | None, dry_run: bool, as_json: bool) -> None:
    """Sync a user's keys now and wait; exit code 0 only if no result failed."""
    user = load_user(email)
    vault = config.load_keyring()
    run = sync_runner.dry_run if dry_run else sync_runner.run_sync
    report = run(user.id, provider, vault, quiet=as_json)
    if as_json:
        print_json([report])
    else:
        sync_runner.print_report(report)
    sys.exit(1 if any(result["outcome"] in ("failed", "skipped") for result in report["results"]) else 0)


@sync_group.command("cancel")
@click.argument("email")
@require_installation
def sync_cancel(email: str) -> None:
    """End a user's live sync: what it settled stays, the rest keeps its last list."""
    run = runs.live_run(load_user(email).id)
    if run is None or not enqueue.cancel_run(run.id):
        raise click.ClickException(f"No sync of {email} is under way.")
    click.echo(f"Cancelled run {run.id}.")


@sync_group.command("due")
@click.option("--within", "hours", default=24.0, show_default=True, type=click.FloatRange(0, 24 * 366), help="Hours.")
@click.option("--user", "email", help="Only this user's keys.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@json_option()
@require_installation
def sync_due(hours: float, email: str | None, limit: int, as_json: bool) -> None:
    """Show what the schedule syncs next by itself, the longest overdue first."""
    until = clock.utc_now() + timedelta(hours=hours)
    rows = [
        {
            "due_at": clock.isoformat(key.due_at),
            "user": key.email,
            "provider": key.provider,
            "label": key.label,
            "key": key.credential_id,
        }
        for key in due.load_upcoming(until, limit, load_user(email).id if email else None)
    ]
    print_rows(rows, as_json)
    if not rows and not as_json:
        click.echo("Nothing is due in this time.")
