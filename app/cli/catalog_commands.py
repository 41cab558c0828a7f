"""`flask catalog`: refresh and inspect the canonical catalog, match provider ids."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import click
import msgspec
from flask.cli import AppGroup

from app import clock, config
from app.catalog import humanize
from app.catalog.differences import Difference
from app.catalog.listing import PRICES, ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex
from app.catalog.sources import SOURCES
from app.cli.errors import require_installation
from app.cli.output import json_option, print_json, print_table
from app.store import catalog, sources
from app.store.catalog import SourcedFact
from app.sync.catalog import refresh
from app.sync.http.client import new_client

catalog_group = AppGroup("catalog", help="The canonical catalog of models.")
_MAX_CHANGES = 10
_GATEWAYS = [name for name, source in SOURCES.items() if source.is_gateway]
_OUTCOMES = {"updated": "updated", "unchanged": "unchanged", "refused": "REFUSED", "failed": "FAILED"}


# ------------------------------------------------------------------ refresh


@catalog_group.command("refresh")
@click.argument("source", required=False, type=click.Choice(list(SOURCES)))
@click.option("--accept-shrunk", is_flag=True, help="Believe it though a fifth or more of its models are missing.")
@require_installation
def catalog_refresh(source: str | None, accept_shrunk: bool) -> None:
    """Ask the public catalogs (or one) for news, now; exit code 0 only if none failed or was refused."""
    _refresh([source] if source else list(SOURCES), accept_shrunk=accept_shrunk)


@catalog_group.command("import")
@click.argument("source", type=click.Choice(_GATEWAYS))
@click.option("--accept-shrunk", is_flag=True, help="Believe it though a fifth or more of its models are missing.")
@require_installation
def catalog_import(source: str, accept_shrunk: bool) -> None:
    """Import the list of an authoritative source: another name for `refresh` of it."""
    _refresh([source], accept_shrunk=accept_shrunk)


def _refresh(names: Sequence[str], *, accept_shrunk: bool) -> None:
    urls = config.current().catalog_urls
    has_failed = False
    with new_client() as client:
        for name in names:
            result = refresh.refresh(
                name, "cli", client=client, now=clock.utc_now, url=urls.get(name, ""), accept_shrunk=accept_shrunk
            )
            has_failed = has_failed or result.outcome in ("refused", "failed")
            for line in _refresh_lines(result):
                click.echo(line)
    sys.exit(1 if has_failed else 0)


def _refresh_lines(result: refresh.RefreshResult) -> Iterator[str]:
    counts = result.counts
    summary = f"{SOURCES[result.source].title}: {_OUTCOMES[result.outcome]}"
    if result.outcome in ("refused", "failed"):
        yield f"{summary}. {result.message}"
        return
    counts_text = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count) or "nothing new"
    yield f"{summary}, {humanize.pluralize(result.model_count, 'entry', 'entries')}; canonical models: {counts_text}."
    if result.message:
        yield f"  {result.message}"
    for difference in result.changes[:_MAX_CHANGES]:
        yield f"  {_format_difference(difference)}"
    if len(result.changes) > _MAX_CHANGES:
        yield f"  … and {len(result.changes) - _MAX_CHANGES:,} more."


def _format_difference(difference: Difference) -> str:
    kind, model_id, fields = difference
    changes = "; ".join(
        f"{_field_name(field)} {_format_value(before)} → {_format_value(after)}" for field, before, after in fields
    )
    return f"{kind} {model_id}{': ' if changes else ''}{changes}"


def _field_name(field: str) -> str:
    return field.replace("_per_million", " price").replace("_", " ")


def _format_value(value: Any) -> str:
    """A fact in words, on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in (None, "", (), {}):
        return "unknown"
    if isinstance(value, Mapping):
        return ", ".join(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


# ------------------------------------------------------------------ inspect


@catalog_group.command("status")
@json_option("Print one JSON object.")
@require_installation
def catalog_status(as_json: bool) -> None:
    """Tell which catalog is in force, and of every source when it was asked and what came of it."""
    version = catalog.version_in_force()
    rows = [_source_json(source) for source in sources.list_sources()]
    if as_json:
        in_force = version and {
            "version": version.number,
            "digest": version.digest,
            "models": version.model_count,
            "loaded_at": clock.isoformat(version.loaded_at),
        }
        print_json([{"in_force": in_force, "sources": rows}])
        return
    if version:
        since = clock.isoformat(version.loaded_at)
        click.echo(f"Version {version.number} is in force since {since}: {version.model_count:,} models.")
    print_table([_short_row(source) for source in rows])


def _short_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Row of the table: times in UTC, to the minute."""
    times = {f"{name} (UTC)": (row[name] or "")[:16].replace("T", " ") for name in ("asked", "last_good")}
    return {"source": row["source"], "models": row["models"], **times, "error": row["error"]}


def _source_json(source: sources.SourceView) -> dict[str, Any]:
    url = config.current().catalog_urls.get(source.name) or SOURCES[source.name].url
    return {
        "source": source.name,
        "models": source.model_count,
        "asked": clock.isoformat(source.checked_at) or None,
        "last_good": clock.isoformat(source.fetched_at) or None,
        "error": source.error_message,
        "url": url,
    }


@catalog_group.command("show")
@click.argument("canonical_id")
@json_option("Print one JSON object.")
@require_installation
def catalog_show(canonical_id: str, as_json: bool) -> None:
    """Show what the catalog knows of a model, each fact with who says so and when."""
    _, index = catalog.load_index()
    model = index.models.get(canonical_id)
    if model is None:
        raise click.ClickException(_no_such_model(canonical_id, index))
    facts = catalog.sourced_facts(model)
    if as_json:
        print_json([_model_json(model, facts)])
        return
    click.echo(model.id)
    rows = [
        {"fact": _field_label(fact.field), "value": _format_value(fact.value), "source": fact.source, "date": fact.date}
        for fact in facts
    ]
    print_table(rows)
    for title, names in (("also called", list(model.aliases)), ("served by", list(model.served))):
        if names:
            click.echo(f"{title}: {', '.join(names)}")


def _no_such_model(canonical_id: str, index: CatalogIndex) -> str:
    candidates = index.candidates("", ListedModel(id=canonical_id), 3)
    hint = f" Did you mean {', '.join(candidate.canonical_id for candidate in candidates)}?" if candidates else ""
    return f"The catalog has no model {canonical_id}.{hint} Canonical ids read `lab/model`."


def _field_label(field: str) -> str:
    return f"{_field_name(field)}, USD per million tokens" if field in PRICES else _field_name(field)


def _model_json(model: CanonicalModel, facts: Sequence[SourcedFact]) -> dict[str, Any]:
    return {
        "id": model.id,
        "lab": model.lab,
        "aliases": list(model.aliases),
        "served": {slug: list(ids) for slug, ids in model.served.items()},
        "facts": {
            fact.field: {"value": _to_json(fact.value), "source": fact.source, "date": fact.date or None}
            for fact in facts
        },
    }


def _to_json(value: Any) -> Any:
    """JSON-compatible; prices as exact decimal strings."""
    return msgspec.to_builtins(value, builtin_types=())


# ------------------------------------------------------------------ match


class _ModelRef(msgspec.Struct):
    provider: str
    model_id: str


@catalog_group.command("match")
@click.argument("provider", required=False)
@click.argument("model_ids", metavar="ID", nargs=-1)
@click.option(
    "--json", "as_json", is_flag=True, help='One object a line; without arguments, reads {"provider", "model_id"}.'
)
@require_installation
def catalog_match(provider: str | None, model_ids: Sequence[str], as_json: bool) -> None:
    """Tell which canonical model a provider means by an id, and by which rule."""
    _, index = catalog.load_index()
    if provider is None:
        if not as_json:
            raise click.UsageError("Name a provider and its ids, or give --json and JSON lines on standard input.")
        for ref in _read_refs(sys.stdin):
            print_json([ref | _match_json(index, ref["provider"], ref["model_id"])])
        return
    if not model_ids:
        raise click.UsageError(f"Name at least one id of {provider}.")
    matches = [
        {"provider": provider, "model_id": model_id, **_match_json(index, provider, model_id)} for model_id in model_ids
    ]
    print_json(matches) if as_json else print_table(matches)


def _read_refs(lines: TextIO) -> Iterator[dict[str, Any]]:
    """Objects on standard input, with all their fields. Raises ClickException naming an invalid line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            msgspec.json.decode(line, type=_ModelRef)
            yield json.loads(line)
        except (ValueError, RecursionError):
            raise click.ClickException(
                f'Line {number} is not an object with the texts "provider" and "model_id": '
                "correct it and run the command again."
            ) from None


def _match_json(index: CatalogIndex, provider: str, model_id: str) -> dict[str, Any]:
    match = index.match(provider, ListedModel(id=model_id))
    return {
        "canonical_id": match.canonical_id,
        "rule": match.rule,
        "variant": match.variant,
        "snapshot": match.snapshot,
    }
