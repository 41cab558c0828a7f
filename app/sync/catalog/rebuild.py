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
from app.catalog.claim_matching import SourceData
from app.catalog.differences import Difference, diff_catalogs
from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex, Match
from app.catalog.merge import merge
from app.catalog.sources import SOURCES
from app.providers import PROVIDERS
from app.store import catalog, credentials, listed_models, listings, models, overrides, sources

_RULE_MODULES = (
    *("matching.py", "claim_matching.py", "merge.py", "overrides.py", "effective.py", "id_parser.py", "vocabulary.py"),
    "sources/names.py",
)


def rebuild(now: datetime, source: str = "decisions") -> list[Difference]:
    """Put in force what the inputs make, if any of them changed, and match all listed models again; the differences.

    source: what gave the occasion, for the version's row. Nothing is decoded where nothing changed. The caller commits;
    of two that build at once, in whatever process, the second waits and then finds nothing left to do.
    """
    if _is_in_force(_load_inputs()):
        return []
    catalog.lock()
    inputs = _load_inputs()
    if _is_in_force(inputs):
        return []
    before = catalog.load_models()
    told = [SourceData(name, sources.load_claims(name), is_fresh) for name, is_fresh in inputs.told]
    after = merge(seed.load().models, told, catalog.load_decisions(), PROVIDERS)
    catalog.activate(inputs.digest, source, before, after, now)
    rematch(now)
    return diff_catalogs(before, {model.id: model for model in after})


def rematch(now: datetime) -> None:
    """Ask the catalog in force again about every model of every listing in force, and renew all that follows."""
    _, index = catalog.load_index()
    providers = sorted(credentials.providers_by_slug().items(), key=lambda item: item[1].id)
    for _, provider in providers:
        # All before the first list is read: whoever writes one now ends before, and is seen, or begins after, and
        # then sees the catalog of this transaction.
        models.lock_provider(provider.id)
    for slug, provider in providers:
        if matched := _match_listed(slug, provider.id, index):
            models.save(provider.id, matched, now)
            overrides.save_auto(provider.id, slug, matched, index, now)
    overrides.remove_unserved()
    listed_models.rebuild(index)


def _match_listed(slug: str, provider_id: int, index: CatalogIndex) -> list[tuple[ListedModel, Match]]:
    found: dict[str, ListedModel] = {}
    for listing_id in sorted(listings.ids_in_force(provider_id, excluding=0)):
        found |= {model.id: model for model in listings.load(listing_id).models}
    described = catalog.descriptions(provider_id) if found else {}
    return [
        (_with_description(model, described.get(model.id, "")), index.match(slug, model)) for model in found.values()
    ]


def _with_description(model: ListedModel, description: str) -> ListedModel:
    return msgspec.structs.replace(model, description=description) if description else model


# ------------------------------------------------------------------ what goes into a catalog


@dataclass(frozen=True, slots=True)
class _Inputs:
    digest: str
    told: list[tuple[str, bool]]
    """Sources with a good answer, and whether it is younger than the seed."""


def _load_inputs() -> _Inputs:
    found = sorted(sources.content_hashes().items())
    told = [(name, at.date().isoformat() >= _seed_date(SOURCES[name].seed_letter)) for name, (_, at) in found]
    parts = [
        _rules_digest(),
        " ".join(PROVIDERS).encode(),
        seed.load().version.encode(),
        catalog.decisions_digest(),
        overrides.manual_digest(),
    ]
    parts += [
        f"{name} {content_hash.hex()} {is_fresh}".encode()
        for (name, (content_hash, _)), (_, is_fresh) in zip(found, told, strict=True)
    ]
    return _Inputs(hashlib.sha256(b"\x1e".join(part.hex().encode() for part in parts)).hexdigest(), told)


def _is_in_force(inputs: _Inputs) -> bool:
    version = catalog.version_in_force()
    return version is not None and version.digest == inputs.digest


def _seed_date(letter: str) -> str:
    source = seed.load().header.sources.get(letter)
    return source.date if source else ""


@cache
def _rules_digest() -> bytes:
    """The code that decides goes into the digest: an update of Modelsync that decides otherwise matches anew."""
    folder = files("app.catalog")
    return hashlib.sha256(b"".join(folder.joinpath(name).read_bytes() for name in _RULE_MODULES)).digest()


def to_json(changes: Iterable[Difference], most: int) -> list[list[object]]:
    """The first changes as the history keeps them."""
    kept = [change for _, change in zip(range(most), changes, strict=False)]
    built: list[list[object]] = msgspec.to_builtins([list(change) for change in kept], builtin_types=())
    return built
