"""`flask models list`, and models as JSON objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import click
from flask.cli import AppGroup

from app.catalog.effective import effective_facts, infer_from_kind
from app.catalog.humanize import format_tokens
from app.catalog.listing import PRICES, ListedModel, ModelFacts
from app.catalog.matching import CatalogIndex
from app.catalog.overrides import Override
from app.cli.errors import require_installation
from app.cli.output import json_option, print_json, print_table
from app.cli.user_commands import load_user
from app.providers import PROVIDERS
from app.store import catalog, credentials, models, overrides
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
        print_table(
            [
                {name: row[name] for name in columns} | {"context_length": format_tokens(row["context_length"])}
                for row in rows
            ]
        )


def model_json(
    provider: str,
    model: ListedModel,
    index: CatalogIndex,
    manual: Mapping[tuple[str, str], Override],
    first_seen_at: datetime | None = None,
    status: str = "listed",
) -> dict[str, Any]:
    """A model's facts as the pages show them; under "listed", what the provider itself says.

    manual: (provider slug, canonical id) → override.
    """
    match = index.match(provider, model)
    canonical = index.models[match.canonical_id] if match.canonical_id else None
    override = manual.get((provider, canonical.id)) if canonical else None
    facts = infer_from_kind(effective_facts(provider, canonical, model, override, match.variant))
    return {
        "provider": provider,
        "provider_model_id": model.id,
        "name": facts.name,
        "kind": model.kind,
        "kind_reason": model.kind_reason,
        "canonical_id": match.canonical_id,
        "match_rule": match.rule,
        **_facts_json(facts),
        "deprecated_on": facts.deprecated_on or None,
        "retires_on": facts.retires_on or None,
        "first_seen_at": first_seen_at.isoformat() if first_seen_at else None,
        "status": status,
        "listed": {"name": model.name or None, **_facts_json(model)},
    }


def _facts_json(facts: ModelFacts) -> dict[str, Any]:
    return {
        "context_length": facts.context_length,
        "max_output_tokens": facts.max_output_tokens,
        "pricing": {name: _price(getattr(facts, name)) for name in PRICES},
        "modality": facts.modality or None,
        "capabilities": facts.capabilities,
    }


def _iter_models(
    keys: list[KeyModels], index: CatalogIndex, first_seen: Mapping[str, Mapping[str, datetime]], *, all_kinds: bool
) -> Iterator[dict[str, Any]]:
    """Each model of each provider once, from the first key that lists it.

    Without `all_kinds`: listed chat models only, no unlisted ones. `first_seen`: provider → model id → time.
    """
    listed = ((key.provider, model, _status(model)) for key in keys for model in key.models)
    unlisted = ((key.provider, model, "unlisted") for key in keys for model in key.unlisted if all_kinds)
    manual = overrides.load_manual()
    yielded: set[tuple[str, str]] = set()
    for provider, model, status in (*listed, *unlisted):
        if (model.kind == "chat" or all_kinds) and (provider, model.id) not in yielded:
            yielded.add((provider, model.id))
            yield model_json(provider, model, index, manual, first_seen.get(provider, {}).get(model.id), status)


def _status(model: ListedModel) -> str:
    """listed · deprecated (an end date is announced) · documented (in the documentation, not in the list)"""
    if model.documented:
        return "documented"
    return "deprecated" if model.deprecated_at or model.retires_at else "listed"


def _price(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
