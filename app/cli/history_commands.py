"""`flask history prune`: delete old history."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta

import click
from flask.cli import AppGroup

from app import clock, config
from app.catalog import humanize
from app.cli.errors import require_installation
from app.cli.output import json_option, print_json
from app.extensions import db
from app.store.engine import retention
from app.store.engine.retention import PruneResult

history_group = AppGroup("history", help="The history of syncs.")


@history_group.command("prune")
@click.option("--days", type=click.IntRange(1, 100_000), help="Keep this many days; else HISTORY_KEEP_DAYS.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option("One object.")
@require_installation
def prune(days: int | None, dry_run: bool, as_json: bool) -> None:
    """Take away history that is older than it is kept. Nobody's current list is touched."""
    days = days or config.current().history_keep_days
    if not days:
        raise click.ClickException("HISTORY_KEEP_DAYS is 0, so all is kept: say --days to take older history away.")
    before = clock.utc_now() - timedelta(days=days)
    result = retention.count_prunable(before) if dry_run else _prune(before)
    if as_json:
        print_json([{"before": before.isoformat(), "dry_run": dry_run, **asdict(result)}])
    else:
        counts = (
            humanize.pluralize(result.runs, "run"),
            humanize.pluralize(result.comparisons, "set of changes", "sets of changes"),
            humanize.pluralize(result.listings, "list"),
            humanize.pluralize(result.refreshes, "catalog refresh", "catalog refreshes"),
        )
        verb = "Would take" if dry_run else "Took"
        click.echo(f"{verb} away what is older than {before:%Y-%m-%d}: {', '.join(counts)}.")


def _prune(before: datetime) -> PruneResult:
    total = PruneResult()
    while not (batch := retention.prune(before)).is_empty:
        db.session.commit()
        total = PruneResult(
            *(one + more for one, more in zip(asdict(total).values(), asdict(batch).values(), strict=True))
        )
    return total
