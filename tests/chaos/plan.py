"""What a provider lists on a simulated day: a function of seed, provider and day, so that it can be replayed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import Literal

from app.demo.listings import SimModel
from app.providers import PROVIDERS

TUNED = "tuned"
"""The word in the keys of those who have a model of their own."""
SLUGS: tuple[str, ...] = tuple(PROVIDERS)

FAULTS = (
    *("error_500", "unavailable_503", "maintenance", "reset", "rate_limited", "rate_limited_until", "hang", "slow"),
    *("html", "truncated", "null", "wrong_types", "wrong_entries", "drip", "redirect_elsewhere", "gzip_bomb"),
    *("unauthorized", "echo_key", "revoked", "forbidden", "quota", "empty", "shrunk"),
    *("one_bad_model", "duplicates", "gzip", "redirect_home", "repeated_cursor"),
)
"""All but those that only cost time here: `endless_pages` and `huge`."""
SECONDS = {"slow": 1.5, "rate_limited": 2.0, "rate_limited_until": 3.0}
ONCE = frozenset({"gzip_bomb"})
"""What costs so much that it is served once and no more."""

_FAMILIES = ("gpt-5", "claude-opus-4", "llama-3.3", "qwen3", "mistral-large", "deepseek-v3", "gemma-3", "unheard-of")
_LISTED = 0.8
"""The share of its models that a provider lists at one time; never so few that a list looks suspicious."""
_LEAST = 0.6


@lru_cache(2_000)
def models_on(seed: int, slug: str, day: int) -> tuple[SimModel, ...]:
    """The whole list of a day, that for tuned keys included. A model comes, goes and changes every few days."""
    everything = [_model(seed, slug, number, day) for number in range(_size(seed, slug))]
    listed = [model for number, model in enumerate(everything) if _is_listed(seed, slug, number, day)]
    least = int(len(everything) * _LEAST)
    listed += [model for model in everything if model not in listed][: max(0, least - len(listed))]
    if slug == "openai":
        listed.append(SimModel("ft:gpt-5:chaos-and-sons::1", key_substring=TUNED))
    return tuple(sorted(listed, key=lambda model: model.id))


def is_conditional(seed: int, slug: str) -> bool:
    """Whether the provider gives validators when nothing is wrong with it."""
    return _share(seed, "conditional", slug) < 0.25


def latency_s(seed: int, slug: str) -> float:
    """Between 10 and 400 ms, mostly short."""
    return 0.01 + 0.39 * _share(seed, "latency", slug) ** 2


def trouble(random: Random, slugs: Sequence[str] = SLUGS) -> tuple[str, str, float]:
    """A provider, its fault, and how long it lasts, in seconds."""
    return random.choice(slugs), random.choice(FAULTS), random.uniform(1.0, 6.0)


def _size(seed: int, slug: str) -> int:
    return 12 + int(28 * _share(seed, "size", slug))


def _model(seed: int, slug: str, number: int, day: int) -> SimModel:
    draw = _share(seed, "price", slug, number, (day + number) // 4)
    model_id = f"{_FAMILIES[number % len(_FAMILIES)]}-{number}"
    kind: Literal["embedding", "chat"] = "embedding" if number % 9 == 8 else "chat"
    return SimModel(
        model_id,
        kind=kind,
        context=32_768 * (1 + int(3 * _share(seed, "context", slug, number, (day + number) // 7))),
        prompt=Decimal(1 + int(9 * draw)) / 10,
        completion=Decimal(1 + int(30 * draw)) / 10,
        tools=number % 2 == 0,
        vision=number % 3 == 0,
    )


def _is_listed(seed: int, slug: str, number: int, day: int) -> bool:
    return _share(seed, "listed", slug, number, (day + 2 * number) // 3) < _LISTED


def _share(*words: object) -> float:
    """0 to 1, the same in every process."""
    digest = hashlib.blake2b("\x1f".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
