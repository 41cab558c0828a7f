"""What every start makes sure of: the provider files are in the database, and the shipped catalog is in force."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.catalog import seed
from app.extensions import db
from app.providers import PROVIDERS
from app.providers.contract import Provider, join
from app.store import catalog, credentials, listings, models


def prepare(now: datetime) -> None:
    """Mirror the provider files and load the seed if it is new; commits. Twice does no harm."""
    catalog.mirror_providers([_facts(provider) for provider in PROVIDERS.values()], now)
    shipped = seed.load()
    if catalog.replace(shipped.version, "seed", shipped.models, now):
        rematch(now)
    db.session.commit()


def rematch(now: datetime) -> None:
    """Ask the catalog in force again about every model of every listing in force."""
    _, index = catalog.index()
    for slug, provider in credentials.providers().items():
        for listing_id in listings.current_of_provider(provider.id, but=0):
            listing = listings.load(listing_id)
            models.write(provider.id, [(model, index.match(slug, model)) for model in listing.models], now)


def _facts(provider: Provider) -> dict[str, Any]:
    return {
        "slug": provider.slug,
        "name": provider.title,
        "description": provider.description,
        "base_url": provider.base_url,
        "api_key_env_var": f"{provider.variable}_API_KEY",
        "site_url": provider.site,
        "color": provider.colour,
        "models_api": {
            "endpoints": [
                {
                    "url": join(base_url, endpoint.ask(None).path),
                    "endpoint_type": endpoint.endpoint_type,
                    "format": provider.format,
                }
                for base_url in provider.regions.values() or [provider.base_url or provider.own_url]
                for endpoint in provider.endpoints
            ],
            "update_frequency": provider.update_frequency,
        },
    }
