"""Public catalogs, from their bytes to claims: one module per catalog. Pure; no catalog is trusted.

A parser turns an untrusted document into a `ParsedSource`: claims about single ids, and rejected entries with their
reasons. `claims.check` then decides whether to accept the document as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from app.catalog.listing import ListedModel
from app.catalog.sources import aihubmix, litellm, modelsdev, openrouter
from app.catalog.sources.claims import ParsedSource, SourceFault

GatewayReader = Callable[[bytes, Iterable[ListedModel], Iterable[SourceFault]], ParsedSource]


class CatalogSource(msgspec.Struct, frozen=True):
    """A public catalog, fetched over HTTP."""

    name: str
    """As on the command line, in the database, in the environment (`CATALOG_<NAME>_URL`), and as source of a field."""
    title: str
    url: str
    """Its address, unless the operator configures another one."""
    seed_letter: str = ""
    """Letter of the same catalog in the shipped seed, whose older facts it replaces."""
    read: Callable[[bytes, Collection[str]], ParsedSource] | None = None
    """From a document and the slugs of our providers; None for a gateway."""
    read_listed: GatewayReader | None = None
    """For a gateway, whose list is parsed by the provider file of the same name."""

    @property
    def is_gateway(self) -> bool:
        """Whether it lists what it resells: used only where no other source states a value, and never for prices."""
        return self.read_listed is not None


_ALL = (
    CatalogSource("modelsdev", "models.dev", "https://models.dev/api.json", seed_letter="m", read=modelsdev.parse),
    CatalogSource(
        "litellm",
        "LiteLLM",
        "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json",
        seed_letter="l",
        read=litellm.parse,
    ),
    CatalogSource("openrouter", "OpenRouter", "https://openrouter.ai/api/v1/models", read_listed=openrouter.parse),
    CatalogSource("aihubmix", "AIHubMix", "https://aihubmix.com/api/v1/models", read_listed=aihubmix.parse),
)
SOURCES: dict[str, CatalogSource] = {source.name: source for source in _ALL}
"""By trust, the most trusted first."""
PERSON = "person"
"""Source of what a person decided."""
