"""All providers whose list of models we can read: one file each, discovered by scanning this folder.

To add a provider:

1. Copy the nearest file to `app/providers/<slug>.py` (dashes as underscores) and change what differs. Most providers
   only name their fields differently: they state a `FieldMap`. The rest write a `read` function with `parsing`.
2. Put one real answer, without keys, into `tests/providers/answers/<slug>/` (`flask providers record` strips them)
   and run `pytest tests/providers`, which says what is expected.

No registration, migration, form, template, route or setting is needed: they all read `PROVIDERS`. A provider may also
live in another package, whose entry point in the group `modelsync.providers` names its `Provider`:

    [project.entry-points."modelsync.providers"]
    acme = "modelsync_acme:PROVIDER"
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points

from app.providers.contract import Provider

ENTRY_POINT_GROUP = "modelsync.providers"


class ProviderLoadError(Exception):
    """A provider cannot be loaded. The message names where it comes from and why."""


def load_providers() -> dict[str, Provider]:
    """Slug → provider, of this folder and of installed packages, by rank and slug. Raises ProviderLoadError."""
    providers: dict[str, Provider] = {}
    for origin, provider in (*_built_in(), *_installed()):
        if not isinstance(provider, Provider):
            raise ProviderLoadError(f"{origin} is a {type(provider).__name__}, not a Provider")
        if provider.slug in providers:
            raise ProviderLoadError(f"{origin}: there is a provider {provider.slug!r} already")
        providers[provider.slug] = provider
    return {slug: providers[slug] for slug in sorted(providers, key=lambda slug: (providers[slug].rank, slug))}


def _built_in() -> Iterator[tuple[str, object]]:
    for module in pkgutil.iter_modules(__path__):
        provider = getattr(import_module(f"{__name__}.{module.name}"), "PROVIDER", None)
        if provider is not None:
            yield f"{__name__}.{module.name}.PROVIDER", provider


def _installed() -> Iterator[tuple[str, object]]:
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP)):
        try:
            yield f"entry point {entry_point.name} = {entry_point.value}", entry_point.load()
        except Exception as error:
            raise ProviderLoadError(f"entry point {entry_point.name} = {entry_point.value}: {error!r}") from error


PROVIDERS = load_providers()
SYNCABLE = tuple(slug for slug, provider in PROVIDERS.items() if not provider.base_url_example)
"""Providers with one list for everyone, which the shared catalog can be synced from; users' own servers are not."""


def get(slug: str) -> Provider | None:
    return PROVIDERS.get(slug)


def provider_title(slug: str) -> str:
    """The provider's display name; the slug itself if it is unknown."""
    provider = PROVIDERS.get(slug)
    return provider.title if provider else slug
