"""`flask sync all`, `plans` and `apply`: batch sync of the shared catalog with the server's keys.

Runs in this process with the `<SLUG>_API_KEY`s of its environment. Providers are asked concurrently, each within its
own rate limit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import click
from rich.console import Console

from app import clock, config, logs
from app.catalog import humanize
from app.cli import sync_runner
from app.cli.errors import require_installation
from app.cli.output import json_option, print_json, print_rows, printable, progress_bar
from app.cli.sync_commands import sync_group
from app.extensions import db
from app.jobs import context
from app.providers import PROVIDERS, SYNCABLE
from app.providers.error_mapping import key_page_url
from app.store import credentials, plans
from app.store.audit import COMMAND_LINE
from app.store.plans import Plan, PlanPart
from app.store.queries import runs, sync_counts
from app.store.queries.results import ProviderResult, count_synced, is_read, list_errors, result_json
from app.store.queries.runs import ResultView, RunView
from app.store.queries.sync_counts import CatalogCounts, OverrideCounts
from app.sync import planning, server_keys
from app.sync.server_keys import AUTHORITATIVE

_RULE = "=" * 60
_MAX_MISSING = 50
_NO_KEY = "key_missing"


class MultiValueCommand(click.Command):
    """Lets `--providers` take several values at once: all words up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, expand_values(args, "--providers"))


def expand_values(args: Sequence[str], option: str) -> list[str]:
    """`--providers a b` as `--providers a --providers b`."""
    expanded: list[str] = []
    is_value = False
    for word in args:
        if word == option:
            is_value = True
            continue
        is_value = is_value and not word.startswith("-")
        expanded += [option, word] if is_value else [word]
    # A trailing option without a value is kept, for click's own error.
    return [*expanded, option] if args and args[-1] == option else expanded


@sync_group.command("all", cls=MultiValueCommand)
@click.option("--providers", multiple=True, metavar="PROVIDER [PROVIDER ...]", help="Only these; else all.")
@click.option("--dry-run", is_flag=True, help="Ask, and keep a plan of what would change, but change nothing.")
@click.option("--verbose", "-v", is_flag=True, help="Name each change, and log in detail.")
@json_option("Print one JSON object at the end.")
@require_installation
def sync_all(providers: tuple[str, ...], dry_run: bool, verbose: bool, as_json: bool) -> None:
    """Sync the shared catalog with the keys of this environment; exit code 1 if a provider with a key failed.

    OpenRouter and AIHubMix are passed over unless they are named: they are public catalogs, see `flask catalog import`.
    """
    batch = _build_batch(providers)
    if verbose:
        logs.configure_process("DEBUG")
    if not as_json:
        batch.print_plan()
    report = _dry_run(batch, quiet=as_json) if dry_run else _run_batch(batch, quiet=as_json)
    _finish(report, batch, as_json=as_json, verbose=verbose)


@sync_group.command("plans")
@json_option()
@require_installation
def sync_plans(as_json: bool) -> None:
    """List the plans that dry runs made, the newest first."""
    now = clock.utc_now()
    rows = [
        {
            "id": plan.id,
            "state": plan.state(now),
            "providers": len(plan.parts) or len(plan.providers) or "all",
            **{kind: plan.total(kind) for kind in ("new", "changed", "unlisted", "relisted")},
            "by": plan.made_by,
            "created_at": clock.isoformat(plan.created_at),
            "run": plan.run_id,
        }
        for plan in plans.list_newest(size=100)[0]
    ]
    print_rows(rows, as_json)


@sync_group.command("apply")
@click.argument("plan_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@json_option("Print one JSON object at the end.")
@require_installation
def sync_apply(plan_id: int, as_json: bool) -> None:
    """Write exactly what a plan shows, without asking anybody again; exit code 1 if a part of it failed."""
    try:
        run = planning.start(plan_id, COMMAND_LINE, "cli", clock.utc_now())
    except LookupError as error:
        raise click.ClickException(str(error.args[0])) from None
    db.session.commit()
    report = _run_report(sync_runner.execute_run(run.id, config.load_keyring(), quiet=as_json))
    _finish(report, None, as_json=as_json)


def _finish(report: _BatchReport, batch: _Batch | None, *, as_json: bool, verbose: bool = False) -> NoReturn:
    if as_json:
        print_json([report.as_json(batch)])
    else:
        report.print(verbose=verbose)
    sys.exit(1 if report.failed else 0)


# ------------------------------------------------------------------ the batch


@dataclass(frozen=True)
class _Batch:
    slugs: tuple[str, ...]
    skipped: tuple[str, ...]
    loaded: CatalogCounts
    keys: Mapping[str, str]
    """Provider → found · missing · not needed."""

    def print_plan(self) -> None:
        missing = [slug for slug in self.slugs if self.keys[slug] == "missing"]
        found = sum(self.keys[slug] == "found" for slug in self.slugs)
        open_ones = sum(self.keys[slug] == "not needed" for slug in self.slugs)
        _echo(_RULE, "Batch Provider Model Sync", _RULE, "", "Loading data files...", "", "Loaded:")
        _echo(*(f"  - {count} {noun}" for noun, count in asdict(self.loaded).items()), "")
        _echo(f"Providers to sync: {len(self.slugs)}")
        if self.skipped:
            _echo(f"Skipping: {', '.join(self.skipped)} (authoritative sources)")
        _echo("", "API Keys Status:", f"  ✓ Found: {found}", f"  ✗ Missing: {len(missing)}")
        if open_ones:
            _echo(f"  - Not needed: {open_ones}")
        if missing:
            _echo("", "Providers without API keys (will likely fail):")
            _echo(*(f"  - {slug:<20}(env: {PROVIDERS[slug].key_variable})" for slug in missing[:_MAX_MISSING]))
            _echo("", "To configure API keys:", "  1. Copy .env.example to .env", "  2. Fill in your API keys")
            _echo("  3. Run this command again")
        _echo("")


def _build_batch(requested: Collection[str]) -> _Batch:
    """Raises ClickException for a provider that cannot be synced."""
    enabled = {slug for slug, row in credentials.providers_by_slug().items() if row.is_active}
    for slug in requested:
        if slug not in SYNCABLE:
            raise click.ClickException(f"There is no provider {slug} to sync: see `flask providers list`.")
        if slug not in enabled:
            raise click.ClickException(f"{slug} is disabled: `flask providers set {slug} --enable` enables it.")
    selected = [slug for slug in SYNCABLE if slug in enabled and (slug in requested or not requested)]
    skipped = [] if requested else [slug for slug in AUTHORITATIVE if slug in selected]
    slugs = tuple(slug for slug in selected if slug not in skipped)
    if not slugs:
        raise click.ClickException("No provider is enabled: `flask providers set SLUG --enable` enables one.")
    present = config.load_server_keys(os.environ)
    without_key = {slug: "not needed" if PROVIDERS[slug].public else "missing" for slug in slugs}
    keys = {slug: "found" if slug in present else state for slug, state in without_key.items()}
    return _Batch(slugs, tuple(skipped), sync_counts.count_catalog(), keys)


# ------------------------------------------------------------------ execution and report


@dataclass(frozen=True)
class _BatchReport:
    """The outcome of a run, or of a dry run (which has a plan)."""

    results: Sequence[ProviderResult]
    overrides: Mapping[str, OverrideCounts]
    run: RunView | None = None
    plan: Plan | None = None

    @property
    def failed(self) -> bool:
        """Whether a provider failed. Those without a key in the environment do not count."""
        bad = [result for result in self.results if not is_read(result) and result.error_code != _NO_KEY]
        return bool(bad) or bool(self.plan and self.plan.error_message)

    @property
    def _generated(self) -> int:
        return sum(counts.generated for counts in self.overrides.values())

    @property
    def _merged(self) -> int:
        return sum(counts.merged for counts in self.overrides.values())

    def print(self, *, verbose: bool) -> None:
        for result in self.results:
            self._print_result(result, verbose)
        read = sum(map(is_read, self.results))
        _echo(_RULE, "Sync Summary", _RULE, "", f"Total providers: {len(self.results)}")
        _echo(f"  ✓ Successful: {read}", f"  ✗ Failed: {len(self.results) - read}", "", "Statistics:")
        _echo(f"  - Total models fetched: {sum(result.fetched for result in self.results)}")
        _echo(f"  - New models {'found' if self.plan else 'added'}: {sum(result.new for result in self.results)}")
        if not self.plan:
            _echo(f"  - Overrides generated: {self._generated}", f"  - Overrides merged: {self._merged}")
        _echo("", self._last_line(), _RULE)

    def as_json(self, batch: _Batch | None) -> dict[str, Any]:
        report: dict[str, Any] = {
            "run_id": self.run.id if self.run else None,
            "plan_id": self.plan.id if self.plan else None,
            "state": self.run.state if self.run else "dry-run",
            "providers_processed": len(self.results),
            "successful": sum(is_read(result) for result in self.results),
            "failed": sum(not is_read(result) for result in self.results),
            "total_models_fetched": sum(result.fetched for result in self.results),
            "total_models_synced": 0 if self.plan else sum(map(count_synced, self.results)),
            "new_models": sum(result.new for result in self.results),
            "overrides_generated": self._generated,
            "overrides_merged": self._merged,
            "errors": list_errors(self.results),
            "results": [self._result_json(result) for result in self.results],
        }
        if batch:
            keys = {
                slug: {"variable": PROVIDERS[slug].key_variable, "key": state} for slug, state in batch.keys.items()
            }
            report |= {"loaded": asdict(batch.loaded), "skipped": list(batch.skipped), "api_keys": keys}
        return report

    def _result_json(self, result: ProviderResult) -> dict[str, Any]:
        if isinstance(result, ResultView):
            overrides = asdict(self.overrides.get(result.provider, OverrideCounts()))
            return {**result_json(result), "error": sync_runner.error_json(result), "overrides": overrides}
        return {
            "provider": result.provider,
            "outcome": result.outcome,
            **{name: getattr(result, name) for name in plans.COUNTS},
            "duration_s": round(result.duration_s, 3),
            "error": sync_runner.error_json(result),
        }

    def _print_result(self, result: ProviderResult, verbose: bool) -> None:
        _echo(f"[{result.provider}] {'Comparing' if self.plan else 'Syncing'} models...")
        _echo(f"  - Fetching from {_list_url(result.provider)}")
        if not is_read(result):
            url = key_page_url(result.provider, result.error_code)
            remedy = f"\n      {result.error_action} {url}" if url else ""
            _echo(f"    ✗ {result.error_message or 'It was not synced.'}{remedy}", "")
            return
        _echo(f"    ✓ Fetched {humanize.pluralize(result.fetched, 'model')}")
        if result.error_message:
            _echo(f"    ! {result.error_message}")
        if result.new:
            _echo(f"  + {'Would add' if self.plan else 'Adding'} {humanize.pluralize(result.new, 'new model')}")
        written = self.overrides.get(result.provider, OverrideCounts())
        if written.generated:
            _echo(f"  + Generated {humanize.pluralize(written.generated, 'new override')}")
        if written.merged:
            _echo(f"  + Merged {humanize.pluralize(written.merged, 'override')}")
        others = {kind: getattr(result, kind) for kind in ("changed", "unlisted", "relisted")}
        if any(others.values()):
            _echo(f"  ~ {', '.join(f'{count} {kind}' for kind, count in others.items() if count)}")
        if verbose:
            self._print_changes(result)
        _echo("")

    def _print_changes(self, result: ProviderResult) -> None:
        if isinstance(result, PlanPart):
            changes = result.changes
        else:
            changes = tuple(change for group in runs.load_changes([result]) for change in group.changes)
        for change in changes:
            _echo(f"    {change.kind}: {printable(change.model_id)}: {humanize.describe_change(change)}")

    def _last_line(self) -> str:
        if self.plan is None:
            return "✓ Batch sync completed" if not self.run or self.run.state == "done" else f"✗ {self.run.state}"
        if self.plan.error_message:
            return f"✗ {self.plan.error_message}"
        return f"✓ Dry run: nothing was written. `flask sync apply {self.plan.id}` writes exactly this."


def _dry_run(batch: _Batch, *, quiet: bool) -> _BatchReport:
    plan_id = planning.request_plan(batch.slugs, COMMAND_LINE, clock.utc_now())
    db.session.commit()
    with Console(stderr=True) as console, progress_bar(console, quiet) as bar:
        if bar:
            bar.add_task(f"Asking {humanize.pluralize(len(batch.slugs), 'provider')}", total=None)
        with context.sync_context(config.load_keyring()) as sync_context:
            planning.make_plan(plan_id, sync_context)
    plan = plans.get(plan_id)
    if plan is None:
        raise click.ClickException("The plan was deleted while it was made.")
    return _BatchReport(plan.parts, {}, plan=plan)


def _run_batch(batch: _Batch, *, quiet: bool) -> _BatchReport:
    started = server_keys.start(batch.slugs, "cli", clock.utc_now(), COMMAND_LINE)
    db.session.commit()
    if not started.is_new:
        raise click.ClickException(
            f"Sync {started.run.id} with the server's own keys is under way already. Try again when it is over."
        )
    return _run_report(sync_runner.execute_run(started.run.id, config.load_keyring(), quiet=quiet))


def _run_report(run: RunView) -> _BatchReport:
    slugs = {result.provider for result in run.results}
    written = sync_counts.count_overrides_written(run.started_at or run.created_at, run.ended_at or clock.utc_now())
    overrides = {slug: counts for slug, counts in written.items() if slug in slugs}
    return _BatchReport(sorted(run.results, key=lambda result: result.provider), overrides, run)


def _list_url(slug: str) -> str:
    """The URL of the provider's model list."""
    row = credentials.providers_by_slug()[slug]
    base_url = config.current().base_urls.get(slug) or row.admin_base_url
    if base_url:
        return base_url
    endpoints = row.models_api.get("endpoints") or []
    return str(endpoints[0]["url"]) if endpoints else row.base_url


def _echo(*lines: str) -> None:
    for line in lines:
        click.echo(line)
