"""`flask catalog …`: refresh the canonical catalog, look at it, and ask it what an id means."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import click
import msgspec
from flask.cli import AppGroup

from app import config
from app.catalog import humanize
from app.catalog.differences import Difference
from app.catalog.listing import PRICES, ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex
from app.catalog.sources import SOURCES
from app.cli.errors import sentences
from app.cli.output import print_json, print_table
from app.store import catalog, sources
from app.store.catalog import SourcedFact
from app.sync.catalog import refresh
from app.sync.http.fetch import new_client
from app.sync.run import utc_now
from app.web.app import filters

catalog_group = AppGroup("catalog", help="The canonical catalog of models.")
_SHOWN = 10
_GATEWAYS = [name for name, source in SOURCES.items() if source.is_gateway]
_TOLD = {"updated": "updated", "unchanged": "unchanged", "refused": "REFUSED", "failed": "FAILED"}


# ------------------------------------------------------------------ refresh


@catalog_group.command("refresh")
@click.argument("source", required=False, type=click.Choice(list(SOURCES)))
@click.option("--accept-shrunk", is_flag=True, help="Believe it though a fifth or more of its models are missing.")
@sentences
def catalog_refresh(source: str | None, accept_shrunk: bool) -> None:
    """Ask the public catalogs (or one) for news, now; exit code 0 only if none failed or was refused."""
    _refresh([source] if source else list(SOURCES), accept_shrunk=accept_shrunk)


@catalog_group.command("import")
@click.argument("source", type=click.Choice(_GATEWAYS))
@click.option("--accept-shrunk", is_flag=True, help="Believe it though a fifth or more of its models are missing.")
@sentences
def catalog_import(source: str, accept_shrunk: bool) -> None:
    """Import the list of an authoritative source: another name for `refresh` of it."""
    _refresh([source], accept_shrunk=accept_shrunk)


def _refresh(names: Sequence[str], *, accept_shrunk: bool) -> None:
    urls = config.current().catalog_urls
    went_wrong = False
    with new_client() as client:
        for name in names:
            done = refresh.refresh(
                name, "cli", client=client, now=utc_now, url=urls.get(name, ""), accept_shrunk=accept_shrunk
            )
            went_wrong = went_wrong or done.outcome in ("refused", "failed")
            for text in _lines(done):
                click.echo(text)
    sys.exit(1 if went_wrong else 0)


def _lines(done: refresh.RefreshResult) -> Iterator[str]:
    counts = done.counts
    told = f"{SOURCES[done.source].title}: {_TOLD[done.outcome]}"
    if done.outcome in ("refused", "failed"):
        yield f"{told}. {done.message}"
        return
    news = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count) or "nothing new"
    yield f"{told}, {humanize.pluralize(done.model_count, 'entry', 'entries')}; canonical models: {news}."
    if done.message:
        yield f"  {done.message}"
    for difference in done.changes[:_SHOWN]:
        yield f"  {_difference(difference)}"
    if len(done.changes) > _SHOWN:
        yield f"  … and {len(done.changes) - _SHOWN:,} more."


def _difference(difference: Difference) -> str:
    kind, model_id, fields = difference
    told = "; ".join(f"{_words(field)} {_value(before)} → {_value(after)}" for field, before, after in fields)
    return f"{kind} {model_id}{': ' if told else ''}{told}"


def _words(field: str) -> str:
    return field.replace("_per_million", " price").replace("_", " ")


def _value(value: Any) -> str:
    """A fact in words, on one line however long it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in (None, "", (), {}):
        return "unknown"
    if isinstance(value, Mapping):
        return ", ".join(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


# ------------------------------------------------------------------ look


@catalog_group.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@sentences
def catalog_status(as_json: bool) -> None:
    """Tell which catalog is in force, and of every source when it was asked and what came of it."""
    version = catalog.version_in_force()
    lines = [_source(line) for line in sources.list_sources()]
    if as_json:
        in_force = version and {
            "version": version.number,
            "digest": version.digest,
            "models": version.model_count,
            "loaded_at": filters.isoformat(version.loaded_at),
        }
        print_json([{"in_force": in_force, "sources": lines}])
        return
    if version:
        since = filters.isoformat(version.loaded_at)
        click.echo(f"Version {version.number} is in force since {since}: {version.model_count:,} models.")
    print_table([_in_short(line) for line in lines])


def _in_short(line: Mapping[str, Any]) -> dict[str, Any]:
    """For a table: times to the minute, in UTC."""
    moments = {f"{name} (UTC)": (line[name] or "")[:16].replace("T", " ") for name in ("asked", "last_good")}
    return {"source": line["source"], "models": line["models"], **moments, "error": line["error"]}


def _source(line: sources.SourceView) -> dict[str, Any]:
    url = config.current().catalog_urls.get(line.name) or SOURCES[line.name].url
    return {
        "source": line.name,
        "models": line.model_count,
        "asked": filters.isoformat(line.checked_at) or None,
        "last_good": filters.isoformat(line.fetched_at) or None,
        "error": line.error_message,
        "url": url,
    }


@catalog_group.command("show")
@click.argument("canonical_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@sentences
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
        {"fact": _unit(fact.field), "value": _value(fact.value), "source": fact.source, "date": fact.date}
        for fact in facts
    ]
    print_table(rows)
    for title, told in (("also called", list(model.aliases)), ("served by", list(model.served))):
        if told:
            click.echo(f"{title}: {', '.join(told)}")


def _no_such_model(canonical_id: str, index: CatalogIndex) -> str:
    near = index.candidates("", ListedModel(id=canonical_id), 3)
    hint = f" Did you mean {', '.join(one.canonical_id for one in near)}?" if near else ""
    return f"The catalog has no model {canonical_id}.{hint} Canonical ids read `lab/model`."


def _unit(field: str) -> str:
    return f"{_words(field)}, USD per million tokens" if field in PRICES else _words(field)


def _model_json(model: CanonicalModel, facts: Sequence[SourcedFact]) -> dict[str, Any]:
    return {
        "id": model.id,
        "lab": model.lab,
        "aliases": list(model.aliases),
        "served": {slug: list(ids) for slug, ids in model.served.items()},
        "facts": {
            fact.field: {"value": _plain(fact.value), "source": fact.source, "date": fact.date or None}
            for fact in facts
        },
    }


def _plain(value: Any) -> Any:
    """As JSON has it; prices digit by digit, as texts."""
    return msgspec.to_builtins(value, builtin_types=())


# ------------------------------------------------------------------ match


class _Pair(msgspec.Struct):
    provider: str
    model_id: str


@catalog_group.command("match")
@click.argument("provider", required=False)
@click.argument("model_ids", metavar="ID", nargs=-1)
@click.option(
    "--json", "as_json", is_flag=True, help='One object a line; without arguments, reads {"provider", "model_id"}.'
)
@sentences
def catalog_match(provider: str | None, model_ids: Sequence[str], as_json: bool) -> None:
    """Tell which canonical model a provider means by an id, and by which rule."""
    _, index = catalog.load_index()
    if provider is None:
        if not as_json:
            raise click.UsageError("Name a provider and its ids, or give --json and JSON lines on standard input.")
        for pair in _pairs(sys.stdin):
            print_json([pair | _matched(index, pair["provider"], pair["model_id"])])
        return
    if not model_ids:
        raise click.UsageError(f"Name at least one id of {provider}.")
    found = [
        {"provider": provider, "model_id": model_id, **_matched(index, provider, model_id)} for model_id in model_ids
    ]
    print_json(found) if as_json else print_table(found)


def _pairs(lines: TextIO) -> Iterator[dict[str, Any]]:
    """The objects on standard input, with whatever else is in them. Raises ClickException naming the bad line."""
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            msgspec.json.decode(text, type=_Pair)
            yield json.loads(text)
        except (ValueError, RecursionError):
            raise click.ClickException(
                f'Line {number} is not an object with the texts "provider" and "model_id": '
                "correct it and run the command again."
            ) from None


def _matched(index: CatalogIndex, provider: str, model_id: str) -> dict[str, Any]:
    match = index.match(provider, ListedModel(id=model_id))
    return {
        "canonical_id": match.canonical_id,
        "rule": match.rule,
        "variant": match.variant,
        "snapshot": match.snapshot,
    }
