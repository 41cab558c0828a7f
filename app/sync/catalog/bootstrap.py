"""Run at every start: the providers are in the database, and the catalog in force is up to date."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.extensions import db
from app.providers import PROVIDERS
from app.providers.contract import Provider, join_url
from app.store import catalog, listed_models
from app.sync.catalog.rebuild import rebuild


def bootstrap(now: datetime) -> None:
    """Mirror the provider files, and rebuild the catalog if seed, sources, decisions or rules changed; commits.

    Idempotent; a few queries if nothing changed.
    """
    catalog.mirror_providers([_provider_fields(provider) for provider in PROVIDERS.values()], now)
    rebuild(now, "seed")
    listed_models.backfill()
    db.session.commit()


def _provider_fields(provider: Provider) -> dict[str, Any]:
    return {
        "slug": provider.slug,
        "name": provider.title,
        "description": provider.description,
        "base_url": provider.base_url,
        "api_key_env_var": provider.key_variable,
        "site_url": provider.site,
        "color": provider.colour,
        "priority": provider.priority,
        "models_api": {
            "endpoints": [
                {
                    "url": join_url(base_url, endpoint.build_request(None).path),
                    "endpoint_type": endpoint.endpoint_type,
                    "format": provider.format,
                    "transformer": provider.transformer,
                }
                for base_url in provider.regions.values() or [provider.base_url or provider.base_url_example]
                for endpoint in provider.endpoints
            ],
            "update_frequency": provider.update_frequency,
        },
    }
