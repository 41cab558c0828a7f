"""`flask providers`: the provider registry, and tools for adding a provider."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from flask.cli import AppGroup

from app import clock, config
from app.catalog.humanize import format_tokens
from app.catalog.listing import build_listing
from app.cli.errors import require_installation
from app.cli.model_commands import model_json
from app.cli.output import json_option, print_json, print_table
from app.extensions import db
from app.jobs import context
from app.providers import PROVIDERS, parsing
from app.providers.addresses import validate_shared_url
from app.providers.contract import Endpoint, Page, Provider
from app.providers.drift import diff_fields, scrub
from app.store import catalog, credentials, overrides
from app.store.audit import COMMAND_LINE
from app.sync.catalog.bootstrap import bootstrap
from app.sync.http.errors import SyncError
from app.sync.http.fetch import read_raw
from app.sync.http.google_auth import resolve_signing_key
from app.sync.reschedule import reschedule
from app.vault import ApiKey

providers_group = AppGroup("providers", help="The providers that can be synced.")
_SLUG = click.Choice(list(PROVIDERS))
_FREQUENCIES = ("realtime", "daily", "weekly", "manual")


@providers_group.command("list")
@json_option()
@require_installation
def providers_list(as_json: bool) -> None:
    """List the providers with the state of the server-wide key and the last sync."""
    rows = credentials.providers_by_slug()
    providers = [_provider_json(provider, rows[slug]) for slug, provider in PROVIDERS.items() if slug in rows]
    if as_json:
        print_json(providers)
    else:
        names = ("slug", "name", "enabled", "update_frequency", "key_variable", "key", "last_synced")
        print_table([{name: provider[name] for name in names} for provider in providers])


@providers_group.command("sync")
@require_installation
def providers_sync() -> None:
    """Make the database follow the provider files; every start does it too. Your own settings stay."""
    bootstrap(clock.utc_now())
    click.echo(f"Synced {len(PROVIDERS)} providers.")


@providers_group.command("set")
@click.argument("slug", type=_SLUG)
@click.option("--enable/--disable", default=None, help="Whether its keys are synced.")
@click.option("--update-frequency", type=click.Choice([*_FREQUENCIES, "default"]), help="How often it should be.")
@click.option("--base-url", help="Ask at this address instead; `default` for the provider's own.")
@require_installation
def providers_set(slug: str, enable: bool | None, update_frequency: str | None, base_url: str | None) -> None:
    """Set what is yours to decide about a provider; it survives updates of the provider files."""
    url = None if base_url in (None, "default") else validate_shared_url(base_url.strip(), PROVIDERS[slug].base_url)
    row = credentials.providers_by_slug()[slug]
    frequency_before = row.admin_update_frequency
    frequency = None if update_frequency == "default" else update_frequency
    catalog.update_provider(
        row,
        is_active=row.is_active if enable is None else enable,
        frequency=frequency if update_frequency else frequency_before,
        base_url=row.admin_base_url if base_url is None else url,
        actor=COMMAND_LINE,
        now=clock.utc_now(),
    )
    db.session.commit()
    if row.admin_update_frequency != frequency_before:
        reschedule(row, clock.utc_now())
    print_json([_provider_json(PROVIDERS[slug], row)])


@providers_group.command("read")
@click.argument("slug", type=_SLUG)
@click.argument("file", type=click.File("rb"), default="-")
@json_option("One model a line, as `flask models list --json`.")
@require_installation
def providers_read(slug: str, file: Any, as_json: bool) -> None:
    """Read a saved answer (or standard input) and print what the app makes of it. Nothing is stored or asked."""
    body = file.read()
    page = _parse_answer(PROVIDERS[slug], body)
    models = {model.id: model for model in reversed(page.models)}
    listing = build_listing(slug, list(models.values()))
    _, index = catalog.load_index()
    if as_json:
        print_json(model_json(slug, model, index, overrides.load_manual()) for model in listing.models)
    else:
        print_table(
            [
                {
                    "id": model.id,
                    "kind": model.kind,
                    "reason": model.kind_reason,
                    "context": format_tokens(model.context_length),
                }
                for model in listing.models
            ]
        )
    for remark in page.remarks:
        click.echo(f"{remark.entry}: {remark.reason}", err=True)
    for skipped in page.skipped:
        click.echo(f"skipped {skipped.entry}: {skipped.reason}", err=True)
    for ignored in page.ignored:
        click.echo(f"ignored {ignored.entry}: {ignored.reason}", err=True)
    if doubles := len(page.models) - len(models):
        click.echo(f"{doubles} listed twice", err=True)
    if page.next:
        click.echo("there is a next page", err=True)


@providers_group.command("record")
@click.argument("slug", type=_SLUG)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Folder for the answer.")
@require_installation
def providers_record(slug: str, to: Path | None) -> None:
    """Ask live with the key of the environment, save the answer without keys, and tell how its fields drifted."""
    provider = PROVIDERS[slug]
    key = config.read_secret(os.environ, provider.key_variable)
    if not key and not provider.public:
        raise click.ClickException(f"Set {provider.key_variable} to a key of {provider.title} first.")
    folder = to or config.current().instance / "answers" / slug
    folder.mkdir(parents=True, exist_ok=True)
    before = _load_last_answer(folder)  # before writing, which replaces an answer of the same day
    pages = [scrub(json.loads(body), key) for body in _fetch_answer(provider, key)]
    for number, page in enumerate(pages, 1):
        suffix = f"-page-{number}" if len(pages) > 1 else ""
        path = folder / f"{clock.utc_now():%Y-%m-%d}{suffix}.json"
        path.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        click.echo(f"saved {path}")
    if before:
        _print_drift(before[1], pages[0], before[0])


@providers_group.command("drift")
@click.argument("before", type=click.File("rb"))
@click.argument("after", type=click.File("rb"))
def providers_drift(before: Any, after: Any) -> None:
    """Name the fields that one saved answer has and an earlier one had not, and the reverse."""
    try:
        _print_drift(json.loads(before.read()), json.loads(after.read()), Path(before.name))
    except ValueError:
        raise click.ClickException("Give two saved answers as JSON files.") from None


def _fetch_answer(provider: Provider, key: str) -> list[bytes]:
    with context.sync_context() as sync:
        operator_url = sync.base_urls.get(provider.slug)
        admin_url = None if operator_url else sync.admin_base_urls.get(provider.slug)
        base_url = operator_url or admin_url or ("" if _has_example_url(provider) else provider.base_url)
        if not base_url:
            raise click.ClickException(f"Set {provider.env_prefix}_BASE_URL to the address of your server first.")
        client = sync.restricted if admin_url and sync.restricted else sync.client
        signing_key = resolve_signing_key(provider, ApiKey(key) if key else None, sync.client, sync.base_urls)
        try:
            return read_raw(provider, signing_key, client, base_url)
        except SyncError as error:
            raise click.ClickException(error.describe(provider)) from None


def _has_example_url(provider: Provider) -> bool:
    """Whether the base URL is a placeholder for each user's own server, which must never be sent a key."""
    return bool(provider.base_url_example) and urlsplit(provider.base_url).hostname != "localhost"


def _load_last_answer(folder: Path) -> tuple[Path, Any] | None:
    """The newest saved answer and its content; of several pages the first."""
    saved = [path for path in folder.glob("*.json") if not path.name.endswith(".expected.json")]
    first_pages = sorted(path for path in saved if "-page-" not in path.name or path.name.endswith("-page-1.json"))
    if not first_pages:
        return None
    try:
        return first_pages[-1], json.loads(first_pages[-1].read_bytes())
    except ValueError:
        raise click.ClickException(f"{first_pages[-1]} is no saved answer: move it away first.") from None


def _print_drift(before: Any, after: Any, name: Path) -> None:
    appeared, vanished = diff_fields(before, after)
    for path in appeared:
        click.echo(f"new field: {path}")
    for path in vanished:
        click.echo(f"vanished field: {path}")
    if not appeared and not vanished:
        click.echo(f"The fields are those of {name.name}.")


def _parse_answer(provider: Provider, body: bytes) -> Page:
    """Parse with the first endpoint of the provider that accepts the answer."""
    error = ""
    for endpoint in provider.endpoints:
        page = _try_endpoint(endpoint, body)
        if isinstance(page, Page):
            return page
        error = error or page
    click.echo(f"The provider {error}.", err=True)
    sys.exit(1)


def _try_endpoint(endpoint: Endpoint, body: bytes) -> Page | str:
    try:
        return endpoint.read(body)
    except parsing.InvalidResponse as error:
        return str(error)


def _provider_json(provider: Provider, row: Any) -> dict[str, Any]:
    frequency = row.admin_update_frequency or provider.update_frequency
    variable = provider.key_variable
    return {
        "slug": provider.slug,
        "name": row.name,
        "enabled": row.is_active,
        "update_frequency": frequency,
        "priority": row.priority,
        "capabilities": row.capabilities,
        "public": provider.public,
        "key_variable": variable,
        "key": "found" if config.read_secret(os.environ, variable) else "not needed" if provider.public else "missing",
        "base_url": row.admin_base_url or row.base_url,
        "site_url": row.site_url,
        "last_synced": clock.isoformat(row.last_synced_at) or None,
        "models_api": {
            **row.models_api,
            "update_frequency": frequency,
        },
    }
