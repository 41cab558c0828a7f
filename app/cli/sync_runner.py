"""`flask sync run`: the same run as the button's, in this process, with its progress shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app import jobs
from app.api.schemas import result_json
from app.catalog import humanize
from app.cli.output import print_table
from app.extensions import db
from app.store import runs
from app.store.queries import runs as run_queries
from app.sync import run as sync
from app.vault import Keyring
from app.web.app import filters

Report = dict[str, Any]


def perform(user_id: int, provider: str | None, vault: Keyring, *, quiet: bool) -> Report:
    """Start a run and do it here, or wait for the live one. The report of the closed run."""
    started = runs.start(user_id, "cli", sync.utc_now(), provider=provider)
    db.session.commit()
    if started is None:
        raise click.ClickException("There is no active API key to sync: add one with `flask keys add`.")
    run_id = started.run.id
    if not started.is_new and not quiet:
        click.echo("A sync of this user is under way already; waiting for it.", err=True)
    return report_of(work_off(run_id, vault, quiet=quiet))


def work_off(run_id: int, vault: Keyring, *, quiet: bool) -> run_queries.RunView:
    """Do a queued run here, or wait for whoever does it, with its progress shown where someone looks on."""
    with Console(stderr=True) as console, progress(console, quiet) as bar:
        task = bar.add_task("Syncing", total=None) if bar else None

        def show_progress(*told: int) -> None:
            jobs.publish_run_changed(*told)
            run = run_queries.load_run(run_id)
            if bar and task is not None and run:
                bar.update(task, total=len(run.results), completed=run.settled)

        with jobs.sync_context(vault, show_progress) as means:
            sync.execute(run_id, means)
        _wait(run_id, show_progress)
    run = run_queries.load_run(run_id)
    if run is None:
        raise click.ClickException("The run was deleted while it ran.")
    return run


def preview(user_id: int, provider: str | None, vault: Keyring, *, quiet: bool) -> Report:
    """What a sync would say, asked for real, with nothing written."""
    with jobs.sync_context(vault) as means, Console(stderr=True) as console, progress(console, quiet):
        results = sync.dry_run(user_id, provider, means)
    if not results:
        raise click.ClickException("There is no active API key to sync: add one with `flask keys add`.")
    return {
        "run_id": None,
        "trigger": "cli",
        "state": "dry-run",
        "total_new_models": sum(result["new"] for result in results),
        "results": results,
    }


def report_of(run: run_queries.RunView) -> Report:
    return {
        "run_id": run.id,
        "trigger": run.trigger,
        "state": run.state,
        "total_new_models": run.total_new_models,
        "results": [result_json(result) for result in run.results],
    }


def show(report: Report) -> None:
    print_table(
        [
            {
                "provider": filters.provider_title(result["provider"]),
                "label": result["label"],
                "outcome": result["outcome"],
                "chat": result["chat"],
                "new": result["new"],
                "changed": result["changed"],
                "unlisted": result["unlisted"],
                "took": filters.format_seconds(result["duration_s"]),
                "says": result["error"]["message"] if result["error"] else "",
            }
            for result in report["results"]
        ]
    )
    click.echo(f"{humanize.pluralize(report['total_new_models'], 'new model')}.")


def progress(console: Console, quiet: bool) -> Any:
    if quiet or not console.is_terminal:
        return nullcontext(None)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _wait(run_id: int, show_progress: Callable[[int], None]) -> None:
    while True:
        lost = runs.close_lost(sync.utc_now())
        db.session.commit()
        run = run_queries.load_run(run_id)
        db.session.rollback()
        if run is None or not run.is_live or run_id in lost:
            return
        show_progress(run_id)
        time.sleep(0.5)
