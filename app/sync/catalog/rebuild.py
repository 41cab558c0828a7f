"""Build the catalog in force from the seed, what the sources last told, and what people decided."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files

import msgspec

from app.catalog import seed
from app.catalog.differences import Difference, differences
from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex, Match
from app.catalog.merge import Told, merge
from app.catalog.sources import SOURCES
from app.store import catalog, credentials, listed_models, listings, models, overrides, sources

_RULES = ("identity.py", "merging.py", "overrides.py", "tokens.py", "vocabulary.py")


def rebuild(now: datetime, source: str = "decisions") -> list[Difference]:
    """Put in force what the inputs make, if any of them changed, and match all listed models again; the differences.

    source: what gave the occasion, for the version's row. Nothing is decoded where nothing changed. The caller commits;
    of two that build at once, in whatever process, the second waits and then finds nothing left to do.
    """
    if _is_in_force(_inputs()):
        return []
    catalog.lock()
    inputs = _inputs()
    if _is_in_force(inputs):
        return []
    before = catalog.models()
    told = [Told(name, sources.claims(name), is_fresh) for name, is_fresh in inputs.told]
    after = merge(seed.load().models, told, catalog.decisions())
    catalog.put_in_force(inputs.digest, source, before, after, now)
    rematch(now)
    return differences(before, {model.id: model for model in after})


def rematch(now: datetime) -> None:
    """Ask the catalog in force again about every model of every listing in force, and renew all that follows."""
    _, index = catalog.index()
    providers = sorted(credentials.providers().items(), key=lambda item: item[1].id)
    for _, provider in providers:
        # All before the first list is read: whoever writes one now ends before, and is seen, or begins after, and
        # then sees the catalog of this transaction.
        models.hold(provider.id)
    for slug, provider in providers:
        if matched := _matched(slug, provider.id, index):
            models.write(provider.id, matched, now)
            overrides.write_auto(provider.id, slug, matched, index, now)
    overrides.remove_unserved()
    listed_models.show_again(index)


def _matched(slug: str, provider_id: int, index: CatalogIndex) -> list[tuple[ListedModel, Match]]:
    found: dict[str, ListedModel] = {}
    for listing_id in sorted(listings.current_of_provider(provider_id, but=0)):
        found |= {model.id: model for model in listings.load(listing_id).models}
    described = catalog.descriptions(provider_id) if found else {}
    return [(_described(model, described.get(model.id, "")), index.match(slug, model)) for model in found.values()]


def _described(model: ListedModel, description: str) -> ListedModel:
    return msgspec.structs.replace(model, description=description) if description else model


# ------------------------------------------------------------------ what goes into a catalog


@dataclass(frozen=True, slots=True)
class _Inputs:
    digest: str
    told: list[tuple[str, bool]]
    """Sources with a good answer, and whether it is younger than the seed."""


def _inputs() -> _Inputs:
    found = sorted(sources.hashes().items())
    told = [(name, at.date().isoformat() >= _seed_date(SOURCES[name].seed_letter)) for name, (_, at) in found]
    parts = [_rules(), seed.load().version.encode(), catalog.decisions_digest(), overrides.manual_digest()]
    parts += [
        f"{name} {content_hash.hex()} {is_fresh}".encode()
        for (name, (content_hash, _)), (_, is_fresh) in zip(found, told, strict=True)
    ]
    return _Inputs(hashlib.sha256(b"\x1e".join(part.hex().encode() for part in parts)).hexdigest(), told)


def _is_in_force(inputs: _Inputs) -> bool:
    version = catalog.in_force()
    return version is not None and version.digest == inputs.digest


def _seed_date(letter: str) -> str:
    source = seed.load().header.sources.get(letter)
    return source.date if source else ""


@cache
def _rules() -> bytes:
    """The code that decides goes into the digest: an update of Modelsync that decides otherwise matches anew."""
    folder = files("app.catalog")
    return hashlib.sha256(b"".join(folder.joinpath(name).read_bytes() for name in _RULES)).digest()


def as_json(changes: Iterable[Difference], most: int) -> list[list[object]]:
    """The first changes as the history keeps them."""
    kept = [change for _, change in zip(range(most), changes, strict=False)]
    built: list[list[object]] = msgspec.to_builtins([list(change) for change in kept], builtin_types=())
    return built
