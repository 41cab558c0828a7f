"""`flask providers …`: the registry, and the tools for whoever adds a provider."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from flask.cli import AppGroup

from app import config, jobs
from app.api.schemas import model_json
from app.catalog.listing import build_listing
from app.cli.errors import sentences
from app.cli.output import print_json, print_table
from app.extensions import db
from app.providers import PROVIDERS, parsing
from app.providers.addresses import InvalidBaseURL, validate_shared_url
from app.providers.contract import Endpoint, Page, Provider
from app.providers.drift import diff_fields, scrub
from app.store import catalog, credentials
from app.store.audit import COMMAND_LINE
from app.sync.catalog.bootstrap import bootstrap
from app.sync.http import errors
from app.sync.http.fetch import read_raw
from app.sync.http.google_auth import resolve_signing_key
from app.sync.reschedule import reschedule
from app.sync.run import utc_now
from app.vault import ApiKey
from app.web.app import filters

providers_group = AppGroup("providers", help="The providers that can be synced.")
_SLUG = click.Choice(list(PROVIDERS))
_FREQUENCIES = ("realtime", "daily", "weekly", "manual")


@providers_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@sentences
def providers_list(as_json: bool) -> None:
    """List the providers with the state of the server-wide key and the last sync."""
    rows = credentials.providers_by_slug()
    found = [_line(provider, rows[slug]) for slug, provider in PROVIDERS.items() if slug in rows]
    if as_json:
        print_json(found)
    else:
        names = ("slug", "name", "enabled", "update_frequency", "key_variable", "key", "last_synced")
        print_table([{name: line[name] for name in names} for line in found])


@providers_group.command("sync")
@sentences
def providers_sync() -> None:
    """Make the database follow the provider files; every start does it too. Your own settings stay."""
    bootstrap(utc_now())
    click.echo(f"{len(PROVIDERS)} providers are in the database.")


@providers_group.command("set")
@click.argument("slug", type=_SLUG)
@click.option("--enable/--disable", default=None, help="Whether its keys are synced.")
@click.option("--update-frequency", type=click.Choice([*_FREQUENCIES, "default"]), help="How often it should be.")
@click.option("--base-url", help="Ask at this address instead; `default` for the provider's own.")
@sentences
def providers_set(slug: str, enable: bool | None, update_frequency: str | None, base_url: str | None) -> None:
    """Set what is yours to decide about a provider; it survives updates of the provider files."""
    address = None if base_url in (None, "default") else _checked(PROVIDERS[slug], base_url)
    row = credentials.providers_by_slug()[slug]
    frequency, frequency_before = (
        None if update_frequency == "default" else update_frequency,
        row.admin_update_frequency,
    )
    catalog.update_provider(
        row,
        is_active=row.is_active if enable is None else enable,
        frequency=frequency if update_frequency else row.admin_update_frequency,
        base_url=row.admin_base_url if base_url is None else address,
        actor=COMMAND_LINE,
        now=utc_now(),
    )
    db.session.commit()
    if row.admin_update_frequency != frequency_before:
        reschedule(row, utc_now())
    print_json([_line(PROVIDERS[slug], row)])


@providers_group.command("read")
@click.argument("slug", type=_SLUG)
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--json", "as_json", is_flag=True, help="One model a line, as `flask models list --json`.")
@sentences
def providers_read(slug: str, file: Any, as_json: bool) -> None:
    """Read a saved answer (or standard input) and print what the app makes of it. Nothing is stored or asked."""
    body = file.read()
    page = _page(PROVIDERS[slug], body)
    models = {model.id: model for model in reversed(page.models)}
    listing = build_listing(slug, list(models.values()))
    _, index = catalog.load_index()
    if as_json:
        print_json(model_json(slug, model, index, None) for model in listing.models)
    else:
        print_table(
            [
                {"id": model.id, "kind": model.kind, "reason": model.kind_reason, "context": model.context_length}
                for model in listing.models
            ]
        )
    for remark in page.remarks:
        click.echo(f"{remark.entry}: {remark.reason}", err=True)
    for skipped in page.skipped:
        click.echo(f"skipped {skipped.entry}: {skipped.reason}", err=True)
    if doubles := len(page.models) - len(models):
        click.echo(f"{doubles} listed twice", err=True)
    if page.next:
        click.echo("there is a next page", err=True)


@providers_group.command("record")
@click.argument("slug", type=_SLUG)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="Folder for the answer.")
@sentences
def providers_record(slug: str, to: Path | None) -> None:
    """Ask live with the key of the environment, save the answer without keys, and tell how its fields drifted."""
    provider = PROVIDERS[slug]
    key = config.read_secret(os.environ, f"{provider.variable}_API_KEY")
    if not key and not provider.public:
        raise click.ClickException(f"Set {provider.variable}_API_KEY to a key of {provider.title} first.")
    folder = to or config.current().instance / "answers" / slug
    folder.mkdir(parents=True, exist_ok=True)
    before = _last_saved(folder)  # now, since an answer of the same day is written over
    pages = [scrub(json.loads(body), key) for body in _asked(provider, key)]
    for number, page in enumerate(pages, 1):
        suffix = f"-page-{number}" if len(pages) > 1 else ""
        path = folder / f"{datetime.now(UTC):%Y-%m-%d}{suffix}.json"
        path.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        click.echo(f"saved {path}")
    if before:
        _tell_drift(before[1], pages[0], before[0])


@providers_group.command("drift")
@click.argument("before", type=click.File("rb"))
@click.argument("after", type=click.File("rb"))
def providers_drift(before: Any, after: Any) -> None:
    """Name the fields that one saved answer has and an earlier one had not, and the reverse."""
    try:
        _tell_drift(json.loads(before.read()), json.loads(after.read()), Path(before.name))
    except ValueError:
        raise click.ClickException("Give two saved answers as JSON files.") from None


def _checked(provider: Provider, base_url: str) -> str:
    try:
        return validate_shared_url(base_url.strip(), provider.base_url)
    except InvalidBaseURL as bad:
        raise click.ClickException(str(bad)) from None


def _asked(provider: Provider, key: str) -> list[bytes]:
    try:
        with jobs.sync_context() as means:
            admins = None if provider.slug in means.base_urls else means.admin_base_urls.get(provider.slug)
            client = means.guarded if admins and means.guarded else means.client
            own = "" if _is_example(provider) else provider.base_url
            base_url = means.base_urls.get(provider.slug) or admins or own
            if not base_url:
                raise click.ClickException(f"Set {provider.variable}_BASE_URL to the address of your server first.")
            signing = resolve_signing_key(provider, ApiKey(key) if key else None, means.client, means.base_urls)
            return read_raw(provider, signing, client, base_url)
    except errors.SyncError as error:
        raise click.ClickException(str(error)) from None


def _is_example(provider: Provider) -> bool:
    """Whether its base URL stands for everyone's own: whose server really has that name must not get a key."""
    return bool(provider.own_url) and urlsplit(provider.base_url).hostname != "localhost"


def _last_saved(folder: Path) -> tuple[Path, Any] | None:
    """The last of the earlier answers with its content; of several pages the first."""
    saved = [path for path in folder.glob("*.json") if not path.name.endswith(".expected.json")]
    firsts = sorted(path for path in saved if "-page-" not in path.name or path.name.endswith("-page-1.json"))
    if not firsts:
        return None
    try:
        return firsts[-1], json.loads(firsts[-1].read_bytes())
    except ValueError:
        raise click.ClickException(f"{firsts[-1]} is no saved answer: move it away first.") from None


def _tell_drift(before: Any, after: Any, name: Path) -> None:
    appeared, vanished = diff_fields(before, after)
    for path in appeared:
        click.echo(f"new field: {path}")
    for path in vanished:
        click.echo(f"vanished field: {path}")
    if not appeared and not vanished:
        click.echo(f"The fields are those of {name.name}.")


def _page(provider: Provider, body: bytes) -> Page:
    """Read by the first of the provider's endpoints that understands the answer."""
    failure = ""
    for endpoint in provider.endpoints:
        page = _try(endpoint, body)
        if isinstance(page, Page):
            return page
        failure = failure or page
    click.echo(f"The provider {failure}.", err=True)
    sys.exit(1)


def _try(endpoint: Endpoint, body: bytes) -> Page | str:
    try:
        return endpoint.read(body)
    except parsing.InvalidResponse as bad:
        return str(bad)


def _line(provider: Provider, row: Any) -> dict[str, Any]:
    frequency = row.admin_update_frequency or provider.update_frequency
    variable = f"{provider.variable}_API_KEY"
    return {
        "slug": provider.slug,
        "name": row.name,
        "enabled": row.is_active,
        "update_frequency": frequency,
        "public": provider.public,
        "key_variable": variable,
        "key": "found" if config.read_secret(os.environ, variable) else "not needed" if provider.public else "missing",
        "base_url": row.admin_base_url or row.base_url,
        "site_url": row.site_url,
        "last_synced": filters.isoformat(row.last_synced_at) or None,
        "models_api": {
            **row.models_api,
            "enabled": row.is_active,
            "update_frequency": frequency,
            "last_synced": filters.isoformat(row.last_synced_at) or None,
        },
    }
