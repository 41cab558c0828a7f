"""What the public catalogs say, from their bytes to claims. Pure: one file per catalog, none of them trusted.

A reader turns an untrusted document into a `Reading`: claims about single ids, and the entries it had to leave out,
each with why. `claims.check` then decides whether the whole of it may be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from app.catalog.listing import ListedModel
from app.catalog.sources import aihubmix, litellm, modelsdev, openrouter
from app.catalog.sources.claims import ParsedSource, SourceFault

GatewayReader = Callable[[bytes, Iterable[ListedModel], Iterable[SourceFault]], ParsedSource]


class CatalogSource(msgspec.Struct, frozen=True):
    """A public catalog that is asked over HTTP."""

    name: str
    """As in the command line, the database, the environment (`CATALOG_<NAME>_URL`), and where a canonical model tells
    who says a field."""
    title: str
    url: str
    """Where it is asked unless the operator names another place."""
    seed_letter: str = ""
    """Letter of the same catalog in the shipped seed, whose older facts it replaces."""
    read: Callable[[bytes, Collection[str]], ParsedSource] | None = None
    """From a document and the slugs of our providers; None for a gateway."""
    read_listed: GatewayReader | None = None
    """For a gateway, whose list the provider file of the same name has read."""

    @property
    def is_gateway(self) -> bool:
        """It lists what it resells: believed only where nobody else says anything, and never about prices."""
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
"""In the order in which they are believed."""
PERSON = "person"
"""Who says what a person decided."""
