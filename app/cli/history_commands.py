"""`flask history`: what is kept of the past, and for how long."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta

import click
from flask.cli import AppGroup

from app import config
from app.catalog import humanize
from app.cli.errors import sentences
from app.cli.output import print_json
from app.extensions import db
from app.store.engine import retention
from app.store.engine.retention import PruneResult
from app.sync.run import utc_now

history_group = AppGroup("history", help="The history of syncs.")


@history_group.command("prune")
@click.option("--days", type=click.IntRange(1, 100_000), help="Keep this many days; else HISTORY_KEEP_DAYS.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
@sentences
def prune(days: int | None, dry_run: bool, as_json: bool) -> None:
    """Take away history that is older than it is kept. Nobody's current list is touched."""
    days = days or config.current().history_keep_days
    if not days:
        raise click.ClickException("HISTORY_KEEP_DAYS is 0, so all is kept: say --days to take older history away.")
    before = utc_now() - timedelta(days=days)
    gone = retention.count_prunable(before) if dry_run else _prune(before)
    if as_json:
        print_json([{"before": before.isoformat(), "dry_run": dry_run, **asdict(gone)}])
    else:
        parts = (("run", gone.runs), ("set", gone.comparisons), ("list", gone.listings), ("refresh", gone.refreshes))
        named = {"set": "set of changes", "refresh": "catalog refresh"}
        many = {"set": "sets of changes", "refresh": "catalog refreshes"}
        told = ", ".join(humanize.pluralize(number, named.get(name, name), many.get(name)) for name, number in parts)
        click.echo(f"{'Would take' if dry_run else 'Took'} away what is older than {before:%Y-%m-%d}: {told}.")


def _prune(before: datetime) -> PruneResult:
    total = PruneResult()
    while not (batch := retention.prune(before)).is_empty:
        db.session.commit()
        total = PruneResult(
            *(one + more for one, more in zip(asdict(total).values(), asdict(batch).values(), strict=True))
        )
    return total
