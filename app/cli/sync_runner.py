"""Executes sync runs in this process, with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console

from app import clock
from app.catalog import humanize
from app.cli.output import print_table, progress_bar
from app.extensions import db
from app.jobs import context, pubsub, tasks
from app.providers import provider_title
from app.providers.error_mapping import key_page_url
from app.store import runs
from app.store.queries import runs as run_queries
from app.store.queries.results import ProviderResult, result_json
from app.sync import run as sync
from app.vault import Keyring

Report = dict[str, Any]

_NO_KEYS = "There is no active API key to sync: add one with `flask keys add`."
_POLL_INTERVAL_S = 0.5


def run_sync(user_id: int, provider: str | None, vault: Keyring, *, quiet: bool) -> Report:
    """Execute a new run, or wait for the live one; the report of the finished run."""
    started = runs.start(user_id, "cli", clock.utc_now(), provider=provider)
    db.session.commit()
    if started is None:
        raise click.ClickException(_NO_KEYS)
    run_id = started.run.id
    if started.run.state == "running" and not quiet:
        click.echo("A sync of this user is under way already; waiting for it.", err=True)
    run = execute_run(run_id, vault, quiet=quiet)
    tasks.start_first_syncs()
    return build_run_report(run)


def execute_run(run_id: int, vault: Keyring, *, quiet: bool) -> run_queries.RunView:
    """Execute a queued run, or wait for the process that does; the finished run."""
    with Console(stderr=True) as console, progress_bar(console, quiet) as bar:
        task = bar.add_task("Syncing", total=None) if bar else None

        def show_progress(*run_ids: int) -> None:
            pubsub.publish_run_changed(*run_ids)
            run = run_queries.load_run(run_id)
            if bar and task is not None and run:
                bar.update(task, total=len(run.results), completed=run.settled)

        with context.sync_context(vault, show_progress) as sync_context:
            sync.execute(run_id, sync_context)
        _wait_until_closed(run_id, show_progress)
    run = run_queries.load_run(run_id)
    if run is None:
        raise click.ClickException("The run was deleted while it ran.")
    return run


def dry_run(user_id: int, provider: str | None, vault: Keyring, *, quiet: bool) -> Report:
    """The report that a sync would give. Asks the providers, writes nothing."""
    with context.sync_context(vault) as sync_context, Console(stderr=True) as console, progress_bar(console, quiet):
        outcome = sync.dry_run(user_id, provider, sync_context)
    if not outcome.results:
        raise click.ClickException(_NO_KEYS)
    return {
        "run_id": None,
        "trigger": "cli",
        "state": "dry-run",
        "total_new_models": outcome.total_new_models,
        "results": outcome.results,
    }


def error_json(result: ProviderResult) -> dict[str, str | None] | None:
    """url: where to create or edit the key, if that mends the error."""
    if not result.error_code:
        return None
    return {
        "code": result.error_code,
        "message": result.error_message,
        "action": result.error_action,
        "url": key_page_url(result.provider, result.error_code),
    }


def build_run_report(run: run_queries.RunView) -> Report:
    return {
        "run_id": run.id,
        "trigger": run.trigger,
        "state": run.state,
        **{column: getattr(run, column) for column in runs.TOTAL_COLUMNS.values()},
        "results": [{**result_json(result), "error": error_json(result)} for result in run.results],
    }


def print_report(report: Report) -> None:
    print_table(
        [
            {
                "provider": provider_title(result["provider"]),
                **{name: result[name] for name in ("label", "outcome", "chat", "new", "changed", "unlisted")},
                "took": humanize.format_seconds(result["duration_s"]),
                "says": result["error"]["message"] if result["error"] else "",
            }
            for result in report["results"]
        ]
    )
    totals = {"total_changed": "changed", "total_unlisted": "removed", "total_relisted": "back"}
    others = [f", {humanize.format_number(report[name])} {word}" for name, word in totals.items() if report.get(name)]
    click.echo(f"{humanize.pluralize(report['total_new_models'], 'new model')}{''.join(others)}.")


def _wait_until_closed(run_id: int, show_progress: Callable[[int], None]) -> None:
    while True:
        lost_ids = runs.close_lost(clock.utc_now())
        db.session.commit()
        run = run_queries.load_run(run_id)
        db.session.rollback()
        if run is None or not run.is_live or run_id in lost_ids:
            return
        show_progress(run_id)
        time.sleep(_POLL_INTERVAL_S)
