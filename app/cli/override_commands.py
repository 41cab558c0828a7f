"""`flask overrides`: manual and generated overrides of model facts."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

import click
from flask.cli import AppGroup

from app import clock
from app.catalog.listing import CAPABILITIES
from app.catalog.override_files import format_file, format_line, parse_file
from app.catalog.overrides import HIGHEST_PRIORITY, MANUAL_PRIORITY, Fact, Override, resolve_canonical_id
from app.cli.errors import require_installation
from app.cli.output import json_option, print_table
from app.extensions import db
from app.store import catalog, credentials, overrides
from app.store.audit import COMMAND_LINE
from app.sync.catalog.rebuild import rebuild

overrides_group = AppGroup("overrides", help="What providers and people say otherwise about a model.")


class _Price(click.ParamType):
    """USD per million tokens, as an exact decimal."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            return Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is no price in USD per million tokens.", param, ctx)


_YES_NO = {"yes": True, "true": True, "no": False, "false": False}


class _Capability(click.ParamType):
    """`tools=yes` → ("tools", True)"""

    name = "name=yes/no"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, bool]:
        if isinstance(value, tuple):
            return value
        name, _, answer = value.partition("=")
        if name not in CAPABILITIES or answer.lower() not in _YES_NO:
            self.fail(f"{value!r}: write one of {', '.join(CAPABILITIES)}, and =yes or =no behind it.", param, ctx)
        return name, _YES_NO[answer.lower()]


_PRIORITY = click.option(
    "--priority",
    default=MANUAL_PRIORITY,
    show_default=True,
    type=click.IntRange(MANUAL_PRIORITY, HIGHEST_PRIORITY),
    help="Of several for one model, field by field the highest wins.",
)


@overrides_group.command("list")
@click.option("--provider", help="Only of this provider.")
@click.option("--manual", is_flag=True, help="Only what people decided (from priority 100).")
@json_option("One object a line, as in a file of overrides.")
@require_installation
def overrides_list(provider: str | None, manual: bool, as_json: bool) -> None:
    """List the overrides: made by sync below priority 100, a person's from there on."""
    _check_provider(provider)
    rows = overrides.export(provider, only_manual=manual)
    if as_json:
        for override in rows:
            click.echo(format_line(override))
    else:
        print_table([_row(override) for override in rows])


@overrides_group.command("set")
@click.argument("provider")
@click.argument("model")
@click.option("--input-price", "input_per_million", type=_Price(), help="USD per million tokens, as all prices.")
@click.option("--output-price", "output_per_million", type=_Price())
@click.option("--cache-read-price", "cache_read_per_million", type=_Price())
@click.option("--cache-write-price", "cache_write_per_million", type=_Price())
@click.option("--context-window", "context_length", type=int, help="Tokens, prompt and answer together.")
@click.option("--max-output-tokens", type=int)
@click.option("--capability", "capabilities", type=_Capability(), multiple=True, help="For example tools=yes.")
@_PRIORITY
@click.option("--reason", required=True, help="Why, for whoever reads it later.")
@require_installation
def overrides_set(
    provider: str,
    model: str,
    capabilities: tuple[tuple[str, bool], ...],
    priority: int,
    reason: str,
    **options: Fact | None,
) -> None:
    """Decide facts of MODEL (its canonical id) at PROVIDER. What an earlier `set` decided otherwise stays."""
    facts: dict[str, Fact] = {name: value for name, value in options.items() if value is not None}
    facts |= dict(capabilities)
    if not facts:
        raise click.ClickException(
            "Say what to set: a price, a limit or a capability. See `flask overrides set --help`."
        )
    if not reason.strip():
        raise click.ClickException("Give a --reason, for whoever reads it later.")
    stored = overrides.amend(provider, model, priority, facts, reason.strip(), COMMAND_LINE, clock.utc_now())
    rebuild(clock.utc_now())  # applies it to the catalog
    db.session.commit()
    click.echo(f"{_describe_target(stored)}: {_describe_facts(stored)}.")


@overrides_group.command("remove")
@click.argument("provider")
@click.argument("model")
@_PRIORITY
@require_installation
def overrides_remove(provider: str, model: str, priority: int) -> None:
    """Take back what was decided about MODEL at PROVIDER: the provider's and the catalog's word holds again."""
    _check_provider(provider)
    removed = overrides.remove(provider, _canonical_id(provider, model), priority, COMMAND_LINE, clock.utc_now())
    if removed is None:
        raise click.ClickException(
            f"There is no override of {model} at {provider} with priority {priority}: "
            f"see `flask overrides list --provider {provider} --manual`."
        )
    rebuild(clock.utc_now())  # applies it to the catalog
    db.session.commit()
    click.echo(f"Removed {_describe_target(removed)}.")


@overrides_group.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@require_installation
def overrides_import(file: str) -> None:
    """Take over the manual overrides of a JSON file (- for standard input): all of them, or none if one is wrong.

    Those with the same provider, model and priority are replaced, others stay. Entries below priority 100 are passed
    over, since sync makes those itself.
    """
    name = "standard input" if file == "-" else Path(file).name
    with click.open_file(file, "rb") as stream:
        content = stream.read()
    try:
        entries = parse_file(content.decode(), name)
    except UnicodeDecodeError:
        raise click.ClickException(f"{name} is not UTF-8 text.") from None
    result = overrides.import_all(entries, COMMAND_LINE, clock.utc_now())
    if result.added or result.changed:
        rebuild(clock.utc_now())
    db.session.commit()
    click.echo(f"{result.added} added, {result.changed} changed, {result.unchanged} as they were.")
    if result.skipped:
        click.echo(f"{result.skipped} below priority {MANUAL_PRIORITY} passed over: sync makes those itself.")


@overrides_group.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8", atomic=True), default="-")
@click.option("--provider", help="Only of this provider.")
@click.option("--manual", is_flag=True, help="Only what people decided (from priority 100).")
@require_installation
def overrides_export(file: TextIO, provider: str | None, manual: bool) -> None:
    """Write the overrides as a JSON array to a file (or standard output), sorted, as `import` takes it."""
    _check_provider(provider)
    file.write(format_file(overrides.export(provider, only_manual=manual)))


def _check_provider(slug: str | None) -> None:
    if slug is not None and slug not in credentials.providers_by_slug():
        raise click.ClickException(f'There is no provider "{slug}": see `flask providers list`.')


def _canonical_id(provider: str, model: str) -> str:
    """The canonical id of a model; `model` itself if the catalog does not know it (any more)."""
    _, index = catalog.load_index()
    return resolve_canonical_id(index, provider, model) or model


def _row(override: Override) -> dict[str, Any]:
    return {
        "provider": override.provider_id,
        "model": override.model_id,
        "priority": override.priority,
        "says": _describe_facts(override),
        "reason": override.reason,
    }


def _describe_target(override: Override) -> str:
    return f"{override.model_id} at {override.provider_id} (priority {override.priority})"


def _describe_facts(override: Override) -> str:
    """ "input price 5.0 USD, context length 32000, tools yes", with exact numbers."""
    return ", ".join(_describe_fact(*fact) for fact in override.facts.items()) or "serves it, nothing else"


def _describe_fact(field: str, fact: Fact) -> str:
    if isinstance(fact, Decimal):
        return f"{field.removesuffix('_per_million').replace('_', ' ')} price {fact} USD"
    return f"{field.replace('_', ' ')} {('no', 'yes')[fact] if isinstance(fact, bool) else fact}"
