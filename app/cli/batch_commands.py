"""`flask sync all`, `plans` and `apply`: the batch sync of the owner's documents, with the server's own keys.

It runs in this process, with the `<SLUG>_API_KEY`s of this environment. Providers are asked at the same time, each no
faster than it may be asked: no pause between two of them is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
from flask.cli import with_appcontext
from rich.console import Console

from app import config, jobs, logs
from app.api.schemas import result_json
from app.api.sync_report import errors_of, synced
from app.catalog import humanize
from app.cli import syncing
from app.cli.errors import sentences
from app.cli.output import print_json, print_table
from app.extensions import db
from app.providers import PROVIDERS
from app.store import credentials, plans
from app.store.audit import COMMAND_LINE
from app.store.plans import Plan, PlanPart
from app.store.queries import runs, sync_counts
from app.store.queries.runs import ResultView, RunView
from app.store.queries.stats import READ_OUTCOMES
from app.store.queries.sync_counts import CatalogCounts, OverrideCounts
from app.sync import planning, server_keys
from app.sync import run as sync
from app.sync.server_keys import AUTHORITATIVE, SYNCABLE
from app.web.app import filters

_RULE = "=" * 60
_MOST_MISSING = 50
_NO_KEY = "key_missing"
Line = ResultView | PlanPart


class SeveralValues(click.Command):
    """Its `--providers` takes all words up to the next option, as well as being given several times."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args, "--providers"))


def spread(args: Sequence[str], option: str) -> list[str]:
    """`--providers a b` as `--providers a --providers b`."""
    told: list[str] = []
    inside = False
    for word in args:
        if word == option:
            inside = True
            continue
        inside = inside and not word.startswith("-")
        told += [option, word] if inside else [word]
    # Without a word after it, click is to say so.
    return [*told, option] if args and args[-1] == option else told


@click.command("all", cls=SeveralValues)
@click.option("--providers", multiple=True, metavar="PROVIDER [PROVIDER ...]", help="Only these; else all.")
@click.option("--dry-run", is_flag=True, help="Ask, and keep a plan of what would change, but change nothing.")
@click.option("--verbose", "-v", is_flag=True, help="Name each change, and log in detail.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@with_appcontext
@sentences
def sync_all(providers: tuple[str, ...], dry_run: bool, verbose: bool, as_json: bool) -> None:
    """Sync the shared catalog with the keys of this environment; exit code 1 if a provider with a key failed.

    OpenRouter and AIHubMix are passed over unless they are named: they are public catalogs, see `flask catalog import`.
    """
    batch = _batch_of(providers)
    if verbose:
        _log_in_detail()
    if not as_json:
        batch.announce()
    done = _dry_run(batch, quiet=as_json) if dry_run else _run(batch, quiet=as_json)
    if as_json:
        print_json([done.as_json(batch)])
    else:
        done.show(verbose=verbose)
    sys.exit(1 if done.failed else 0)


@click.command("plans")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@with_appcontext
@sentences
def sync_plans(as_json: bool) -> None:
    """List the plans that dry runs made, the newest first."""
    now = sync.utc_now()
    rows = [
        {
            "id": plan.id,
            "state": plan.state(now),
            "providers": len(plan.parts) or len(plan.providers) or "all",
            **{kind: plan.total(kind) for kind in ("new", "changed", "unlisted", "relisted")},
            "by": plan.made_by,
            "created_at": filters.isoformat(plan.created_at),
            "run": plan.run_id,
        }
        for plan in plans.list_newest(size=100)[0]
    ]
    print_json(rows) if as_json else print_table(rows)


@click.command("apply")
@click.argument("plan_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@with_appcontext
@sentences
def sync_apply(plan_id: int, as_json: bool) -> None:
    """Write exactly what a plan shows, without asking anybody again; exit code 1 if a part of it failed."""
    try:
        run = planning.start(plan_id, COMMAND_LINE, "cli", sync.utc_now())
        db.session.commit()
    except (LookupError, planning.StalePlan, planning.SyncInProgress) as error:
        db.session.rollback()
        raise click.ClickException(str(error.args[0])) from None
    done = _finished(syncing.work_off(run.id, config.load_keyring(), quiet=as_json))
    if as_json:
        print_json([done.as_json(None)])
    else:
        done.show(verbose=False)
    sys.exit(1 if done.failed else 0)


COMMANDS = (sync_all, sync_plans, sync_apply)


# ------------------------------------------------------------------ what is to be done


@dataclass(frozen=True)
class _Batch:
    slugs: tuple[str, ...]
    skipped: tuple[str, ...]
    loaded: CatalogCounts
    keys: Mapping[str, str]
    """Provider → found, missing, or not needed."""

    def announce(self) -> None:
        missing = [slug for slug in self.slugs if self.keys[slug] == "missing"]
        found = sum(self.keys[slug] == "found" for slug in self.slugs)
        open_ones = sum(self.keys[slug] == "not needed" for slug in self.slugs)
        _echo(_RULE, "Batch Provider Model Sync", _RULE, "", "Loading data files...", "", "Loaded:")
        _echo(*(f"  - {count} {what}" for what, count in asdict(self.loaded).items()), "")
        _echo(f"Providers to sync: {len(self.slugs)}")
        if self.skipped:
            _echo(f"Skipping: {', '.join(self.skipped)} (authoritative sources)")
        _echo("", "API Keys Status:", f"  ✓ Found: {found}", f"  ✗ Missing: {len(missing)}")
        if open_ones:
            _echo(f"  - Not needed: {open_ones}")
        if missing:
            _echo("", "Providers without API keys (will likely fail):")
            _echo(*(f"  - {slug:<20}(env: {variable_of(slug)})" for slug in missing[:_MOST_MISSING]))
            _echo("", "To configure API keys:", "  1. Copy .env.example to .env", "  2. Fill in your API keys")
            _echo("  3. Run this command again")
        _echo("")


def variable_of(slug: str) -> str:
    return f"{PROVIDERS[slug].variable}_API_KEY"


def _batch_of(named: Collection[str]) -> _Batch:
    """Raises ClickException for a provider that cannot be synced."""
    enabled = {slug for slug, row in credentials.providers_by_slug().items() if row.is_active}
    for slug in named:
        if slug not in SYNCABLE:
            raise click.ClickException(f"There is no provider {slug} to sync: see `flask providers list`.")
        if slug not in enabled:
            raise click.ClickException(f"{slug} is disabled: `flask providers set {slug} --enable` enables it.")
    wanted = [slug for slug in SYNCABLE if slug in enabled and (slug in named or not named)]
    skipped = [] if named else [slug for slug in AUTHORITATIVE if slug in wanted]
    slugs = tuple(slug for slug in wanted if slug not in skipped)
    if not slugs:
        raise click.ClickException("No provider is enabled: `flask providers set SLUG --enable` enables one.")
    present = config.load_server_keys(os.environ)
    keys = {
        slug: "found" if slug in present else "not needed" if PROVIDERS[slug].public else "missing" for slug in slugs
    }
    return _Batch(slugs, tuple(skipped), sync_counts.count_catalog(), keys)


# ------------------------------------------------------------------ doing it


@dataclass(frozen=True)
class _Done:
    """What came of it: the parts of a run, or of the plan for one."""

    lines: Sequence[Line]
    written: Mapping[str, OverrideCounts]
    run: RunView | None = None
    plan: Plan | None = None

    @property
    def failed(self) -> bool:
        """Whether one failed that could have been asked: where the environment has no key, nothing was to be had."""
        bad = [line for line in self.lines if line.outcome not in READ_OUTCOMES and line.error_code != _NO_KEY]
        return bool(bad) or bool(self.plan and self.plan.error_message)

    def show(self, *, verbose: bool) -> None:
        for line in self.lines:
            self._show_one(line, verbose)
        read = [line for line in self.lines if line.outcome in READ_OUTCOMES]
        total = OverrideCounts(
            sum(one.generated for one in self.written.values()), sum(one.merged for one in self.written.values())
        )
        _echo(_RULE, "Sync Summary", _RULE, "", f"Total providers: {len(self.lines)}")
        _echo(f"  ✓ Successful: {len(read)}", f"  ✗ Failed: {len(self.lines) - len(read)}", "", "Statistics:")
        _echo(f"  - Total models fetched: {sum(line.fetched for line in self.lines)}")
        _echo(f"  - New models {'found' if self.plan else 'added'}: {sum(line.new for line in self.lines)}")
        if not self.plan:
            _echo(f"  - Overrides generated: {total.generated}", f"  - Overrides merged: {total.merged}")
        _echo("", self._end(), _RULE)

    def as_json(self, batch: _Batch | None) -> dict[str, Any]:
        """The whole report as an object."""
        told: dict[str, Any] = {
            "run_id": self.run.id if self.run else None,
            "plan_id": self.plan.id if self.plan else None,
            "state": self.run.state if self.run else "dry-run",
            "providers_processed": len(self.lines),
            "successful": sum(line.outcome in READ_OUTCOMES for line in self.lines),
            "failed": sum(line.outcome not in READ_OUTCOMES for line in self.lines),
            "total_models_fetched": sum(line.fetched for line in self.lines),
            "total_models_synced": 0 if self.plan else sum(map(synced, self.lines)),
            "new_models": sum(line.new for line in self.lines),
            "overrides_generated": sum(one.generated for one in self.written.values()),
            "overrides_merged": sum(one.merged for one in self.written.values()),
            "errors": errors_of(self.lines),
            "results": [self._line_json(line) for line in self.lines],
        }
        if batch:
            keys = {slug: {"variable": variable_of(slug), "key": state} for slug, state in batch.keys.items()}
            told |= {"loaded": asdict(batch.loaded), "skipped": list(batch.skipped), "api_keys": keys}
        return told

    def _line_json(self, line: Line) -> dict[str, Any]:
        if isinstance(line, ResultView):
            return {**result_json(line), "overrides": asdict(self.written.get(line.provider, OverrideCounts()))}
        counts = {name: getattr(line, name) for name in plans.COUNTS}
        error = {"code": line.error_code, "message": line.error_message} if line.error_code else None
        return {
            "provider": line.provider,
            "outcome": line.outcome,
            **counts,
            "duration_s": round(line.duration_s, 3),
            "error": error,
        }

    def _show_one(self, line: Line, verbose: bool) -> None:
        _echo(f"[{line.provider}] {'Comparing' if self.plan else 'Syncing'} models...")
        _echo(f"  - Fetching from {_place(line.provider)}")
        if line.outcome not in READ_OUTCOMES:
            _echo(f"    ✗ {line.error_message or 'It was not synced.'}", "")
            return
        _echo(f"    ✓ Fetched {humanize.pluralize(line.fetched, 'model')}")
        if line.error_message:
            _echo(f"    ! {line.error_message}")
        if line.new:
            _echo(f"  + {'Would add' if self.plan else 'Adding'} {humanize.pluralize(line.new, 'new model')}")
        written = self.written.get(line.provider, OverrideCounts())
        if written.generated:
            _echo(f"  + Generated {humanize.pluralize(written.generated, 'new override')}")
        if written.merged:
            _echo(f"  + Merged {humanize.pluralize(written.merged, 'override')}")
        others = {kind: getattr(line, kind) for kind in ("changed", "unlisted", "relisted")}
        if any(others.values()):
            _echo(f"  ~ {', '.join(f'{count} {kind}' for kind, count in others.items() if count)}")
        if verbose:
            self._show_changes(line)
        _echo("")

    def _show_changes(self, line: Line) -> None:
        if isinstance(line, PlanPart):
            changes = line.changes
        else:
            changes = tuple(change for group in runs.load_changes([line]) for change in group.changes)
        _echo(
            *(f"    {change.kind}: {_plain(change.model_id)}: {humanize.describe_change(change)}" for change in changes)
        )

    def _end(self) -> str:
        if self.plan is None:
            return "✓ Batch sync completed" if not self.run or self.run.state == "done" else f"✗ {self.run.state}"
        if self.plan.error_message:
            return f"✗ {self.plan.error_message}"
        return f"✓ Dry run: nothing was written. `flask sync apply {self.plan.id}` writes exactly this."


def _dry_run(batch: _Batch, *, quiet: bool) -> _Done:
    plan_id = planning.request_plan(batch.slugs, COMMAND_LINE, sync.utc_now())
    db.session.commit()
    with Console(stderr=True) as console, syncing.progress(console, quiet) as bar:
        if bar:
            bar.add_task(f"Asking {humanize.pluralize(len(batch.slugs), 'provider')}", total=None)
        with jobs.sync_context(config.load_keyring()) as means:
            planning.make_plan(plan_id, means)
    plan = plans.get(plan_id)
    if plan is None:
        raise click.ClickException("The plan was deleted while it was made.")
    return _Done(plan.parts, {}, plan=plan)


def _run(batch: _Batch, *, quiet: bool) -> _Done:
    started = server_keys.start(batch.slugs, "cli", sync.utc_now(), COMMAND_LINE)
    db.session.commit()
    if not started.is_new:
        raise click.ClickException(
            f"Sync {started.run.id} with the server's own keys is under way already. Try again when it is over."
        )
    return _finished(syncing.work_off(started.run.id, config.load_keyring(), quiet=quiet))


def _finished(run: RunView) -> _Done:
    lines = sorted(run.results, key=lambda result: result.provider)
    written = sync_counts.count_overrides_written(run.started_at or run.created_at, run.ended_at or sync.utc_now())
    return _Done(lines, {slug: one for slug, one in written.items() if slug in {line.provider for line in lines}}, run)


def _log_in_detail() -> None:
    logs.configure_process("DEBUG")


def _place(slug: str) -> str:
    """The address that is asked, without anything of a key."""
    row = credentials.providers_by_slug()[slug]
    base = config.current().base_urls.get(slug) or row.admin_base_url
    if base:
        return base
    endpoints = row.models_api.get("endpoints") or []
    return str(endpoints[0]["url"]) if endpoints else row.base_url


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in text)


def _echo(*lines: str) -> None:
    for line in lines:
        click.echo(line)
