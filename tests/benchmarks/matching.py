"""What it costs to say which canonical models a listing's ids mean, and to make the index that says it.

CPU time of a process that has read none of the ids. "Mutated" ids are the shipped catalog's own with prefixes, dates,
serving suffixes and changed words, so that all rules are tried; "foreign" ones are repositories nobody knows.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

from msgspec.structs import replace

from app.catalog import id_parser, seed
from app.catalog.listing import ListedModel
from app.catalog.matching import CanonicalModel, CatalogIndex

ROUNDS = 5
SIZE = 12_000
_GROWN = 5_000
_PREFIXES = ("", "us.", "accounts/fireworks/models/", "unsloth/", "somebody/")
_SUFFIXES = ("", ":free", "-fp8", "-20260401", "-instruct", "-turbo-GGUF", "-0131", "-nobody-knows")
_MAKERS = ("meta-llama", "qwen", "some-body", "mlx-community")
_FAMILIES = ("Llama-3.3", "Qwen3-VL", "Bagel-Mix")
_TUNES = ("Instruct", "it", "Coder-v2", "uncensored-i1")


def rows() -> list[tuple[str, str]]:
    """The measures as (what, value), medians of five."""
    shipped = seed.load().models
    measured: list[tuple[str, str]] = []
    for models in (shipped, _grown(shipped)):
        took = statistics.median(_cold(lambda models=models: CatalogIndex(models)) for _ in range(ROUNDS))  # type: ignore[misc]
        measured.append((f"index of {len(models):,} canonical models", f"{1e3 * took:.0f} ms of CPU"))
    index = CatalogIndex(shipped)
    for name, ids in (("mutated", _mutated(shipped)), ("foreign", _foreign())):
        listed = [ListedModel(id=model_id) for model_id in ids]
        cold = statistics.median(_cold(lambda listed=listed: _match(_fresh(index), listed)) for _ in range(ROUNDS))  # type: ignore[misc]
        again = _seconds(lambda listed=listed: _match(index, listed))  # type: ignore[misc]
        known = _match(index, listed)
        measured.append(
            (
                f"matching {SIZE:,} {name} ids, {known:,} known",
                f"{1e3 * cold:.0f} ms of CPU; again {1e3 * again:.0f} ms",
            )
        )
    return measured


def _fresh(index: CatalogIndex) -> CatalogIndex:
    """The same index, which keeps no answer at hand."""
    index._matched.clear()
    return index


def _match(index: CatalogIndex, listed: list[ListedModel]) -> int:
    return sum(index.match("benchmark", model).canonical_id is not None for model in listed)


def _mutated(models: tuple[CanonicalModel, ...]) -> list[str]:
    """Distinct ids: every model in turn, every time with another prefix and suffix."""
    ids: list[str] = []
    for number in range(SIZE):
        again, at = divmod(number, len(models))
        name = models[at].id.partition("/")[2]
        ids.append(_PREFIXES[(again + at) % len(_PREFIXES)] + name + _SUFFIXES[again % len(_SUFFIXES)])
    return ids


def _foreign() -> list[str]:
    return [f"{_MAKERS[n % 4]}/{_FAMILIES[n % 3]}-{n}B-{_TUNES[n // 3 % 4]}-{n % 97}" for n in range(SIZE)]


def _grown(models: tuple[CanonicalModel, ...]) -> list[CanonicalModel]:
    """As large as refreshes may make it."""
    more = [replace(model, id=f"{model.id}-x{n}", served={}) for n in range(2) for model in models]
    return [*models, *more][:_GROWN]


def _cold(act: Callable[[], object]) -> float:
    for cached in vars(id_parser).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    return _seconds(act)


def _seconds(act: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    act()
    return time.process_time() - start
