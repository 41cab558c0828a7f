"""The cost of a month's use."""

from __future__ import annotations

from decimal import Decimal

import msgspec

_MILLION = Decimal(1_000_000)


class Usage(msgspec.Struct, frozen=True):
    """Tokens per month; `cached` is the part of the input that is read from a provider's cache."""

    input: int = 0
    output: int = 0
    cached: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.input or self.output)


class Prices(msgspec.Struct, frozen=True):
    """USD per million tokens; None if unknown."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None


def monthly_cost(usage: Usage, prices: Prices) -> Decimal | None:
    """USD per month; None if a price that is needed is unknown.

    Cached input has the cache read price, or the input price where the provider states none.
    """
    cached = min(usage.cached, usage.input)
    parts = (
        (usage.input - cached, prices.input),
        (cached, prices.input if prices.cache_read is None else prices.cache_read),
        (usage.output, prices.output),
    )
    total = Decimal(0)
    for tokens, price in parts:
        if not tokens:
            continue
        if price is None:
            return None
        total += tokens * price / _MILLION
    return total
