"""`flask models list`, and models as JSON objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import click
from flask.cli import AppGroup

from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex
from app.cli.errors import require_installation
from app.cli.output import json_option, print_json, print_table
from app.cli.user_commands import load_user
from app.providers import PROVIDERS
from app.store import catalog, credentials, models
from app.store.queries import models_of_keys
from app.store.queries.models_of_keys import KeyModels

models_group = AppGroup("models", help="What a user's keys can use.")
_COLUMNS = ("provider", "provider_model_id", "kind", "canonical_id", "context_length")


@models_group.command("list")
@click.argument("email")
@click.option("--provider", type=click.Choice(list(PROVIDERS)), help="Only this provider's models.")
@click.option("--all", "all_kinds", is_flag=True, help="Also what is no chat model, with the reason.")
@json_option()
@require_installation
def models_list(email: str, provider: str | None, all_kinds: bool, as_json: bool) -> None:
    """List the models a user's keys can use, after their last good sync."""
    keys = models_of_keys.load_key_models(load_user(email).id, provider)
    providers = credentials.providers_by_slug()
    first_seen: dict[str, dict[str, datetime]] = {}
    for key in keys:
        ids = [model.id for model in (*key.models, *key.unlisted)]
        first_seen.setdefault(key.provider, {}).update(models.first_seen_times(providers[key.provider].id, ids))
    _, index = catalog.load_index()
    rows = _iter_models(keys, index, first_seen, all_kinds=all_kinds)
    if as_json:
        print_json(rows)
    else:
        columns = (*_COLUMNS, "kind_reason") if all_kinds else _COLUMNS
        print_table([{name: row[name] for name in columns} for row in rows])


def model_json(
    provider: str, model: ListedModel, index: CatalogIndex, first_seen_at: datetime | None, status: str = "listed"
) -> dict[str, Any]:
    match = index.match(provider, model)
    return {
        "provider": provider,
        "provider_model_id": model.id,
        "name": model.name or model.id,
        "kind": model.kind,
        "kind_reason": model.kind_reason,
        "canonical_id": match.canonical_id,
        "match_rule": match.rule,
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "pricing": {
            "input_per_million": _price(model.input_per_million),
            "output_per_million": _price(model.output_per_million),
        },
        "modality": model.modality or None,
        "capabilities": model.capabilities,
        "first_seen_at": first_seen_at.isoformat() if first_seen_at else None,
        "status": status,
    }


def _iter_models(
    keys: list[KeyModels], index: CatalogIndex, first_seen: Mapping[str, Mapping[str, datetime]], *, all_kinds: bool
) -> Iterator[dict[str, Any]]:
    """Each model of each provider once, from the first key that lists it.

    Without `all_kinds`: listed chat models only, no unlisted ones. `first_seen`: provider → model id → time.
    """
    listed = ((key.provider, model, _status(model)) for key in keys for model in key.models)
    unlisted = ((key.provider, model, "unlisted") for key in keys for model in key.unlisted if all_kinds)
    yielded: set[tuple[str, str]] = set()
    for provider, model, status in (*listed, *unlisted):
        if (model.kind == "chat" or all_kinds) and (provider, model.id) not in yielded:
            yielded.add((provider, model.id))
            yield model_json(provider, model, index, first_seen.get(provider, {}).get(model.id), status)


def _status(model: ListedModel) -> str:
    """listed · deprecated (an end date is announced) · documented (in the documentation, not in the list)"""
    if model.documented:
        return "documented"
    return "deprecated" if model.deprecated_at or model.retires_at else "listed"


def _price(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
