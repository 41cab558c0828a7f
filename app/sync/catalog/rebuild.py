"""Build the catalog in force from the seed, the last good answers of the sources, and manual decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from itertools import islice

import msgspec

from app.catalog import seed
from app.catalog.claim_matching import SourceData
from app.catalog.differences import Difference, diff_catalogs
from app.catalog.listing import ListedModel
from app.catalog.matching import CatalogIndex, Match
from app.catalog.merge import merge
from app.catalog.sources import SOURCES
from app.providers import PROVIDERS
from app.store import auto_overrides, catalog, credentials, listed_models, listings, models, overrides, sources

_RULE_MODULES = (
    *("matching.py", "claim_matching.py", "merge.py", "overrides.py", "effective.py", "id_parser.py", "vocabulary.py"),
    "sources/names.py",
)


def rebuild(now: datetime, source: str = "decisions") -> list[Difference]:
    """Rebuild the catalog if any input changed, and match all listed models again; returns the differences.

    source: the cause, for the version's row. The caller commits. Of two processes that rebuild at once, the second
    waits and then finds nothing to do.
    """
    if _is_in_force(_load_inputs()):
        return []
    catalog.lock()
    inputs = _load_inputs()
    if _is_in_force(inputs):
        return []
    before = catalog.load_models()
    source_data = [SourceData(name, sources.load_claims(name), is_fresh) for name, is_fresh in inputs.sources]
    after = merge(seed.load().models, source_data, catalog.load_decisions(), PROVIDERS)
    catalog.activate(inputs.digest, source, before, after, now)
    rematch(now)
    return diff_catalogs(before, {model.id: model for model in after})


def rematch(now: datetime) -> None:
    """Match every model of every listing in force against the current catalog, and update everything derived."""
    _, index = catalog.load_index()
    providers = sorted(credentials.providers_by_slug().items(), key=lambda item: item[1].id)
    for _, provider in providers:
        # All locks before the first list is read: a concurrent sync either commits before, and its list is read here,
        # or waits, and then uses the catalog of this transaction.
        models.lock_provider(provider.id)
    for slug, provider in providers:
        if matched := _match_listed(slug, provider.id, index):
            models.save(provider.id, matched, now)
            auto_overrides.save(provider.id, slug, matched, index, now)
    auto_overrides.remove_unserved()
    listed_models.rebuild(index)


def _match_listed(slug: str, provider_id: int, index: CatalogIndex) -> list[tuple[ListedModel, Match]]:
    listed: dict[str, ListedModel] = {}
    for listing_id in sorted(listings.ids_in_force(provider_id, excluding=0)):
        listed |= {model.id: model for model in listings.load(listing_id).models}
    descriptions = catalog.descriptions(provider_id) if listed else {}
    return [
        (_add_description(model, descriptions.get(model.id, "")), index.match(slug, model)) for model in listed.values()
    ]


def _add_description(model: ListedModel, description: str) -> ListedModel:
    return msgspec.structs.replace(model, description=description) if description else model


# ------------------------------------------------------------------ inputs


@dataclass(frozen=True, slots=True)
class _Inputs:
    digest: str
    sources: list[tuple[str, bool]]
    """Sources with a good answer, and whether it is newer than the seed."""


def _load_inputs() -> _Inputs:
    hashes = sorted(sources.content_hashes().items())
    freshness = [(name, at.date().isoformat() >= _seed_date(SOURCES[name].seed_letter)) for name, (_, at) in hashes]
    parts = [
        _rules_digest(),
        " ".join(PROVIDERS).encode(),
        seed.load().version.encode(),
        catalog.decisions_digest(),
        overrides.manual_digest(),
    ]
    parts += [
        f"{name} {content_hash.hex()} {is_fresh}".encode()
        for (name, (content_hash, _)), (_, is_fresh) in zip(hashes, freshness, strict=True)
    ]
    return _Inputs(hashlib.sha256(b"\x1e".join(part.hex().encode() for part in parts)).hexdigest(), freshness)


def _is_in_force(inputs: _Inputs) -> bool:
    version = catalog.version_in_force()
    return version is not None and version.digest == inputs.digest


def _seed_date(letter: str) -> str:
    source = seed.load().header.sources.get(letter)
    return source.date if source else ""


@cache
def _rules_digest() -> bytes:
    """Digest of the matching code, so that an update of Modelsync which changes it triggers a rebuild."""
    folder = files("app.catalog")
    return hashlib.sha256(b"".join(folder.joinpath(name).read_bytes() for name in _RULE_MODULES)).digest()


def to_json(changes: Iterable[Difference], limit: int) -> list[list[object]]:
    """The first `limit` changes, as the history stores them."""
    rows: list[list[object]] = msgspec.to_builtins(
        [list(change) for change in islice(changes, limit)], builtin_types=()
    )
    return rows
