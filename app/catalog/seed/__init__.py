"""The shipped canonical catalog: facts with source and date, one model per line.

`canonical.jsonl` is made by `.build/make_seed.py` from three MIT-licensed catalogs (see `NOTICE`). `supplement.jsonl`
is kept by hand: chat models and routers that providers list and those catalogs lack, and further ids of models they
have. The first line of each is a header that names its sources with their dates; the rest is sorted by id, so that a
diff can be read.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

import msgspec

from app.catalog.matching import CanonicalModel

FORMAT = 1


class SeedSource(msgspec.Struct, frozen=True):
    name: str
    package: str
    date: str
    licence: str


class SeedHeader(msgspec.Struct, frozen=True):
    format: int
    sources: dict[str, SeedSource]


class Seed(msgspec.Struct, frozen=True):
    version: str
    """SHA-256 of the files, hex."""
    header: SeedHeader
    models: tuple[CanonicalModel, ...]


@cache
def load() -> Seed:
    """The shipped catalog. Raises msgspec.ValidationError if a file does not have the expected format."""
    folder = files(__package__)
    contents = [folder.joinpath(name).read_bytes() for name in ("canonical.jsonl", "supplement.jsonl")]
    sources: dict[str, SeedSource] = {}
    models: dict[str, CanonicalModel] = {}
    for content in contents:
        first, _, rest = content.partition(b"\n")
        sources |= msgspec.json.decode(first, type=SeedHeader).sources
        for model in msgspec.json.Decoder(CanonicalModel).decode_lines(rest):
            known = models.get(model.id)
            models[model.id] = _merge_served(known, model) if known else model
    version = hashlib.sha256(b"".join(contents)).hexdigest()
    return Seed(version, SeedHeader(FORMAT, sources), tuple(models[model_id] for model_id in sorted(models)))


def _merge_served(known: CanonicalModel, more: CanonicalModel) -> CanonicalModel:
    served = {slug: known.served.get(slug, ()) + more.served.get(slug, ()) for slug in known.served | more.served}
    return msgspec.structs.replace(known, served=served)
